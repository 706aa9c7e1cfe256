"""The two clocks of a session: CLOCK_MONOTONIC inside, CLOCK_REALTIME as a fixed offset from it on the wire.

Every stage stamp is CLOCK_MONOTONIC in nanoseconds. A presentation time that leaves the process is that stamp
plus an offset measured once, when the session starts: if the wall clock is stepped later, nothing on the wire
jumps. Processes and network namespaces of one machine share CLOCK_MONOTONIC, so stamps of both ends compare.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_ROUNDS = 8
"""Readings taken to fix the offset; the one with the shortest bracket is kept."""


def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in nanoseconds, the clock of every stage stamp."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def realtime_ns() -> int:
    """Return CLOCK_REALTIME in nanoseconds since the Unix epoch."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


@dataclass(frozen=True, slots=True)
class SessionClock:
    """The offset CLOCK_REALTIME − CLOCK_MONOTONIC as it was at session start, and how well it is known.

    ``offset_ns`` is added to a stamp to get a pts; ``error_ns`` bounds its error: half the time that passed
    between the two monotonic readings around the realtime reading.
    """

    offset_ns: int
    error_ns: int

    @classmethod
    def start(
        cls,
        monotonic: Callable[[], int] = monotonic_ns,
        realtime: Callable[[], int] = realtime_ns,
    ) -> Self:
        """Fix the offset now. The clocks are arguments so that tests need no real ones."""
        readings = []
        for _ in range(_ROUNDS):
            before, wall, after = monotonic(), realtime(), monotonic()
            readings.append((after - before, wall - (before + after) // 2))
        bracket_ns, offset_ns = min(readings)
        return cls(offset_ns=offset_ns, error_ns=(bracket_ns + 1) // 2)

    def to_wire(self, stamp_ns: int) -> int:
        """Return the pts (CLOCK_REALTIME, ns) for a CLOCK_MONOTONIC stamp."""
        return stamp_ns + self.offset_ns

    def from_wire(self, pts_ns: int) -> int:
        """Return the CLOCK_MONOTONIC stamp behind a pts made with this clock."""
        return pts_ns - self.offset_ns
