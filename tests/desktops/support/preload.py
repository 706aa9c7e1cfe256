"""Stand-ins for hardware that machines of CI lack: libraries for LD_PRELOAD, compiled once a run."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path


@functools.cache
def library(name: str) -> Path:
    """Return the compiled library of ``name``.c in this folder."""
    made = Path(tempfile.mkdtemp(prefix=f"{name}-")) / f"{name}.so"
    flags = ("-shared", "-fPIC", "-Wall", "-I/usr/include/libdrm")
    compiler = shutil.which("tcc") or "gcc"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, *flags, "-o", str(made), str(source)], check=True)
    return made
