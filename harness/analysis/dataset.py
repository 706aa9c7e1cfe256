"""The data set: results of many runs as Parquet, partitioned by scenario and machine class.

::

    reports/history/
        _punktfunk.json                                   what this folder is, and its version
        cases/scenario=…/machine_class=…/<run>.parquet    a file a run: the tables of ``harness.analysis.tables``
        figures/… links/… ledger/…                        likewise
        frames/…                                          likewise where frames are kept, a row group a case

Any program that reads partitioned Parquet reads it; ``harness.load`` does. Every file says its version and appears
whole or not at all; ``cases`` comes last, so that a run is in the data set once its cases are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from harness.analysis import records, runs, tabulate
from harness.analysis.case_source import TableSource
from harness.analysis.results import RunResult
from harness.analysis.tables import TABLES, Cases
from punktfunk.errors import LaterVersionError, ResultsError
from punktfunk.printable import printable
from punktfunk.regular_file import read_regular

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.dataset import ParquetFileFragment

SCHEMA_VERSION: Final = 1
MARKER: Final = "_punktfunk.json"
PARTITIONS: Final = ("scenario", "machine_class")
MAX_FILES: Final = 100_000
MAX_ROWS: Final = 1 << 28
"""Rows of a file; what says that it has more is not read."""
_UNKNOWN: Final = "unknown"
_ORDER: Final = (*(name for name in tabulate.RESULT_TABLES if name != "cases"), "cases")


# --- writing ------------------------------------------------------------------------------------------------


def archive(run: RunResult, folder: Path, root: Path, *, frames: bool = False) -> int:
    """Add a run to the data set at ``root``, which is made if there is none; return the number of its cases.

    A run that is there already is replaced; with ``frames`` its frame records are kept, too. Raises
    :class:`ResultsError` for a folder that holds something else, and for what cannot be written.
    """
    _make(root)
    machine = printable(str(run.environment.get("machine_class") or _UNKNOWN))
    name = file_name(printable(run.run_id))
    parts = _parts_of_table(run, folder) if run.table is not None else _parts(run, folder, frames=frames)
    for scenario, tables in parts:
        place = Path(_partition("scenario", printable(scenario)), _partition("machine_class", machine))
        for table, content in tables:
            _write(root / table / place / name, table, content)
    return len(run.cases) if run.table is None else sum(run.table.statuses.values())


_Parts = Iterator[tuple[str, Iterator[tuple[str, Iterable["pa.Table"]]]]]
"""By scenario: the tables to write of it, ``cases`` last, each in parts."""


def _parts(run: RunResult, folder: Path, *, frames: bool) -> _Parts:
    for scenario in dict.fromkeys(case.scenario for case in run.cases):
        part = run.model_copy(update={"cases": [case for case in run.cases if case.scenario == scenario]})

        def tables(part: RunResult = part) -> Iterator[tuple[str, Iterable[pa.Table]]]:
            if frames:
                yield "frames", _frames(part, folder)
            for table in _ORDER:
                yield table, [tabulate.tabulate(part, table)]

        yield scenario, tables()


def _parts_of_table(run: RunResult, folder: Path) -> _Parts:
    """Likewise of a run that keeps a table: some thousands of its rows at a time."""
    source = TableSource(run, folder)
    for scenario in source.scenarios():

        def tables(scenario: str = scenario) -> Iterator[tuple[str, Iterable[pa.Table]]]:
            for table in _ORDER:
                yield table, source.tables(table, TABLES[table].names, None, None, scenario)

        yield scenario, tables()


def file_name(run_id: str) -> str:
    """Return the name of the files of a run of this printable id: readable, harmless, and another one for each run."""
    readable = re.sub(r"[^A-Za-z0-9.+-]", "-", run_id)[:100].lstrip(".")
    return f"{readable}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}.parquet"


def _partition(key: str, value: str) -> str:
    return f"{key}={quote(value, safe='')}"


def _frames(run: RunResult, folder: Path) -> Iterator[pa.Table]:
    for case in run.cases:
        file = runs.frames_file(folder, case)
        if file is not None:
            yield tabulate.frames(records.read(file)[0], printable(run.run_id), printable(case.id))


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not (root / MARKER).exists():
            if any(root.iterdir()):
                raise ResultsError(f"{root} holds something else than a data set", "name an empty folder")
            _in_place(root / MARKER, lambda file: file.write_text(_marker(), encoding="utf-8"))
    except OSError as error:
        raise _cannot(root, error) from error
    check(root)


def _marker() -> str:
    return json.dumps({"what": "results of punktfunk", "schema_version": SCHEMA_VERSION}) + "\n"


def _write(path: Path, table: str, parts: Iterable[pa.Table]) -> None:
    """Write a file of a table, a row group a part; nothing where there are no parts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = [name for name in TABLES[table].names if name not in PARTITIONS]
    metadata = {records.VERSION_KEY: str(SCHEMA_VERSION).encode()}
    schema = pa.schema([TABLES[table].schema().field(name) for name in kept], metadata=metadata)

    def write(file: Path) -> None:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for part in parts:
                if part.num_rows:
                    writer.write_table(part.select(kept).replace_schema_metadata(metadata))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _in_place(path, write)
    except (OSError, pa.ArrowException) as error:
        raise _cannot(path, error) from error


