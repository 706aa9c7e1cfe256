"""The stand-in for a DRM node of machines that have none: compiled once a run, given to KWin alone (see ``vgem.c``)."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("vgem.c")


@functools.cache
def library() -> Path:
    """Return the compiled library."""
    made = Path(tempfile.mkdtemp(prefix="vgem-")) / "vgem.so"
    flags = ("-shared", "-fPIC", "-Wall", "-I/usr/include/libdrm")
    compiler = shutil.which("tcc") or "gcc"
    subprocess.run([compiler, *flags, "-o", str(made), str(SOURCE)], check=True)
    return made


def with_graphics() -> dict[str, str]:
    """Return what a compositor needs in its environment to render by OpenGL on no graphics card.

    Its clients must not have it: they would each have a node of their own.
    """
    return {"LD_PRELOAD": str(library()), "GBM_ALWAYS_SOFTWARE": "1", "LIBGL_ALWAYS_SOFTWARE": "1"}
