"""The programs of one session: started from argument lists with a log each, and ended with all that they started.

Who belongs to a session is told by its environment: every program in it has the session's own XDG_RUNTIME_DIR, and so
has what D-Bus activates. That finds what has left its parent and its process group, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import pytest

_GRACE_S: Final = 3.0
_EVERY_S: Final = 0.01
_TAIL: Final = 12


@dataclass
class Program:
    """A program that was started, and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def text(self) -> str:
        """Return what it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it at once, as a crash does, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; harmless when it has ended."""
        if self.running:
            self.process.send_signal(number)


@dataclass
class Programs:
    """All programs with one runtime folder; a context manager that ends them, last to first."""

    runtime: Path
    logs: Path
    env: dict[str, str]
    started: list[Program] = field(default_factory=list)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        stdout: IO[bytes] | int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Program:
        """Start a program; what it writes goes to its log, but for ``stdout`` where that is given."""
        log = self.logs / f"{name}-{len(self.started)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                list(argv),
                env={**self.env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=file if stdout is None else stdout,
                stderr=file,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        program = Program(name, process, log)
        self.started.append(program)
        return program

    def wait_for(self, program: Program, holds: object, what: str, within_s: float = 30.0) -> None:
        """Wait until ``holds()``; fail with the program's last lines when it ends or that does not come."""
        assert callable(holds)
        deadline = time.monotonic() + within_s
        while not holds():
            if not program.running:
                pytest.fail(
                    f"{program.name} ended with {program.process.returncode} before {what}: {_tail(program)}"
                )
            if time.monotonic() > deadline:
                pytest.fail(f"waited {within_s:g} s in vain: {what} of {program.name}: {_tail(program)}")
            time.sleep(_EVERY_S)

    def end(self, program: Program) -> None:
        """Ask a program and its group to end, kill them when they do not, and wait for it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, number)
            try:
                program.process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                continue
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)

    def run(self, *argv: str, timeout_s: float = 10.0) -> str:
        """Run a program to its end in this session and return what it printed; fail the test when it fails."""
        done = subprocess.run(
            argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            pytest.fail(f"{' '.join(argv)}: {done.returncode}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="replace")

    def present(self) -> dict[int, str]:
        """Return pid and command of every program of this session that runs, whoever started it."""
        return processes_with(f"XDG_RUNTIME_DIR={self.runtime}")

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for program in reversed(self.started):
            self.end(program)
        deadline = time.monotonic() + _GRACE_S
        while (left := self.present()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_EVERY_S)
        assert not left, f"programs of the session that cannot be ended: {left}"


def processes_with(variable: str) -> dict[int, str]:
    """Return pid and command of each process, this one excepted, that has ``NAME=value`` in its environment."""
    wanted, found = variable.encode(), {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                command = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                )
                if command:  # what has ended and is not yet waited for has none
                    found[int(entry.name)] = command
    return found


def cpu_seconds(pid: int) -> float:
    """Return what a process has taken of the CPUs so far, user and system; 0 when it is gone."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _tail(program: Program) -> str:
    return " / ".join(program.text().splitlines()[-_TAIL:])