def _in_place(path: Path, write: Any) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(2)}.part")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _cannot(path: Path, error: Exception) -> ResultsError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    return ResultsError(
        f"{path} cannot be written: {why}", "check free space and permissions of the data set"
    )


# --- reading ------------------------------------------------------------------------------------------------


def is_one(path: Path) -> bool:
    """Return whether a folder is a data set of ours, of whatever version."""
    return (path / MARKER).is_file()


def check(root: Path) -> None:
    """Raise :class:`ResultsError` for a data set that this version does not read."""
    try:
        about = json.loads(read_regular(root / MARKER, 4096))
        version = about["schema_version"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ResultsError(
            f"{root} is no data set of results: {error!r}", "make one: python -m harness archive RUN"
        ) from error
    _check_version(root, version)


def _check_version(path: Path | str, version: object) -> None:
    if type(version) is not int or version < 1:
        raise ResultsError(
            f"{path} is no part of a data set of results", "take it away, or archive its run again"
        )
    if version > SCHEMA_VERSION:
        raise LaterVersionError(
            f"{path} has schema version {printable(str(version), 20)}; this version of the harness reads 1 to "
            f"{SCHEMA_VERSION}",
            "read it with the version that wrote it or a later one",
        )


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set on disk, as a source of ``harness.load``."""

    root: Path

    def runs(self) -> list[str]:
        """Return the ids of the runs that are in it, in the order of their files."""
        ids: dict[str, None] = {}
        for part in self.tables("cases", ("run",), None):
            ids |= dict.fromkeys(part.column("run").unique().to_pylist())
        return list(ids)

    def tables(
        self, name: str, columns: Sequence[str], cases: Cases | None, metrics: Collection[str] | None = None
    ) -> Iterator[pa.Table]:
        """See :class:`harness.analysis.loading.Source`."""
        import pyarrow as pa

        stored = "frames" if name == "stages" else name
        wanted = columns if name != "stages" else ("run", "case", "frame", *tabulate.stamps_of(columns))
        schema = pa.schema([TABLES[stored].schema().field(column) for column in wanted])
        for fragment in self._fragments(stored, cases):
            try:
                part = self._read(fragment, schema, cases, metrics)
            except (OSError, pa.ArrowException) as error:
                raise ResultsError(
                    f"{fragment.path} cannot be read: {error}", "take it away, or archive its run again"
                ) from error
            yield tabulate.stages_of(part) if name == "stages" else part

    def _fragments(self, table: str, cases: Cases | None) -> Iterator[ParquetFileFragment]:
        import pyarrow as pa
        import pyarrow.dataset as ds

        check(self.root)
        folder = self.root / table
        if not folder.is_dir():
            return
        partitions = pa.schema([(name, pa.string()) for name in PARTITIONS])
        names = None if cases is None else {file_name(run) for run, _ in cases}
        try:
            found = ds.dataset(
                folder,
                format="parquet",
                schema=TABLES[table].schema(),
                partitioning=ds.partitioning(partitions, flavor="hive"),
            )
            fragments = sorted(found.get_fragments(), key=lambda fragment: fragment.path)
        except (OSError, pa.ArrowException) as error:
            raise ResultsError(
                f"{folder} cannot be read: {error}", "take away what does not belong there"
            ) from error
        if len(fragments) > MAX_FILES:
            raise ResultsError(
                f"{folder} holds more than {MAX_FILES} files", "keep older runs in another data set"
            )
        for fragment in fragments:
            # The name of a file is made of its run: those of others are not even opened.
            if names is None or Path(fragment.path).name in names:
                yield fragment

    def _read(
        self,
        fragment: ParquetFileFragment,
        schema: pa.Schema,
        cases: Cases | None,
        metrics: Collection[str] | None,
    ) -> pa.Table:
        import pyarrow.compute as pc
        import pyarrow.dataset as ds

        metadata = fragment.physical_schema.metadata or {}
        try:
            version = int(metadata.get(records.VERSION_KEY, b"0"))
        except ValueError:
            version = 0
        _check_version(fragment.path, version)
        if fragment.metadata.num_rows > MAX_ROWS:
            raise ResultsError(f"{fragment.path} has more than {MAX_ROWS} rows", "take it away")
        values = ds.get_partition_keys(fragment.partition_expression)
        held = [field.name for field in schema if field.name not in PARTITIONS]
        rows = None
        if cases is not None:
            rows = pc.field("case").cast("string").isin(sorted({case for _, case in cases}))
        if metrics is not None and "metric" in schema.names:
            named = pc.field("metric").cast("string").isin(sorted(metrics))
            rows = named if rows is None else rows & named
        found = fragment.to_table(schema=schema, columns=held, filter=rows)
        return _with_partitions(found, schema, values)


def _with_partitions(found: pa.Table, schema: pa.Schema, values: dict[str, Any]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    columns = []
    for field in schema:
        if field.name not in PARTITIONS:
            columns.append(found.column(field.name))
            continue
        value = values.get(field.name)
        code = np.zeros(found.num_rows, dtype=np.int32)
        word = pa.array([None if value in (None, _UNKNOWN) else str(value)], type=pa.string())
        columns.append(pa.DictionaryArray.from_arrays(pa.array(code), word))
    return pa.table(columns, schema=schema)
