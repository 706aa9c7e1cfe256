"""The private folder of a session: its sockets, its log, and the note of what else it left in the file system."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "punktfunk-session-"
_LOCK: Final = "lock"
_X11: Final = "x11-files"
_LONGEST_BASE: Final = 60
"""A socket's path has 107 bytes at most, and the names below the folder want some of them."""


class RuntimeFolder:
    """A folder for one session (mode 0700), locked while its owner lives.

    Folders whose owner has died without clearing up go when the next one is made, and what they tell of.
    """

    def __init__(self) -> None:
        base = _base()
        sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Take the folder away, and what a compositor that was killed left elsewhere."""
        remove(self.path)
        os.close(self._lock)


def note_x_display(folder: Path, display: str) -> None:
    """Remember which files in /tmp belong to a session's X display such as ``:0``."""
    with contextlib.suppress(OSError, ValueError), (folder / _X11).open("w") as note:
        for path in _x_files(int(display.removeprefix(":"))):
            note.write(f"{path.lstat().st_ino} {path}\n")


def remove(folder: Path) -> None:
    """Remove a session's folder, and its X display's files where they are still the same ones."""
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / _X11).read_text().splitlines():
            inode, _, name = line.partition(" ")
            with contextlib.suppress(OSError):
                if Path(name).lstat().st_ino == int(inode):
                    Path(name).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def sweep(base: Path) -> None:
    """Remove the folders of sessions whose owner is dead."""
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(folder)
            finally:
                os.close(lock)


def _x_files(number: int) -> Iterator[Path]:
    yield Path(f"/tmp/.X{number}-lock")  # noqa: S108 - where X servers put them
    yield Path(f"/tmp/.X11-unix/X{number}")  # noqa: S108 - as above


def _base() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.access(given, os.W_OK) and len(given) < _LONGEST_BASE:
        return Path(given)
    return Path(tempfile.gettempdir())
