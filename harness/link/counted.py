"""Windows from a link's counters alone: for a link that keeps no log, and for what a log does not tell.

What was asked for has to be the same over a whole window; one in which it changed is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from harness.link.asked import Asked, State
from harness.link.base import DIRECTIONS, Direction, LinkSpecs
from harness.link.window import ChanceTally, LossTally, Window

_AROUND_NS: Final = 300_000_000
"""Around a change the counters say nothing: a timed change is applied by a thread, and a table takes a moment."""
_PROBES: Final = 400
"""Moments of a window at which it is looked at what was asked for; a trace's points are 10 ms apart or more."""


class CounterWindows:
    """Makes windows of two successive readings of a link's counters.

    ``log`` says that a log counts loss and delays (of the tun link): left are duplicates and corruption.
    """

    def __init__(
        self,
        asked: LinkSpecs,
        applied: Mapping[Direction, tuple[int, int]],
        begin_ns: int,
        *,
        log: bool,
    ) -> None:
        self._asked = {way: Asked(asked.of(way)) for way in DIRECTIONS}
        self._applied = dict(applied)
        self._begin_ns = begin_ns
        self._log = log
        self._at_ns = begin_ns
        self._before: dict[str, dict[str, int]] = {}

    def add(self, counters: Mapping[str, Mapping[str, int]], at_ns: int) -> list[Window]:
        """Return the windows since the reading before, one a direction; none for the first reading."""
        before, since_ns = self._before, self._at_ns
        self._before = {way: dict(counts) for way, counts in counters.items()}
        self._at_ns = at_ns
        if not before:
            return []
        return [
            self._window(way, since_ns, at_ns, before[way], self._before[way])
            for way in DIRECTIONS
            if before.get(way) and self._before.get(way)
        ]

    def _window(
        self, way: Direction, from_ns: int, to_ns: int, before: Mapping[str, int], after: Mapping[str, int]
    ) -> Window:
        def more(name: str) -> int:
            return after.get(name, 0) - before.get(name, 0)

        packets = more("link_in")
        window = Window(
            direction=way,
            from_ms=(from_ns - self._begin_ns) / 1e6,
            to_ms=(to_ns - self._begin_ns) / 1e6,
            packets=packets,
        )
        state = self._state(way, from_ns, to_ns)
        if state is None or packets <= 0:
            return window
        if not self._log:
            lost = min(packets, max(0, more("dropped_total")))
            window.loss.append(LossTally(state.loss, packets, lost, exact=state.rate_kbps is None))
        elif not more("dropped_queue"):
            # Which copies a full queue refused nobody counts apart; then nothing is said of them.
            through = packets - more("dropped_loss")
            copies = more("duplicated")
            window.chances.append(ChanceTally("duplicates", state.duplicate, through, copies))
            window.chances.append(
                ChanceTally("corrupted", state.corrupt, through + copies, more("corrupted"))
            )
        return window

    def _state(self, way: Direction, from_ns: int, to_ns: int) -> State | None:
        """Return what was asked for from one moment to another; None where it changed."""
        asked, applied = self._asked[way], self._applied[way]
        moments = np.linspace(
            from_ns - applied[1] - _AROUND_NS, to_ns - applied[0] + _AROUND_NS, _PROBES, dtype=np.int64
        )
        states = {id(asked.state(int(n))): asked.state(int(n)) for n in np.unique(asked.number_at(moments))}
        first, *others = states.values()
        same = all(
            (other.loss, other.duplicate, other.corrupt, other.rate_kbps is None)
            == (first.loss, first.duplicate, first.corrupt, first.rate_kbps is None)
            for other in others
        )
        return first if same else None
