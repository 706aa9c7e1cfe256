"""The core with its lines counted: built apart, read by the LLVM tools that belong to this Rust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
CORE: Final = ROOT / "punktfunk" / "core"
SOURCES: Final = (CORE / "src", CORE / "python" / "src")
_MANIFEST: Final = ("--manifest-path", str(CORE / "Cargo.toml"), "--locked", "--release")
_FLAGS: Final = "-Cinstrument-coverage -Cllvm-args=-runtime-counter-relocation"
"""Counters that can be a mapped file: with them on disk at all times, a process that is killed has counted as well."""


@dataclass(frozen=True, slots=True)
class Built:
    """The extension module for Python, and the programs of the core's own tests."""

    module: Path
    tests: tuple[Path, ...]


def find_tools() -> Path:
    """Return the folder of llvm-cov and llvm-profdata; raise ``SystemExit`` with the command that installs them."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True)
    folders = Path(sysroot.stdout.strip(), "lib", "rustlib").glob("*/bin")
    found = next(
        (one for one in folders if (one / "llvm-cov").exists() and (one / "llvm-profdata").exists()), None
    )
    if found is None:
        sys.exit(
            "the LLVM tools of this Rust, which read what was counted, are missing\n"
            "  → rustup component add llvm-tools"
        )
    return found


def counting(into: Path) -> dict[str, str]:
    """Return the environment in which instrumented programs count into a folder.

    ``%m`` is one file a program, which all of its processes share; ``%c`` keeps the counters there while they run.
    """
    return os.environ | {"LLVM_PROFILE_FILE": str(into / "%m%c.profraw")}


def build(target: Path) -> Built:
    """Build the core, its Python module and its tests with counters, in a target folder of their own."""
    env = os.environ | {
        "CARGO_TARGET_DIR": str(target),
        "RUSTFLAGS": _FLAGS,
        "PYO3_PYTHON": sys.executable,
        "PYO3_BUILD_EXTENSION_MODULE": "1",
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "CARGO_PROFILE_RELEASE_STRIP": "none",
        # Build scripts and macros are instrumented too and would leave what they counted where they ran.
        "LLVM_PROFILE_FILE": os.devnull,
    }
    made = [
        *_cargo(["build", *_MANIFEST, "-p", "punktfunk-core-python"], env),
        *_cargo(["test", *_MANIFEST, "-p", "punktfunk-core", "--no-run"], env),
    ]
    modules = [file for one in made for file in one["filenames"] if one["target"]["name"] == "_core"]
    module = next(Path(file) for file in modules if file.endswith(".so"))
    return Built(module, tuple(Path(one["executable"]) for one in made if one["executable"]))


def run_tests(built: Built, into: Path) -> bool:
    """Run the core's own tests; return whether they passed."""
    # As cargo does it: in the folder of the crate, one program after the other.
    results = [
        subprocess.run([program], cwd=CORE, env=counting(into), check=False) for program in built.tests
    ]
    return not any(result.returncode for result in results)


def export(tools: Path, built: Built, counted: Path, report: Path) -> tuple[Mapping[str, Any], str]:
    """Write the pages of the sources into ``report``; return the figures of each file, and the same as lcov."""
    merged = counted / "merged.profdata"
    raw = sorted(str(file) for file in counted.glob("*.profraw"))
    subprocess.run([tools / "llvm-profdata", "merge", "-sparse", *raw, "-o", merged], check=True)
    objects = list(_objects((built.module, *built.tests)))
    common = ["-instr-profile", str(merged), *objects]
    sources = ["-sources", *map(str, SOURCES)]
    pages = ["show", "-format=html", f"-output-dir={report}", *common, *sources]
    subprocess.run([tools / "llvm-cov", *pages], check=True, stdout=subprocess.DEVNULL)
    figures, lcov = (
        subprocess.run(
            [tools / "llvm-cov", "export", *form, *common, *sources],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for form in (["-summary-only"], ["-format=lcov"])
    )
    return json.loads(figures), lcov


def _cargo(arguments: Sequence[str], env: Mapping[str, str]) -> list[dict[str, Any]]:
    """Run cargo; return what it says of each artefact that it made or found."""
    done = subprocess.run(
        ["cargo", *arguments, "--message-format=json-render-diagnostics"],
        env=env, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return [one for one in said if one["reason"] == "compiler-artifact"]


def _objects(programs: Iterable[Path]) -> Iterator[str]:
    for at, program in enumerate(programs):
        if at:
            yield "-object"
        yield str(program)
