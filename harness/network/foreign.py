"""A program of any project in a namespace: contained with all that it starts, its output bounded and made harmless.

It speaks no language of ours. What it prints, on standard output and standard error alike, is read line by line, made
printable, kept up to :data:`MAX_LOG_BYTES`, and searched by regular expressions.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, ClassVar, Final

from harness.network.namespaces import Namespace
from harness.network.process import NamespaceProcess, StopStep
from harness.network.registry import Registration
from punktfunk.printable import printable

MAX_LOG_BYTES: Final = 4 << 20
"""Of a program's output that its log keeps; of what comes after it, the last lines."""
MAX_LINE_BYTES: Final = 8192
"""A line is cut there; its rest counts as another one."""
MAX_LINES: Final = 4096
"""Lines that are remembered for whoever searches them."""
_LAST_LINES: Final = 50
_CONTAIN: Final = Path(__file__).with_name("contain.py")


class ForeignProcess(NamespaceProcess):
    """A started program that says what it likes; a context manager.

    Its output goes to ``folder/ROLE.log``. Where it does not end on ``stop_signal`` within ``patience_s`` it is
    killed, and whatever it has started is killed with it in any case. What one of ``secrets`` matches can be waited for
    and is neither in the log nor in the last words.
    """

    _errors_apart: ClassVar[bool] = False

    def __init__(
        self,
        role: str,
        command: Sequence[str],
        *,
        registration: Registration,
        folder: Path,
        namespace: Namespace | None = None,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        patience_s: float = 5.0,
        secrets: Sequence[str] = (),
    ) -> None:
        self._secrets = [re.compile(pattern) for pattern in secrets]
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._seen = 0
        self._closed = False
        self._news = threading.Condition()
        self._steps: tuple[StopStep, ...] = ((stop_signal, patience_s), (signal.SIGKILL, 5.0))
        super().__init__(
            role,
            [sys.executable, "-S", "-I", str(_CONTAIN), *command],
            registration=registration,
            folder=folder,
            namespace=namespace,
            environment=environment,
        )

    def wait_line(self, pattern: str, timeout_s: float) -> re.Match[str] | None:
        """Return the match of the first line so far, or to come, that matches; None where it ends without one.

        Raises :class:`TimeoutError` when ``timeout_s`` passes. Of a program that says very much, only the last
        :data:`MAX_LINES` lines are looked at.
        """
        wanted, deadline, looked = re.compile(pattern), time.monotonic() + timeout_s, 0
        while True:
            with self._news:
                fresh, looked = self._since(looked), self._seen
                if not fresh:
                    if self._closed:
                        return None
                    if not self._news.wait(max(0.0, deadline - time.monotonic())):
                        raise TimeoutError
                    continue
            for line in fresh:
                match = wanted.search(line)
                if match:
                    return match

    def last_match(self, pattern: str) -> re.Match[str] | None:
        """Return the match of the last remembered line that matches; None where none does."""
        wanted = re.compile(pattern)
        with self._news:
            lines = list(self._lines)
        return next((match for line in reversed(lines) if (match := wanted.search(line))), None)

    def last_words(self) -> str:
        """Return its last line that is not empty, and not a continuation: hints are often indented below an error."""
        with self._news:
            lines = [line for line in self._lines if line.strip()]
        last = next(
            (line for line in reversed(lines) if not line[0].isspace()), (lines or ["(it said nothing)"])[-1]
        )
        return self._shown(last)[-400:]

    def _shown(self, line: str) -> str:
        """Return a line as a log may hold it."""
        for secret in self._secrets:
            line = secret.sub("[hidden]", line)
        return line

    def _since(self, number: int) -> list[str]:
        """Return the remembered lines from number ``number`` on, counted from 0; the lock is held."""
        fresh = min(self._seen - number, len(self._lines))
        return [self._lines[index] for index in range(len(self._lines) - fresh, len(self._lines))]

    def _read(self, stream: IO[bytes], copy: Path) -> None:
        del copy  # of events, which it does not speak
        kept = unkept = 0
        with stream, self.log.open("a", encoding="utf-8") as log:
            while line := stream.readline(MAX_LINE_BYTES):
                text = printable(line.decode("utf-8", "replace").rstrip("\r\n"))
                shown = self._shown(text)
                size = len(shown.encode()) + 1
                if kept + size <= MAX_LOG_BYTES:
                    log.write(shown + "\n")
                    log.flush()
                    kept += size
                else:
                    unkept += 1
                with self._news:
                    self._lines.append(text)
                    self._seen += 1
                    self._news.notify_all()
            if unkept:
                last = [self._shown(line) for line in list(self._lines)[-min(unkept, _LAST_LINES) :]]
                log.write(f"[{unkept} more lines; the last {len(last)}:]\n" + "\n".join(last) + "\n")
        with self._news:
            self._closed = True
            self._news.notify_all()
