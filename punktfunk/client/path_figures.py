"""What the frame records of a bandwidth probe say about a path: rates, delay, loss and its pattern. No I/O, no clock.

Rates are of whole IP packets. Delay is one way and relative: the least that was seen is 0, because a clock offset
between two machines is only known to half a round trip and does not matter for variation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from punktfunk.core._core import FLAG_PROBE
from punktfunk.native.messages import ProbeResult

Column = NDArray[np.int64]
Records = Mapping[str, NDArray[Any]]

_SKIPPED_SHARE = 0.3
"""Left out at the start of a burst: queues fill and token buckets empty before the path shows its rate."""
_FEWEST_ROWS = 10
MAX_PATTERN_PACKETS = 1 << 20
"""Packets that a pattern of loss is taken from, a byte or two each: ten times what the burst for it sends. A host can
claim 65,535 shards for each packet that it sends."""


@dataclass(frozen=True, slots=True)
class Burst:
    """One bandwidth probe as it was asked for and answered.

    ``began_ns`` is when it was asked for, CLOCK_MONOTONIC; the other counts are of the client while it ran.
    """

    target_kbps: int
    began_ns: int
    result: ProbeResult
    reordered: int = 0
    kernel_dropped: int = 0


@dataclass(frozen=True, slots=True)
class BurstFigures:
    """What one burst showed. ``delivered_kbps`` is the rate of arrival once the path was busy."""

    target_kbps: int
    offered_kbps: int
    delivered_kbps: int
    packets_sent: int
    packets_received: int
    packets_reordered: int
    kernel_dropped: int
    send_drops: int
    delay_ms: tuple[float, float, float] | None
    """p50, p99 and largest delay of a packet above the least of all bursts; None when nothing came."""

    @property
    def loss(self) -> float:
        """Share of packets that did not come."""
        lost = self.packets_sent - self.packets_received
        return max(lost, 0) / self.packets_sent if self.packets_sent else 0.0


@dataclass(frozen=True, slots=True)
class LossPattern:
    """How loss is spread over consecutive packets."""

    packets: int
    lost: int
    runs: int
    longest: int

    @property
    def share(self) -> float:
        """Share of packets lost."""
        return self.lost / self.packets if self.packets else 0.0

    @property
    def mean_run(self) -> float:
        """Packets lost in a row, on average; 1 when none was lost."""
        return self.lost / self.runs if self.runs else 1.0

    @property
    def bursty(self) -> bool:
        """Whether runs are clearly longer than independent loss of the same share makes them."""
        if self.runs < 5:
            return self.longest >= 4
        independent = 1 / (1 - min(self.share, 0.9))
        return bool(self.mean_run > independent * (1 + 3 / math.sqrt(self.runs)))


def assign(records: Records, bursts: Sequence[Burst]) -> Column:
    """Return for each row the number of its burst, -1 for video; rows that never came go with those before them."""
    began = np.array([burst.began_ns for burst in bursts], dtype=np.int64)
    pinned = records["flags"] >= 0
    probe = pinned & ((records["flags"] & FLAG_PROBE) != 0)
    number = np.searchsorted(began, records["recv_first_ns"], side="right") - 1
    number = np.where(probe, number, -1)
    # A row without a packet says nothing of itself; its predecessor's burst was going on.
    source = np.where(pinned, np.arange(pinned.size), -1)
    source = np.maximum.accumulate(source) if source.size else source
    filled: Column = np.where(source >= 0, number[np.maximum(source, 0)], -1)
    return filled


def figures(records: Records, bursts: Sequence[Burst], *, packet_bytes: int) -> list[BurstFigures]:
    """Return the figures of every burst; ``packet_bytes`` is the size of a full IP packet."""
    numbers = assign(records, bursts)
    came = (records["recv_first_ns"] >= 0) & (numbers >= 0)
    transit = records["recv_first_ns"] - records["pts_ns"]
    least = int(transit[came].min()) if came.any() else 0
    return [
        _figures(burst, records, came & (numbers == at), transit - least, packet_bytes)
        for at, burst in enumerate(bursts)
    ]


def _figures(
    burst: Burst, records: Records, rows: NDArray[np.bool_], delay: Column, packet_bytes: int
) -> BurstFigures:
    received = int(records["packets_received"][rows].sum())
    result = burst.result
    k = int((records["k"] + records["m"])[rows].sum())
    sent = result.packets_sent
    if sent is None:
        # Hosts before v0.2.0 do not say; units that came whole or in part say what they were made of.
        units = max(int(rows.sum()), 1)
        sent = max(received, round(k / units * result.access_units))
    ms = max(result.duration_ms, 1)
    spread = np.percentile(delay[rows] / 1e6, [50, 99, 100]) if rows.any() else None
    return BurstFigures(
        target_kbps=burst.target_kbps,
        offered_kbps=sent * packet_bytes * 8 // ms,
        delivered_kbps=_arrival_kbps(records, rows, packet_bytes) or received * packet_bytes * 8 // ms,
        packets_sent=sent,
        packets_received=received,
        packets_reordered=burst.reordered,
        kernel_dropped=burst.kernel_dropped,
        send_drops=result.send_drops or 0,
        delay_ms=None if spread is None else (float(spread[0]), float(spread[1]), float(spread[2])),
    )


def _arrival_kbps(records: Records, rows: NDArray[np.bool_], packet_bytes: int) -> int:
    """Return the rate at which the later part of a burst arrived, 0 where too little came to say."""
    at = records["recv_last_ns"][rows]
    if at.size < _FEWEST_ROWS:
        return 0
    order = np.argsort(at, kind="stable")
    at, packets = at[order], records["packets_received"][rows][order]
    late = at >= at[0] + (at[-1] - at[0]) * _SKIPPED_SHARE
    at, packets = at[late], packets[late]
    took = int(at[-1] - at[0])
    return int(packets[1:].sum() * packet_bytes * 8 * 1_000_000 // took) if took > 0 else 0


def carried_kbps(ramp: Sequence[BurstFigures]) -> int:
    """Return the most that a path carried of bursts that did not saturate it.

    Bursts of which more than half was lost count only where no other came: a path may lose that much at any rate.
    """
    whole = [burst.delivered_kbps for burst in ramp if burst.loss < 0.5]
    return max(whole or [burst.delivered_kbps for burst in ramp], default=0)


def loss_pattern(records: Records, bursts: Sequence[Burst], at: int) -> LossPattern:
    """Return how the packets of burst ``at`` were lost; exact where each of its units was a single packet.

    Looks at the first :data:`MAX_PATTERN_PACKETS` of them.
    """
    numbers = assign(records, bursts)
    rows = np.flatnonzero(numbers == at)
    pinned = records["flags"][rows] >= 0
    whole = np.where(pinned, records["k"][rows].astype(np.int64) + records["m"][rows], 1)
    kept = int(np.searchsorted(np.cumsum(whole), MAX_PATTERN_PACKETS, side="right"))
    rows, whole = rows[:kept], whole[:kept]
    missing = np.clip(whole - records["packets_received"][rows], 0, None)
    lost = np.zeros(int(whole.sum()), dtype=bool)
    starts = np.cumsum(whole) - whole
    for start, count in zip(starts[missing > 0], missing[missing > 0], strict=True):
        lost[start : start + count] = True
    edges = np.diff(np.concatenate(([0], lost.astype(np.int8), [0])))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return LossPattern(
        packets=lost.size,
        lost=int(lost.sum()),
        runs=lengths.size,
        longest=int(lengths.max()) if lengths.size else 0,
    )


def frame_loss(packets: int, spare: int, share: float, mean_run: float) -> float:
    """Return the probability that more than ``spare`` of ``packets`` consecutive packets are lost.

    The chain has two states, everything passes or nothing does, with the given share and mean run of loss
    (Gilbert); independent loss of share p is the one whose mean run is 1/(1 - p).
    """
    if share <= 0:
        return 0.0
    share = min(share, 0.99)
    leave = 1 / max(mean_run, 1 / (1 - share))
    enter = min(leave * share / (1 - share), 1.0)
    good, bad = np.zeros(spare + 1), np.zeros(spare + 1)
    good[0], bad[0] = 1 - share, share
    for _ in range(packets):
        # The state of a packet decides about it; what exceeds the spare packets leaves the arrays.
        bad = np.concatenate(([0.0], bad[:-1]))
        good, bad = good * (1 - enter) + bad * leave, good * enter + bad * (1 - leave)
    return float(min(max(1 - good.sum() - bad.sum(), 0.0), 1.0))
