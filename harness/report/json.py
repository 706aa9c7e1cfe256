"""Flat JSON of a run for other programs: one row a case, every figure that was measured."""

from __future__ import annotations

import json
import math
from typing import Any

from harness.analysis.results import SCHEMA_VERSION, CaseResult, RunResult
from harness.report.text import layer_of


def render(run: RunResult) -> str:
    """Return the run as JSON text."""
    return json.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "run_id": run.run_id,
            "scenario": run.scenario,
            "started": run.started,
            "verdict": run.verdict.value,
            "machine_class": run.environment.get("machine_class"),
            "checks": [check.model_dump() for check in run.checks],
            "notes": run.notes,
            **({"table": run.table.model_dump(mode="json")} if run.table is not None else {}),
            "cases": [_row(case) for case in run.cases],
        },
        indent=1,
        ensure_ascii=False,
        default=str,
    )


def _row(case: CaseResult) -> dict[str, Any]:
    return {
        "id": case.id,
        "layer": layer_of(case),
        "params": case.params,
        "repeat": case.repeat,
        "seed": case.seed,
        "protocol": case.protocol,
        "peers": {role: peer.model_dump() for role, peer in case.peers.items()},
        "backend": case.backend,
        "status": case.status.value,
        "reason": case.reason,
        "worth_believing": None if case.machine is None else case.machine.quiet,
        "machine": None if case.machine is None else case.machine.model_dump(),
        "digest": case.digest,
        "theory": {name: value for name, value in case.theory.items() if math.isfinite(value)},
        "metrics": {
            name: {"value": metric.value, "unit": metric.unit, "interval": metric.interval, "n": metric.n}
            for name, metric in case.metrics.items()
            if metric.value is not None
        },
        "unbalanced": {
            f"{direction}: {name}": value
            for direction, ledger in case.ledgers.items()
            for name, value in ledger.balances.items()
            if value
        },
        "failed_checks": [check.name for check in case.checks if not check.passed],
    }
