"""Fuzz parsers that are written in Python: ``python -m tests.fuzz [TARGET ...] [--seconds N]``, each in a process."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["punktfunk", "h11"]):
    from tests.fuzz.targets import TARGETS
from tests.fuzz.target import Target

FINDINGS = Path("reports") / "fuzz"
MAX_INPUT_S = 30
"""Wall clock of one input, for what hangs without CPU; what costs CPU is caught before."""
MAX_MEMORY_MIB = 1024


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


def fuzz(target: Target, seconds: int, findings: Path, folder: Path) -> None:
    """Mutate a target's seeds, led by the lines that they reach; ends the process, with 0 where nothing was found."""
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds()):
        assert target.run(seed), f"seed {number} of {target.name} is not understood"
        (corpus / f"{number}").write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    findings.mkdir(parents=True, exist_ok=True)
    options = (
        f"-max_total_time={seconds}",
        f"-timeout={MAX_INPUT_S}",
        f"-rss_limit_mb={MAX_MEMORY_MIB}",
        f"-max_len={target.longest}",
        f"-dict={words}",
        f"-artifact_prefix={findings}/{target.name}-",
        "-print_final_stats=1",
        "-verbosity=0",
    )

    def one(data: bytes) -> None:
        target.check(data)

    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> int:
    """Run one target in this process, or each of several in one of its own; return 1 when one found something."""
    order = arguments().parse_args()
    known = {target.name: target for target in TARGETS}
    if order.list:
        print("\n".join(known))
        return 0
    names = order.targets or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        arguments().error(f"no target is called {unknown[0]}; there are {', '.join(known)}")
    if len(names) == 1:
        with tempfile.TemporaryDirectory() as folder:
            fuzz(known[names[0]], order.seconds, order.findings, Path(folder))
    broken = []
    for name in names:
        command = (sys.executable, "-m", "tests.fuzz", name, "--seconds", str(order.seconds))
        began = time.monotonic()
        ended = subprocess.run(
            (*command, "--findings", str(order.findings)), check=False, capture_output=True, text=True
        )
        ran = [line.split()[-1] for line in ended.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{name:>20}: {ran[-1] if ran else '?'} inputs in {time.monotonic() - began:.0f} s")
        if ended.returncode:
            broken.append(name)
            print(ended.stderr[-4000:])
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
