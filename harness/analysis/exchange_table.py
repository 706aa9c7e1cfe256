"""The rows of a run of very many cases as lines of JSON, in which they travel (``harness.analysis.exchange``).

Not as Parquet: a few bytes of it unpack to gigabytes, and nothing says so before. Lines are counted and measured as
they come, hold columns that are known, of the type that each has, and are written anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from harness.analysis import case_files
from harness.analysis.case_table import COLUMNS, PREFIXES, SCHEMA_VERSION, VERSION_KEY, result_of, type_of
from harness.analysis.results import CaseTable, Status
from punktfunk.errors import ResultsError
from punktfunk.printable import printable

if TYPE_CHECKING:
    import pyarrow as pa

MEMBER: Final = "cases.jsonl"
MAX_ROWS: Final = 1 << 20
"""Cases: a scenario has 10^6 at most."""
MAX_COLUMNS: Final = 2000
MAX_NAME: Final = 200
MAX_LINE_BYTES: Final = 1 << 18
MAX_BYTES: Final = (2 << 30) - 1
"""Of all lines: 10^5 cases of 190 columns have 110 MB."""
MAX_TEXT: Final = 20_000
_TOGETHER: Final = 4096
_REQUIRED: Final = ("place", "id", "layer", "scenario", "protocol", "backend", "status", "seed")
_TOLD: Final = ("failed_checks", "unbalanced")
"""Columns that hold JSON of their own, where there is something to say."""


class WrongRowsError(ValueError):
    """What is wrong with the rows."""


def write(folder: Path, to: IO[bytes]) -> int:
    """Write the rows of a run's folder as lines and return how many there are; raise ResultsError for too many."""
    names = case_files.columns_of(folder)
    size = to.write(json.dumps(names).encode() + b"\n")
    rows = 0
    for part in case_files.batches(folder, names, _TOGETHER):
        columns = [
            part.column(name).to_pylist() if name in part.column_names else [None] * part.num_rows
            for name in names
        ]
        text = "".join(json.dumps(row) + "\n" for row in zip(*columns, strict=True))
        size += to.write(text.encode())
        rows += part.num_rows
        if rows > MAX_ROWS or size > MAX_BYTES:
            raise ResultsError(
                f"the run has more than {MAX_ROWS} cases, or more than {MAX_BYTES >> 20} MiB of them",
                "archive it in a data set",
            )
    return rows


def read(lines: IO[bytes], table: CaseTable, to: Path) -> None:
    """Write the file of rows that lines make; raise WrongRowsError where they are none of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = _names(_line(lines))
    schema = pa.schema(
        [pa.field(name, type_of(name)) for name in names],
        metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
    )
    seen: set[int] = set()
    try:
        with pq.ParquetWriter(to, schema, compression="zstd") as writer:
            for rows in _batches(lines, names, table, seen):
                columns = [
                    pa.array(values, type=field.type)
                    for values, field in zip(zip(*rows, strict=True), schema, strict=True)
                ]
                writer.write_table(pa.table(columns, schema=schema))
    except (pa.ArrowException, OverflowError) as error:
        raise WrongRowsError(f"its rows are none: {error}") from error
    if not seen:
        raise WrongRowsError("it has no rows")


def _line(lines: IO[bytes]) -> bytes:
    line = lines.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES:
        raise WrongRowsError(f"a row has more than {MAX_LINE_BYTES} bytes")
    return line


def _names(line: bytes) -> list[str]:
    names = _json(line)
    if (
        not isinstance(names, list)
        or not 0 < len(names) <= MAX_COLUMNS
        or len(set(map(str, names))) < len(names)
    ):
        raise WrongRowsError("its rows do not say their columns")
    for name in names:
        if (
            not isinstance(name, str)
            or len(name) > MAX_NAME
            or not (name in COLUMNS or name.startswith(PREFIXES))
        ):
            raise WrongRowsError(f"rows have no column {printable(str(name), 100)}")
    for name in _REQUIRED:
        if name not in names:
            raise WrongRowsError(f"its rows have no {name}")
    return names


def _batches(
    lines: IO[bytes], names: list[str], table: CaseTable, seen: set[int]
) -> Iterator[list[list[Any]]]:
    place = names.index("place")
    texts = [_is_text(type_of(name)) for name in names]
    held: list[list[Any]] = []
    while line := _line(lines):
        row = _json(line)
        if not isinstance(row, list) or len(row) != len(names):
            raise WrongRowsError("a row has not as many values as there are columns")
        for value, text, name in zip(row, texts, names, strict=True):
            if not (value is None or _fits(value, text=text)):
                raise WrongRowsError(f"a row has {printable(str(value), 60)} in {printable(name, 60)}")
        at = row[place]
        if type(at) is not int or not 0 <= at < min(table.asked, MAX_ROWS) or at in seen:
            raise WrongRowsError(
                f"a row is of case {printable(str(at), 20)}, of which there is none, or another"
            )
        _check(dict(zip(names, row, strict=True)))
        seen.add(at)
        held.append(row)
        if len(held) == _TOGETHER:
            yield held
            held = []
    if held:
        yield held


def _check(row: dict[str, Any]) -> None:
    """Raise WrongRowsError for a row of which no result can be made."""
    absent = [name for name in _REQUIRED if row[name] is None]
    if absent or row["status"] not in set(Status):
        raise WrongRowsError(f"a row has no {absent[0] if absent else 'status that there is'}")
    if all(row.get(name) is None for name in _TOLD):
        return
    try:
        result_of(row)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise WrongRowsError(f"a row says what did not hold in another way: {error!r}") from error


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind))


def _fits(value: object, *, text: bool) -> bool:
    if text:
        return isinstance(value, str) and len(value) <= MAX_TEXT
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WrongRowsError(f"a row is no JSON: {error}") from error
