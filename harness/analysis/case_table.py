"""Results of very many cases as a table: a row a case, a column a figure, read by the column.

Columns: ``place`` (the case's number in its run), those of a :class:`~harness.analysis.results.CaseResult` that are
plain, ``axis.NAME`` (text, as the scenario has it), ``metric.NAME`` with ``.low``, ``.high`` (its interval) and ``.n``,
``theory.NAME``, ``checks`` (how many there were), ``repeated``, ``failed_checks`` and ``unbalanced`` (JSON, null where
there is nothing to say). A figure that was not measured is null; a column that is null everywhere may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from harness.analysis.definitions import METRICS
from harness.analysis.results import CaseResult, Check, Ledger, Metric, Status

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION: Final = 1
VERSION_KEY: Final = b"punktfunk.case_table"
REPEATS: Final = "same seed, same bytes"
"""Name of the check that a seed repeats exactly; ``repeated`` has its outcome, null where it was not made."""
AXIS, METRIC, THEORY = "axis.", "metric.", "theory."
_PLAIN: Final = (
    "id",
    "scenario",
    "protocol",
    "backend",
    "status",
    "reason",
    "digest",
    "replay",
    "seed",
    "repeat",
    "duration_s",
)
_LAYER: Final = "layer"
COLUMNS: Final = frozenset({"place", _LAYER, *_PLAIN, "checks", "repeated", "failed_checks", "unbalanced"})
"""Columns that do not begin with one of :data:`PREFIXES`."""
PREFIXES: Final = (AXIS, METRIC, THEORY)


def to_table(rows: Iterable[tuple[int, str, CaseResult]]) -> pa.Table:
    """Return results as a table: each with its place in the run and the name of its layer."""
    import pyarrow as pa

    flat = [{"place": place, _LAYER: layer, **_row(result)} for place, layer, result in rows]
    names = dict.fromkeys(name for row in flat for name, value in row.items() if value is not None)
    columns = {name: pa.array([row.get(name) for row in flat], type=type_of(name)) for name in names}
    return pa.table(columns).replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION).encode()})


def type_of(name: str) -> pa.DataType:
    """Return the type of a column by its name."""
    import pyarrow as pa

    if name in {"place", "seed", "repeat", "checks"} or (name.startswith(METRIC) and name.endswith(".n")):
        return pa.int64()
    if name == "duration_s" or name.startswith((METRIC, THEORY)):
        return pa.float64()
    return pa.string()


def result_of(row: Mapping[str, Any]) -> CaseResult:
    """Return the result that a row was made of, less the checks that held and what no row has."""
    metrics = {
        name.removeprefix(METRIC): Metric(
            value=value,
            unit=METRICS[name.removeprefix(METRIC)].unit,
            better=METRICS[name.removeprefix(METRIC)].better,
            interval=None if row.get(f"{name}.low") is None else (row[f"{name}.low"], row[f"{name}.high"]),
            n=row.get(f"{name}.n"),
        )
        for name, value in row.items()
        if name.startswith(METRIC) and name.removeprefix(METRIC) in METRICS and value is not None
    }
    return CaseResult(
        **{name: row[name] for name in _PLAIN if row.get(name) is not None and name != "status"},
        status=Status(row["status"]),
        params={n.removeprefix(AXIS): v for n, v in row.items() if n.startswith(AXIS) and v is not None},
        metrics=metrics,
        theory={n.removeprefix(THEORY): v for n, v in row.items() if n.startswith(THEORY) and v is not None},
        checks=[Check.model_validate(check) for check in json.loads(row.get("failed_checks") or "[]")],
        ledgers={
            direction: Ledger(balances=off)
            for direction, off in json.loads(row.get("unbalanced") or "{}").items()
        },
    )


def _row(result: CaseResult) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(result, name) for name in _PLAIN}
    row["status"] = result.status.value
    row |= {AXIS + name: _text(value) for name, value in result.params.items()}
    for name, metric in result.metrics.items():
        if metric.value is None:
            continue
        row[METRIC + name] = metric.value
        if metric.interval is not None:
            row[f"{METRIC}{name}.low"], row[f"{METRIC}{name}.high"] = metric.interval
        row[f"{METRIC}{name}.n"] = metric.n
    row |= {THEORY + name: value for name, value in result.theory.items()}
    row["checks"] = len(result.checks)
    failed = [check.model_dump() for check in result.checks if not check.passed]
    row["failed_checks"] = json.dumps(failed) if failed else None
    off = {
        direction: odd
        for direction, ledger in result.ledgers.items()
        if (odd := {name: count for name, count in ledger.balances.items() if count})
    }
    row["unbalanced"] = json.dumps(off) if off else None
    row["repeated"] = next((str(c.passed).lower() for c in result.checks if c.name == REPEATS), None)
    return row


def _text(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def axes_of(names: Sequence[str]) -> list[str]:
    """Return the names of the axes among the names of columns."""
    return [name.removeprefix(AXIS) for name in names if name.startswith(AXIS)]
