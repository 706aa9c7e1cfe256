"""The project's wheel, built once for one state of what goes into it: most of the time is the compiler's."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BESIDE = (
    *("pyproject.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "LICENSE-THIRD-PARTY"),
    "docs/reference/punktfunk-core.cdx.json",
)
"""What goes into a wheel beside its two packages."""


def build(source: Path, out: Path, *options: str, env: Mapping[str, str] | None = None) -> Path:
    """Build the wheel of a source tree into the new folder ``out`` and return it; ``options`` are maturin's."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "maturin",
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--out",
            str(out),
            *options,
        ],
        cwd=source,
        env=None if env is None else {**os.environ, **env},
        check=True,
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def built_wheel() -> Path:
    """Return the wheel, building it where there is none of this state; needs cargo then."""
    kept = ROOT / ".nox" / "wheel" / _digest()
    if not kept.is_dir():
        shutil.rmtree(kept.parent, ignore_errors=True)
        kept.parent.mkdir(parents=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            build(ROOT, Path(folder) / "made").parent.rename(kept)
    (found,) = kept.glob("*.whl")
    return found


def _digest() -> str:
    """Return what decides about the wheel: every file that may go into it, the tool and this Python."""
    digest = hashlib.sha256(f"{sys.version} {importlib.metadata.version('maturin')}".encode())
    roots = [ROOT / name for name in _BESIDE]
    for folder in ("punktfunk", "harness"):
        roots += sorted(path for path in (ROOT / folder).rglob("*") if path.is_file())
    for path in roots:
        if not {"target", "__pycache__"} & set(path.parts) and path.suffix != ".so":
            content = path.read_bytes()
            digest.update(f"{path.relative_to(ROOT)} {len(content)} ".encode() + content)
    return digest.hexdigest()
