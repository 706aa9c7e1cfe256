"""Read a file that somebody named: a regular one, of bounded size. FIFOs hold nobody up, devices fill no memory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path


class UnfitFileError(OSError):
    """A file is not what is read here; ``strerror`` says why, as for any other file that cannot be read."""

    def __init__(self, why: str, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, why, str(path))


def read_regular(
    path: str | os.PathLike[str],
    limit: int,
    *,
    folder: int | None = None,
    follow: bool = True,
    judge: Callable[[os.stat_result], None] = lambda _found: None,
) -> bytes:
    """Return what is in a regular file of at most ``limit`` bytes.

    ``path`` may be relative to the descriptor ``folder``; with ``follow`` off a link is no file. ``judge`` sees the
    opened file before anything is read of it, so that what is read is what was judged, and raises what it wants.
    Raises ``OSError``, of which ``UnfitFileError`` is one.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags, dir_fd=folder)
    except ValueError as error:  # a NUL or a lone surrogate: no file has such a name
        raise UnfitFileError("no file can have that name", repr(path)) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnfitFileError("it is no regular file", path)
        judge(found)
        if found.st_size > limit:
            raise UnfitFileError(f"it has {found.st_size} bytes, more than {limit}", path)
        content = bytearray()
        # Files of procfs say that they are empty, and a file may grow meanwhile.
        while part := os.read(descriptor, limit + 1 - len(content)):
            content += part
        if len(content) > limit:
            raise UnfitFileError(f"it has more than {limit} bytes", path)
    finally:
        os.close(descriptor)
    return bytes(content)


def read_text(path: Path, limit: int) -> str:
    """Return a regular file's text; raise ``OSError``, also where it is not UTF-8."""
    try:
        return read_regular(path, limit).decode()
    except UnicodeDecodeError as error:
        raise UnfitFileError("it is not UTF-8 text", path) from error
