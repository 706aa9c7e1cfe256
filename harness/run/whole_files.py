"""Files that appear whole or not at all, and whose errors say what to do.

Not here: what a run's folder has in it (``harness.run.store``).
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from punktfunk.errors import ResultsError


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all, and durably; raise ResultsError that says what to do."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes likewise."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        # On a read-only or vanished folder there is nothing to take away.
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise cannot("write", path, error) from error


_HINTS = {
    errno.ENOSPC: "the disk is full: free some space, then go on with --resume",
    errno.EDQUOT: "the quota is used up: free some space, then go on with --resume",
    errno.EROFS: "the file system is read-only: choose another folder with --out",
    errno.EACCES: "the folder may not be written: choose another with --out",
    errno.EPERM: "the folder may not be written: choose another with --out",
    errno.ENOTDIR: "a file stands where the folder should be: choose another with --out",
}


def cannot(what: str, path: Path, error: OSError) -> ResultsError:
    hint = _HINTS.get(error.errno or 0, "what was finished before is kept")
    return ResultsError(f"cannot {what} {path}: {error.strerror or error}", hint)
