"""A folder of benches that were built on one machine, to be run on another that has no compiler.

::

    DIR/
        built.json                from what they were built, and by which compiler
        rivals, session, …        benches by their names, without debug information, as in the wheel
        libisal.so                ISA-L
        _core.abi3.so             the module that the data plane runs, to be copied into punktfunk/core/
        reference/pipeline        the bench of the Rust reference, where it was named
"""

from __future__ import annotations

import filecmp
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.run.environment import git_revision
from harness.run.whole_files import write_atomically
from punktfunk.errors import ResultsError
from punktfunk.printable import printable
from tests.bench.table import programs, reference, rivals
from tests.bench.table.documents import TooLongError, bounded, first_fault
from tests.bench.table.figures import BenchError
from tests.bench.table.targets import CORE

FILE: Final = "built.json"
ISAL: Final = "libisal.so"
MODULE: Final = "_core.abi3.so"
REFERENCE: Final = "reference"
MAX_BYTES: Final = 64 << 10
_AGAIN: Final = "fill it by `nox -s bench -- --build-only DIR`"

Name = Annotated[str, Field(max_length=200)]


class Built(BaseModel):
    """From what the programs of a folder were built."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: Literal[1] = 1
    git: Name
    """The commit, with ``+`` for changes on top."""
    rustc: Name
    machine: Name
    """For which processors, as ``uname -m`` calls them."""
    rivals: dict[Name, Name] = Field(max_length=20)
    """Their names with versions, as the table shows them."""


def make(
    folder: Path, benches: Sequence[str], environment: Mapping[str, str], checkout: Path | None = None
) -> Built:
    """Build benches, the reference's from its ``checkout`` too, and fill ``folder`` with what running them wants.

    Raises :class:`BenchError` where that fails. What the folder had by these names is replaced.
    """
    made = programs.build(CORE / "Cargo.toml", benches, environment) if benches else {}
    copies = {folder / name: program for name, program in made.items()}
    if checkout is not None:
        copies[folder / REFERENCE / reference.BENCH] = reference.build(checkout, environment)
    if isal := environment.get("PUNKTFUNK_ISAL"):
        copies[folder / ISAL] = Path(isal)
    if module := _module():
        copies[folder / MODULE] = module
    about = Built(
        git=git_revision(), rustc=_rustc(environment), machine=platform.machine(), rivals=rivals.versions()
    )
    try:
        for copy, source in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)  # it may run elsewhere, where the folder is shared
            shutil.copy(source, copy)
        _strip([folder / name for name in made])
        write_atomically(folder / FILE, about.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise BenchError(f"{folder} cannot be filled: {error.strerror or error}") from error
    except ResultsError as error:
        raise BenchError(str(error)) from error
    return about


def _module() -> Path | None:
    """Return the compiled core that this Python would load, without loading it."""
    found = importlib.util.find_spec("punktfunk")
    folders = found.submodule_search_locations if found is not None else None
    modules = (Path(folder) / "core" / MODULE for folder in folders or ())
    return next((module for module in modules if module.is_file()), None)


def _rustc(environment: Mapping[str, str]) -> str:
    try:
        said = subprocess.run(
            ["rustc", "--version"],
            cwd=CORE,
            env=dict(environment),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""  # cargo knows another one, by RUSTC or its configuration
    return printable(said.strip(), 200)


def _strip(made: Sequence[Path]) -> None:
    """Take debug information off programs, as the wheel's module has none: it is most of what they weigh."""
    strip = shutil.which("strip")
    if strip is not None and made:
        subprocess.run([strip, "--strip-debug", *made], stderr=subprocess.DEVNULL, check=False)


def load(folder: Path) -> Built:
    """Return from what a folder's programs were built; raise :class:`BenchError` where they cannot run here."""
    try:
        about = Built.model_validate_json(bounded(folder / FILE, MAX_BYTES))
    except OSError as error:
        raise BenchError(f"{folder / FILE} cannot be read ({error.strerror}): {_AGAIN}") from error
    except (TooLongError, ValidationError) as error:
        why = first_fault(error) if isinstance(error, ValidationError) else error
        raise BenchError(printable(f"{folder / FILE} is not as expected ({why}): {_AGAIN}", 400)) from error
    if about.machine != platform.machine():
        raise BenchError(
            f"{folder} has programs for {printable(about.machine, 40)}, and this machine is {platform.machine()}: "
            "build them on one of its kind"
        )
    return about


def found(folder: Path, benches: Sequence[str]) -> dict[str, Path]:
    """Return those programs of the benches that a folder has, by name."""
    return {bench: folder / bench for bench in benches if _is_program(folder / bench)}


def reference_of(folder: Path) -> Path | None:
    """Return the reference's bench, ``None`` where the folder was filled without it."""
    program = folder / REFERENCE / reference.BENCH
    return program if _is_program(program) else None


def isal(folder: Path) -> dict[str, str]:
    """Return the variable that names ISA-L to its bench, nothing where the folder has none."""
    return {"PUNKTFUNK_ISAL": str(folder / ISAL)} if (folder / ISAL).is_file() else {}


def has_module(folder: Path) -> bool:
    """Return whether the module that this Python would load is the one of the folder."""
    ours = _module()
    try:
        return ours is not None and filecmp.cmp(ours, folder / MODULE, shallow=False)
    except OSError:
        return False


def _is_program(file: Path) -> bool:
    return file.is_file() and os.access(file, os.X_OK)
