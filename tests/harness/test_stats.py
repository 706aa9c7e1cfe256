"""Intervals cover what they should and tests flag what they should, autocorrelated noise included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.analysis import stats
from harness.analysis.stats import Gate, Verdict
from punktfunk.errors import UsageError

Floats = NDArray[np.float64]


def ar1(rng: np.random.Generator, n: int, rho: float) -> Floats:
    """Noise of unit variance whose neighbours correlate by ``rho``."""
    from scipy import signal

    steps = rng.normal(size=n + 500) * math.sqrt(1 - rho * rho)
    return np.asarray(signal.lfilter([1.0], [1.0, -rho], steps))[500:]


def test_percentiles_are_observed_values_at_the_nearest_rank() -> None:
    values = np.arange(1, 101)[::-1]
    assert [stats.percentile(values, q) for q in (0.01, 0.5, 0.95, 0.99, 1.0)] == [1, 50, 95, 99, 100]
    assert stats.percentile([3.5], 0.5) is None
    assert stats.percentile([1.0, 9.0], 0.5) == 1.0


def test_a_percentile_beyond_the_sample_is_absent_not_the_maximum() -> None:
    assert stats.percentile(np.arange(999), 0.999) is None
    assert stats.percentile(np.arange(1000), 0.999) == 998
    assert stats.percentile([], 0.5) is None
    assert stats.percentile_interval(np.arange(200), 0.99) is None


def test_the_closed_form_interval_is_what_resampling_converges_to() -> None:
    rng = np.random.default_rng(5)
    values = rng.gamma(2.0, size=400)
    for q in (0.5, 0.9):
        rank = math.ceil(q * values.size) - 1
        resampled = np.sort(rng.choice(values, size=(20_000, values.size)), axis=1)[:, rank]
        low, high = np.quantile(resampled, [0.025, 0.975])
        interval = stats.percentile_interval(values, q)
        assert interval is not None
        assert interval[0] == pytest.approx(low, rel=0.03)
        assert interval[1] == pytest.approx(high, rel=0.03)


@pytest.mark.parametrize(("rho", "q"), [(0.0, 0.5), (0.0, 0.95), (0.9, 0.5), (0.9, 0.9)])
def test_percentile_intervals_cover_the_truth_under_autocorrelation(rho: float, q: float) -> None:
    from scipy import stats as sps

    rng = np.random.default_rng(11)
    truth, trials = float(sps.norm.ppf(q)), 300
    intervals = [stats.percentile_interval(ar1(rng, 2000, rho), q) for _ in range(trials)]
    covered = sum(i is not None and i[0] <= truth <= i[1] for i in intervals)
    assert covered / trials >= 0.90
    assert covered < trials  # an interval that never misses says nothing


def test_correlation_time_is_that_of_the_process() -> None:
    rng = np.random.default_rng(1)
    assert stats.correlation_time(ar1(rng, 200_000, 0.9)) == pytest.approx((1 + 0.9) / (1 - 0.9), rel=0.15)
    assert stats.correlation_time(rng.normal(size=50_000)) == pytest.approx(1.0, abs=0.1)
    assert stats.correlation_time([4.0] * 100) == 1.0


def test_the_block_bootstrap_covers_the_mean_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(21)
    hits = {"block": 0, "plain": 0}
    for trial in range(150):
        x = ar1(rng, 800, 0.9)
        for kind, block in (("block", None), ("plain", 1)):
            interval = stats.bootstrap_interval(
                x, lambda a: a.mean(axis=1), seed=trial, block=block, resamples=400
            )
            assert interval is not None
            hits[kind] += interval[0] <= 0 <= interval[1]
    assert hits["block"] >= 130
    assert hits["plain"] <= 90


def test_the_bootstrap_repeats_for_its_seed() -> None:
    x = np.random.default_rng(2).normal(size=100)

    def interval(seed: int) -> stats.Interval | None:
        return stats.bootstrap_interval(x, lambda a: a.mean(axis=1), seed=seed)

    assert interval(4) == interval(4)
    assert interval(4) != interval(5)
    assert stats.bootstrap_interval(x[:7], lambda a: a.mean(axis=1), seed=1) is None


def test_wilson_intervals_stay_inside_probabilities() -> None:
    from scipy import stats as sps

    assert stats.wilson(0, 0) is None
    low, high = stats.wilson(0, 50) or (1, 0)
    assert low == 0.0
    assert 0.05 < high < 0.09
    for successes, trials in ((50, 100), (1, 40), (39, 40), (40, 40), (0, 3)):
        expected = sps.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
        assert stats.wilson(successes, trials) == pytest.approx((expected.low, expected.high))
    assert stats.wilson(12.5, 25.0) == pytest.approx(stats.wilson(12.5, 25.0 + 1e-12))


def test_holm_gives_the_published_example_and_keeps_the_order() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_holds_the_family_wise_error_over_many_true_nulls() -> None:
    rng = np.random.default_rng(8)
    flagged = sum(min(stats.holm(list(rng.random(40)))) <= 0.05 for _ in range(2000))
    assert 0.03 < flagged / 2000 < 0.07


def test_segments_take_the_percentile_of_whole_segments_only() -> None:
    assert stats.segment_percentiles(np.arange(10), 4).tolist() == [1.0, 5.0]
    assert stats.segment_percentiles(np.arange(10), 5, 1.0).tolist() == [4.0, 9.0]
    assert stats.segment_percentiles([1.0], 4).size == 0


def test_interleaving_orders_each_pair_by_a_seeded_coin() -> None:
    order = stats.interleave(200, seed=3)
    assert order == stats.interleave(200, seed=3)
    assert order != stats.interleave(200, seed=4)
    assert all({a, b} == {"a", "b"} for a, b in zip(order[::2], order[1::2], strict=True))
    assert 60 < order[::2].count("a") < 140


# --- A/B ----------------------------------------------------------------------------------------------------

STAGES = ("encode", "queue", "network", "assembly", "decode", "transport")
FRAMES = 60  # of a segment


def compare(
    seed: int, *, pairs: int, rho: float = 0.95, drift: float = 0.0, planted: dict[str, float] | None = None
) -> list[stats.Judgement]:
    """Run A and B, interleaved, on a machine with autocorrelated noise and drift; B has planted changes."""
    rng = np.random.default_rng(seed)
    order = stats.interleave(pairs, seed)
    sampled: dict[str, list[tuple[float, float]]] = {}
    for name in STAGES:
        noise = ar1(rng, 2 * pairs * FRAMES, rho) * 0.1 + rng.normal(size=2 * pairs * FRAMES) * 0.1
        noise += np.linspace(0, drift, noise.size)
        medians = stats.segment_percentiles(5.0 * np.exp(noise), FRAMES)
        for kind, factor in (planted or {}).items():
            if kind == name:
                medians = np.where(np.array(order) == "b", medians * factor, medians)
        sampled[name] = [
            (float(medians[n]), float(medians[n + 1]))
            if order[n] == "a"
            else (float(medians[n + 1]), float(medians[n]))
            for n in range(0, 2 * pairs, 2)
        ]
    return stats.judge(sampled)


@pytest.mark.parametrize(("rho", "drift"), [(0.0, 0.0), (0.95, 0.0), (0.99, 0.5)])
def test_at_most_one_of_a_hundred_comparisons_of_equals_is_flagged(rho: float, drift: float) -> None:
    flagged = 0
    for seed in range(100):
        found = compare(seed, pairs=30, rho=rho, drift=drift)
        flagged += any(j.verdict in {Verdict.REGRESSION, Verdict.IMPROVEMENT} for j in found)
    assert flagged <= 1


def test_five_percent_on_one_stage_is_flagged_and_the_stage_is_named() -> None:
    caught, covered = 0, 0
    for seed in range(20):
        found = {j.name: j for j in compare(seed, pairs=80, rho=0.9, planted={"decode": 1.05})}
        flagged = [name for name, j in found.items() if j.verdict is Verdict.REGRESSION]
        assert set(flagged) <= {"decode"}
        caught += flagged == ["decode"]
        low, high = found["decode"].interval
        covered += low < 1.05 < high
    assert covered >= 16  # of 20 intervals of 95 %
    assert caught >= 17  # the power that it promises is 0.9 for what it calls detectable


def test_too_few_samples_are_said_and_not_judged() -> None:
    for judgement in compare(1, pairs=8, planted={"decode": 1.05}):
        assert judgement.verdict is Verdict.TOO_FEW
        assert judgement.pairs_needed > 8
        assert "wanted" in str(judgement)
    assert [j.verdict for j in stats.judge({"encode": []})] == [Verdict.TOO_FEW]


def test_what_is_called_same_would_have_shown_the_change_looked_for() -> None:
    called_same, missed = 0, 0
    for seed in range(30):
        for judgement in compare(seed, pairs=120, rho=0.8):
            called_same += judgement.verdict is Verdict.SAME
            assert judgement.verdict is not Verdict.SAME or judgement.detectable <= 0.05
        planted = {j.name: j for j in compare(seed, pairs=120, rho=0.8, planted={"queue": 1.05})}["queue"]
        missed += planted.verdict is Verdict.SAME
    assert called_same > 100
    assert missed <= 4


def test_a_change_within_tolerance_is_not_a_regression_however_sure() -> None:
    rng = np.random.default_rng(0)
    pairs = [(1.0, 1.005 * float(np.exp(rng.normal() * 1e-3))) for _ in range(60)]
    assert stats.judge({"encode": pairs})[0].verdict is Verdict.SAME
    assert stats.judge({"encode": pairs}, gate=Gate(tolerance=0.0))[0].verdict is Verdict.REGRESSION


def test_direction_follows_what_is_better() -> None:
    rng = np.random.default_rng(0)
    pairs = [(100.0, 90.0 * float(np.exp(rng.normal() * 1e-2))) for _ in range(40)]
    assert stats.judge({"goodput": pairs}, better={"goodput": "higher"})[0].verdict is Verdict.REGRESSION
    assert stats.judge({"encode": pairs})[0].verdict is Verdict.IMPROVEMENT


def test_counting_frames_instead_of_segments_would_flag_noise() -> None:
    """The reason for segments: a rank test over all frames finds differences that are not there."""
    rng = np.random.default_rng(9)
    naive = 0
    for _ in range(50):
        x = ar1(rng, 4000, 0.99)
        naive += stats.mann_whitney(x[:2000], x[2000:]) <= 0.001
    assert naive > 25


def test_the_interval_of_the_centre_has_its_coverage() -> None:
    rng = np.random.default_rng(31)
    covered = 0
    for _ in range(400):
        _, low, high = stats.hodges_lehmann(rng.standard_t(3, size=25))
        covered += low <= 0 <= high
    assert 0.92 < covered / 400 < 0.98
    assert stats.hodges_lehmann(np.array([1.0, 2.0]))[1:] == (-math.inf, math.inf)


def test_ratios_of_what_is_not_positive_are_refused() -> None:
    with pytest.raises(UsageError, match="above 0"):
        stats.judge({"queue": [(0.0, 1.0)]})
    with pytest.raises(UsageError, match="quantile"):
        stats.percentile([1.0], 0.0)
