"""The folder that keeps builds, compiled cores and environments of dependencies from one comparison to the next.

::

    builds/<kind>-<key>/        a build: ``source`` (its packages, its core) and ``env``, a virtual environment
    cores/<digest>/             a compiled core, by a digest of its sources, the compiler and its options
    dependencies/<digest>/      an environment with the versions that a build pins, where this one has others
    compiling/                  the sources that are compiled now, always in one place, and cargo's target folder
    logs/                       all that the compiler and pip said
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from punktfunk.errors import BuildError

KEPT: Final = {"builds": 40, "cores": 24, "dependencies": 4, "logs": 100}
"""How many of each are kept, the least recently used go first: a build has 10 MB, an environment some 500 MB."""


def default_folder() -> Path:
    """Return where builds are kept when nothing else is said."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "punktfunk-lab"


class Cache:
    """The folder, with one process at a time that changes it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entry(self, shelf: str, name: str) -> Path:
        """Return the place of an entry, used now or to be made."""
        place = self.root / shelf / name
        with contextlib.suppress(
            OSError
        ):  # there is none, or it may not be changed: then it is as old as it was
            os.utime(place)
        return place

    @contextmanager
    def making(self, shelf: str, name: str) -> Iterator[Path]:
        """Give a new folder that becomes the entry when the block ends, and is removed when it raises."""
        place = self.root / shelf / name
        new = place.with_name(f".{name}.{os.getpid()}.part")
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            yield new
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)
        except OSError as error:
            raise BuildError(
                f"a build cannot be written below {self.root}: {error.strerror or error}",
                "free some space, or choose another folder with --cache",
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from building meanwhile; wait for one that does."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BuildError(
                f"builds cannot be kept in {self.root}: {error.strerror or error}",
                "choose another folder with --cache",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def log(self, name: str) -> Path:
        """Return a new file for what a program says while it builds."""
        folder = self.root / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{name[:60]}.log"

    def forget(self) -> None:
        """Remove what was not used for longest, beyond what is kept, and what killed builds left; hold the lock."""
        for shelf, kept in KEPT.items():
            folder = self.root / shelf
            if not folder.is_dir():
                continue
            entries = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            whole = [path for path in entries if not path.name.endswith(".part")]
            for path in [*(path for path in entries if path not in whole), *whole[kept:]]:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
