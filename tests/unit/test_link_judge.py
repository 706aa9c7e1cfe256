"""The judge of a probed link: passes what is as asked, refuses what is not, over simulated probes of known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.link.expected import Expected, expected
from harness.link.judge import (
    Finding,
    Sample,
    binomial_bounds,
    judge_copies,
    judge_delay,
    judge_loss,
    judge_rate,
    packets_for_half,
)

SEEDS = range(40)


def probe(
    lost: np.ndarray, *, segments: int = 10, delay_us: np.ndarray | float = 100.0, interval_ns: int = 250_000
) -> Sample:
    """What arrives of a probe whose packet i is lost where ``lost[i]``."""
    index = np.flatnonzero(~lost)
    sent_ns = (np.arange(len(lost)) // segments) * interval_ns
    delay = np.broadcast_to(np.asarray(delay_us, dtype=float), lost.shape)
    received_ns = sent_ns + np.round(delay * 1e3).astype(np.int64)
    return Sample(len(lost), segments, 64, interval_ns, index, sent_ns[index], received_ns[index])


def gilbert_elliott(rng: np.random.Generator, n: int, p: float, r: float) -> np.ndarray:
    bad = rng.random() < p / (p + r)
    out = np.empty(n, dtype=bool)
    for i, u in enumerate(rng.random(n)):
        bad = u >= r if bad else u < p
        out[i] = bad
    return out


def refused(findings: list[Finding]) -> list[str]:
    return [one.name for one in findings if not one.ok]


@pytest.mark.parametrize("p", [0.005, 0.02, 0.1, 0.3])
def test_a_link_as_asked_passes_and_one_with_half_the_loss_does_not(p: float) -> None:
    want = expected({"loss": {"kind": "independent", "p": p}})
    n = packets_for_half(p) // 10 * 10 + 10
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        assert refused(judge_loss(want, probe(rng.random(n) < p))) == [], f"seed {seed}"
        assert "loss" in refused(judge_loss(want, probe(rng.random(n) < p / 2))), f"seed {seed}"


def test_loss_that_was_not_asked_for_is_refused() -> None:
    want = expected({})
    rng = np.random.default_rng(5)
    assert refused(judge_loss(want, probe(np.zeros(2000, dtype=bool)))) == []
    assert refused(judge_loss(want, probe(rng.random(2000) < 0.02))) == ["loss"]


def test_trains_that_are_lost_whole_are_refused_though_the_rate_is_right() -> None:
    want = expected({"loss": {"kind": "independent", "p": 0.05}})
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        whole = np.repeat(rng.random(2000) < 0.05, 10)
        found = judge_loss(want, probe(whole))
        assert "decisions inside segmentation trains" in refused(found), f"seed {seed}"
        assert "GSO left on" in next(one for one in found if "trains" in one.name).found


def test_bursty_loss_as_asked_passes_and_another_burst_length_does_not() -> None:
    want = expected({"loss": {"kind": "gilbert_elliott", "p": 0.01, "r": 0.25, "bad": 1.0, "good": 0.0}})
    assert want.loss == pytest.approx(0.01 / 0.26)
    for seed in range(15):
        rng = np.random.default_rng(seed)
        assert refused(judge_loss(want, probe(gilbert_elliott(rng, 40_000, 0.01, 0.25)))) == [], (
            f"seed {seed}"
        )
        # the same average in bursts of 10 instead of 4
        other = gilbert_elliott(rng, 40_000, 0.004, 0.1)
        assert "burst length" in refused(judge_loss(want, probe(other))), f"seed {seed}"


def test_the_spread_of_bursty_counts_is_what_the_chain_predicts() -> None:
    want = expected({"loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.3, "bad": 1.0, "good": 0.0}})
    rng = np.random.default_rng(7)
    n = 3000
    counts = np.array([gilbert_elliott(rng, n, 0.02, 0.3).sum() for _ in range(400)])
    predicted = n * want.loss * (1 - want.loss) * want.loss_inflation
    assert counts.var() == pytest.approx(predicted, rel=0.25)
    assert counts.mean() == pytest.approx(n * want.loss, rel=0.05)


def test_periodic_loss_must_keep_its_distance() -> None:
    want = expected({"loss": {"kind": "periodic", "every": 8, "offset": 0}})
    lost = np.arange(2000) % 8 == 3  # another packet may have come first
    assert refused(judge_loss(want, probe(lost))) == []
    lost[8] = True
    assert refused(judge_loss(want, probe(lost))) == ["loss"]


def test_a_wrong_delay_is_refused_and_the_paths_own_delay_is_not() -> None:
    none = np.zeros(300, dtype=bool)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        own = rng.exponential(60, 300) + 30
        base = probe(none, segments=1, delay_us=own)
        want = expected({"delay_us": 20_000})
        again = rng.exponential(60, 300) + 30
        assert refused(judge_delay(want, base, probe(none, segments=1, delay_us=20_000 + again))) == []
        for wrong in (10_000, 19_500, 21_500):
            got = probe(none, segments=1, delay_us=wrong + again)
            assert refused(judge_delay(want, base, got)) == ["delay"], (seed, wrong)


def test_a_machine_that_stalls_half_of_the_time_is_judged_by_the_packets_that_came_through() -> None:
    none = np.zeros(300, dtype=bool)
    want = expected({"delay_us": 20_000})
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        base = probe(none, segments=1, delay_us=rng.exponential(60, 300) + 30)
        stalls = 20_000 + rng.exponential(60, 300) + 30 + rng.uniform(0, 9000, 300) * (rng.random(300) < 0.75)
        assert refused(judge_delay(want, base, probe(none, segments=1, delay_us=stalls))) == ["delay"]
        assert refused(judge_delay(want, base, probe(none, segments=1, delay_us=stalls), 0.1)) == []
        wrong = probe(none, segments=1, delay_us=stalls + 3000)
        assert refused(judge_delay(want, base, wrong, 0.1)) == ["delay"], f"seed {seed}"


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_jitter_of_half_the_spread_is_refused(distribution: str) -> None:
    want = expected({"delay_us": 20_000, "jitter_us": 2000, "jitter_distribution": distribution})
    none = np.zeros(300, dtype=bool)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        noise = rng.exponential(20, 300) + 30
        base = probe(none, segments=1, delay_us=noise)
        unit = rng.uniform(-1, 1, 300) if distribution == "uniform" else rng.normal(0, 1, 300)
        assert refused(judge_delay(want, base, probe(none, delay_us=20_000 + 2000 * unit + noise))) == []
        half = judge_delay(want, base, probe(none, delay_us=20_000 + 900 * unit + noise))
        assert refused(half) == ["jitter"], f"seed {seed}"


def test_duplicates_and_corruption_are_counted_against_their_probability() -> None:
    want = expected({"duplicate": 0.02, "corrupt": 0.03, "corrupt_mode": "payload"})
    assert want.loss == 0
    n = 10_000
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        copies = 1 + (rng.random(n) < 0.02)
        index = np.repeat(np.arange(n), copies)
        zero = np.zeros(len(index), dtype=np.int64)
        got = Sample(n, 10, 64, 250_000, index, zero, zero, corrupt=int(rng.binomial(len(index), 0.03)))
        assert refused(judge_copies(want, got)) == [], f"seed {seed}"
        half = replace(got, corrupt=int(rng.binomial(len(index), 0.015)))
        assert refused(judge_copies(want, half)) == ["corrupted payloads"], f"seed {seed}"


def test_reordering_is_asked_for_or_absent() -> None:
    order = np.arange(1000)
    zero = np.zeros(1000, dtype=np.int64)
    swapped = order.copy().reshape(500, 2)
    swapped[::5] = swapped[::5, ::-1]
    swapped = swapped.reshape(1000)
    assert refused(judge_copies(expected({}), Sample(1000, 10, 64, 1, order, zero, zero))) == []
    assert refused(judge_copies(expected({}), Sample(1000, 10, 64, 1, swapped, zero, zero))) == ["reordered"]
    want = expected({"reorder": {"p": 0.1, "extra_us": 2000}})
    assert refused(judge_copies(want, Sample(1000, 10, 64, 250_000, order, zero, zero))) == ["reordered"]


@pytest.mark.parametrize(("kbps", "ok"), [(10_000, True), (9_850, False), (10_200, False), (5_000, False)])
def test_a_rate_is_met_within_a_percent(kbps: int, ok: bool) -> None:
    want = expected({"rate_kbps": 10_000})
    times = (np.arange(600) * (1228 * 8 / kbps * 1e6)).astype(np.int64)
    got = Sample(900, 1, 1200, 1, np.arange(600), times, times)
    assert judge_rate(want, got).ok is ok


@pytest.mark.parametrize(("n", "p"), [(100, 0.5), (2000, 0.01), (50_000, 0.2), (10, 0.9)])
def test_bounds_hold_all_but_the_stated_probability(n: int, p: float) -> None:
    from scipy.stats import binom

    low, high = binomial_bounds(n, p)
    assert binom.cdf(low - 1, n, p) <= 5e-7
    assert binom.sf(high, n, p) <= 5e-7
    assert low == 0 or binom.cdf(low, n, p) >= 5e-7
    assert high == n or binom.sf(high - 1, n, p) >= 5e-7


def test_checksum_corruption_is_loss_to_the_receiver() -> None:
    want: Expected = expected({"loss": {"kind": "independent", "p": 0.1}, "corrupt": 0.05})
    assert want.loss == pytest.approx(1 - 0.9 * 0.95)
    assert want.payload_corrupt == 0
