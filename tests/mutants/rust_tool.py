"""Rust mutants by cargo-mutants: it plants one bug at a time in a copy of the crate and builds what its tests need."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.mutants import running
from tests.mutants.mutant import Mutant, Outcome, squeeze
from tests.mutants.rooms import CORE, ROOT, Room

CARGO_MUTANTS = ROOT / ".nox" / "cargo" / "bin" / "cargo-mutants"
# Semantics of a release build (no overflow checks, no debug assertions) at a third of its building time.
_PROFILE = {
    "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_DEV_OVERFLOW_CHECKS": "false",
    "CARGO_PROFILE_DEV_DEBUG_ASSERTIONS": "false",
    "CARGO_INCREMENTAL": "1",
}
_OUTCOMES = {
    "CaughtMutant": Outcome.CAUGHT,
    "Timeout": Outcome.CAUGHT,
    "MissedMutant": Outcome.SURVIVED,
    "Unviable": Outcome.UNVIABLE,
}
_ONE_TEST_S = 60


def plan(room: Room, tree: Path, shard: tuple[int, int]) -> list[Mutant]:
    """Return the mutants of the room's shard."""
    command = [*_command(room, shard), "--list", "--json"]
    listing = tree.parent / f"{room.name}.json"
    listing.unlink(missing_ok=True)
    if running.run(command, cwd=tree / CORE, log=listing, deadline=None) != 0:
        raise SystemExit(f"cargo-mutants cannot list room {room.name}: {listing.read_text()[-2000:]}")
    return [_mutant(room.name, entry, tree) for entry in json.loads(listing.read_text())]


def run(room: Room, tree: Path, shard: tuple[int, int], deadline: float | None, log: Path) -> list[Mutant]:
    """Run the room's tests on its mutants until ``deadline`` and return those that had their turn."""
    output = tree.parent / f"{room.name}.out"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    _only_the_library(tree / CORE / "Cargo.toml")
    # A compiler that a deadline ended may have left the object of a planted bug in here, and the next build takes it.
    shutil.rmtree(tree / CORE / "target" / "debug" / "incremental", ignore_errors=True)
    command = [
        *_command(room, shard),
        "--in-place",
        "--output",
        str(output),
        "--minimum-test-timeout",
        str(_ONE_TEST_S),
    ]
    # In random order, what a budget cuts off is a fair sample.
    command += ["--shuffle"] if deadline is not None else []
    # Of all of the crate's tests only these are built, too.
    command += [f"--cargo-arg={'--lib' if test == 'lib' else f'--test={test}'}" for test in room.tests]
    status = running.run(command, cwd=tree / CORE, log=log, deadline=deadline, env=_PROFILE)
    report = output / "mutants.out" / "outcomes.json"
    # 2: mutants were missed, 3: tests ran out of time; both are results.
    if status not in (None, 0, 2, 3) or not report.is_file():
        if status is None:
            return []
        raise SystemExit(
            f"cargo-mutants failed in room {room.name}; the tests must pass unmutated. See {log}"
        )
    judged = []
    for entry in json.loads(report.read_text())["outcomes"]:
        scenario = entry["scenario"]
        if isinstance(scenario, Mapping) and entry["summary"] in _OUTCOMES:
            judged.append(_mutant(room.name, scenario["Mutant"], tree, _OUTCOMES[entry["summary"]]))
    return judged


def _command(room: Room, shard: tuple[int, int]) -> list[str]:
    number, shards = shard
    files = [a for file in room.files() for a in ("--file", str(file.relative_to(CORE)))]
    part = ["--shard", f"{number - 1}/{shards}", "--sharding", "round-robin"] if shards > 1 else []
    return [str(CARGO_MUTANTS), "mutants", "--package", "punktfunk-core", "--colors", "never", *files, *part]


def _only_the_library(manifest: Path) -> None:
    """Leave the C libraries out: linking them for each mutant doubles its price, and no room's test loads them."""
    text = manifest.read_text()
    manifest.write_text(text.replace('crate-type = ["rlib", "cdylib", "staticlib"]', 'crate-type = ["rlib"]'))


def _mutant(room: str, entry: Mapping[str, Any], tree: Path, outcome: Outcome = Outcome.NOT_RUN) -> Mutant:
    file, start = str(CORE / entry["file"]), entry["span"]["start"]
    line = (tree / file).read_text().splitlines()[start["line"] - 1]
    function = (entry.get("function") or {}).get("function_name", "")
    # "src/a.rs:12:5: replace x with y in f": the place is said apart from it and moves with every edit.
    change = entry["name"].split(": ", 1)[-1]
    if change.startswith("replace") and entry["genre"] != "FnValue":
        change = f"{change} (column {start['column'] - len(line) + len(line.lstrip())})"
    return Mutant(room, file, start["line"], function, squeeze(line), squeeze(change), outcome)


def spread(deadline: float | None, rooms_left: int) -> float | None:
    """Return the deadline of the next room when what is left is shared out evenly."""
    if deadline is None:
        return None
    now = time.monotonic()
    return now + max(0.0, deadline - now) / rooms_left
