"""Log lines that strangers cause: the first few of each event a minute, and then how many there were besides.

Whoever can reach a port can make a host write, and the ring that a person reads holds 2000 lines. So what a peer causes
before it is known goes through a :class:`StrangerLog`: of each event it writes a few lines a source and a few more in
all; what it leaves out is counted, and told in one line when the minute is over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from punktfunk.clock import monotonic_ns

WINDOW_S = 60
LINES_OF_A_SOURCE = 5
LINES_OF_AN_EVENT = 20
"""Lines of one event in a window, of one source and of all."""
MAX_SOURCES = 256
"""Sources told apart among the lines left out; the number is a lower bound beyond."""

_S = 1_000_000_000


class LineWriter(Protocol):
    """What writes lines, all of them as :class:`punktfunk.log.Logger` does, or within limits as :class:`SourceLog`."""

    def bind(self, **fields: Any) -> LineWriter:
        """Return a writer whose lines have more fields."""

    def debug(self, event: str, **fields: Any) -> None:
        """Write a line at that level, as the next three do."""

    def info(self, event: str, **fields: Any) -> None:
        """Write a line of the normal course."""

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line about something that should not be."""

    def error(self, event: str, **fields: Any) -> None:
        """Write a line about a failure."""


class Timer(Protocol):
    """What may still be called off."""

    def cancel(self) -> None:
        """Call it off."""


@dataclass(slots=True)
class _Window:
    """Lines of one event since the window began; ``left_out`` by source, empty while there were none."""

    until_ns: int
    lines: int = 0
    of_source: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    left_out_of: set[str] = field(default_factory=set)
    method: str = ""


class StrangerLog:
    """Write to ``logger`` what strangers cause, within limits. Belongs to one event loop."""

    def __init__(
        self,
        logger: LineWriter,
        *,
        clock: Callable[[], int] = monotonic_ns,
        later: Callable[[float, Callable[[], None]], Timer] | None = None,
    ) -> None:
        self.left_out = 0
        """Lines left out so far."""
        self._logger = logger
        self._clock = clock
        self._later = later or (lambda delay_s, call: asyncio.get_running_loop().call_later(delay_s, call))
        self._windows: dict[str, _Window] = {}
        self._timer: Timer | None = None

    def of(self, source: str) -> SourceLog:
        """Return the logger for one source, an address or what it counts as."""
        return SourceLog(self, source, {})

    def close(self) -> None:
        """Report what was left out; nothing is due any more then."""
        self._tell(lambda _window: True)

    def write(self, method: str, event: str, source: str, fields: dict[str, Any]) -> None:
        """Write one line, or count it."""
        window = self._window(event)
        if window.lines < LINES_OF_AN_EVENT and window.of_source[source] < LINES_OF_A_SOURCE:
            window.lines += 1
            window.of_source[source] += 1
            getattr(self._logger, method)(event, **fields)
            return
        self.left_out += 1
        window.left_out += 1
        window.method = method
        if len(window.left_out_of) < MAX_SOURCES:
            window.left_out_of.add(source)
        if self._timer is None:
            self._timer = self._later((window.until_ns - self._clock()) / _S, self._due)

    def _window(self, event: str) -> _Window:
        now_ns = self._clock()
        window = self._windows.get(event)
        if window is None or now_ns >= window.until_ns:
            if window is not None:
                self._sum_up(event, window)
            window = self._windows[event] = _Window(now_ns + WINDOW_S * _S)
        return window

    def _due(self) -> None:
        now_ns = self._clock()
        self._tell(lambda window: now_ns >= window.until_ns)

    def _tell(self, over: Callable[[_Window], bool]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for event, window in list(self._windows.items()):
            if over(window):
                self._sum_up(event, window)
                del self._windows[event]
        waiting = [window.until_ns for window in self._windows.values() if window.left_out]
        if waiting:
            self._timer = self._later(max(0.0, (min(waiting) - self._clock()) / _S), self._due)

    def _sum_up(self, event: str, window: _Window) -> None:
        if window.left_out:
            getattr(self._logger, window.method)(
                f"{event} ({window.left_out} times more in {WINDOW_S} s)",
                times=window.left_out,
                sources=len(window.left_out_of),
            )


class SourceLog:
    """The log of one source, used as any other logger."""

    def __init__(self, log: StrangerLog, source: str, fields: dict[str, Any]) -> None:
        self._log, self._source, self._fields = log, source, fields

    def bind(self, **fields: Any) -> SourceLog:
        """Return a logger whose lines have more fields."""
        return SourceLog(self._log, self._source, {**self._fields, **fields})

    def debug(self, event: str, **fields: Any) -> None:
        """Write a line at that level, as the next three do."""
        self._log.write("debug", event, self._source, {**self._fields, **fields})

    def info(self, event: str, **fields: Any) -> None:
        """Write a line of the normal course."""
        self._log.write("info", event, self._source, {**self._fields, **fields})

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line about something that should not be."""
        self._log.write("warning", event, self._source, {**self._fields, **fields})

    def error(self, event: str, **fields: Any) -> None:
        """Write a line about a failure."""
        self._log.write("error", event, self._source, {**self._fields, **fields})
