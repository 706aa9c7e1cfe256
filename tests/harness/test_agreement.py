"""The comparison with theory: passes for what is right, fails for what is wrong, and knows how sure it is."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis import agreement, theory
from harness.analysis.code import Code
from harness.analysis.results import CaseResult, RunResult

CODE = Code(shard_bytes=1200, block_shards=4096, fec_percent=20)


def found_for(complete: int, link: dict[str, Any], seeds: int = 10, frames: int = 100) -> dict[str, float]:
    return agreement.case_theory([(20_000,) * frames] * seeds, complete, link, CODE)


def test_a_correct_sweep_agrees_and_says_how_surely_it_would_have_caught_a_short_codec(
    sweep_run: RunResult,
) -> None:
    check = agreement.sweep_check(sweep_run.cases)
    assert check is not None
    assert check.passed, check.detail
    assert "above 0.9999" in check.detail


def test_a_codec_one_recovery_shard_short_is_caught_and_the_cell_is_named(one_case: Any) -> None:
    link = {"loss": {"kind": "independent", "p": 0.1}}
    good = [one_case("sim", {"n": n}, seed=n, link=link, seeds=10) for n in range(5)]
    short = one_case(
        "sim", {"n": 9}, seed=9, fec=18, link=link, seeds=20
    )  # 17 data shards: 4 recovery either way
    frames = [(20_000,) * 100] * 20
    complete = round(theory.predict([((17, 3),)] * 100, theory.Independent(0.1)).mean * 20)
    short.theory = agreement.case_theory(frames, complete, link, CODE)
    check = agreement.sweep_check([*good, short])
    assert check is not None
    assert not check.passed
    assert short.id in check.detail


def test_a_cell_that_was_chosen_for_its_distance_is_judged_as_one_of_those_it_was_chosen_from(
    one_case: Any,
) -> None:
    """A replay has the verdict of the sweep: what passed there passes alone, and what failed fails."""
    cells = [
        one_case("sim", {"n": n}, seed=n, link={"loss": {"kind": "independent", "p": 0.1}}) for n in range(50)
    ]
    for p_value, passes in ((3e-5, True), (1e-6, False)):
        for cell in cells:
            cell.theory["p_value"] = 0.5
        cells[7].theory["p_value"] = p_value
        whole, again = agreement.sweep_check(cells), agreement.sweep_check([cells[7]], family=50)
        assert whole is not None
        assert again is not None
        assert whole.passed is again.passed is passes
        assert again.measured == whole.measured
        assert again.expected.endswith("over 1 of 50 cells")
    assert agreement.sweep_check([cells[7]], family=0) == agreement.sweep_check([cells[7]], family=1)


def test_chance_fails_a_true_sweep_no_more_often_than_it_promises() -> None:
    """Cells drawn from theory itself: at a family-wise error of 5 %, some 5 % of sweeps fail."""
    import numpy as np

    rng = np.random.default_rng(12)
    cells = [
        (p, theory.predict([((17, 4),)] * 100, theory.Independent(p)).times(10))
        for p in (0.05, 0.1, 0.15, 0.2)
    ]
    failed = 0
    for _ in range(400):
        cases = []
        for p, prediction in cells:
            complete = int(rng.choice(len(prediction.pmf), p=prediction.pmf / prediction.pmf.sum()))
            case = CaseResult(
                id=str(p), scenario="x", seed=1, protocol="punktfunk/1", backend="sim", status="passed"
            )
            case.theory = {"p_value": prediction.p_value(complete)} | dict.fromkeys(
                ("complete", "frames", "expected", "sd", "one_short", "one_short_sd"), 1.0
            )
            cases.append(case)
        check = agreement.sweep_check(cases, fwer=0.05)
        failed += check is not None and not check.passed
    assert 4 <= failed <= 32


@pytest.mark.parametrize("burst", [1, 6])
def test_predictions_pool_seeds_of_equal_and_of_different_frame_sizes(burst: int) -> None:
    chain = theory.bursty(0.1, burst) if burst > 1 else theory.Independent(0.1)
    link = {
        "loss": {"kind": "gilbert_elliott", "p": chain.p, "r": chain.r}
        if isinstance(chain, theory.GilbertElliott)
        else {"kind": "independent", "p": 0.1}
    }
    equal = found_for(900, link)
    mixed = agreement.case_theory([(20_000,) * 100] * 5 + [(9_000, 40_000) * 50] * 5, 900, link, CODE)
    alone = theory.predict([theory.geometry(20_000, 1200, 4096, 20)] * 100, chain)
    assert equal["expected"] == pytest.approx(10 * alone.mean)
    assert equal["sd"] ** 2 == pytest.approx(10 * alone.variance)
    assert equal["burst_packets"] == pytest.approx(burst)
    assert mixed["frames"] == 1000
    assert mixed["frame_bytes_vary"] == 1.0


def test_a_link_without_an_exact_theory_gets_none() -> None:
    assert found_for(1000, {"rate_kbps": 5000}) == {}
    assert agreement.case_theory([()], 0, {}, CODE) == {}
    assert agreement.sweep_check([]) is None


def test_the_curve_passes_through_the_cell_s_own_prediction() -> None:
    found = found_for(950, {"loss": {"kind": "independent", "p": 0.08}})
    assert agreement.curve(found, [0.0, 0.08]) == pytest.approx([1.0, found["recovery"]])


def test_power_is_nil_where_theory_cannot_tell_the_codecs_apart() -> None:
    lossless = found_for(1000, {})
    assert agreement.power_one_short([lossless]) < 0.01
    assert agreement.power_one_short([found_for(900, {"loss": {"kind": "independent", "p": 0.12}})]) > 0.99
