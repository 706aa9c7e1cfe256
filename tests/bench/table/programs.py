"""Build the benches as users get the core, and run them while the machine is watched."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from harness.analysis.results import Quietness
from harness.machine.watch import Watch
from punktfunk.printable import printable
from tests.bench.table.figures import BenchError, Output, read

LONGEST_S: Final = 900.0
"""A bench that takes longer hangs."""
BUILD_S: Final = 3600.0
_LAST_BYTES: Final = 2000

_T = TypeVar("_T")


def default_build(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which cargo makes what the wheel has: the profile ``release`` as it stands."""
    return {
        name: value
        for name, value in environment.items()
        if not (name.startswith("CARGO_PROFILE_") or name.endswith("RUSTFLAGS"))
    }


def build(
    manifest: Path, benches: Sequence[str], environment: Mapping[str, str], *more: str
) -> dict[str, Path]:
    """Compile benches of a crate and return their programs by name; raise :class:`BenchError` where that fails."""
    named = [word for bench in benches for word in ("--bench", bench)]
    command = ["cargo", "bench", "--manifest-path", str(manifest), "--locked", "--no-run", *more, *named]
    try:
        done = subprocess.run(
            [*command, "--message-format=json-render-diagnostics"],
            cwd=manifest.parent,  # where a toolchain file of its own would be
            env=dict(environment),
            stdout=subprocess.PIPE,
            timeout=BUILD_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise BenchError("there is no cargo: install Rust (https://rustup.rs)") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"cargo took longer than {BUILD_S:.0f} s") from error
    if done.returncode:
        raise BenchError(f"cargo cannot build it (status {done.returncode}); its words stand above")
    return programs(done.stdout, benches)


def programs(messages: bytes, benches: Sequence[str]) -> dict[str, Path]:
    """Return the programs that cargo's messages, one JSON object a line, name for these benches."""
    found = {}
    for line in messages.splitlines():
        message = json.loads(line) if line.startswith(b"{") else {}
        # Dependencies are artifacts as well, without a program.
        if message.get("reason") == "compiler-artifact" and message.get("executable"):
            found[message["target"]["name"]] = Path(message["executable"])
    missing = [bench for bench in benches if bench not in found]
    if missing:
        raise BenchError(f"cargo made no program of the bench {missing[0]}")
    return found


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    """Run a program in ``folder`` to its end; raise :class:`BenchError` with its last words where it fails."""
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                timeout=LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"did not end within {LONGEST_S:.0f} s") from error
        if not done.returncode:
            return
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - _LAST_BYTES))
        lines = said.read().decode(errors="replace").strip().splitlines()
    raise BenchError(printable(f"ended with status {done.returncode}: {lines[-1] if lines else 'no words'}"))


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Output:
    """Run a bench and return what it kept."""
    with tempfile.TemporaryDirectory(prefix="punktfunk-bench-") as made:
        file = Path(made) / "figures.json"
        run([*command, "--json", str(file)], environment, folder)
        return read(file)


def watched(work: Callable[[], _T], tries: int, *, busy: Callable[[Quietness], None]) -> tuple[_T, Quietness]:
    """Do ``work`` while the machine is watched, and again where it was busy; return the last one's result.

    ``busy`` hears of each try that is not believed.
    """
    while True:
        with Watch() as watch:
            result = work()
        tries -= 1
        if watch.found.quiet or tries <= 0:
            return result, watch.found
        busy(watch.found)
