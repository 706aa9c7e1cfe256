"""What a stream worker leaves behind: ``records.npz``, ``decoded.npz`` and ``stats.json`` in a folder.

Every file is written beside its place and renamed, so that a reader sees a whole file or none. NumPy is loaded when a
stream is over and has something to leave: most workers never need it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from punktfunk.errors import ResultsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

_VALUE_BYTES = 8

MAX_ROWS = 1 << 21
"""Frames that a recording keeps until the stream is over: 9.7 hours at 60 a second, 300 MB of records."""


class RecordStore:
    """Collect the frame records of a stream, which come in pieces of little-endian int64 columns.

    It keeps the first ``limit`` of them, for their number is the peer's to choose.
    """

    def __init__(self, limit: int = MAX_ROWS) -> None:
        self.left_out = 0
        """Records beyond the limit."""
        self._limit = limit
        self._rows = 0
        self._pieces: dict[str, list[bytes]] = defaultdict(list)

    def add(self, records: Mapping[str, bytes]) -> None:
        """Keep one piece, as ``take_records`` returns it."""
        rows = max((len(column) for column in records.values()), default=0) // _VALUE_BYTES
        kept = min(rows, self._limit - self._rows)
        self.left_out += rows - kept
        self._rows += kept
        if kept:
            for name, column in records.items():
                self._pieces[name].append(column[: kept * _VALUE_BYTES])

    def columns(self) -> dict[str, NDArray[np.int64]]:
        """Return all records, int64 columns of one length, -1 for what does not exist."""
        import numpy as np

        return {name: np.frombuffer(b"".join(pieces), "<i8") for name, pieces in self._pieces.items()}


def write_columns(folder: Path, name: str, columns: Columns) -> Path:
    """Write ``name`` (an ``.npz`` file of one array a column); raise ``ResultsError`` when that fails."""
    import numpy as np

    path = folder / name
    temporary = path.with_name(f".{name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, **columns)  # type: ignore[arg-type]  # numpy types keywords as its own options
        temporary.replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    return path


def write_stats(folder: Path, name: str, stats: Mapping[str, Any]) -> Path:
    """Write ``name`` (JSON); raise ``ResultsError`` when that fails."""
    path = folder / name
    temporary = path.with_name(f".{name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(stats, indent=2, sort_keys=True) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    return path


def _failed(path: Path, error: OSError) -> ResultsError:
    return ResultsError(
        f"{path} cannot be written: {error.strerror or error}",
        "free space on that disk or name another folder",
    )
