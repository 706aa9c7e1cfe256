"""The stand-in for /dev/udmabuf of machines that have neither it nor a graphics card: given to gamescope alone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from tests.desktops.support.preload import library

_GAMESCOPE: Final = "/usr/games/gamescope"


def gamescope_in(folder: Path) -> str:
    """Make a program ``gamescope`` in a folder, which has what it needs of a machine; return PATH's first entry.

    What runs in gamescope has the library as well, and no use for it.
    """
    folder.mkdir(exist_ok=True)
    program = folder / "gamescope"
    program.write_text(
        f'#!/bin/sh\nexport LD_PRELOAD={shlex.quote(str(library("udmabuf")))}\nexec {_GAMESCOPE} "$@"\n'
    )
    program.chmod(0o755)
    return str(folder)
