"""What a run of very many cases says as a whole, read from its table a column at a time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.analysis import agreement
from harness.analysis.case_files import WHOLE, read_columns, rows_where
from harness.analysis.case_table import METRIC, THEORY, result_of
from harness.analysis.results import CaseTable, Check, LayerCounts, RunResult, Status
from harness.run import verdict

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN: Final = 50
"""Cases that did not pass which ``run.json`` and the reports have in full; the table has all."""
_FRAMES: Final = METRIC + "frames_submitted"
_COUNTED: Final = (
    "place",
    "id",
    "layer",
    "backend",
    "protocol",
    "status",
    "checks",
    "failed_checks",
    "repeated",
)


def conclude(
    run: RunResult, folder: Path, *, asked: int, strict: bool = False, interrupted: bool = False
) -> None:
    """Add table, checks, notes and verdict of a run whose rows are in ``folder``; ``asked`` cases were asked for."""
    table = _once(read_columns(folder, [*_COUNTED, _FRAMES, "digest", "reason", *_judged_columns()]))
    run.table = CaseTable(file=WHOLE, asked=asked)
    if table.num_rows:
        _count(run.table, table)
        run.checks += [*_agreement(table), *_repeats(table)]
        run.notes += _digests(table)
        run.notes += _not_run(table)
        run.cases = [result_of(row) for row in rows_where(folder, _not_passed(table))]
    run.verdict = _verdict(run, interrupted=interrupted, strict=strict)


def _once(table: pa.Table) -> pa.Table:
    """Drop rows that stand twice, as they do where a run was killed while its parts became one file."""
    if not table.num_rows:
        return table
    _, first = np.unique(table.column("place").to_numpy(), return_index=True)
    return table.take(np.sort(first)) if first.size < table.num_rows else table


def _count(into: CaseTable, table: pa.Table) -> None:
    found: dict[tuple[str, str, str], LayerCounts] = {}
    by = ["layer", "backend", "protocol", "status"]
    sums = [("place", "count"), *([(_FRAMES, "sum")] if _FRAMES in table.column_names else [])]
    for row in table.group_by(by).aggregate(sums).to_pylist():
        key = (row["layer"], row["backend"], row["protocol"])
        counts = found.setdefault(key, LayerCounts(layer=key[0], backend=key[1], protocol=key[2]))
        counts.statuses[Status(row["status"])] = row["place_count"]
        counts.frames += int(row.get(f"{_FRAMES}_sum") or 0)
    into.layers = list(found.values())
    into.checks = int(np.sum(table.column("checks").to_numpy()))
    into.held = into.checks - sum(text.count('"passed": false') for text in _texts(table, "failed_checks"))


def _agreement(table: pa.Table) -> list[Check]:
    """Compare each layer with theory as a whole."""
    import pyarrow.compute as pc

    if THEORY + "p_value" not in table.column_names:
        return []
    judged = table.filter(pc.is_valid(table.column(THEORY + "p_value")))
    checks = []
    for layer in judged.column("layer").unique().to_pylist():
        members = judged.filter(pc.equal(judged.column("layer"), layer))
        cells = agreement.Judged(
            **{
                field.name: members.column(THEORY + field.name).to_numpy()
                for field in fields(agreement.Judged)
            }
        )
        check = agreement.judged_check(cells, partial(_name_of, members.column("id")))
        if check is not None:
            detail = "\n".join(check.detail.split("; "))
            checks.append(check.model_copy(update={"name": f"{layer}: {check.name}", "detail": detail}))
    return checks


def _name_of(names: pa.ChunkedArray, cell: int) -> str:
    return str(names[cell].as_py())


def _repeats(table: pa.Table) -> list[Check]:
    tried = _texts(table, "repeated")
    if not tried:
        return []
    same = tried.count("true")
    return [
        Check(
            name="a seed repeats exactly",
            passed=same == len(tried),
            expected=f"{len(tried)} cases of the sample",
            measured=f"{same} of {len(tried)} cases of the sample, of {table.num_rows} that ran",
        )
    ]


def _digests(table: pa.Table) -> list[str]:
    """Return the same lines as of a run that has its cases in folders, from the same digests."""
    import pyarrow.compute as pc

    simulated = table.filter(
        pc.and_(pc.equal(table.column("backend"), "sim"), pc.not_equal(table.column("digest"), ""))
    )
    if not simulated.num_rows:
        return []
    lines = pc.binary_join_element_wise(simulated.column("id"), simulated.column("digest"), " ")
    order = pc.sort_indices(lines)
    lines = lines.take(order)
    whole = hashlib.sha256()
    of: dict[str, dict[str, Any]] = {
        "protocol": defaultdict(hashlib.sha256),
        "layer": defaultdict(hashlib.sha256),
    }
    keys = {name: simulated.column(name).take(order) for name in of}
    for first in range(0, simulated.num_rows, 16_384):
        part = lines.slice(first, 16_384).to_pylist()
        for number, line in enumerate(part, start=first):
            whole.update((b"\n" if number else b"") + line.encode())
        for name, column in keys.items():
            for key, line in zip(column.slice(first, 16_384).to_pylist(), part, strict=True):
                known = key in of[name]
                of[name][key].update((b"\n" if known else b"") + line.encode())
    found = [f"digest of the simulated cases: {whole.hexdigest()}"]
    for name, words in (("protocol", "the simulated cases over "), ("layer", "")):
        if len(of[name]) > 1:
            found += [f"digest of {words}{key}: {digest.hexdigest()}" for key, digest in of[name].items()]
    return found


def _not_run(table: pa.Table) -> list[str]:
    import pyarrow.compute as pc

    missed = table.filter(pc.equal(table.column("status"), str(Status.UNSUPPORTED)))
    return [
        f"{row['place_count']} cases did not run: {row['reason']}"
        for row in missed.group_by(["reason"]).aggregate([("place", "count")]).to_pylist()[:SHOWN]
    ]


def _not_passed(table: pa.Table) -> list[int]:
    import pyarrow.compute as pc

    places = table.filter(pc.not_equal(table.column("status"), str(Status.PASSED))).column("place")
    found: list[int] = np.sort(places.to_numpy())[:SHOWN].tolist()
    return found


def _verdict(run: RunResult, *, interrupted: bool, strict: bool) -> Status:
    assert run.table is not None
    states = run.table.statuses
    return verdict.of(
        states,
        checks_hold=all(check.passed for check in run.checks),
        interrupted=interrupted,
        missed=Status.UNSUPPORTED in states and (strict or len(states) == 1),
    )


def _judged_columns() -> list[str]:
    return [THEORY + field.name for field in fields(agreement.Judged)]


def _texts(table: pa.Table, name: str) -> list[str]:
    """Return the values of a column that are not null."""
    return table.column(name).drop_null().to_pylist() if name in table.column_names else []
