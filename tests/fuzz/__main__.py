"""Fuzz parsers that are written in Python: ``python -m tests.fuzz [TARGET ...] [--seconds N]``, each in a process."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from tests.fuzz import watch
from tests.fuzz.targets import TARGETS

FINDINGS = Path("reports") / "fuzz"
_RAN = re.compile(r"number_of_executed_units: (\d+)")


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="names (default: all, one after the other)")
    parser.add_argument("--seconds", type=int, default=60, help="how long each runs")
    parser.add_argument(
        "--findings", type=Path, default=FINDINGS, help="folder for inputs that break a target"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    return parser


def fuzz(name: str, seconds: int, findings: Path) -> bool:
    """Fuzz one target; print how much, and what it found. Return whether that was nothing."""

    def news(_: str, spent_s: float) -> None:
        print(f"{name:>20}: {spent_s:.0f} of {seconds} s", flush=True)

    # libFuzzer leaves its process without a word to Python, so that its folder is removed here.
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "tests.fuzz.one", name, str(seconds), str(findings), folder)
        ended = watch.run(command, news)
    ran = _RAN.search(ended.output)
    print(
        f"{name:>20}: {ran[1] if ran else 'no'} inputs in {ended.times()}"
        f"{', BROKEN' if ended.returncode else ''}",
        flush=True,
    )
    if ended.returncode:
        print("\n".join(line for line in ended.output.splitlines() if "Instrumenting" not in line)[-8000:])
    return ended.returncode == 0


def main() -> int:
    """Fuzz the targets that are named, or all; return 1 when one was broken."""
    order = arguments().parse_args()
    known = [target.name for target in TARGETS]
    if order.list:
        print("\n".join(known))
        return 0
    unknown = [name for name in order.targets if name not in known]
    if unknown:
        arguments().error(f"no target is called {unknown[0]}; there are {', '.join(known)}")
    order.findings.mkdir(parents=True, exist_ok=True)
    chosen = order.targets or known
    print(watch.plan("targets in Python", len(chosen), order.seconds), flush=True)
    held = [fuzz(name, order.seconds, order.findings) for name in chosen]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
