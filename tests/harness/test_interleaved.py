"""Two builds of one setting against each other in one run: which goes first, and what moved between the sides."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from harness.analysis import compare, stats
from harness.analysis.results import CaseResult, Check, Metric, RunResult, Status
from harness.analysis.stats import Gate
from harness.run import verdict
from harness.run.order import in_turn
from harness.scenario.expand import Case
from harness.scenario.model import Session
from punktfunk.errors import RegressionError
from tests.support.noise import remembering
from tests.support.runs import run_of


def interleaved(pairs: int, seed: int, planted: float = 1.0) -> RunResult:
    """Repeats of a and b: slow drift, autocorrelated noise, and a change planted in b's encoder."""
    rng = np.random.default_rng(seed)
    noise = remembering(rng.normal(size=2 * pairs), 0.8) * 0.01 + np.linspace(0, 0.1, 2 * pairs)
    cases = []
    for repeat in range(pairs):
        for place, side in enumerate(rng.permuted(["a", "b"])):
            here = float(np.exp(noise[2 * repeat + place]))
            factor = planted if side == "b" else 1.0
            shared = {"unit": "ms", "better": "lower"}
            cases.append(
                CaseResult(
                    id=f"gate.ab={side},repeat={repeat}",
                    scenario="latency-regression",
                    params={"ab": str(side)},
                    repeat=repeat,
                    seed=1,
                    protocol="punktfunk/1",
                    backend="tun",
                    status=Status.PASSED,
                    metrics={
                        "encode_p50": Metric(value=4.0 * here * factor, **shared),
                        "network_p50": Metric(value=5.0 * float(rng.lognormal(0, 0.01)), **shared),
                        "decode_p50": Metric(value=None, **shared),
                    },
                )
            )
    return run_of(*cases)


def test_a_planted_five_percent_fails_the_check_that_names_its_stage() -> None:
    checks = {
        check.name: check for check in compare.interleaved_checks(interleaved(40, 3, planted=1.05).cases)
    }
    assert set(checks) == {"regression: encode_p50", "regression: network_p50"}
    assert not checks["regression: encode_p50"].passed
    assert checks["regression: encode_p50"].measured.startswith("+")
    assert checks["regression: network_p50"].passed


def test_of_a_hundred_interleaved_runs_of_equals_at_most_one_is_flagged() -> None:
    flagged = sum(
        any(not check.passed for check in compare.interleaved_checks(interleaved(25, seed).cases))
        for seed in range(100)
    )
    assert flagged <= 1


def test_an_interleaved_run_with_too_few_pairs_says_so_and_passes() -> None:
    checks = compare.interleaved_checks(interleaved(6, 1, planted=1.05).cases)
    assert all(check.passed for check in checks)
    assert all("too few" in check.detail for check in checks)
    assert all(check.name.endswith("(not judged)") for check in checks)
    assert compare.interleaved_checks([]) == []


@pytest.mark.parametrize(
    ("verdict", "name", "passed", "detail"),
    [
        (stats.Verdict.REGRESSION, "regression: encode_p50", False, ""),
        (stats.Verdict.IMPROVEMENT, "regression: encode_p50", True, "better"),
        (stats.Verdict.SAME, "regression: encode_p50", True, "a change of 3.5% would have been seen"),
        (
            stats.Verdict.TOO_FEW,
            "regression: encode_p50 (not judged)",
            True,
            "not judged: 12 pairs are too few for 7%; at least 31 are wanted",
        ),
    ],
)
def test_a_check_of_an_interleaved_run_says_how_much_how_sure_and_out_of_what(
    verdict: stats.Verdict, name: str, passed: bool, detail: str
) -> None:
    judgement = stats.Judgement(
        name="encode_p50",
        verdict=verdict,
        ratio=1.064,
        interval=(1.021, 1.108),
        p_value=0.00042,
        p_unpaired=0.5,
        pairs=12,
        detectable=0.035,
        pairs_needed=31,
    )
    assert compare._check(judgement, Gate(tolerance=0.02, effect=0.07)) == Check(
        name=name,
        passed=passed,
        expected="b at most 2% above a",
        measured="+6.4% (+2.1% … +10.8%), adjusted p 0.00042, 12 pairs",
        detail=detail,
    )
    endless = dataclasses.replace(judgement, interval=(0.9, math.inf))
    assert compare._check(endless, Gate()).measured == "+6.4%, adjusted p 0.00042, 12 pairs"


def test_an_interleaved_run_is_held_to_the_gate_that_it_is_given() -> None:
    run = interleaved(40, 3, planted=1.05)
    lenient = compare.interleaved_checks(run.cases, Gate(tolerance=0.2))
    assert all(check.passed for check in lenient)
    assert lenient[0].expected == "b at most 20% above a"


