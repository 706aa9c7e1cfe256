"""Frame records: one row a frame, from capture to the picture, kept as Parquet.

Host and client each keep a table (``take_records`` of the core's streams), the decoder a third; :func:`join`
puts them side by side on the frame index. In memory a table is a dict of equally long arrays, int64 with -1
for what does not exist (``psnr`` and ``ssim``: float64 with nan); in the file it is null.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from punktfunk.errors import ResultsError
from punktfunk.regular_file import UnfitFileError

Records: TypeAlias = dict[str, NDArray[Any]]

NULL: Final = -1
SCHEMA_VERSION: Final = 1
MAX_FRAMES: Final = 1 << 22
"""Of a file: 19 hours at 60 a second, twice what a recording keeps."""
VERSION_KEY: Final = b"punktfunk.schema_version"
"""Of the metadata of every Parquet file of results."""
_META_KEY: Final = b"punktfunk.metadata"

STAMPS: Final = (
    "captured_ns",
    "converted_ns",
    "encode_begin_ns",
    "encode_end_ns",
    "sealed_ns",
    "sent_first_ns",
    "sent_last_ns",
    "recv_first_ns",
    "recv_last_ns",
    "complete_ns",
    "released_ns",
    "decode_end_ns",
    "presented_ns",
)
"""Stage stamps, CLOCK_MONOTONIC ns (virtual ns in ``sim``), in the order in which a frame meets them."""

SHARED: Final = ("pts_ns", "flags", "bytes", "k", "m", "blocks")
"""Columns that both ends know; the host's word counts where it has one."""

COLUMNS: Final = (
    "index",
    *SHARED,
    "packets",
    "packets_sent",
    "host_status",  # 0 sent, 1 dropped from the sender's queue
    "packets_received",
    "data_missing",
    "recovered",
    "duplicates",
    "late",
    "client_status",  # 0 complete, 1 unrecoverable, 2 expired; null: the client never heard of it
    "decodable",
    *STAMPS,
    "strip_frame",
    "strip_time_us",
    "strip_tag",
    "psnr",
    "ssim",
)
"""Every column of a joined table. A stage that does not exist is a column of nulls."""

_CLIENT: Final = frozenset(COLUMNS[COLUMNS.index("packets_received") : COLUMNS.index("decodable") + 1]) | {
    "recv_first_ns",
    "recv_last_ns",
    "complete_ns",
    "released_ns",
}
"""Columns of a simulation's table that are the client's."""

_FLOATS: Final = frozenset({"psnr", "ssim"})
_STATUS: Final = {"host": "host_status", "client": "client_status"}


def from_core(table: Mapping[str, bytes | ArrayLike]) -> Records:
    """Turn a table of the core (column → bytes of little-endian int64) or of an ``.npz`` file into arrays."""
    records: Records = {}
    for name, column in table.items():
        if isinstance(column, bytes | bytearray | memoryview):
            records[name] = np.frombuffer(column, dtype="<i8").astype(np.int64)
        else:
            records[name] = np.asarray(column, dtype=np.float64 if name in _FLOATS else np.int64)
    lengths = {column.size for column in records.values()}
    if len(lengths) > 1:
        raise ResultsError(f"frame records whose columns differ in length: {sorted(lengths)}")
    return records


def empty(rows: int) -> Records:
    """Return a joined table of ``rows`` frames of which nothing is known."""
    return {
        name: np.full(rows, np.nan) if name in _FLOATS else np.full(rows, NULL, dtype=np.int64)
        for name in COLUMNS
    }


