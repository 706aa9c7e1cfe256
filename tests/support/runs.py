"""Results of runs that nobody ran, for what reads them."""

from __future__ import annotations

from typing import Any

from harness.analysis.results import CaseResult, RunResult


def run_of(*cases: CaseResult, **more: Any) -> RunResult:
    """Return a run of these cases on one machine."""
    given = {
        "run_id": "r",
        "scenario": "s",
        "started": "t",
        "environment": {"machine_class": "m", "kernel": "k"},
    }
    return RunResult(**(given | more), cases=list(cases))
