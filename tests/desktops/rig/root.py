"""The root folder that tests run in: a Debian made by mmdebstrap, kept in the user's cache under its package list.

It is made beside its place and moved there when it is whole, so that a build that was killed is never used. Nothing
writes to it afterwards: tests see it read-only, with memory where they write.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from punktfunk.errors import CapabilityError, HarnessError, PrivilegeError
from punktfunk.terminal import say
from tests.desktops.rig.enter import ISOLATED
from tests.desktops.rig.packages import Suite

MOUNTS: Final = ("old", "out", "src", "venv")
"""Empty folders in the root, for what is mounted there."""
_KEPT_S: Final = 14 * 24 * 3600
"""A root of another package list that nobody has used for so long is removed when a new one is made."""
_TAIL: Final = 15
_PROGRAMS: Final = {
    **dict.fromkeys(("unshare", "pivot_root", "setpriv"), "util-linux"),
    "ip": "iproute2",
}
"""What a root is entered with, and the package of each."""


def cache_folder() -> Path:
    """Return where roots are kept (``XDG_CACHE_HOME`` or ``~/.cache``)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "punktfunk-lab" / "desktops"


def require_root() -> None:
    """Raise PrivilegeError for a user who may not mount, CapabilityError without what a root is entered with."""
    if os.geteuid() != 0:
        raise PrivilegeError(
            "a Debian in a root folder is for root alone to make and to enter",
            "run this as root (sudo -E nox -s ...), or in a container that lets root mount",
        )
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            raise CapabilityError(f"{program} is not installed", f"apt-get install {package}")


def prepare(suite: Suite, folder: Path | None = None, *, anew: bool = False) -> Path:
    """Return the suite's root, made now where there is none; ``anew`` makes it with today's packages.

    Raises PrivilegeError, CapabilityError without mmdebstrap and HarnessError with its last words when it fails.
    """
    require_root()
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        place = folder / suite.key
        if place.is_dir() and not anew:
            os.utime(place)
            return place
        for partial in folder.glob("*.partial"):
            remove(partial)
        building = folder / f"{suite.key}.partial"
        began = time.monotonic()
        say(
            f"root: making a Debian {suite.codename}, {len(suite.packages)} packages and what they need"
            f" ({suite.effort}, once) in {place}"
        )
        try:
            _build(suite, building)
        except BaseException:
            remove(building)
            raise
        if place.exists():
            remove(place)
        building.rename(place)
        _forget_old(folder, place)
        say(f"root: it is ready after {time.monotonic() - began:.0f} s")
        return place


def remove(root: Path) -> None:
    """Remove a root, and never what is mounted in it."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(root)], check=True)


def _build(suite: Suite, building: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise CapabilityError(
            "a root of Debian is made by mmdebstrap, which is not installed",
            "apt-get install mmdebstrap (Fedora, Arch: the package of that name, and debian-archive-keyring)",
        )
    without = ("doc", "man", "locale", "info", "help")
    command = [
        # mmdebstrap mounts /proc, /sys and /dev in what it builds, which vanish with its namespaces.
        *ISOLATED,
        *("mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory"),
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in without),
        "--dpkgopt=force-unsafe-io",
        *suite.options,
        f"--include={','.join(suite.packages)}",
        *(suite.codename, str(building)),
    ]
    last: collections.deque[str] = collections.deque(maxlen=_TAIL)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as process:  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last.append(line.rstrip())
                if line.startswith("I:"):
                    say(f"root: {line[2:].strip()}")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise HarnessError(
            f"mmdebstrap ended with {process.returncode}: {' / '.join(last)}",
            "is there a network, and does apt-get update pass here?",
        )
    for name in MOUNTS:
        (building / name).mkdir(exist_ok=True)
    # A user as people are: some programs behave otherwise for root.
    with (building / "etc" / "passwd").open("a") as users:
        users.write("u:x:1000:1000::/tmp:/bin/sh\n")


def _forget_old(folder: Path, keep: Path) -> None:
    for other in folder.iterdir():
        if other.is_dir() and other != keep and time.time() - other.stat().st_mtime > _KEPT_S:
            remove(other)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep others from building meanwhile; the kernel lets go of it however this process ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
