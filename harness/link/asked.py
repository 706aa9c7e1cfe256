"""What a spec asks for at each moment of a session, and when a bottleneck as asked would have passed each packet.

Written against the meaning of the spec (``docs/reference/scenario.md``) and not against the core's model, which it is
there to hold to account. Times are ns since the spec came into force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.link.base import CoreSpec, with_point

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_UNLIMITED_BITS_PER_NS: Final = 1e3
"""Rate of a link without a bottleneck: 1 Tbit/s, 10 ns for a packet."""
_OUTAGE_BITS_PER_NS: Final = 1e-15
"""Rate of an outage: a bit in eleven days, so that time can be read from work also there."""
_AHEAD_NS: Final = 2_000_000_000
_MOST_AHEAD_NS: Final = 600_000_000_000
_MOST_KNOTS: Final = 200_000
"""Changes of the rate that are followed for one batch of packets."""
NO_LOSS: Final[dict[str, Any]] = {"kind": "none"}


@dataclass(frozen=True, slots=True)
class State:
    """What holds between two moments."""

    loss: dict[str, Any]
    delay_us: float
    jitter_us: float
    jitter_distribution: str
    jitter_reorder: bool
    reorder_p: float
    reorder_extra_us: float
    duplicate: float
    corrupt: float
    rate_kbps: int | None
    overhead_bytes: int

    @property
    def jitter_median_us(self) -> float:
        """Return the median of the jitter."""
        # Lomax of shape 3 and mean 1: 2 (2^(1/3) - 1).
        return 2 * (2 ** (1 / 3) - 1) * self.jitter_us if self.jitter_distribution == "pareto" else 0.0

    @property
    def limited(self) -> bool:
        """Return whether there is a bottleneck."""
        return self.rate_kbps is not None

    @property
    def bits_per_ns(self) -> float:
        """Return the rate of the bottleneck."""
        if self.rate_kbps is None:
            return _UNLIMITED_BITS_PER_NS
        return self.rate_kbps * 1e-6 or _OUTAGE_BITS_PER_NS


class Asked:
    """A spec over time: its trace, repeated or not, over its timed changes."""

    def __init__(self, spec: CoreSpec) -> None:
        base = {key: value for key, value in spec.items() if key not in ("trace", "trace_repeat", "changes")}
        self._steps: list[CoreSpec] = [base]
        changes = spec.get("changes") or []
        for change in changes:
            self._steps.append(self._steps[-1] | change["set"])
        self._step_ns = _ns([change["at_ms"] for change in changes])
        trace = spec.get("trace") or []
        self._points: list[Mapping[str, Any]] = [{}]
        for point in trace:
            known = {key: value for key, value in point.items() if value is not None}
            self._points.append({**self._points[-1], **known})
        self._point_ns = _ns([point["at_ms"] for point in trace])
        self._period_ns = (
            int(2 * self._point_ns[-1] - self._point_ns[-2]) if trace and spec.get("trace_repeat") else None
        )
        self._states: dict[int, State] = {}
        self.losses: list[dict[str, Any]] = []
        """The losses of the states that were met, by the number that :meth:`loss_of` gives them."""

    @property
    def steady(self) -> bool:
        """Return whether the same holds for ever."""
        return len(self._steps) == 1 and len(self._points) == 1

    def number_at(self, at_ns: Integers) -> Integers:
        """Return the number of the state at each time; before the start it is that of the start."""
        at_ns = np.maximum(at_ns, 0)
        phase = at_ns if self._period_ns is None else at_ns % self._period_ns
        point = np.searchsorted(self._point_ns, phase, side="right")
        return np.searchsorted(self._step_ns, at_ns, side="right") * len(self._points) + point

    def state(self, number: int) -> State:
        """Return the state of that number."""
        if number not in self._states:
            step, point = divmod(number, len(self._points))
            self._states[number] = _state(with_point(self._steps[step], self._points[point]))
        return self._states[number]

    def each(self, numbers: Integers, of: str) -> Floats:
        """Return an attribute of the state of each number, as numbers."""
        known, places = np.unique(numbers, return_inverse=True)
        return np.array([float(getattr(self.state(int(n)), of)) for n in known])[places]

    def loss_of(self, numbers: Integers) -> Integers:
        """Return the place in ``losses`` of what each state says of loss; equal losses have one place."""
        known, places = np.unique(numbers, return_inverse=True)
        found = []
        for number in known:
            loss = self.state(int(number)).loss
            if loss not in self.losses:
                self.losses.append(loss)
            found.append(self.losses.index(loss))
        return np.array(found, dtype=np.int64)[places]

    def passed_ns(self, in_ns: Integers, bytes_: Integers, free_ns: float, origin_ns: int) -> Floats:
        """Return when a bottleneck as asked has sent each packet, which arrive in this order.

        ``bytes_`` are UDP payloads, ``free_ns`` is when it had sent the packet before; all times on one clock, on
        which the spec came into force at ``origin_ns``.
        """
        if in_ns.size == 0:
            return np.zeros(0)
        start = int(min(in_ns[0], free_ns))
        numbers = self.number_at(in_ns - origin_ns)
        bits = (bytes_ + self.each(numbers, "overhead_bytes")) * 8
        arrived, begun = (in_ns - start).astype(float), max(0.0, free_ns - start)
        ahead = _AHEAD_NS
        while True:
            length_ns = int(max(arrived[-1], begun)) + ahead
            knots, slopes = self._rate(start - origin_ns, length_ns)
            work = np.concatenate([[0.0], np.cumsum(np.diff(knots) * slopes[:-1])])
            done = np.cumsum(bits)
            offered = _work(np.concatenate([[begun], arrived]), knots, work, slopes)
            # Each packet is through its own bits after the later of its arrival and the one before.
            level = np.maximum.accumulate(offered - np.concatenate([[0.0, 0.0], done[:-1]]))
            finished = level[1:] + done
            enough = finished[-1] <= work[-1] + (length_ns - knots[-1]) * slopes[-1]
            if self.steady or enough or ahead >= _MOST_AHEAD_NS or len(knots) >= _MOST_KNOTS:
                break
            ahead *= 4
        place = np.clip(np.searchsorted(work, finished, side="left") - 1, 0, len(knots) - 1)
        passed: Floats = start + knots[place] + (finished - work[place]) / slopes[place]
        return passed

    def moments(self, from_ns: int, length_ns: int) -> Integers:
        """Return the moments of a time at which another state begins, counted from ``from_ns``; 0 is the first."""
        times = [np.array([0], dtype=np.int64), self._step_ns - from_ns]
        until = from_ns + length_ns
        if self._period_ns is None:
            times.append(self._point_ns - from_ns)
        else:
            first, last = max(0, from_ns // self._period_ns), max(0, until // self._period_ns)
            last = min(last, first + _MOST_KNOTS // len(self._point_ns) + 1)
            laps = np.arange(first, last + 1)[:, None] * self._period_ns
            times.append((laps + self._point_ns[None, :]).ravel() - from_ns)
        found = np.unique(np.concatenate(times))
        return found[(found >= 0) & (found <= length_ns)]

    def _rate(self, from_ns: int, length_ns: int) -> tuple[Floats, Floats]:
        """Return the moments at which the rate may change, counted from ``from_ns``, and the rate after each."""
        knots = self.moments(from_ns, length_ns)
        return knots.astype(float), self.each(self.number_at(knots + from_ns), "bits_per_ns")


def _work(at: Floats, knots: Floats, work: Floats, slopes: Floats) -> Floats:
    place = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 1)
    return work[place] + (at - knots[place]) * slopes[place]


def _ns(at_ms: list[float]) -> Integers:
    return np.round(np.array(at_ms, dtype=float) * 1e6).astype(np.int64)


def _state(spec: CoreSpec) -> State:
    reorder = spec.get("reorder") or {}
    return State(
        loss=dict(spec.get("loss") or NO_LOSS),
        delay_us=float(spec.get("delay_us") or 0.0),
        jitter_us=float(spec.get("jitter_us") or 0.0),
        jitter_distribution=str(spec.get("jitter_distribution", "uniform")),
        jitter_reorder=bool(spec.get("jitter_reorder")),
        reorder_p=float(reorder.get("p") or 0.0),
        reorder_extra_us=float(reorder.get("extra_us") or 0.0),
        duplicate=float(spec.get("duplicate") or 0.0),
        corrupt=float(spec.get("corrupt") or 0.0),
        rate_kbps=spec.get("rate_kbps"),
        overhead_bytes=int(spec.get("overhead_bytes", 28)),
    )
