"""How soon a source may try again after a wrong guess: longer each time, without a table that strangers can fill."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from punktfunk.addresses import source_of

MAX_SOURCES = 256
"""Sources remembered (an IPv6 network of 64 bits is one); the one that failed longest ago is forgotten first. Worst
case some 40 kB."""


@dataclass(frozen=True, slots=True)
class _Pause:
    length_ns: int
    until_ns: int


class AttemptLimiter:
    """Which source has to wait before its next attempt.

    After a failure it waits ``first_ns``, doubled for each further one, ``most_ns`` at most, until it succeeds.
    Sources are addresses; times are CLOCK_MONOTONIC ns, given by the caller.
    """

    def __init__(self, first_ns: int, most_ns: int) -> None:
        self._first_ns, self._most_ns = first_ns, most_ns
        self._sources: OrderedDict[str, _Pause] = OrderedDict()

    def __len__(self) -> int:
        """Return how many sources are remembered."""
        return len(self._sources)

    def wait_ns(self, source: str, now_ns: int) -> int:
        """Return how long a source has to wait; 0 when it may try."""
        pause = self._sources.get(source_of(source))
        return 0 if pause is None else max(0, pause.until_ns - now_ns)

    def failed(self, source: str, now_ns: int) -> None:
        """Take note of a wrong guess."""
        key = source_of(source)
        before = self._sources.pop(key, None)
        length_ns = self._first_ns if before is None else min(2 * before.length_ns, self._most_ns)
        self._sources[key] = _Pause(length_ns, now_ns + length_ns)
        while len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)

    def succeeded(self, source: str) -> None:
        """Forget the failures of a source that guessed right."""
        self._sources.pop(source_of(source), None)
