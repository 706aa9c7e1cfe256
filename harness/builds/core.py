"""The compiled core of a build: compiled once for equal sources, compiler and options, whatever the commits are."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from harness.builds import program
from harness.builds.cache import Cache
from punktfunk.errors import BuildError, BuildTooOldError, CapabilityError

MODULE: Final = "_core.abi3.so"
FOLDER: Final = Path("punktfunk") / "core"
_COMPILED: Final = {".rs", ".toml", ".lock", ".c", ".h"}
_NOT_COMPILED: Final = {"tests", "benches", "fuzz", "include", "target"}
"""Folders of the crate that its library is not made of."""
_OPTIONS: Final = ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CFLAGS", "CC", "RUSTUP_TOOLCHAIN")
_PROFILE: Final = "CARGO_PROFILE_"


def digest_of(source: Path, compiler: str) -> str:
    """Return the name of the core that these sources make; ``compiler`` is what rustc says of itself."""
    digest = hashlib.sha256(compiler.encode())
    for name in sorted(os.environ):
        if name in _OPTIONS or name.startswith(_PROFILE):
            digest.update(f"{name}={os.environ[name]}\0".encode())
    try:
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildTooOldError(f"it has no pyproject.toml that can be read: {error}") from error
    digest.update(repr((project.get("build-system"), project.get("tool", {}).get("maturin"))).encode())
    root = source / FOLDER
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.suffix in _COMPILED and not _NOT_COMPILED.intersection(parts[:1]) and path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root)} {len(content)} ".encode() + content)
    return digest.hexdigest()


@cache
def compiler() -> str:
    """Return what rustc says of itself; "" where there is none, so that only a core that is kept can be used."""
    try:
        return subprocess.run(
            ["rustc", "--version", "--verbose"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def compiled(source: Path, cache: Cache, note: Callable[[str], None]) -> Path:
    """Return the compiled module of a tree of sources, compiling it where no equal one is kept; hold the cache's lock.

    Raises BuildTooOldError for a tree without a core, CapabilityError without cargo, BuildError with the compiler's
    words.
    """
    if not (source / FOLDER / "Cargo.toml").is_file():
        raise BuildTooOldError("it has no protocol core", "take a later revision")
    rustc = compiler()
    name = digest_of(source, rustc)[:32]
    kept = cache.entry("cores", name) / MODULE
    if kept.is_file():
        return kept
    if not rustc or shutil.which("cargo") is None:
        raise CapabilityError(
            "its core has to be compiled, and this machine has no cargo",
            "install Rust 1.89 or newer (https://rustup.rs, or your distribution's packages)",
        )
    note("compiling the core (a minute or two; not again for these sources)")
    place = cache.root / "compiling"
    shutil.rmtree(place / "source", ignore_errors=True)
    shutil.rmtree(place / "wheel", ignore_errors=True)
    # Always at one place and with the times of now: cargo then uses the dependencies that it has compiled, and
    # nothing of another build's crates.
    shutil.copytree(source, place / "source", copy_function=shutil.copyfile)
    program.run(
        _command(place / "wheel"),
        "compiling the core",
        cwd=place / "source",
        env={"CARGO_TARGET_DIR": str(place / "target"), "PATH": _path()},
        log=cache.log(f"core-{name}"),
        note=note,
    )
    with cache.making("cores", name) as new:
        (new / MODULE).write_bytes(_module_in(place / "wheel"))
    return kept


def _command(out: Path) -> list[str]:
    if importlib.util.find_spec("maturin"):
        return program.python("-m", "maturin", "build", "--release", "--locked", "--out", str(out))
    return program.python(
        "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps", "--wheel-dir", str(out), "."
    )


def _path() -> str:
    """Return PATH with the programs of this environment first: maturin is one of them."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _module_in(folder: Path) -> bytes:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) == 1:
        with zipfile.ZipFile(wheels[0]) as files:
            for name in files.namelist():
                if name == str(FOLDER / MODULE):
                    return files.read(name)
    raise BuildError(f"what was built holds no {FOLDER / MODULE}")
