"""``harness.load``: results as pandas DataFrames, of one run, of many, or of the data set.

What is small (cases, figures, links, the ledger) is made of the result files; what has a row a frame is read from
Parquet when it is asked for, and then only the columns and cases that are.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from harness.analysis import dataset, records, runs, tabulate
from harness.analysis.case_source import TableSource
from harness.analysis.dataset import DataSet
from harness.analysis.definitions import METRICS
from harness.analysis.results import RunResult
from harness.analysis.tables import AXIS, FRAME_TABLES, TABLES, Cases, units
from punktfunk.errors import ResultsError, UsageError
from punktfunk.printable import printable

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DEFAULT_OUT: Final = Path("reports")
MAX_RUNS: Final = 10_000
"""Runs that are loaded at a time."""


class Source(Protocol):
    """Something that holds results of one run or more."""

    def runs(self) -> list[str]:
        """Return the printable ids of its runs."""

    def tables(
        self, name: str, columns: Sequence[str], cases: Cases | None, metrics: Collection[str] | None
    ) -> Iterator[pa.Table]:
        """Return a table in parts: at least these columns, of at least these cases and metrics (None: all)."""


@dataclass(frozen=True, slots=True)
class RunSource:
    """A run in its folder."""

    run: RunResult
    folder: Path

    def runs(self) -> list[str]:
        """See :class:`Source`."""
        return [printable(self.run.run_id)]

    def tables(
        self, name: str, columns: Sequence[str], cases: Cases | None, metrics: Collection[str] | None = None
    ) -> Iterator[pa.Table]:
        """See :class:`Source`."""
        if name not in FRAME_TABLES:
            yield tabulate.tabulate(self.run, name)
            return
        wanted = {"index", *(columns if name == "frames" else tabulate.stamps_of(columns))}
        make = tabulate.frames if name == "frames" else tabulate.stage_lengths
        run = printable(self.run.run_id)
        for case in self.run.cases:
            key = printable(case.id)
            file = runs.frames_file(self.folder, case)
            if file is None or (cases is not None and (run, key) not in cases):
                continue
            yield make(records.read(file, wanted)[0], run, key)


class Results:
    """Results as DataFrames: ``cases``, ``figures``, ``frames``, ``stages``, ``links`` and ``ledger``.

    Each is read when it is first asked for. Their columns, with units and dtypes, are listed in
    ``docs/reference/tables.md``; ``frame.attrs["units"]`` has the units of a DataFrame's columns.
    """

    def __init__(self, sources: Sequence[Source], wanted: Cases | None = None) -> None:
        self._sources = tuple(sources)
        self._wanted = wanted

    @cached_property
    def cases(self) -> pd.DataFrame:
        """A row a case: what it was, how it ended, a column an axis (``axis_…``) and a column a metric."""
        return self.measured(*METRICS)

    def measured(self, *metrics: str) -> pd.DataFrame:
        """Return ``cases`` with a column for these metrics alone, which of 100,000 cases takes a tenth of the memory.

        Nothing is kept. Raises :class:`UsageError` for a metric that there is not.
        """
        import pandas as pd

        unknown = [name for name in metrics if name not in METRICS]
        if unknown:
            raise UsageError(f"there is no metric '{unknown[0]}'", "docs/reference/metrics.md lists them")
        found = self.read("cases")
        axes = _axes(found["params"])
        keys = pd.MultiIndex.from_frame(found[["run", "case"]].astype("str"))
        parts = [part for part in (self._pivoted(metrics), self._columns(metrics)) if part is not None]
        values = (pd.concat(parts) if parts else pd.DataFrame(index=keys)).reindex(
            index=keys, columns=list(metrics)
        )
        wide = pd.concat([found, axes, values.reset_index(drop=True).astype("float64")], axis=1)
        wide.attrs["units"] = units("cases", wide.columns)
        return wide

    def _pivoted(self, metrics: Collection[str]) -> pd.DataFrame | None:
        """Return the metrics of cases whose figures are rows."""
        listed = [source for source in self._sources if not isinstance(source, TableSource)]
        if not listed:
            return None
        chosen = Results(listed, self._wanted).read("figures", ["metric", "value"], metrics=metrics)
        found: pd.DataFrame = chosen.pivot_table(
            index=["run", "case"], columns="metric", values="value", aggfunc="last", observed=True
        )
        return found

    def _columns(self, metrics: Collection[str]) -> pd.DataFrame | None:
        """Return the metrics of cases whose figures are columns."""
        import pyarrow as pa

        parts = [
            part
            for source in self._sources
            if isinstance(source, TableSource)
            for part in source.metrics(metrics, self._wanted)
        ]
        if not parts:
            return None
        whole = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
        return _to_pandas(whole).astype({"run": "str", "case": "str"}).set_index(["run", "case"])

    @cached_property
    def figures(self) -> pd.DataFrame:
        """A row a figure that was measured, with its unit, interval and number of samples."""
        return self.read("figures")

    @cached_property
    def frames(self) -> pd.DataFrame:
        """A row a frame: sizes, packets, what became of it, and its stamps in ns."""
        return self.read("frames")

    @cached_property
    def stages(self) -> pd.DataFrame:
        """A row a frame: how long it spent in each stage, in ms."""
        return self.read("stages")

    @cached_property
    def links(self) -> pd.DataFrame:
        """A row a case and direction: the link as it was asked for, and how it was verified."""
        return self.read("links")

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """A row a count or balance of a case and direction."""
        return self.read("ledger")

    def read(
        self,
        table: str,
        columns: Collection[str] | None = None,
        *,
        metrics: Collection[str] | None = None,
    ) -> pd.DataFrame:
        """Return a table with these columns only (default: all), always with ``run`` and ``case``.

        Of ``figures`` with ``metrics`` the rows of those alone: others are not even read from a data set.
        Of ``cases`` there are the columns that the files hold, without axes and metrics. Nothing is kept: a table of
        frames that does not fit into memory can be read column by column, or case by case with :meth:`where`.
        Raises :class:`UsageError` for a table or a column that there is not, :class:`ResultsError` for files that
        cannot be read.
        """
        import pyarrow as pa

        if table not in TABLES:
            raise UsageError(f"there is no table '{table}'", f"there are {', '.join(TABLES)}")
        columns = (columns,) if isinstance(columns, str) else columns
        if metrics is not None and table != "figures":
            raise UsageError(f"{table} has no metrics to choose from", "figures has")
        names = TABLES[table].names
        unknown = [name for name in columns or () if name not in names]
        if unknown:
            raise UsageError(
                f"{table} has no column '{unknown[0]}'", "docs/reference/tables.md lists the columns"
            )
        keys = ("run", "case")
        if metrics is not None and columns is not None:
            columns = (*columns, "metric")
        picked = [name for name in names if columns is None or name in columns or name in keys]
        parts = [
            part.select(picked)
            for source in self._sources
            for part in source.tables(table, picked, self._wanted, metrics)
        ]
        schema = pa.schema([TABLES[table].schema().field(name) for name in picked])
        whole = pa.concat_tables([schema.empty_table(), *parts]).unify_dictionaries()
        frame = _to_pandas(whole)
        if self._wanted is not None:
            pairs = zip(frame["run"].astype("str"), frame["case"].astype("str"), strict=True)
            kept = np.fromiter((pair in self._wanted for pair in pairs), dtype=bool, count=len(frame))
            frame = frame[kept].reset_index(drop=True)
        if metrics is not None and "metric" in frame:
            frame = frame[frame["metric"].isin(list(metrics))].reset_index(drop=True)
        frame.attrs["units"] = units(table, picked)
        return frame

    def where(self, **wanted: object) -> Results:
        """Return the results of the cases whose columns have these values: ``where(backend="tun", axis_fec="20 %")``.

        A list, tuple or set stands for any of its values. Of the others no frames are read.
        Raises :class:`UsageError` for a column that ``cases`` has not.
        """
        cases = self.cases
        for name, value in wanted.items():
            if name not in cases.columns:
                raise UsageError(
                    f"cases has no column '{name}'", f"it has {', '.join(cases.columns[:20])}, …"
                )
            values = value if isinstance(value, list | tuple | set | frozenset) else [value]
            cases = cases[cases[name].isin(list(values))]
        kept = frozenset(zip(cases["run"].astype("str"), cases["case"].astype("str"), strict=True))
        return Results(self._sources, kept)

    def __repr__(self) -> str:
        cases = "" if self._wanted is None else f", {len(self._wanted)} cases"
        return f"<Results of {len(self._sources)} sources{cases}>"


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    kinds = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
    return frame


def _axes(params: Iterable[str]) -> pd.DataFrame:
    """Return a column an axis: of numbers where all of its values are, else categories in the order of the run."""
    import pandas as pd

    rows = [json.loads(text) for text in params]
    names = dict.fromkeys(name for row in rows for name in row)
    made: dict[str, Any] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if all(
            isinstance(value, int | float) and not isinstance(value, bool)
            for value in values
            if value is not None
        ):
            made[AXIS + printable(name)] = pd.array(values, dtype="float64")
        else:
            words = [None if value is None else printable(_word(value)) for value in values]
            made[AXIS + printable(name)] = pd.Categorical(
                words, categories=list(dict.fromkeys(word for word in words if word is not None))
            )
    return pd.DataFrame(made, index=range(len(rows)))


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- where results are --------------------------------------------------------------------------------------


def load(*where: str | PathLike[str], out: str | PathLike[str] = DEFAULT_OUT) -> Results:
    """Open results for analysis: runs by folder, name below ``out`` or ``run.json``, folders of runs, data sets.

    Results of every version that this one reads can be loaded together; what is named twice is loaded once.
    Raises :class:`ResultsError` where there are none, for more than :data:`MAX_RUNS` folders and for two runs of one
    name, and its :class:`~punktfunk.errors.LaterVersionError` for those of a later version.
    """
    if not where:
        raise UsageError(
            "no run is named", "for example: harness.load('reports/20261126-184420-loss-sweep-b9ba')"
        )
    sources: dict[Path, RunSource | TableSource | DataSet] = {}
    for item in where:
        asked = runs.find(Path(item), Path(out))
        for path in _places(asked):
            if len(sources) == MAX_RUNS:
                raise ResultsError(
                    f"these are more than {MAX_RUNS} runs", "archive them, and load the data set"
                )
            if path.resolve() in sources:
                continue
            if dataset.is_one(path):
                sources[path.resolve()] = DataSet(path)
                continue
            found, folder = runs.load(path)
            if found.table is None:
                sources[path.resolve()] = RunSource(found, folder)
            elif path == asked:  # one that keeps a table is named, or left alone: it outnumbers all others
                sources[path.resolve()] = TableSource(found, folder)
    named: dict[str, Path] = {}
    for path, source in sources.items():
        for run in source.runs():
            if named.setdefault(run, path) != path:
                raise ResultsError(
                    f"{named[run]} and {path} both have a run {run}: their rows could not be told apart",
                    "load one of them",
                )
    return Results(list(sources.values()))


def _places(path: Path) -> list[Path]:
    """Return a run or a data set, or all runs in a folder that holds some."""
    if path.is_dir() and not dataset.is_one(path) and not (path / runs.RUN_FILE).exists():
        return sorted(file.parent for file in path.glob(f"*/{runs.RUN_FILE}")) or [path]
    return [path]
