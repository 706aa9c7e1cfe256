"""A run of very many cases as the tables of ``harness.analysis.tables``: made of its rows, some thousands at a time.

What a row does not say is absent: links, the ledger and frame records (``harness.analysis.case_table``). No more than
:data:`ROWS` rows are in memory beside what was asked for, and of those the columns alone that it takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.analysis import case_files
from harness.analysis.case_table import AXIS, METRIC, THEORY
from harness.analysis.definitions import METRICS
from harness.analysis.results import RunResult
from harness.analysis.tables import TABLES, Cases, arrow_table
from harness.analysis.tabulate import about_run
from punktfunk.printable import printable

if TYPE_CHECKING:
    import pyarrow as pa

ROWS: Final = 4096
"""Rows that are read together."""
_SAME: Final = (
    "scenario",
    "layer",
    "repeat",
    "seed",
    "protocol",
    "backend",
    "status",
    "reason",
    "digest",
    "checks",
)
"""Columns that rows and ``cases`` both have."""
_ELSEWHERE: Final[Mapping[str, str]] = {
    "duration": "duration_s",
    "checks_failed": "failed_checks",
    **{f"theory_{name}": THEORY + name for name in ("recovery", "recovery_low", "recovery_high", "p_value")},
}
_TEXTS: Final = frozenset({"scenario", "layer", "protocol", "backend", "status", "reason", "digest"})
_WHOLE: Final = re.compile(r"-?[0-9]{1,15}")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class TableSource:
    """A run that keeps a table, in its folder (a ``loading.Source``)."""

    run: RunResult
    folder: Path

    def runs(self) -> list[str]:
        """Return the printable id of the run."""
        return [printable(self.run.run_id)]

    def scenarios(self) -> list[str]:
        """Return the scenarios that its cases are of."""
        found: dict[str, None] = {}
        for part in case_files.batches(self.folder, ["scenario"], ROWS):
            found |= dict.fromkeys(part.column("scenario").unique().to_pylist())
        return list(found)

    def tables(
        self,
        name: str,
        columns: Sequence[str],
        cases: Cases | None,
        metrics: Collection[str] | None = None,
        scenario: str | None = None,
    ) -> Iterator[pa.Table]:
        """Return ``cases`` or ``figures`` in parts; of the other tables there is nothing."""
        if name == "cases":
            for rows in self._batches(self._stored(columns), cases, scenario):
                yield self._cases(rows, columns)
        elif name == "figures":
            names = [
                stored
                for stored in case_files.columns_of(self.folder)
                if stored.startswith(METRIC)
                and (metrics is None or stored.removeprefix(METRIC).partition(".")[0] in metrics)
            ]
            for rows in self._batches(names, cases, scenario):
                yield self._figures(rows)

    def metrics(self, names: Collection[str], cases: Cases | None) -> Iterator[pa.Table]:
        """Return run, case and a column for each of these metrics that any case has, in parts."""
        import pyarrow as pa

        known = {METRIC + name: name for name in names}
        stored = [name for name in case_files.columns_of(self.folder) if name in known]
        for rows in self._batches(stored, cases, None):
            columns = {known[name]: rows.column(name) for name in stored}
            yield pa.table({**self._keys(rows), **columns})

    def _batches(
        self, columns: Collection[str], cases: Cases | None, scenario: str | None
    ) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = None
        if cases is not None:
            run = self.runs()[0]
            wanted = pa.array(sorted(case for name, case in cases if name == run), type=pa.string())
        stored = list(dict.fromkeys(["id", *(["scenario"] if scenario is not None else []), *columns]))
        for rows in case_files.batches(self.folder, stored, ROWS):
            kept = rows
            if scenario is not None:
                kept = kept.filter(pc.equal(kept.column("scenario"), scenario))
            if wanted is not None:
                ids = pa.array(map(printable, kept.column("id").to_pylist()), type=pa.string())
                kept = kept.filter(pc.is_in(ids, value_set=wanted))
            if kept.num_rows:
                yield kept

    def _keys(self, rows: pa.Table) -> dict[str, pa.Array]:
        import pyarrow as pa

        ids = [printable(text) for text in rows.column("id").to_pylist()]
        run = pa.array(self.runs() * rows.num_rows, type=pa.string())
        return {"run": run.dictionary_encode(), "case": pa.array(ids, type=pa.string()).dictionary_encode()}

    def _stored(self, columns: Collection[str]) -> list[str]:
        """Return the columns of rows that columns of ``cases`` are made of."""
        stored = [_ELSEWHERE.get(name, name) for name in columns if name in _SAME or name in _ELSEWHERE]
        if "params" in columns:
            stored += [name for name in case_files.columns_of(self.folder) if name.startswith(AXIS)]
        return stored

    def _cases(self, rows: pa.Table, columns: Collection[str]) -> pa.Table:
        about = about_run(self.run)
        made: dict[str, list[Any]] = {
            "run": self.runs() * rows.num_rows,
            "case": [printable(text) for text in rows.column("id").to_pylist()],
        }
        for name in columns:
            if name in about:
                made[name] = [about[name]] * rows.num_rows
            elif name == "params":
                made[name] = _params(rows)
            elif (stored := _ELSEWHERE.get(name, name)) in rows.column_names:
                values = rows.column(stored).to_pylist()
                if name == "checks_failed":
                    values = [0 if text is None else len(json.loads(text)) for text in values]
                elif name in _TEXTS:
                    values = [None if text is None else printable(text) for text in values]
                made[name] = values
            elif name == "checks_failed":
                made[name] = [0] * rows.num_rows
        for name in TABLES["cases"].names:
            made.setdefault(name, [None] * rows.num_rows)
        return arrow_table("cases", made)

    def _figures(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        keys = self._keys(rows)
        schema = TABLES["figures"].schema()
        parts = [schema.empty_table()]
        absent = pa.nulls(rows.num_rows, pa.float64())
        for name in rows.column_names:
            metric = name.removeprefix(METRIC)
            if not name.startswith(METRIC) or metric not in METRICS:
                continue
            about = {"metric": metric, "unit": METRICS[metric].unit, "better": METRICS[metric].better}
            values = {
                "value": rows.column(name),
                "low": rows.column(f"{name}.low") if f"{name}.low" in rows.column_names else absent,
                "high": rows.column(f"{name}.high") if f"{name}.high" in rows.column_names else absent,
                "samples": rows.column(f"{name}.n")
                if f"{name}.n" in rows.column_names
                else pa.nulls(rows.num_rows, pa.int64()),
            }
            words = {
                key: pa.DictionaryArray.from_arrays(pa.nulls(rows.num_rows, pa.int32()).fill_null(0), [word])
                for key, word in about.items()
            }
            columns = keys | words | values
            part = pa.table([columns[field.name] for field in schema], schema=schema)
            parts.append(part.filter(pc.is_valid(part.column("value"))))
        return pa.concat_tables(parts).unify_dictionaries()


def _params(rows: pa.Table) -> list[str]:
    """Return the values of the axes of each row as JSON: numbers where they are written as such."""
    names = [name for name in rows.column_names if name.startswith(AXIS)]
    columns = [rows.column(name).to_pylist() for name in names]
    keys = [name.removeprefix(AXIS) for name in names]
    return [
        json.dumps({key: _value(text) for key, text in zip(keys, row, strict=True) if text is not None})
        for row in zip(*columns, strict=True)
    ] or ["{}"] * rows.num_rows


def _value(text: str) -> str | int | float:
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
