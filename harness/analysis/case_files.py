"""The files that hold the rows of a run of very many cases, read a few columns or a few rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.analysis.case_table import SCHEMA_VERSION, VERSION_KEY, type_of
from punktfunk.errors import LaterVersionError, ResultsError

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE: Final = "cases.parquet"
"""All rows of a run that has ended."""
PARTS: Final = "cases"
"""Folder of the parts of one that has not."""


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
    """Read a file of rows; raise ResultsError for what is none, or of a later version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        known = None if names is None else [name for name in names if name in schema.names]
        version = int((schema.metadata or {}).get(VERSION_KEY, b"0"))
        if version > SCHEMA_VERSION:
            raise LaterVersionError(
                f"{path} has schema version {version}; this version of the harness reads {SCHEMA_VERSION}",
                "read it with the version that wrote it or a later one, or run the scenario again",
            )
        if version < 1:
            raise ResultsError(f"{path} is no table of cases", "start a new run with the scenario files")
        return pq.read_table(path, columns=known, filters=rows)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise ResultsError(
            f"{path} cannot be read: {error}", "start the run again, or take the file away"
        ) from error


def schema_of(parts: Sequence[Path]) -> pa.Schema:
    """Return the columns that any of some files has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys(name for part in parts for name in pq.read_schema(part).names)
    fields = [pa.field(name, type_of(name)) for name in names]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()})
