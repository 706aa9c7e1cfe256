"""The processes of a session: started from argument lists, reaped, ended within bounds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.containment import Containment, die_with_parent
from punktfunk.errors import CapabilityError, UsageError

_POLL_S: Final = 0.005


@dataclass(slots=True)
class Child:
    """A process started here; ``status`` is its exit status, negative for a signal, None while it runs."""

    name: str
    process: subprocess.Popen[bytes]
    on_exit: Callable[[Child], None] | None = None
    status: int | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid


class Children:
    """All processes below this one. Each child leads a process group of its own."""

    def __init__(self, containment: Containment) -> None:
        self._containment = containment
        self._running: dict[int, Child] = {}

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: str | None = None,
        output: IO[bytes] | int | None = None,
        pass_fds: Sequence[int] = (),
        on_exit: Callable[[Child], None] | None = None,
    ) -> Child:
        """Start a program; raise UsageError for an empty list and CapabilityError where it cannot start.

        It reads end of file, and writes to ``output`` or to this process's standard error.
        """
        if not argv:
            raise UsageError("an empty argument list starts nothing", "name a program")
        try:
            process = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output if output is not None else 2,
                stderr=output if output is not None else 2,
                pass_fds=pass_fds,
                start_new_session=True,
                preexec_fn=None if self._containment is Containment.NAMESPACE else die_with_parent,  # noqa: PLW1509 - one thread
            )
        except OSError as error:
            # What could not be used is named by the error: the folder, or the program.
            if cwd is not None and error.filename == cwd:
                raise CapabilityError(
                    f"{argv[0]} cannot be started in {cwd}: {error.strerror}", "make that folder usable"
                ) from error
            raise CapabilityError(
                f"{argv[0]} cannot be started: {error.strerror}", "is it installed, and in PATH?"
            ) from error
        child = self._running[process.pid] = Child(name, process, on_exit)
        return child

    def reap(self) -> None:
        """Collect every process that has ended, adopted ones too, and tell those who asked."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._running.pop(pid, None)
            if child is None:
                continue
            child.status = child.process.returncode = os.waitstatus_to_exitcode(status)
            if child.on_exit is not None:
                child.on_exit(child)

    def gone(self, children: Sequence[Child], limit_s: float) -> bool:
        """Wait until the children have ended; return whether they have within ``limit_s``."""
        deadline = monotonic_ns() + round(limit_s * 1e9)
        while True:
            self.reap()
            if all(child.status is not None for child in children):
                return True
            if monotonic_ns() >= deadline:
                return False
            time.sleep(_POLL_S)

    def end(self, children: Sequence[Child], grace_s: float) -> None:
        """Ask the children's groups to end, and kill those that have not within ``grace_s``."""
        self._signal(children, signal.SIGTERM)
        if not self.gone(children, grace_s):
            self._signal(children, signal.SIGKILL)
            self.gone(children, grace_s)

    def end_rest(self, grace_s: float) -> None:
        """Ask whatever is left below this process to end, then kill it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = monotonic_ns() + round(grace_s * 1e9)
            while (left := self._descendants()) and monotonic_ns() < deadline:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)
                self.reap()
                time.sleep(_POLL_S)
        self.reap()

    def _signal(self, children: Sequence[Child], number: signal.Signals) -> None:
        for child in children:
            if child.status is None:
                # Another user's, as of sudo: the others are ended all the same.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, number)

    def _descendants(self) -> list[int]:
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # In bytes: a program's name, which stands in it, need not be text.
                    stat = (entry / "stat").read_bytes()
                    state, parent = stat.rpartition(b")")[2].split()[:2]
                    if state != b"Z":
                        parents[int(entry.name)] = int(parent)
        below: list[int] = []
        frontier = {os.getpid()}
        while frontier:
            frontier = {pid for pid, parent in parents.items() if parent in frontier}
            below += frontier
        return below
