"""The files that hold the rows of a run of very many cases, read a few columns or a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.analysis.case_table import COLUMNS, PREFIXES, SCHEMA_VERSION, VERSION_KEY, type_of
from punktfunk.errors import LaterVersionError, ResultsError
from punktfunk.printable import printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

WHOLE: Final = "cases.parquet"
"""All rows of a run that has ended."""
PARTS: Final = "cases"
"""Folder of the parts of one that has not."""
MAX_FILE_BYTES: Final = 4 << 30
"""Of a file of rows; a million cases have 0.5 GB."""
MAX_ROWS: Final = 1 << 21
"""Of a file, of whatever columns are asked for: twice the cases of the largest scenario."""
MAX_COLUMNS: Final = 4096
_EACH_HAS: Final = ("place", "id", "status")
"""Columns without which a row says nothing."""
MAX_READ_BYTES: Final = 8 << 30
"""Of what a reading unpacks, by what the file says of its columns."""


def part_files(folder: Path) -> list[Path]:
    """Return the files that hold a run's rows, in the order of their first case."""
    whole = [folder / WHOLE] if (folder / WHOLE).is_file() else []
    return [*whole, *sorted((folder / PARTS).glob("[0-9]*.parquet"))]


def read_columns(folder: Path, names: Sequence[str]) -> pa.Table:
    """Return some columns of a run's rows, in no order; those that no row has are missing."""
    import pyarrow as pa

    tables = [read_part(part, names) for part in part_files(folder)]
    return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})


def columns_of(folder: Path) -> list[str]:
    """Return the names of the columns of a run's rows."""
    parts = part_files(folder)
    return list(schema_of(parts).names) if parts else []


def rows_where(folder: Path, places: Sequence[int]) -> list[dict[str, Any]]:
    """Return whole rows of some cases, in the order that was asked for; those that are missing are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: dict[int, dict[str, Any]] = {}
    wanted = pa.array(list(places), type=pa.int64())
    for part in part_files(folder):
        table = read_part(part, None, pc.field("place").isin(wanted))
        found |= {row["place"]: row for row in table.to_pylist()}
    return [found[place] for place in places if place in found]


def read_part(path: Path, names: Sequence[str] | None = None, rows: Any = None) -> pa.Table:
    """Read a file of rows; raise ResultsError for what is none, of a later version, or more than any run has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _opened(path) as file:
        known = None if names is None else [name for name in names if name in file.schema_arrow.names]
        if rows is None:
            # Without a filter there is no need of a data set, whose discovery takes longer than a part's rows.
            return file.read(columns=known)
    try:
        return pq.read_table(path, columns=known, filters=rows)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise _unreadable(path, error) from error


def batches(folder: Path, names: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Yield some columns of a run's rows, at most so many rows at a time; what no row has is missing.

    A case comes once, also where a run was killed while its parts became one file. Raises ResultsError as
    :func:`read_part` does.
    """
    import pyarrow as pa

    parts = part_files(folder)
    if len(parts) > 1 and parts[0].name == WHOLE:
        yield from _each_once(parts, names, rows)
        return
    for part in parts:
        with _opened(part) as file:
            known = [name for name in names if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=rows, columns=known):
                yield pa.Table.from_batches([batch])


def _each_once(parts: Sequence[Path], names: Sequence[str], rows: int) -> Iterator[pa.Table]:
    import numpy as np
    import pyarrow as pa

    seen = np.empty(0, dtype=np.int64)
    for part in parts:
        table = read_part(part, list(dict.fromkeys(["place", *names])))
        places = table.column("place").to_numpy()
        new = ~np.isin(places, seen)
        seen = np.union1d(seen, places)
        kept = table.filter(pa.array(new)).select([name for name in names if name in table.column_names])
        yield from (kept.slice(first, rows) for first in range(0, kept.num_rows, rows))


def schema_of(parts: Sequence[Path]) -> pa.Schema:
    """Return the columns that any of some files has; raise ResultsError for a file that cannot be read."""
    import pyarrow as pa

    names: dict[str, None] = {}
    for part in parts:
        with _opened(part) as file:
            names |= dict.fromkeys(file.schema_arrow.names)
    fields = [pa.field(name, type_of(name)) for name in names]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()})


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file of rows once it is a regular one within the limits: a FIFO would be waited for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_file():
            raise ResultsError(f"{path} is no regular file", "take it away")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _too_much(path, f"{size >> 20:,} MiB", f"{MAX_FILE_BYTES >> 20:,} MiB")
        with pq.ParquetFile(path) as file:
            _check(path, file)
            yield file
    except (OSError, pa.ArrowException, ValueError) as error:
        raise _unreadable(path, error) from error


def _check(path: Path, file: pq.ParquetFile) -> None:
    """Raise ResultsError for what is no file of rows, of a later version, or more than any run has."""
    said = file.metadata
    if said.num_columns > MAX_COLUMNS:
        raise _too_much(path, f"{said.num_columns:,} columns", f"{MAX_COLUMNS:,}")
    version = int((file.schema_arrow.metadata or {}).get(VERSION_KEY, b"0"))
    if version > SCHEMA_VERSION:
        raise LaterVersionError(
            f"{path} has schema version {version}; this version of the harness reads {SCHEMA_VERSION}",
            "read it with the version that wrote it or a later one, or run the scenario again",
        )
    if version < 1:
        raise ResultsError(f"{path} is no table of cases", "start a new run with the scenario files")
    schema = file.schema_arrow
    wrong = [name for name in _EACH_HAS if name not in schema.names] or [
        column.name
        for column in schema
        if (column.name in COLUMNS or column.name.startswith(PREFIXES))
        and column.type != type_of(column.name)
    ]
    if wrong:
        raise ResultsError(
            f"{path} is no table of cases: its column '{printable(wrong[0], 100)}' is missing or of another type",
            "start a new run with the scenario files",
        )
    if said.num_rows > MAX_ROWS:
        raise _too_much(path, f"{said.num_rows:,} rows", f"{MAX_ROWS:,}")
    unpacked = sum(said.row_group(at).total_byte_size for at in range(said.num_row_groups))
    if unpacked > MAX_READ_BYTES:
        raise _too_much(path, f"{unpacked >> 20:,} MiB unpacked", f"{MAX_READ_BYTES >> 20:,} MiB")


def _unreadable(path: Path, error: Exception) -> ResultsError:
    return ResultsError(f"{path} cannot be read: {error}", "start the run again, or take the file away")


def _too_much(path: Path, has: str, most: str) -> ResultsError:
    return ResultsError(f"{path} has {has}, more than {most}", "no run has that much: take the file away")
