"""Judge what a probe found against what the link should do. No I/O: arrays in, findings out.

Every bound is the quantile of a distribution at :data:`ALPHA`, so how far a figure may stray follows from
how many packets were looked at: a link as asked is refused once in about a hundred thousand runs, and a
probe too short to tell says so in its finding (``power``) instead of passing for a proof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc

from harness.link.expected import Expected

ALPHA = 1e-6
"""Probability, per finding, of refusing a link that is as asked (two-sided)."""

UNASKED = 1e-3
"""Loss and reordering that the machine itself may add; the limit that is set for the tun link's own loss."""

_RATE_WINDOWS = 4
RATE_TOLERANCE = 0.01
"""Asked rates are met within 1 %."""

DELAY_TOLERANCE = 0.005
"""Share of a delay by which the clock that plays it may be off."""

TIMER_SLACK_US = 50.0
"""The default timer slack of a task (prctl(2), PR_SET_TIMERSLACK)."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Finding:
    """One property of a link: what was asked, what was found, and whether they agree."""

    name: str
    ok: bool
    asked: str
    found: str
    power: float | None = None
    """Probability of noticing half of what was asked; None where the property has no such measure."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What arrived of ``sent`` probe packets numbered from 0; arrays in order of arrival, times in ns."""

    sent: int
    segments: int
    size_bytes: int
    interval_ns: int
    index: Integers
    sent_ns: Integers
    received_ns: Integers
    corrupt: int = 0
    unidentified: int = 0
    """Of the corrupt, those whose number was hit: they arrived, but are in none of the arrays."""

    @property
    def arrived(self) -> NDArray[np.bool_]:
        """Whether each of the sent packets arrived at least once."""
        seen = np.zeros(self.sent, dtype=bool)
        seen[self.index] = True
        return seen

    @property
    def delay_us(self) -> NDArray[np.float64]:
        """One-way delay of each arrival."""
        return (self.received_ns - self.sent_ns) / 1e3


def binomial_bounds(n: int, p: float, alpha: float = ALPHA) -> tuple[float, float]:
    """Return the least and greatest count that Binomial(n, p) does not reach beyond with more than ``alpha``."""
    if n <= 0 or p <= 0:
        return 0.0, 0.0
    if p >= 1:
        return n, n
    # The normal quantile to start from, then the exact distribution function decides.
    mean, sd = n * p, math.sqrt(n * p * (1 - p))
    low = max(0, math.floor(mean - 5.5 * sd) - 5)
    while low < mean and bdtr(low, n, p) < alpha / 2:
        low += 1
    high = min(n, math.ceil(mean + 5.5 * sd + 15))
    while high > mean and bdtrc(high - 1, n, p) < alpha / 2:
        high -= 1
    return float(low), float(high)


def judge_loss(want: Expected, got: Sample) -> list[Finding]:
    """Judge how many were lost, in which bursts or at which period, and whether trains lost single packets."""
    lost = ~got.arrived
    count = max(0, int(lost.sum()) - got.unidentified)
    findings = []
    if want.every is not None:
        places = np.flatnonzero(lost)
        off = int((np.diff(places) != want.every).sum()) if len(places) else 0
        ok = abs(count - got.sent / want.every) <= 1 and off == 0
        findings.append(
            Finding(
                "loss", ok, f"1 of every {want.every}", f"{count} of {got.sent}, {off} at other distances"
            )
        )
    else:
        # A count of bursty losses varies like a binomial count of fewer packets.
        n = round(got.sent / want.loss_inflation)
        low, high = binomial_bounds(n, want.loss)
        low, high = low * want.loss_inflation, high * want.loss_inflation
        high += binomial_bounds(got.sent, UNASKED)[1] if want.loss == 0 else 0
        findings.append(
            Finding(
                "loss",
                low <= count <= high,
                f"{want.loss:.3%} ({low:.0f} to {high:.0f} of {got.sent})",
                f"{count / got.sent:.3%} ({count})",
                power=_power(n, want.loss) if want.loss > 0 else None,
            )
        )
    if want.burst_end is not None and count:
        ends = int((lost[:-1] & ~lost[1:]).sum()) + int(lost[-1])
        low, high = binomial_bounds(count, want.burst_end)
        findings.append(
            Finding(
                "burst length",
                low <= ends <= high,
                f"{1 / want.burst_end:.2f} packets ({low:.0f} to {high:.0f} bursts)",
                f"{count / max(1, ends):.2f} packets ({ends} bursts)",
            )
        )
    findings += _judge_trains(want, got, lost)
    return findings


def _judge_trains(want: Expected, got: Sample, lost: NDArray[np.bool_]) -> list[Finding]:
    """A link that decides once per GSO train loses trains whole: nearly none is lost in part."""
    share = want.partial_train(got.segments)
    trains = got.sent // got.segments
    if got.segments < 2 or share * trains < 20:
        return []
    per_train = lost[: trains * got.segments].reshape(trains, got.segments).sum(axis=1)
    partial = int(((per_train > 0) & (per_train < got.segments)).sum())
    # Half the share: trains of a bursty link are not independent of each other, and whole-train loss gives
    # ~0.
    low, _ = binomial_bounds(trains, share / 2)
    return [
        Finding(
            "decisions inside segmentation trains",
            partial >= low,
            f"at least {low:.0f} of {trains} trains lost in part",
            f"{partial}" + ("" if partial >= low else " (GSO left on: trains are lost whole)"),
        )
    ]


