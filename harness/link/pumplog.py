"""What a pump did in each second of a session, counted from its log of packets beside what was asked for then.

Runs in the pump's process, which has the log. A window counts packets by when they came in; it is closed once each
of them has left or is known not to. Delays are those that the pump's thread set out to keep (``due - in``): how late
it was itself stands beside them, so that a machine that was busy is not taken for a link that was changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.link.asked import Asked, Floats, Integers
from harness.link.base import DIRECTIONS, CoreSpec, Direction
from harness.link.window import WINDOW_NS, LossTally, Window
from punktfunk.errors import HarnessError

Rows = dict[str, Integers]
"""Columns of the pump's log: index, direction, copy, verdict, bytes, in_ns, due_ns, out_ns."""

LOST, QUEUE_DROPPED = 1, 2
_TOLERANCE_NS: Final = 10_000
"""Rounding of both models, with room: a fifth of a delay is more from 50 us on."""
_MOST_PENDING: Final = 4_000_000
"""Packets under way at a time whose rows are kept: as many as the log itself holds."""


class WindowCounter:
    """Counts the windows of both directions.

    ``asked`` came into force between the two moments of ``applied`` (ns); windows begin at ``begin_ns``.
    """

    def __init__(
        self,
        asked: Mapping[str, CoreSpec],
        applied: Mapping[str, tuple[int, int]],
        begin_ns: int,
    ) -> None:
        self._lanes = {way: _Lane(way, Asked(asked[way]), applied[way], begin_ns) for way in DIRECTIONS}

    def add(self, rows: Rows) -> None:
        """Take rows of the log, in any order."""
        for number, direction in enumerate(DIRECTIONS):
            mine = rows["direction"] == number
            self._lanes[direction].add({name: column[mine] for name, column in rows.items()})

    def take(self, offered: Mapping[str, int], now_ns: int, *, final: bool = False) -> list[Window]:
        """Return the windows that are complete now; with ``final`` also those of which only a part is known.

        ``offered`` is how many packets had come in by ``now_ns``.
        """
        return [
            window
            for direction, lane in self._lanes.items()
            for window in lane.take(offered[direction], now_ns, final=final)
        ]


@dataclass(slots=True)
class _Course:
    """The bottleneck's and the line's state, if the spec came into force at one of its two possible moments."""

    origin_ns: int
    free_ns: float = 0.0
    """When the bottleneck had sent what is counted."""
    least_ns: float = 0.0
    most_ns: float = 0.0
    """When the last of it arrives, between these: a link that keeps the order lets nothing arrive before that."""


class _Lane:
    """One direction."""

    def __init__(self, direction: Direction, asked: Asked, applied: tuple[int, int], begin_ns: int) -> None:
        self._direction = direction
        self._asked = asked
        self._courses = [
            _Course(at_ns) for at_ns in (applied[:1] if asked.steady else dict.fromkeys(applied))
        ]
        self._begin_ns = begin_ns
        self._pending: list[Rows] = []
        self._next = 0
        """The first packet that is not counted yet."""
        self._parts: dict[int, list[_Part]] = {}
        self._closed = 0
        """The first window that is not closed yet."""
        self._newest_ns = 0
        """When the last packet that is counted came in."""
        self._last_due_ns = 0
        """The latest departure of those that are counted."""

    def add(self, rows: Rows) -> None:
        first = rows["copy"] == 0
        self._pending.append({name: column[first] for name, column in rows.items()})
        if sum(len(part["index"]) for part in self._pending) > _MOST_PENDING:
            raise HarnessError(
                f"more than {_MOST_PENDING} packets {self._direction} are under way, or rows of the log are missing",
                "shorten the queue or the delay",
            )

    def take(self, offered: int, now_ns: int, *, final: bool) -> list[Window]:
        self._count()
        reached_ns = now_ns if self._next >= offered or final else self._newest_ns
        until = max(self._closed, (reached_ns - self._begin_ns) // WINDOW_NS)
        if final:
            until = max([until, *(number + 1 for number in self._parts)])
        found = [
            self._window(number, self._parts.pop(number))
            for number in range(self._closed, until)
            if number in self._parts
        ]
        self._closed = until
        return found

    def _count(self) -> None:
        """Count the packets up to the first one that is still under way."""
        if not self._pending:
            return
        rows = {name: np.concatenate([part[name] for part in self._pending]) for name in self._pending[0]}
        order = np.argsort(rows["index"], kind="stable")
        rows = {name: column[order] for name, column in rows.items()}
        behind = rows["index"] - np.arange(len(order))
        whole = int(np.searchsorted(behind, self._next, side="right"))
        self._pending = [{name: column[whole:] for name, column in rows.items()}]
        if not whole:
            return
        rows = {name: column[:whole] for name, column in rows.items()}
        self._next += whole
        self._newest_ns = int(rows["in_ns"][-1])
        judged = _judged(self._asked, self._courses, rows, self._last_due_ns)
        self._last_due_ns = max(self._last_due_ns, int(rows["due_ns"].max()))
        windows = (rows["in_ns"] - self._begin_ns) // WINDOW_NS
        for number in np.unique(windows[windows >= self._closed]):
            mine = windows == number
            self._parts.setdefault(int(number), []).append(judged.of(mine))

    def _window(self, number: int, parts: list[_Part]) -> Window:
        whole = _joined(parts)
        asked, found = whole.want_ns[whole.off] / 1e6, whole.own_ns[whole.off] / 1e6
        late = whole.late_ns[whole.late_ns >= 0] / 1e6
        return Window(
            direction=self._direction,
            from_ms=number * WINDOW_NS / 1e6,
            to_ms=(number + 1) * WINDOW_NS / 1e6,
            packets=len(whole.state),
            loss=self._losses(whole),
            delays=int(whole.exact.sum()),
            delays_off=int(whole.off.sum()),
            asked_ms=float(np.median(asked)) if asked.size else None,
            found_ms=float(np.median(found)) if found.size else None,
            jitters=int(whole.free.sum()),
            jitters_below=int(whole.below.sum()),
            jitters_held=float(self._asked.each(whole.state, "reorder_p").max(initial=0.0)),
            late_p99_ms=float(np.quantile(late, 0.99, method="higher")) if late.size else None,
            late_max_ms=float(late.max()) if late.size else None,
        )

    def _losses(self, whole: _Part) -> list[LossTally]:
        """Count by loss; packets of which it is not certain which applied are left out."""
        group, lost = whole.loss[whole.loss >= 0], whole.lost[whole.loss >= 0]
        found = []
        for number in np.unique(group):
            mine = group == number
            found.append(
                LossTally(
                    asked=self._asked.losses[int(number)],
                    packets=int(mine.sum()),
                    lost=int(lost[mine].sum()),
                    runs=int(mine[0]) + int((mine[1:] & ~mine[:-1]).sum()),
                )
            )
        return found


@dataclass(slots=True)
class _Part:
    """Packets in order of arrival, with what is known of each."""

    state: Integers
    loss: Integers
    """Which loss applied; -1 where that is not certain."""
    lost: NDArray[np.bool_]
    own_ns: Integers
    """The delay that the pump set out to keep; of what did not leave, nonsense."""
    want_ns: Floats
    late_ns: Integers
    """How late it left; -1 for what did not."""
    exact: NDArray[np.bool_]
    off: NDArray[np.bool_]
    free: NDArray[np.bool_]
    below: NDArray[np.bool_]

    def of(self, mine: NDArray[np.bool_]) -> _Part:
        return _Part(*(getattr(self, name)[mine] for name in _Part.__slots__))


def _joined(parts: list[_Part]) -> _Part:
    return _Part(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Part.__slots__))


