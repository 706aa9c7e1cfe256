"""What pairs of two builds say: exact figures by their differences over seeds, timed ones by their ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis import paired, stats
from harness.analysis.definitions import FIGURES
from harness.analysis.paired import Finding
from harness.analysis.results import CaseResult, Metric, Quietness, Status
from harness.analysis.stats import Verdict


def result(
    figures: dict[str, float | None],
    *,
    backend: str = "sim",
    status: Status = Status.PASSED,
    reason: str = "",
) -> CaseResult:
    metrics = {
        name: Metric(value=value, unit=FIGURES[name].unit, better=FIGURES[name].better)
        for name, value in figures.items()
    }
    return CaseResult(
        id="one", scenario="one", seed=1, protocol="punktfunk/1", backend=backend, status=status, reason=reason,
        metrics=metrics,
    )  # fmt: skip


def judged(
    name: str, base: list[float], head: list[float], *, backend: str = "sim", metrics: tuple[str, ...] = ()
) -> Finding:
    both = [
        (result({name: a}, backend=backend), result({name: b}, backend=backend))
        for a, b in zip(base, head, strict=True)
    ]
    found = {finding.metric: finding for finding in paired.judge({"one": both}, metrics)}
    return found[name]


def noisy(count: int, ratio: float, seed: int = 3, noise: float = 0.01) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    drift = np.exp(np.linspace(0, 0.5, count))
    base, head = (drift * np.exp(rng.normal(size=count) * noise) for _ in range(2))
    return (base * 10).tolist(), (head * 10 * ratio).tolist()


def test_an_exact_figure_that_never_differs_is_the_same_and_says_so() -> None:
    found = judged("recovery", [0.5, 0.75, 1.0], [0.5, 0.75, 1.0])
    assert (found.verdict, found.moved, found.change, found.exact) == (Verdict.SAME, 0, 0.0, True)
    assert found.detectable == 0.0


@pytest.mark.parametrize(
    ("name", "shift", "verdict"),
    [
        ("recovery", -0.01, Verdict.REGRESSION),
        ("recovery", 0.01, Verdict.IMPROVEMENT),
        ("fec_overhead", 0.01, Verdict.REGRESSION),
        ("fec_overhead", -0.01, Verdict.IMPROVEMENT),
    ],
)
def test_an_exact_figure_that_goes_one_way_on_every_seed_has_moved(
    name: str, shift: float, verdict: Verdict
) -> None:
    base = [0.5 + n / 100 for n in range(12)]
    found = judged(name, base, [x + shift for x in base])
    assert found.verdict is verdict
    # Twelve of twelve, one figure: a half to the twelfth.
    assert found.p_value == pytest.approx(0.5**12)
    mean = 0.5 + 5.5 / 100
    assert found.change == pytest.approx(shift / mean)
    assert found.interval == pytest.approx((shift / mean, shift / mean))
    assert (found.moved, found.pairs) == (12, 12)


def test_nine_seeds_of_nine_cannot_be_significant_and_ten_are() -> None:
    base = [0.5 + n / 100 for n in range(10)]
    nine = judged("recovery", base[:9], [x - 0.01 for x in base[:9]])
    assert (nine.verdict, nine.pairs_needed) == (Verdict.TOO_FEW, 10)
    assert judged("recovery", base, [x - 0.01 for x in base]).verdict is Verdict.REGRESSION


def test_exact_differences_either_way_are_another_draw_of_the_same_luck() -> None:
    rng = np.random.default_rng(8)
    base = [0.9] * 60
    found = judged("recovery", base, (0.9 + rng.normal(size=60) * 0.005).tolist())
    assert found.verdict is Verdict.SAME
    assert found.moved == 60
    # 4.4 standard errors of the mean, and no tolerance on top.
    assert found.detectable == pytest.approx(4.4 * 0.005 / 0.9 / math.sqrt(60), rel=0.3)
    assert found.interval[0] < 0 < found.interval[1]


def test_few_seeds_that_differ_want_as_many_more_as_it_takes_for_ten_of_them() -> None:
    base = [0.9] * 8
    found = judged("recovery", base, [0.899, *base[1:6], 0.898, 0.9])
    # Two in eight differ: ten that do are to be expected of forty.
    assert (found.verdict, found.pairs_needed) == (Verdict.TOO_FEW, 40)


def test_what_nearly_all_seeds_show_is_not_called_the_same_for_want_of_one_more() -> None:
    head = [0.9 - step / 1000 for step in (10, 11, 12, 13, 14, 15, 16, 17, 18, -1)]
    found = judged("recovery", [0.9] * 10, head)
    assert found.p_value > 0.001
    assert found.detectable < 0.05
    assert found.interval[1] < 0
    assert (found.verdict, found.pairs_needed > 10) == (Verdict.TOO_FEW, True)


def test_seeds_that_mostly_go_one_way_want_as_many_more_as_their_share_of_luck_takes() -> None:
    # One in six goes the other way, and p is 4.7 %: a z-score of 1.7 becomes one of 3.1 in 3.4 times as many.
    base = [0.9] * 6
    head = [0.9 - step for step in (0.01, 0.02, 0.03, 0.04, 0.05, -0.015)]
    found = judged("recovery", base, head)
    assert found.verdict is Verdict.TOO_FEW
    assert found.p_value == pytest.approx(3 / 64)
    assert found.pairs_needed == 21


def test_a_count_that_was_zero_can_regress() -> None:
    found = judged("frames_lost", [0.0] * 12, [float(n + 1) for n in range(12)])
    assert found.verdict is Verdict.REGRESSION
    assert math.isnan(found.change)
    assert (found.base, found.head) == (0.0, 6.5)


def test_figures_that_are_equal_in_all_pairs_do_not_count_in_the_correction() -> None:
    base = {"recovery": 0.9, "fec_overhead": 0.2, "goodput": 7.0}
    both = [(result(base), result({**base, "recovery": 0.8})) for _ in range(11)]
    found = {f.metric: f for f in paired.judge({"one": both})}
    assert found["recovery"].p_value == pytest.approx(0.5**11)
    assert found["goodput"].verdict is Verdict.SAME


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(1.05, Verdict.REGRESSION), (1.0, Verdict.SAME), (0.95, Verdict.IMPROVEMENT)],
)
def test_cpu_time_is_judged_by_the_ratio_of_pairs(ratio: float, verdict: Verdict) -> None:
    found = judged("core_cpu", *noisy(30, ratio))
    assert found.verdict is verdict
    assert not found.exact
    assert found.change == pytest.approx(ratio - 1, abs=0.01)
    assert found.interval[0] < ratio - 1 < found.interval[1]


def test_a_latency_in_virtual_time_is_exact_and_on_a_real_link_it_is_not() -> None:
    assert judged("sealed_to_complete_p50", [5.0] * 3, [5.0] * 3).exact
    base, head = noisy(30, 1.05)
    live = judged("transport_p50", base, head, backend="tun")
    assert (live.exact, live.verdict) == (False, Verdict.REGRESSION)
    assert paired.is_wall_clock("transport_p50", "tun")
    assert not paired.is_wall_clock("transport_p50", "sim")
    assert not paired.is_wall_clock("core_cpu", "tun")
    assert not paired.is_wall_clock("send_cpu_per_packet", "tun")
    assert not paired.is_wall_clock("recovery", "tun")


def test_only_the_figures_that_are_named_are_judged() -> None:
    both = [(result({"recovery": 0.9, "goodput": 1.0, "core_cpu": 1.0}),) * 2] * 3
    assert {f.metric for f in paired.judge({"one": both}, ["goodput"])} == {"goodput"}
    assert {f.metric for f in paired.judge({"one": both})} == {"recovery", "goodput", "core_cpu"}


def test_a_pair_without_a_result_or_a_figure_on_either_side_is_left_out() -> None:
    good = result({"recovery": 0.9})
    both = [
        (good, good),
        (good, result({"recovery": 0.1}, status=Status.FAULT)),
        (result({"recovery": 0.1}, status=Status.UNSUPPORTED), good),
        (good, result({"recovery": None})),
        (good, result({"recovery": 0.8}, status=Status.FAILED)),
    ]
    (found,) = paired.judge({"one": both})
    assert (found.pairs, found.moved, found.head) == (2, 1, pytest.approx(0.85))
    assert paired.judge({"one": [(result({}, status=Status.FAULT), good)]}) == []


def finding(base: float, head: float, *, exact: bool) -> Finding:
    return Finding(
        case="one", metric="recovery" if exact else "core_cpu", unit="", exact=exact, base=base, head=head,
        change=head / base - 1, interval=(0.0, 0.0), p_value=0.0, verdict=Verdict.REGRESSION, pairs=1, moved=1,
        detectable=0.0, pairs_needed=1,
    )  # fmt: skip


def test_an_exact_figure_is_on_one_side_of_the_middle_at_once() -> None:
    worse = finding(0.9, 0.7, exact=True)
    assert paired.side_of(worse, [(0.9, 0.79)]) is True
    assert paired.side_of(worse, [(0.9, 0.81)]) is False
    more = finding(2.0, 4.0, exact=True)
    assert paired.side_of(more, [(2.0, 2.9), (2.0, 2.9)]) is False
    assert paired.side_of(more, [(2.0, 2.9), (2.0, 3.2)]) is True


def test_a_timed_figure_is_on_a_side_only_when_its_pairs_can_tell() -> None:
    slower = finding(10.0, 11.0, exact=False)
    assert paired.side_of(slower, list(zip(*noisy(20, 1.1), strict=True))) is True
    assert paired.side_of(slower, list(zip(*noisy(20, 1.0), strict=True))) is False
    assert paired.side_of(slower, list(zip(*noisy(6, 1.1), strict=True))) is None
    middle = list(zip(*noisy(20, math.sqrt(1.1)), strict=True))
    assert paired.side_of(slower, middle) is None
    faster = finding(11.0, 10.0, exact=False)
    assert paired.side_of(faster, list(zip(*noisy(20, 10 / 11), strict=True))) is True
    assert paired.side_of(faster, list(zip(*noisy(20, 1.0), strict=True))) is False


def test_the_signed_rank_test_is_exact_where_all_go_one_way_whatever_ties_there_are() -> None:
    assert stats.signed_rank(np.array([0.5] * 14)) == 0.5**14
    assert stats.signed_rank(np.array([0.0, 0.5, 0.25, 0.0])) == 0.25
    assert stats.signed_rank(np.zeros(4)) == 1.0
    assert stats.signed_rank(-np.array([0.5, 0.25])) == 1.0


def test_a_regression_comes_first_and_a_stage_before_the_sum_that_contains_it() -> None:
    slow = noisy(30, 1.2)
    pairs = []
    for a, b in zip(*slow, strict=True):
        sides = [
            result({"transport_p50": x, "encode_p50": x, "decode_p50": 5.0}, backend="tun") for x in (a, b)
        ]
        pairs.append((sides[0], sides[1]))
    found = paired.in_order(paired.judge({"one": pairs}))
    assert [f.metric for f in found[:2]] == ["encode_p50", "transport_p50"]
    assert found[-1].metric == "decode_p50"


def quietness(*, quiet: bool) -> Quietness:
    reasons = [] if quiet else ["other processes took 90% of 2 CPUs, 100% in the worst half second"]
    return Quietness(
        quiet=quiet, reasons=reasons, seconds=2, cpus=2, others=0.0 if quiet else 0.9, others_worst=1, own=0.1
    )


def test_latencies_are_of_the_pairs_that_had_a_quiet_machine_and_cpu_times_of_all() -> None:
    figures = {"encode_p50": 2.0, "send_cpu_per_packet": 1.0}
    both = []
    for number in range(20):
        sides = [result(figures, backend="tun"), result(figures, backend="tun")]
        sides[number % 2].machine = quietness(quiet=number >= 8)
        both.append((sides[0], sides[1]))
    found = {finding.metric: finding.pairs for finding in paired.judge({"one": both}, list(figures))}
    assert found == {"encode_p50": 12, "send_cpu_per_packet": 20}
    assert paired.judge({"one": both[:8]}, ["encode_p50"]) == [], "nothing is judged by a busy machine"
