"""What a run as a whole says to a shell."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from harness.analysis.results import CaseResult, Check, RunResult, Status
from harness.run.verdict import agreement_checks, conclude, exit_code, group_of, sweep_digest


def case(name: str, status: Status = Status.PASSED, **values: object) -> CaseResult:
    fields: dict[str, object] = {
        "id": name,
        "scenario": "s",
        "seed": 1,
        "protocol": "punktfunk/1",
        "backend": "sim",
        "status": status,
    }
    return CaseResult.model_validate(fields | values)


def run(*statuses: Status) -> RunResult:
    cases = [case(f"s.n={n}", status, reason="why") for n, status in enumerate(statuses)]
    return RunResult(run_id="r", scenario="s", started="", cases=cases)


@pytest.mark.parametrize(
    ("statuses", "strict", "code"),
    [
        ([Status.PASSED, Status.PASSED], True, 0),
        ([Status.PASSED, Status.FAILED], False, 1),
        ([Status.PASSED, Status.UNSUPPORTED], False, 0),
        ([Status.PASSED, Status.UNSUPPORTED], True, 4),
        ([Status.UNSUPPORTED, Status.UNSUPPORTED], False, 4),
        ([Status.FAILED, Status.UNSUPPORTED], True, 1),
        ([Status.FAILED, Status.FAULT], False, 5),
        ([Status.PASSED, Status.FAULT], True, 5),
    ],
)
def test_the_worst_case_decides(statuses: list[Status], strict: bool, code: int) -> None:
    result = run(*statuses)
    conclude(result, strict=strict)
    assert exit_code(result) == code


@pytest.mark.parametrize("optional", ["s.n=1", "s.n=2"])
def test_a_required_case_that_cannot_run_fails_a_strict_run_beside_an_optional_one(optional: str) -> None:
    result = run(Status.PASSED, Status.UNSUPPORTED, Status.UNSUPPORTED)
    conclude(result, strict=True, optional={optional})
    assert exit_code(result) == 4
    conclude(result, strict=True, optional={"s.n=1", "s.n=2"})
    assert exit_code(result) == 0


def test_a_run_that_only_regressed_has_an_exit_code_of_its_own_unless_something_is_worse() -> None:
    regressed = Check(name="regression: encode_p50", passed=False, expected="", measured="")
    for statuses, code in (([Status.PASSED], 3), ([Status.PASSED, Status.FAILED], 1), ([Status.FAULT], 5)):
        result = run(*statuses)
        result.checks.append(regressed)
        conclude(result)
        assert exit_code(result) == code


def test_a_run_is_not_strict_unless_it_is_asked_to_be() -> None:
    result = run(Status.PASSED, Status.UNSUPPORTED)
    conclude(result)
    assert exit_code(result) == 0


def test_an_optional_case_may_be_missing_on_ci_too() -> None:
    result = run(Status.PASSED, Status.UNSUPPORTED)
    conclude(result, strict=True, optional={"s.n=1"})
    assert exit_code(result) == 0


def test_a_failed_check_over_the_whole_run_fails_it() -> None:
    result = run(Status.PASSED)
    result.checks.append(Check(name="x", passed=False, expected="", measured=""))
    conclude(result)
    assert exit_code(result) == 1


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ([Status.PASSED], Status.INTERRUPTED),
        ([Status.UNSUPPORTED], Status.INTERRUPTED),
        ([Status.FAILED], Status.FAILED),
        ([Status.FAULT], Status.FAULT),
    ],
)
def test_an_interrupted_run_says_so_whatever_it_found(statuses: list[Status], verdict: Status) -> None:
    result = run(*statuses)
    conclude(result, interrupted=True)
    assert result.verdict is verdict
    assert exit_code(result, interrupted=True) == 130


def test_what_did_not_run_is_said_once_for_all_cases_with_the_same_reason() -> None:
    result = run(Status.UNSUPPORTED, Status.UNSUPPORTED, Status.PASSED)
    conclude(result)
    assert result.notes == ["2 cases did not run on sim: why (s.n=0 … s.n=1)"]


def test_three_cases_are_named_by_the_first_and_the_last_and_one_by_itself() -> None:
    result = run(*[Status.UNSUPPORTED] * 3)
    result.cases.append(case("s.n=9", Status.UNSUPPORTED, reason="else"))
    result.notes.append("earlier")
    conclude(result)
    assert result.notes == [
        "earlier",
        "3 cases did not run on sim: why (s.n=0 … s.n=2)",
        "1 case did not run on sim: else (s.n=9)",
    ]


def test_the_digest_of_a_run_is_a_note_of_its_own() -> None:
    result = RunResult(
        run_id="r", scenario="s", started="", cases=[case("s.l.n=2", digest="2"), case("s.l.n=1", digest="1")]
    )
    conclude(result)
    wanted = hashlib.sha256(b"s.l.n=1 1\ns.l.n=2 2").hexdigest()
    assert result.notes == [f"digest of the simulated cases: {wanted}"]


def cells(one_case: Any, layer: str, count: int, p_value: float) -> list[CaseResult]:
    """Cells of a simulated layer, all of which theory finds that likely."""
    found = [
        one_case(layer, {"n": n}, link={"loss": {"kind": "independent", "p": 0.1}}, seed=n + 1)
        for n in range(count)
    ]
    for one in found:
        one.theory["p_value"] = p_value
    return found


def test_each_layer_is_held_against_theory_by_itself_and_a_failure_names_it_with_replays(
    one_case: Any,
) -> None:
    good = cells(one_case, "good", 3, 0.5)
    bad = cells(one_case, "bad", 5, 1e-12)
    checks = agreement_checks([*good, *bad, case("real.x=1", backend="tun")])
    assert [check.name for check in checks] == [
        "good: recovery agrees with theory",
        "bad: recovery agrees with theory",
    ]
    assert [check.passed for check in checks] == [True, False]
    assert "replay" not in checks[0].detail
    lines = checks[1].detail.splitlines()
    assert lines[-3:] == [f"replay: {one.replay}" for one in bad[:3]]
    assert [line.partition(":")[0] for line in lines[:5]] == [one.id for one in bad]
    assert lines[5].startswith("one recovery shard too few")
    assert len(lines) == 5 + 1 + 3


def test_the_checks_of_all_layers_are_added_to_those_that_the_run_has(one_case: Any) -> None:
    result = RunResult(run_id="r", scenario="s", started="", cases=cells(one_case, "bad", 2, 1e-12))
    result.checks.append(Check(name="first", passed=True, expected="", measured=""))
    conclude(result)
    assert [check.name for check in result.checks] == ["first", "bad: recovery agrees with theory"]
    assert result.verdict is Status.FAILED


def test_each_of_several_layers_has_a_digest_that_no_other_layer_changes() -> None:
    def noted(*cases: CaseResult) -> list[str]:
        result = RunResult(run_id="r", scenario="s", started="", cases=list(cases))
        conclude(result)
        return result.notes

    old, new = case("s.old.loss=1", digest="1"), case("s.new.loss=1", digest="2")
    real = case("s.live.loss=1", digest="3", backend="tun")
    alone, both = noted(old, real), noted(old, new, real)
    assert [note.partition(":")[0] for note in both] == [
        "digest of the simulated cases",
        "digest of s.old",
        "digest of s.new",
    ]
    assert both[0] != alone[0]
    assert both[1] == f"digest of s.old: {sweep_digest([old])}"
    assert alone == [f"digest of the simulated cases: {sweep_digest([old])}"]


def test_a_second_protocol_leaves_the_digest_of_the_first_one_as_it_was() -> None:
    cases = [
        case("s.one.n=1", digest="1"),
        case("s.two.n=1", digest="2"),
        case("s.moon.n=1", digest="3", protocol="gamestream"),
        case("s.live.n=1", digest="4", protocol="echo", backend="tun"),
    ]
    before = RunResult(run_id="r", scenario="s", started="", cases=cases[:2])
    conclude(before)
    [whole, *_] = before.notes
    after = RunResult(run_id="r", scenario="s", started="", cases=cases)
    conclude(after)
    assert after.notes[1] == whole.replace("cases:", "cases over punktfunk/1:")
    assert after.notes[2] == f"digest of the simulated cases over gamestream: {sweep_digest(cases[2:3])}"
    assert [note.partition(":")[0] for note in after.notes[3:]] == [
        f"digest of s.{layer}" for layer in ("one", "two", "moon")
    ]


def test_the_digest_does_not_depend_on_the_order_and_ignores_real_links() -> None:
    a, b = case("a", digest="1"), case("b", digest="2")
    real = case("c", digest="3", backend="tun")
    assert sweep_digest([a, b, real]) == sweep_digest([b, a])
    assert sweep_digest([a]) != sweep_digest([b])
    assert sweep_digest([real]) == ""


@pytest.mark.parametrize(
    ("name", "group"),
    [("s", "s"), ("s.layer", "s.layer"), ("s.a=1,b=2", "s"), ("s.layer.a=1.5,b=x.y", "s.layer")],
)
def test_a_case_belongs_to_its_scenario_and_layer(name: str, group: str) -> None:
    assert group_of(case(name)) == group