def test_stages_are_told_before_the_sums_of_stages() -> None:
    run = interleaved(12, 1)
    for case in run.cases:
        case.metrics = {"transport_p50": Metric(value=9.0, unit="ms", better="lower"), **case.metrics}
    names = [check.name.split()[1] for check in compare.interleaved_checks(run.cases)]
    assert names == ["encode_p50", "network_p50", "transport_p50"]


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("value", [None, 0.0])
def test_a_figure_that_one_side_lacks_leaves_its_pair_out(side: str, value: float | None) -> None:
    run = interleaved(5, 1)
    lacking = next(case for case in run.cases if case.params["ab"] == side)
    lacking.metrics["encode_p50"].value = value
    pairs = compare.interleaved_pairs(run.cases)
    assert (len(pairs["encode_p50"]), len(pairs["network_p50"])) == (4, 5)


def test_a_pair_that_lost_one_side_is_left_out() -> None:
    run = interleaved(10, 1)
    del run.cases[3]
    run.cases[0].status = Status.FAULT
    run.cases[10].status = Status.INTERRUPTED
    run.cases[12].status = Status.UNSUPPORTED
    # What failed a check was measured all the same.
    run.cases[14].status = Status.FAILED
    assert {len(pairs) for pairs in compare.interleaved_pairs(run.cases).values()} == {6}


def test_what_the_sides_differ_in_does_not_part_them_and_other_axes_do() -> None:
    run = interleaved(3, 1)
    for case in run.cases:
        case.params |= {"gso": case.params["ab"] == "a", "loss": 0}
    assert set(compare.interleaved_pairs(run.cases)) == {"encode_p50", "network_p50"}
    lossy = [case.model_copy(deep=True) for case in run.cases]
    for case in lossy:
        case.params["loss"] = 5
    pairs = compare.interleaved_pairs([*run.cases, *lossy])
    assert {name: len(found) for name, found in pairs.items()} == {
        f"{stage}_p50 (loss {loss})": 3 for stage in ("encode", "network") for loss in (0, 5)
    }
    assert len(compare.interleaved_checks([*run.cases, *lossy])) == 4


def scheduled(pairs: int) -> list[Case]:
    """Cases as a scenario with an axis ``ab`` expands: all repeats of a, then all of b; one other layer around."""
    spec = Session()
    inner = [
        Case(
            f"g.ab={side},repeat={n}",
            "s",
            spec,
            7 * n + (side == "b"),
            {"ab": side, "gso": side == "a"},
            "g",
            n,
        )
        for side in "ab"
        for n in range(pairs)
    ]
    other = [Case(f"x.n={n}", "s", spec, n, {"n": n}, "x", 0) for n in range(3)]
    return [*other[:2], *inner, other[2]]


def test_the_two_of_a_pair_run_next_to_each_other_in_an_order_that_a_coin_decides() -> None:
    cases = scheduled(40)
    order = in_turn(cases)
    assert sorted(case.id for case in order) == sorted(case.id for case in cases)
    assert [case.layer for case in order] == [case.layer for case in cases]
    inner = [case for case in order if case.layer == "g"]
    for x, y in zip(inner[::2], inner[1::2], strict=True):
        assert x.repeat == y.repeat
        assert {x.params["ab"], y.params["ab"]} == {"a", "b"}
    assert 8 < sum(case.params["ab"] == "a" for case in inner[::2]) < 32
    assert in_turn(cases) == order
    assert in_turn(cases[:2]) == cases[:2]


def test_pairs_of_other_axes_stay_together_whatever_their_repeat() -> None:
    spec = Session()
    cases = [
        Case(f"g.{side}.{loss}.{n}", "s", spec, 31 * n + 7 * loss, {"ab": side, "loss": loss}, "g", n)
        for loss in (0, 5)
        for side in "ab"
        for n in range(3)
    ]
    order = in_turn(cases)
    pairs = list(zip(order[::2], order[1::2], strict=True))
    for x, y in pairs:
        assert (x.repeat, x.params["loss"]) == (y.repeat, y.params["loss"])
        assert {x.params["ab"], y.params["ab"]} == {"a", "b"}
    # Repeat by repeat: what drifts over a run meets all axes alike.
    assert [(x.repeat, x.params["loss"]) for x, _ in pairs] == [
        (n, loss) for n in range(3) for loss in (0, 5)
    ]


def test_a_run_that_only_regressed_exits_with_that_code_and_any_other_failure_does_not() -> None:
    run = interleaved(40, 3, planted=1.05)
    verdict.conclude(run)
    assert run.verdict is Status.FAILED
    assert verdict.exit_code(run) == RegressionError.exit_code
    run.checks.append(Check(name="other", passed=False, expected="", measured=""))
    assert verdict.exit_code(run) == 1
    run = interleaved(40, 3, planted=1.05)
    run.cases[0].status = Status.FAILED
    verdict.conclude(run)
    assert verdict.exit_code(run) == 1, "a case that failed is more than a regression"
    equal = interleaved(40, 3)
    verdict.conclude(equal)
    assert verdict.exit_code(equal) == 0


# --- commands -----------------------------------------------------------------------------------------------
