"""Build the two files of a release, so that whoever builds the same commit with the same tools gets the same bytes.

The source archive is made of what is committed, and the wheel of the source archive, which is thereby known to be
complete. Paths of this machine, which the compiler writes into the module beside every panic, are replaced.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from punktfunk.errors import CapabilityError, CheckFailedError, HarnessError
from tests.packaging.release.crates import MANIFEST, compiled_in
from tests.packaging.release.folder import Origin
from tests.support import wheel
from tests.support.wheel import ROOT

MANYLINUX: Final = "manylinux_2_34"
"""glibc 2.34 or newer (ADR 0208). maturin reads the module's symbols, and fails where one is of a newer glibc."""


@dataclass(frozen=True, slots=True)
class Built:
    """The files of a release."""

    wheel: Path
    source: Path
    tree: Path
    """The commit's own files, of which they are made."""


def origin() -> Origin:
    """Return where a release of this clone comes from: the commit that is checked out, and this machine's compiler.

    Raises HarnessError where this is no clone, CapabilityError where the compiler does not say what is in its library.
    """
    commit, seconds = _git("log", "-1", "--format=%H %ct").split()
    verbose = _told("rustc", "--version", "--verbose")
    said = dict(line.split(": ", 1) for line in verbose.splitlines() if ": " in line)
    sysroot = Path(_told("rustc", "--print", "sysroot").strip())
    page = sysroot / "share" / "doc" / "rust" / "COPYRIGHT-library.html"
    if not page.is_file():
        raise CapabilityError(
            f"this Rust does not say what its standard library contains: there is no {page}",
            "build a release with a toolchain of rustup, which has that page",
        )
    return Origin(commit, datetime.fromtimestamp(int(seconds), UTC), said["release"], page)


def uncommitted() -> list[str]:
    """Return what differs from the commit in this clone, as git names it; no release contains it."""
    return _git("status", "--porcelain").splitlines()


def build(origin: Origin, folder: Path, cargo_home: Path | None = None) -> Built:
    """Build that commit in ``folder``, where what was compiled before is used again, and return the files.

    ``cargo_home`` is where cargo has its sources, other than where it has them anyway.
    """
    for name in ("source", "archive", "unpacked", "wheel"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    exported = folder / "source.tar"
    _git("archive", "--format=tar", f"--output={exported}", origin.commit)
    shutil.unpack_archive(exported, folder / "source")
    time = {"SOURCE_DATE_EPOCH": str(int(origin.made.timestamp()))}
    source = archive(folder / "source", folder / "archive", env=time)
    shutil.unpack_archive(source, folder / "unpacked")
    (tree,) = (folder / "unpacked").iterdir()
    home = {} if cargo_home is None else {"CARGO_HOME": str(cargo_home)}
    registries = {crate.folder.parent for crate in compiled_in(tree / MANIFEST, home) if not crate.ours}
    target = folder / "target"
    named = {tree: "/punktfunk", target: "/target"} | dict.fromkeys(sorted(registries), "/crates")
    # Of what is stripped, too: the module's build ID is a sum over all that the linker was given.
    env = {
        **time,
        **home,
        "CARGO_TARGET_DIR": str(target),
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(
            f"--remap-path-prefix={path}={name}" for path, name in named.items()
        ),
        "CFLAGS": shlex.join(f"-ffile-prefix-map={path}={name}" for path, name in named.items()),
        "CC_SHELL_ESCAPED_FLAGS": "1",
    }
    options = ("--compatibility", MANYLINUX, "--auditwheel", "check")
    try:
        made = wheel.build(tree, folder / "wheel", *options, env=env)
    except subprocess.CalledProcessError as error:
        raise HarnessError(f"maturin build ended with {error.returncode}: its words stand above") from error
    require_no_folder_named(made, named)
    return Built(made, source, folder / "source")


def archive(tree: Path, out: Path, env: Mapping[str, str] | None = None) -> Path:
    """Make the source archive of a tree in the folder ``out`` and return it. Raises HarnessError where that fails."""
    command = (sys.executable, "-m", "maturin", "sdist", "--out", str(out))
    _told(*command, cwd=tree, env={**os.environ, **(env or {})})
    (source,) = out.glob("*.tar.gz")
    return source


def require_no_folder_named(wheel: Path, folders: Iterable[Path]) -> None:
    """Raise CheckFailedError where a file of the wheel has the path of one of these folders in it.

    Elsewhere the same source would give other bytes, and a release says nothing of the machine that built it.
    """
    with zipfile.ZipFile(wheel) as files:
        found = [
            f"{name} names {folder}"
            for name in files.namelist()
            for folder in folders
            if bytes(folder) in files.read(name)
        ]
    if found:
        raise CheckFailedError(f"{wheel.name} names folders of this machine: {'; '.join(found)}")


def _git(*arguments: str) -> str:
    return _told("git", *arguments, cwd=ROOT)


def _told(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it printed. Raises HarnessError with its last words."""
    try:
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise CapabilityError(f"there is no {command[0]} on PATH") from error
    except subprocess.CalledProcessError as error:
        last = " / ".join(error.stderr.strip().splitlines()[-3:])
        raise HarnessError(f"{' '.join(command[:4])} ended with {error.returncode}: {last}") from error
    return done.stdout
