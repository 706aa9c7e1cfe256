"""Plant regressions into a copy of this history and have them found: ``nox -s ab``; by hand, it compiles five cores.

Without a name all parts run: ``equal`` (pairs of two equal commits), ``planted`` (each planted one),
``twenty`` (20 comparisons of equal commits and 20 of +5 %),
``bisect`` (16 commits, by a figure in virtual time and by CPU time), ``rates`` (a pool of pairs, resampled).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness import cli
from punktfunk.errors import CheckFailedError, PunktfunkError, RegressionError
from punktfunk.terminal import say
from tests.builds import rates
from tests.builds.plants import FEWER_SHARDS, FIVE_PERCENT, RUST, SLOWER_SEAL, History
from tests.support.wheel import ROOT

SCENARIO: Final = """\
name: planted
seed: 7
media: {frames: 600, frame_bytes: 36000 B, key_interval: 0}
stream: {fec: 10 %}
link: {backend: sim, down: {delay: 5 ms, loss: 3 %}, up: {delay: 5 ms}}
"""
"""Frames of 30 packets with three of recovery: losing one in a hundred moves recovery, half a second of CPU each."""
COMMITS: Final = 16
RUNS: Final = 20
REPORTS: Final = ROOT / "reports"


class Planted:
    """What the parts share: the history, the scenario, the folders."""

    def __init__(self, folder: Path, cache: Path, pairs: int) -> None:
        self.folder, self.cache, self.pairs = folder, cache, pairs
        self.pool: Path | None = None
        """A comparison of two equal commits that was recorded before."""
        tree = folder / "clone"
        History(ROOT).git("clone", "--quiet", "--shared", str(ROOT), str(tree))
        self.history = History(tree)
        self.base = self.history.git("rev-parse", "HEAD")
        self.scenario = folder / "planted.yaml"
        self.scenario.write_text(SCENARIO, encoding="utf-8")

    def lab(self, *arguments: str) -> tuple[int, str]:
        """Run a command of the lab, show what it prints, and return its exit code and that."""
        say(f"\n$ punktfunk-lab {' '.join(arguments)}")
        written = _Both(sys.stdout)
        shared = (
            "--repository",
            str(self.history.tree),
            "--out",
            str(REPORTS),
            "--cache",
            str(self.cache),
        )
        with contextlib.redirect_stdout(written):
            code = cli.main([*arguments, *shared])
        say(f"exit {code}")
        return code, written.getvalue()

    def on_base(self) -> None:
        """Go back to where this history begins."""
        self.history.git("checkout", "--quiet", "--detach", self.base)


class _Both(io.StringIO):
    """Keeps what is written, and shows it."""

    def __init__(self, shown: io.TextIOBase | object) -> None:
        super().__init__()
        self._shown = shown

    def write(self, text: str, /) -> int:
        self._shown.write(text)  # type: ignore[attr-defined]
        return super().write(text)


def equal(planted: Planted) -> None:
    """Twenty comparisons of one pair each would say nothing: twenty pairs of two commits with the same code."""
    planted.on_base()
    (same,) = planted.history.grow(1, {})
    code, _ = planted.lab(
        "ab", planted.base, same, str(planted.scenario), "--pairs", str(planted.pairs), "--plain"
    )
    _require(code in {0, 4}, "two equal commits were told apart")


def found(planted: Planted) -> None:
    """Each planted commit is a regression, and the figure that it moves is named."""
    for plant in RUST:
        planted.on_base()
        commit = planted.history.plant(plant)
        code, said = planted.lab(
            "ab", planted.base, commit, str(planted.scenario), "--pairs", str(planted.pairs), "--plain"
        )
        named = [
            line for line in said.splitlines() if "regression" in line and plant.figures & set(line.split())
        ]
        _require(code == RegressionError.exit_code and bool(named), f"{plant.subject!r} was not found")


def twenty(planted: Planted) -> None:
    """Twenty comparisons of equal commits, none of which may be flagged, and twenty of +5 %, all of which must be."""
    for plant, wanted in ((None, 0), (FIVE_PERCENT, RUNS)):
        planted.on_base()
        head = planted.history.plant(plant) if plant else planted.history.grow(1, {})[0]
        flagged, figures = 0, []
        for _ in range(RUNS):
            code, said = planted.lab(
                *("ab", planted.base, head, str(planted.scenario), "--pairs", str(planted.pairs), "--plain"),
                *("--metric", "core_cpu"),
            )
            flagged += code == RegressionError.exit_code
            folder = Path(said.partition("results: ")[2].splitlines()[0])
            (finding,) = json.loads((folder / "ab.json").read_text(encoding="utf-8"))["findings"]
            # Too few pairs have no interval.
            within = " … ".join(f"{end:+.2%}" for end in finding["interval"] or ())
            figures.append(f"{finding['change']:+.2%} ({within or 'no interval'}) {finding['verdict']}")
        say(f"\n{RUNS} runs of {planted.pairs} pairs of {plant.subject if plant else 'two equal commits'}:")
        for line in figures:
            say(f"  {line}")
        say(f"{flagged} of {RUNS} were flagged")
        _require(abs(flagged - wanted) <= 1, f"{flagged} of {RUNS} were flagged, not {wanted}")


def bisected(planted: Planted) -> None:
    """Sixteen commits, one of them planted: named by a figure in virtual time, and by CPU time."""
    for plant, metric in ((FEWER_SHARDS, "recovery"), (SLOWER_SEAL, "core_cpu")):
        planted.on_base()
        commits = planted.history.grow(COMMITS, {10: [plant]})
        code, said = planted.lab(
            "bisect",
            planted.base,
            commits[-1],
            str(planted.scenario),
            "--metric",
            metric,
            "--pairs",
            str(planted.pairs),
        )
        _require(
            code == 0 and f"{commits[10]} is the first bad commit" in said, f"{plant.subject!r} was not named"
        )


def resampled(planted: Planted) -> None:
    """False alarms and misses of the gate on this machine's own noise, by resampling a pool of pairs."""
    rates.main(planted)


PARTS: Final[dict[str, Callable[[Planted], None]]] = {
    "equal": equal,
    "twenty": twenty,
    "planted": found,
    "bisect": bisected,
    "rates": resampled,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts and return the exit status."""
    parser = argparse.ArgumentParser(prog="nox -s ab --", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which of them; default: all")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of each comparison (default: 20)")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".nox" / "ab", help="folder that keeps the builds"
    )
    parser.add_argument("--pool", type=Path, help="for rates: a comparison of equal commits that is there")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="punktfunk-ab-") as folder:
            planted = Planted(Path(folder), given.cache.resolve(), given.pairs)
            planted.pool = given.pool
            for name in given.parts or PARTS:
                PARTS[name](planted)
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code
    return 0


def _require(held: bool, otherwise: str) -> None:
    if not held:
        raise CheckFailedError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
