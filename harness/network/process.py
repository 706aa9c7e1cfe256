"""A process of a run: in its namespace, marked as the run's, its words in the case's folder, never outliving it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Self, TypeAlias

from harness.network.namespaces import Namespace
from harness.network.registry import Registration
from punktfunk.errors import HarnessError

_ENTER = Path(__file__).with_name("enter.py")
StopStep: TypeAlias = tuple[signal.Signals | None, float]
"""A signal, or None for the end of file on standard input, and the seconds that are waited for its effect."""


class NamespaceProcess:
    """A started program that speaks JSON lines on standard output; a context manager.

    Its log (standard error) and a copy of its events go to ``folder/ROLE.log`` and
    ``folder/ROLE.events.jsonl``. A process that will not end by itself is ended by force: :meth:`stop`
    takes 9 s at most. What it started itself bears the run's mark and is ended with the topology.
    """

    _errors_apart: ClassVar[bool] = True
    """Whether standard error goes to the log by itself, or to the reader with standard output."""
    _steps: tuple[StopStep, ...] = ((None, 2.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0))

    def __init__(
        self,
        role: str,
        command: Sequence[str],
        *,
        registration: Registration,
        folder: Path,
        namespace: Namespace | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.role = role
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.log = folder / f"{role}.log"
        self._killed = False
        entered = [
            sys.executable, "-S", "-I", str(_ENTER),
            str(namespace.path) if namespace else "-", str(os.getpid()), *command,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                entered,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log if self._errors_apart else subprocess.STDOUT,
                env={**os.environ, **(environment or {}), **registration.environment()},
                start_new_session=True,
            )
        registration.add_process(role, self._process.pid)
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._reader = threading.Thread(
            target=self._read,
            args=(self._process.stdout, folder / f"{role}.events.jsonl"),
            name=f"{role} events",
            daemon=True,
        )
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id (the launcher becomes the program, so it is the program's)."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal, None while it runs."""
        return self._process.poll()

    @property
    def killed(self) -> bool:
        """Whether :meth:`kill` ended it on purpose."""
        return self._killed

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one JSON line to the process. Raises :class:`HarnessError` when it is gone."""
        try:
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()
        except OSError as error:
            raise HarnessError(f"the {self.role} is gone: {self.last_words()}") from error

    def wait_event(self, name: str, timeout_s: float) -> dict[str, Any]:
        """Return the next event called ``name``; others before it are dropped (they are in the events file).

        Raises :class:`HarnessError` with the process's last words when it ends first or ``timeout_s`` passes.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            try:
                event = self._events.get(timeout=max(0.0, left))
            except queue.Empty:
                raise HarnessError(
                    f"the {self.role} said nothing of '{name}' within {timeout_s:.0f} s: {self.last_words()}",
                    f"see {self.log}",
                ) from None
            if event is None:
                self._events.put(None)  # for the next who waits
                raise HarnessError(
                    f"the {self.role} ended with status {self._process.wait(5)} before '{name}': "
                    f"{self.last_words()}",
                    f"see {self.log}",
                )
            if event.get("event") == name:
                return event

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the process's own end; return its status or None when it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def kill(self) -> None:
        """End it with SIGKILL, as an event of a scenario does."""
        self._killed = True
        self._signal(signal.SIGKILL)
        self._process.wait(5)

    def stop(self) -> int | None:
        """End it: first by the end of its input, then SIGTERM, then SIGKILL; return its status."""
        for signal_, patience_s in self._steps:
            if self._process.poll() is not None:
                break
            if signal_ is None:
                with contextlib.suppress(OSError):
                    self._stdin.close()
            else:
                self._signal(signal_)
            self.wait(patience_s)
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._reader.join(2)
        return self._process.poll()

    def last_words(self) -> str:
        """Return the last line of its log that is not empty."""
        with contextlib.suppress(OSError):
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
            if lines:
                return lines[-1][-400:]
        return "(it logged nothing)"

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _read(self, stream: IO[bytes], copy: Path) -> None:
        with stream, copy.open("ab") as out:
            for line in stream:
                out.write(line)
                out.flush()
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        self._events.put(event)
        self._events.put(None)
