"""What a run as a whole says to a shell."""

from __future__ import annotations

import pytest

from harness.results import CaseResult, Check, RunResult, Status
from harness.verdict import conclude, exit_code, group_of, sweep_digest


def case(name: str, status: Status = Status.PASSED, **values: object) -> CaseResult:
    fields: dict[str, object] = {"id": name, "scenario": "s", "seed": 1, "backend": "sim", "status": status}
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


def test_an_optional_case_may_be_missing_on_ci_too() -> None:
    result = run(Status.PASSED, Status.UNSUPPORTED)
    conclude(result, strict=True, optional={"s.n=1"})
    assert exit_code(result) == 0


def test_a_failed_check_over_the_whole_run_fails_it() -> None:
    result = run(Status.PASSED)
    result.checks.append(Check(name="x", passed=False, expected="", measured=""))
    conclude(result)
    assert exit_code(result) == 1


def test_an_interrupted_run_says_so_whatever_it_found() -> None:
    result = run(Status.FAILED)
    conclude(result, interrupted=True)
    assert exit_code(result, interrupted=True) == 130


def test_what_did_not_run_is_said_once_for_all_cases_with_the_same_reason() -> None:
    result = run(Status.UNSUPPORTED, Status.UNSUPPORTED, Status.PASSED)
    conclude(result)
    assert result.notes == ["2 cases did not run on sim: why (s.n=0 … s.n=1)"]


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