def join(
    host: Mapping[str, bytes | ArrayLike] | None = None,
    client: Mapping[str, bytes | ArrayLike] | None = None,
    decoded: Mapping[str, bytes | ArrayLike] | None = None,
) -> Records:
    """Join the tables of host, client and decoder on ``index``, in the order of the index.

    ``status`` becomes ``host_status`` and ``client_status``. A frame that one side never heard of has that
    side's columns null. Raises :class:`ResultsError` when an index stands twice in one table.
    """
    sides = {
        name: from_core(table)
        for name, table in (("decoded", decoded), ("client", client), ("host", host))
        if table is not None and len(table) > 0
    }
    indices = [table["index"] for table in sides.values()]
    every = np.unique(np.concatenate(indices)) if indices else np.empty(0, dtype=np.int64)
    joined = empty(every.size)
    joined["index"] = every
    for side, table in sides.items():
        if np.unique(table["index"]).size != table["index"].size:
            raise ResultsError(f"the {side}'s records hold a frame twice")
        rows = np.searchsorted(every, table["index"])
        for name, column in table.items():
            target = _STATUS.get(side, name) if name == "status" else name
            if target == "index" or target not in joined:
                continue
            known = ~np.isnan(column) if target in _FLOATS else column != NULL
            joined[target][rows[known]] = column[known]
    return joined


def split_sim(table: Mapping[str, bytes | ArrayLike]) -> tuple[Records, Records]:
    """Return the columns of host and client from a simulation's table, whose ``status`` is the client's."""
    both = from_core(table)
    both["client_status"] = both.pop("status")
    client = {name: column for name, column in both.items() if name in _CLIENT or name == "index"}
    return {name: column for name, column in both.items() if name not in _CLIENT}, client


def load_npz(path: Path) -> Records:
    """Read a table that a worker left as ``.npz``; raise :class:`ResultsError` when it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return from_core({name: file[name] for name in file.files})
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ResultsError(f"frame records {path.name} cannot be read: {error}") from error


def write(path: Path, records: Records, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a table as Parquet with its schema version; ``metadata`` is kept beside it as JSON.

    The file appears whole or not at all. Raises :class:`ResultsError` when it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name, column in records.items():
        absent = np.isnan(column) if name in _FLOATS else column == NULL
        columns[name] = pa.array(column, mask=absent)
    table = pa.table(columns).replace_schema_metadata(
        {VERSION_KEY: str(SCHEMA_VERSION).encode(), _META_KEY: json.dumps(dict(metadata or {})).encode()}
    )
    partial = path.with_name(path.name + ".part")
    try:
        pq.write_table(table, partial, compression="zstd")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ResultsError(
            f"frame records {path.name} could not be written: {error.strerror or error}",
            "check free space and permissions of the report folder",
        ) from error


def read(path: Path, columns: Collection[str] = COLUMNS) -> tuple[Records, dict[str, Any]]:
    """Read a table and its metadata; columns that an older version did not have are null.

    Only ``columns`` are read, the others are null too. Raises :class:`ResultsError` for what is no frame record
    file, one of a later version, or one with more than :data:`MAX_FRAMES` rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_file():
            raise UnfitFileError("it is no regular file", path)
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            meta = _metadata(path, schema.metadata or {})
            if rows > MAX_FRAMES:
                raise ResultsError(f"frame records {path.name} have {rows} frames, more than {MAX_FRAMES}")
            known = [field for field in schema if field.name in COLUMNS and field.name in columns]
            for field in known:
                if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
                    raise ResultsError(f"frame records {path.name} hold no numbers in {field.name}")
            table = file.read(columns=[field.name for field in known])
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(
            f"frame records {path.name} cannot be read: {error}", "run the case again, or leave it out"
        ) from error
    records = empty(table.num_rows)
    for name in table.column_names:
        column = table.column(name)
        if name in _FLOATS:
            records[name] = column.to_numpy().astype(np.float64)
        else:
            records[name] = column.fill_null(NULL).to_numpy().astype(np.int64)
    return records, meta


def _metadata(path: Path, found: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Return what was kept beside a table of a version that this one reads."""
    try:
        version = int(found.get(VERSION_KEY, b"0"))
        kept = json.loads(found.get(_META_KEY, b"{}"))
    except ValueError as error:
        raise ResultsError(f"frame records {path.name} cannot be read: {error}") from error
    if not 1 <= version <= SCHEMA_VERSION:
        raise ResultsError(
            f"frame records {path.name} have schema version {version or 'none'}, not 1 to {SCHEMA_VERSION}"
        )
    return kept if isinstance(kept, dict) else {}


def concatenate(tables: Sequence[Records]) -> Records:
    """Stack joined tables (several seeds of one case); indices repeat."""
    return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]} if tables else empty(0)