def _judged(asked: Asked, courses: list[_Course], rows: Rows, last_due_ns: int) -> _Part:
    """Compare the delay of each packet with what was asked for at its time."""
    in_ns, due_ns = rows["in_ns"], rows["due_ns"]
    numbers = [asked.number_at(in_ns - course.origin_ns) for course in courses]
    state = numbers[0]
    sure = np.all([other == state for other in numbers], axis=0)
    losses = [asked.loss_of(number) for number in numbers]
    passed = ~np.isin(rows["verdict"], (LOST, QUEUE_DROPPED))
    left = passed & (due_ns >= 0)
    jitter = asked.each(state, "jitter_us") > 0
    # A copy that is still under way has had its turn at the bottleneck, and may hold up those behind it.
    knowable = (asked.each(state, "duplicate") == 0) | ~(jitter | (asked.each(state, "limited") > 0))
    exact = left & sure & ~jitter & knowable
    base = np.zeros(len(in_ns))
    bounds: list[tuple[Floats, Floats]] = []
    held = asked.each(state, "reorder_extra_us") * 1e3 * (asked.each(state, "reorder_p") > 0)
    for course, number in zip(courses, numbers, strict=True):
        sent = in_ns.astype(float)
        sent[passed] = asked.passed_ns(in_ns[passed], rows["bytes"][passed], course.free_ns, course.origin_ns)
        base = sent + asked.each(number, "delay_us") * 1e3
        ordered = ~(asked.each(number, "jitter_reorder") > 0)
        # Where chance decides what a packet holds up, it is what it did; of one held back, what it would have.
        least = _held_up(np.where(jitter, due_ns - held, base), passed, course.least_ns)
        most = _held_up(np.where(jitter, due_ns, base), passed, course.most_ns)
        bounds.append(
            (
                np.where(ordered, np.maximum(least[:-1], base), base),
                np.where(ordered, np.maximum(most[:-1], base), base),
            )
        )
        course.least_ns, course.most_ns = float(least[-1]), float(most[-1])
        if passed.any():
            course.free_ns = float(sent[passed][-1])
    # A backlog remembers when the rate changed: what is between the two possible moments fits, too.
    low = np.min([bound[0] for bound in bounds], axis=0) - _TOLERANCE_NS
    want = np.max([bound[1] for bound in bounds], axis=0)
    fits = np.zeros(len(in_ns), dtype=bool)
    for extra in (0.0, held):
        fits |= (due_ns >= low + extra) & (due_ns <= want + extra + _TOLERANCE_NS)
    before = _held_up(due_ns.astype(float), left, last_due_ns)[:-1]
    unordered = asked.each(state, "jitter_reorder") > 0
    median = base + asked.each(state, "jitter_median_us") * 1e3
    # Chosen by what came before and never by its own draw; one that is held up to here alone leaves at most at the
    # median if, and only if, its own jitter is at most the median.
    free = left & sure & jitter & knowable & (unordered | (before <= median))
    return _Part(
        state=state,
        loss=np.where(np.all([other == losses[0] for other in losses], axis=0), losses[0], -1),
        lost=rows["verdict"] == LOST,
        own_ns=due_ns - in_ns,
        want_ns=want - in_ns,
        late_ns=np.where(rows["out_ns"] >= 0, rows["out_ns"] - due_ns, -1),
        exact=exact,
        off=exact & ~fits,
        free=free,
        below=free & (due_ns <= median),
    )


def _held_up(arrivals: Floats, which: NDArray[np.bool_], before: float) -> Floats:
    """Return the latest arrival before each packet, and at the end the one after all, of ``which`` and ``before``."""
    return np.maximum.accumulate(np.concatenate([[before], np.where(which, arrivals, 0.0)]))
