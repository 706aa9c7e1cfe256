"""Fuzz bodies of the core, led by the lines that they reach: ``python -m tests.fuzz.guided [BODY ...] [--seconds N]``.

cargo-fuzz builds one program of all bodies with AddressSanitizer; each body runs in a process of its own, on what
earlier runs kept (``.nox/fuzz/corpus``) and on its seeds.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz import watch
from tests.sanitizers.nightly import CORE, ROOT, need_nightly

CARGO_FUZZ: Final = ROOT / ".nox" / "cargo" / "bin" / "cargo-fuzz"
KEPT: Final = ROOT / ".nox" / "fuzz"
FINDINGS: Final = ROOT / "reports" / "fuzz"
TRIPLE: Final = "x86_64-unknown-linux-gnu"
LONGEST: Final = 8192
"""As in core/tests/fuzz.rs: the longest seeds are streams of 6 KiB."""
MAX_INPUT_S: Final = 30
MAX_MEMORY_MIB: Final = 2048
"""The memory cap of a session is a few KiB in most bodies; AddressSanitizer keeps freed memory for a while."""

_BODIES: Final = re.compile(r'^\s*name: "(\w+)",$', re.MULTILINE)
MOST_SECONDS: Final = 86_400
_STATUS: Final = re.compile(r"^#(\d+)\s.*\bcov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
_COUNTERS: Final = re.compile(r"INFO: Loaded 1 modules\s+\((\d+) inline 8-bit counters\)")


@dataclass(frozen=True, slots=True)
class Ran:
    """What libFuzzer said of a run."""

    inputs: int
    edges: int
    """Edges of the control flow that were reached, of all in the program."""
    features: int
    """Edges by how often they were taken, and comparisons by how far apart their sides were."""
    kept: int
    """Inputs that reach what no other does."""

    @classmethod
    def read(cls, output: str) -> Ran | None:
        """Return the last figures in libFuzzer's output, or None where it has none."""
        found = _STATUS.findall(output)
        return cls(*map(int, found[-1])) if found else None


def bodies() -> list[str]:
    """Return the names of the bodies, in their order."""
    return _BODIES.findall((CORE / "fuzz" / "mod.rs").read_text(encoding="utf-8"))


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("bodies", nargs="*", metavar="BODY", help=f"of {', '.join(bodies())} (default: all)")
    parser.add_argument("--seconds", type=_seconds, default=60, help="how long each runs (default: 60)")
    return parser


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_SECONDS}")
    return int(text)


def build() -> Path:
    """Build the program that runs the bodies and return its path; raise ``SystemExit`` where a tool is missing."""
    nightly = need_nightly("coverage-guided fuzzing")
    if not CARGO_FUZZ.exists():
        sys.exit(
            f"{CARGO_FUZZ.relative_to(ROOT)} is missing\n"
            "  → nox -s fuzz -- --guided builds it first (some minutes, once)"
        )
    target = KEPT / "target"
    command = (
        *nightly, str(CARGO_FUZZ), "build", "--fuzz-dir", "fuzz", "--target-dir", str(target), "--target", TRIPLE,
        # One unit, which is its default, takes three times as long to compile and finds nothing more.
        "--codegen-units", "16", "guided",
    )  # fmt: skip
    # cargo-fuzz sets flags of its own and takes these as well.
    env = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    if subprocess.run(command, cwd=CORE, env=env, check=False).returncode != 0:
        sys.exit("the fuzz bodies cannot be built, see above")
    return target / TRIPLE / "release" / "guided"


def progress(output: str, spent_s: float, seconds: int) -> str:
    """Return how far a run is, by what libFuzzer has printed; nothing ends it while it still reads its corpus."""
    ran = Ran.read(output)
    inputs, edges = (ran.inputs, ran.edges) if ran else (0, 0)
    if "\tINITED" not in output:
        return f"reads its seeds and what earlier runs kept, {inputs} inputs in {spent_s:.0f} s"
    return f"{inputs} inputs, {edges} edges after {spent_s:.0f} of {seconds} s"


def fuzz(program: Path, name: str, seconds: int) -> bool:
    """Fuzz one body; print how much, how far, and what it found. Return whether that was nothing."""
    corpus, seeds = KEPT / "corpus" / name, KEPT / "seeds" / name
    for folder in (corpus, seeds, FINDINGS):
        folder.mkdir(parents=True, exist_ok=True)
    for old in seeds.iterdir():
        old.unlink()
    command = (
        str(program), f"-max_total_time={seconds}", f"-timeout={MAX_INPUT_S}", f"-rss_limit_mb={MAX_MEMORY_MIB}",
        f"-max_len={LONGEST}", f"-artifact_prefix={FINDINGS}/{name}-", str(corpus), str(seeds),
    )  # fmt: skip
    env = os.environ | {"FUZZ_TARGET": name, "FUZZ_SEEDS": str(seeds)}

    def news(output: str, spent_s: float) -> None:
        print(f"{name:>20}: {progress(output, spent_s, seconds)}", flush=True)

    ended = watch.run(command, news, env=env)
    ran, counters = Ran.read(ended.output), _COUNTERS.search(ended.output)
    broken = ended.returncode != 0
    if ran is None:
        print(f"{name:>20}: did not run{' to its first status' if broken else ''}", flush=True)
    else:
        print(
            f"{name:>20}: {ran.inputs} inputs in {ended.times()}, {ran.edges} edges of "
            f"{counters[1] if counters else '?'}, {ran.features} features, {ran.kept} inputs kept"
            f"{', BROKEN' if broken else ''}",
            flush=True,
        )
    if broken or ran is None:
        print(ended.output[-12000:])
        print(
            f"repeat with: FUZZ_TARGET={name} {program.relative_to(ROOT)} {FINDINGS.relative_to(ROOT)}/{name}-…"
        )
    return not broken and ran is not None


def main() -> int:
    """Fuzz the bodies that are named, or all; return 1 when one was broken."""
    parser = arguments()
    order = parser.parse_args()
    known = bodies()
    unknown = [name for name in order.bodies if name not in known]
    if unknown:
        parser.error(f"no body is called {unknown[0]}; there are {', '.join(known)}")
    chosen = order.bodies or known
    print(
        f"building the bodies with AddressSanitizer, then {watch.plan('of them', len(chosen), order.seconds)}",
        flush=True,
    )
    program = build()
    held = [fuzz(program, name, order.seconds) for name in chosen]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
