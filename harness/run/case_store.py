"""The results of very many cases on disk: parts that appear whole, one for each group of cases that has ended.

::

    reports/<run id>/cases/about.json          what the rows belong to: number and digest of the cases, and of the code
    reports/<run id>/cases/00000120-….parquet  a part: results of the cases of a group, durable before it is reported
    reports/<run id>/cases.parquet             all of them, once the run has ended

A case stands in one row, whoever delivered its result again: :meth:`CaseStore.add` keeps the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.analysis.case_files import PARTS, WHOLE, part_files, read_part, schema_of
from harness.analysis.case_table import SCHEMA_VERSION
from harness.run.store import FINAL, RunFolder, read_json
from harness.run.whole_files import cannot, write_atomically
from punktfunk.errors import ResultsError

if TYPE_CHECKING:
    import pyarrow as pa

_ABOUT: Final = "about.json"
_ROWS_TOGETHER: Final = 10_000
_GONE: Final = "start a new run with the scenario files"


class CaseStore:
    """The rows of one run. Methods that write raise ResultsError when they cannot."""

    def __init__(self, folder: RunFolder, cases: int, digest: str, code: str) -> None:
        """Open the store of a run, or make it; raise ResultsError where rows of other cases or other code are in it."""
        self._folder = folder.path
        self._parts = self._folder / PARTS
        self._ended = bytearray(cases)
        about = {"schema_version": SCHEMA_VERSION, "cases": cases, "digest": digest, "code": code}
        try:
            self._parts.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot("make", self._parts, error) from error
        if not (self._parts / _ABOUT).is_file():
            write_atomically(self._parts / _ABOUT, json.dumps(about, indent=2) + "\n")
            return
        earlier = read_json(self._parts / _ABOUT)
        if not isinstance(earlier, dict) or earlier.get("digest") != digest or earlier.get("cases") != cases:
            raise ResultsError(
                "the scenario has changed since this run began: its rows are of other cases", _GONE
            )
        if earlier.get("code") != code:
            raise ResultsError(
                "this run was begun with another version of punktfunk, and a table holds results of one",
                f"go on with that version, or {_GONE}",
            )
        self._reopen()

    @property
    def ended(self) -> int:
        """Cases that have a row."""
        return self._ended.count(1)

    def waiting(self) -> Iterator[int]:
        """Yield the places of the cases that have no row, in order, as they are when asked."""
        place = self._ended.find(0)
        while place >= 0:
            yield place
            place = self._ended.find(0, place + 1)

    def add(self, table: pa.Table) -> pa.Table:
        """Keep the rows of cases that have none yet, durably, and return them."""
        import pyarrow as pa

        places = table.column("place").to_pylist()
        if not all(0 <= place < len(self._ended) for place in places) or len(set(places)) < len(places):
            raise ResultsError("results that belong to no case of this run", _GONE)
        new = pa.array([not self._ended[place] for place in places])
        table = table.filter(new)
        if table.num_rows:
            name = f"{min(places):08d}-{secrets.token_hex(4)}.parquet"
            _write(self._parts / name, table)
            for place in table.column("place").to_pylist():
                self._ended[place] = 1
        return table

    def finish(self) -> Path:
        """Make one file of all parts, part by part, and return its path; the parts stay when that fails."""
        import pyarrow.parquet as pq

        whole = self._folder / WHOLE
        parts = part_files(self._folder)
        if not parts:
            return whole
        schema = schema_of(parts)
        beside = whole.with_name(f".{WHOLE}.{os.getpid()}.part")
        try:
            with pq.ParquetWriter(beside, schema, compression="zstd") as writer:
                for many in _together(parts, schema):
                    writer.write_table(many)
            _durable(beside)
            beside.replace(whole)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise cannot("write", whole, error) from error
        for part in parts:
            if part != whole:
                part.unlink(missing_ok=True)
        return whole

    def _reopen(self) -> None:
        """Take over the rows that need not be made again; what ended as a fault is let go."""
        import pyarrow as pa

        final = [str(status) for status in FINAL]
        for part in part_files(self._folder):
            table = read_part(part)
            kept = [
                status in final and not self._ended[place]
                for place, status in zip(
                    table.column("place").to_pylist(), table.column("status").to_pylist(), strict=True
                )
            ]
            for place, keep in zip(table.column("place").to_pylist(), kept, strict=True):
                if keep:
                    self._ended[place] = 1
            if not all(kept):
                if any(kept):
                    _write(part, table.filter(pa.array(kept)))
                else:
                    part.unlink(missing_ok=True)
        whole = self._folder / WHOLE
        if whole.is_file():
            # Rows are added in parts; the file of all is made anew at the end.
            try:
                whole.replace(self._parts / f"{0:08d}-{secrets.token_hex(4)}.parquet")
            except OSError as error:
                raise cannot("move", whole, error) from error


def _together(parts: Sequence[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of many small parts as fewer large tables, which take less room and are read faster."""
    import pyarrow as pa

    held: list[pa.Table] = []
    for part in parts:
        held.append(_as(read_part(part), schema))
        if sum(table.num_rows for table in held) >= _ROWS_TOGETHER:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    if table.schema.equals(schema):
        return table
    there = set(table.column_names)  # which pyarrow makes anew each time that it is asked
    columns = [
        table.column(field.name) if field.name in there else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _write(path: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # A part has few rows in many columns: dictionaries and statistics would cost more than the values.
        pq.write_table(table, beside, compression="zstd", use_dictionary=False, write_statistics=False)
        _durable(beside)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise cannot("write", path, error) from error


def _durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