def judge_copies(want: Expected, got: Sample) -> list[Finding]:
    """Judge duplicates, corruption that reaches the application, and order."""
    distinct = int(got.arrived.sum())
    findings = [
        _count("duplicates", len(got.index) - distinct, distinct, want.duplicate),
        _count("corrupted payloads", got.corrupt, len(got.index) + got.unidentified, want.payload_corrupt),
    ]
    _, first = np.unique(got.index, return_index=True)
    order = got.index[np.sort(first)]
    late = int((order < np.maximum.accumulate(order)).sum())
    if want.reorder and want.reorder_extra_us * 1e3 > 2 * got.interval_ns:
        findings.append(_count("reordered", late, distinct, want.reorder))
    elif not want.reorder and not want.jitter_reorder:
        # A sender that the scheduler moves to another core overtakes itself.
        most = binomial_bounds(distinct, UNASKED)[1]
        findings.append(
            Finding("reordered", late <= most, f"none (at most {most:.0f} of {distinct})", f"{late}")
        )
    return findings


def _count(name: str, count: int, n: int, p: float) -> Finding:
    low, high = binomial_bounds(n, p)
    return Finding(
        name,
        low <= count <= high,
        f"{p:.3%} ({low:.0f} to {high:.0f} of {n})",
        f"{count}",
        power=_power(n, p) if p > 0 else None,
    )


def judge_delay(
    want: Expected, base: Sample, got: Sample, share: float = 0.5, wake_us: float = TIMER_SLACK_US
) -> list[Finding]:
    """Judge delay and the spread around it against ``base``, the same path with an ideal link.

    Judged is the quantile ``share`` of the delays, the median or, on a machine that stalls, one of the packets that
    came well through. It must lie between what was asked and that plus nearly the greatest delay that the ideal path
    showed and ``wake_us``, which a sleeping processor takes to wake up for a departure. Its own uncertainty is its
    order-statistic interval.
    """
    low, high = _quantile_interval(got.delay_us, share)
    base_us = base.delay_us
    own, own_most = float(np.median(base_us)), float(np.quantile(base_us, 0.95))
    asked = want.delay_us + want.jitter_quantile(share)
    # A bottleneck holds a packet for its own length; a token bucket that has been idle lets it pass at once.
    most = asked + want.service_us(got.size_bytes) + abs(asked) * DELAY_TOLERANCE + own_most + wake_us
    name = "median" if share == 0.5 else f"{share:.0%} quantile"
    findings = [
        Finding(
            "delay",
            high >= asked and low <= most,
            f"{asked / 1e3:.3f} ms and the path's own {own / 1e3:.3f} to {own_most / 1e3:.3f} ms",
            f"{name} {low / 1e3:.3f} to {high / 1e3:.3f} ms",
        )
    ]
    if want.jitter_us and want.jitter_distribution in ("uniform", "normal"):
        findings.append(_judge_jitter(want, own_most - own, got.delay_us))
    return findings


def _judge_jitter(want: Expected, noise_us: float, delay_us: NDArray[np.float64]) -> Finding:
    n = len(delay_us)
    middle = float(np.median(delay_us))
    width = 0.6745 * want.jitter_us if want.jitter_distribution == "normal" else want.jitter_us / 2
    within = int((np.abs(delay_us - middle) <= width).sum())
    # The machine's own noise and the median's error blur the edge by this much either way.
    low_median, high_median = _quantile_interval(delay_us, 0.5)
    blur = noise_us + (high_median - low_median) / 2
    low, _ = binomial_bounds(n, want.jitter_share_within(max(0.0, width - blur)))
    _, high = binomial_bounds(n, want.jitter_share_within(width + blur))
    return Finding(
        "jitter",
        low <= within <= high,
        f"{low:.0f} to {high:.0f} of {n} within {width / 1e3:.3f} ms of the median",
        f"{within}",
    )


def judge_rate(want: Expected, got: Sample) -> Finding:
    """Judge the rate at which an overloaded bottleneck delivers, overhead included."""
    assert want.rate_kbps is not None
    # The median over windows: a machine that stalls for a while changes few of them.
    edges = np.linspace(0, len(got.index) - 1, _RATE_WINDOWS + 1).astype(int)
    span_ns = np.diff(got.received_ns[edges]) if len(got.index) > 4 * _RATE_WINDOWS else np.array([0])
    bits = np.diff(edges) * (got.size_bytes + want.overhead_bytes) * 8
    kbps = float(np.median(bits / span_ns * 1e6)) if span_ns.min() > 0 else 0.0
    # What the bottleneck passes may still be dropped by a checksum, which thins the arrivals.
    asked = round(want.rate_kbps * (1 - want.checksum_drop))
    # Two packets more or less over all windows, and the tolerance that is asked of rates.
    slack = RATE_TOLERANCE + 2 / max(1, len(got.index))
    return Finding(
        "rate",
        abs(kbps / asked - 1) <= slack,
        f"{asked} kbit/s within {slack:.1%}",
        f"{kbps:.0f} kbit/s over {span_ns.sum() / 1e6:.0f} ms",
    )


def _quantile_interval(values: NDArray[np.float64], share: float) -> tuple[float, float]:
    """Return the order-statistic confidence interval of a quantile at ``1 - ALPHA``."""
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    low, high = binomial_bounds(n, share)
    ordered = np.sort(values)
    return float(ordered[max(0, int(low) - 1)]), float(ordered[min(n - 1, int(high))])


def _power(n: int, p: float) -> float:
    """Return the probability that half of ``p`` is noticed with ``n`` packets."""
    low, _ = binomial_bounds(n, p)
    return float(bdtr(low - 1, n, p / 2)) if low >= 1 else 0.0


def packets_for_half(p: float, power: float = 0.999) -> int:
    """Return how many packets show, with ``power``, that only half of loss ``p`` is there."""
    n = math.ceil(64 / p)
    while _power(n, p) < power:
        n = math.ceil(n * 1.15)
    return n
