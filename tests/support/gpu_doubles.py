"""Libraries that a GPU would bring, for tests where there is none: compiled once a run, and found by their paths.

They stand at the border of the library: what loads and asks them is the real code, by their real names.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent
_CUDA = "int cuInit(unsigned f){return 0;} int cuDeviceGetCount(int *n){*n = 1; return 0;}"


@functools.cache
def _folder() -> Path:
    made = tempfile.mkdtemp(prefix="gpu-doubles-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def _compiled(name: str, source: str, *flags: str) -> Path:
    made = _folder() / name
    subprocess.run(
        [shutil.which("cc") or "gcc", "-shared", "-fPIC", "-O0", *flags, "-x", "c", "-", "-o", str(made)],
        input=source,
        text=True,
        check=True,
    )
    return made


@functools.cache
def libva() -> tuple[str, str]:
    """Return libva and libva-drm; see ``libva_double.c`` for what a render node is to them."""
    source = (_HERE / "libva_double.c").read_text()
    return str(_compiled("libva.so.2", source)), str(_compiled("libva-drm.so.2", source, "-DDRM"))


@functools.cache
def _nvidia() -> Path:
    _compiled("libcuda.so.1", _CUDA)
    _compiled("libnvidia-encode.so.1", "int nothing;")
    shutil.copy(_HERE / "nvidia_double.py", _folder() / "PyNvVideoCodec.py")
    return _folder()


def with_nvidia(wrong: str = "") -> dict[str, str]:
    """Return the environment in which a process finds an NVIDIA GPU; ``nvidia_double.py`` has what is ``wrong``."""
    folder = str(_nvidia())
    paths = {name: os.environ.get(name) for name in ("LD_LIBRARY_PATH", "PYTHONPATH")}
    return {
        **{name: os.pathsep.join(filter(None, (folder, path))) for name, path in paths.items()},
        "NVENC_DOUBLE": wrong,
    }


def nvidia_is_here() -> bool:
    """Return whether this machine has NVIDIA's own driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
