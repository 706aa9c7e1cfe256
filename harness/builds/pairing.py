"""Run cases of two builds in turn: the same seed and link, neighbours in time, a coin for which of them goes first."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from harness.analysis import paired, stats
from harness.analysis.paired_run import PAIR
from harness.analysis.results import CaseResult
from harness.builds.worker import Worker
from harness.machine.watch import Watch
from harness.run.estimate import limit_s
from harness.run.store import make_folder
from harness.scenario.expand import Case
from harness.scenario.link import Backend
from punktfunk.errors import BuildTooOldError

Side: TypeAlias = Literal["a", "b"]
MAX_PAIRS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Runs:
    """What is run: cases of a scenario on a back end, from a seed."""

    file: Path
    cases: tuple[Case, ...]
    seed: int
    backend: Backend | None = None

    def only(self, case: str) -> Runs:
        """Return the same for one of its cases."""
        return Runs(self.file, tuple(c for c in self.cases if c.id == case), self.seed, self.backend)

    def seed_of(self, pair: int) -> int:
        """Return the seed of a scenario in a pair; the first is the one that was given."""
        if pair == 0:
            return self.seed
        return int.from_bytes(hashlib.sha256(f"{self.seed}/pair/{pair}".encode()).digest()[:8]) >> 11

    def simulated(self, case: Case) -> bool:
        """Return whether a case runs in virtual time, as far as is known before it runs."""
        return (self.backend or case.spec.link.backend) is Backend.SIM

    def limit_s(self, case: Case) -> float:
        """Return after how many seconds a build is given up that runs a case."""
        return limit_s(case, self.backend or case.spec.link.backend)


def run_once(worker: Worker, runs: Runs, case: Case, pair: int, folder: Path) -> CaseResult:
    """Run a case with the seed of a pair and return its result, named after both.

    Frame records of a simulation are not kept: the seed brings them back. Of a real link the result says whether the
    machine was quiet meanwhile.
    """
    name = f"{case.id}{PAIR}{pair}"
    make_folder(folder / name)
    update = {"id": name, "repeat": pair, "folder": name}
    order = (runs.file, runs.seed_of(pair), case.id, runs.backend, folder / name, runs.limit_s(case))
    if runs.simulated(case):
        ran = worker.run(*order)
        (folder / name / "frames.parquet").unlink(missing_ok=True)
        return ran.result.model_copy(update=update)
    with Watch() as watch:
        ran = worker.run(*order)
    return ran.result.model_copy(update={**update, "machine": watch.found})


def require_cases(worker: Worker, runs: Runs) -> None:
    """Raise BuildTooOldError where a build reads the scenario and finds other cases in it."""
    known = set(worker.cases(runs.file, runs.seed))
    missing = [case.id for case in runs.cases if case.id not in known]
    if missing:
        raise BuildTooOldError(
            f"{worker.build.origin.title} finds no case {missing[0]} in {runs.file}",
            "name cases that both builds have, by --case or -k",
        )


@dataclass(slots=True)
class PairedRun:
    """Two builds that run in turn, and what they have found so far."""

    a: Worker
    b: Worker
    runs: Runs
    folder: Path
    """Has a folder a side, a folder a case and pair in it."""
    ended: Callable[[CaseResult], None] = lambda _result: None
    """Told of every case that has run."""
    pairs: dict[str, list[tuple[CaseResult, CaseResult]]] = field(default_factory=dict)
    """By case, in the order of the pairs."""
    count: int = 0
    """Pairs of each case so far."""
    took_s: float = 0.0

    def warm_up(self) -> None:
        """Run a case once on either side and forget it: what is loaded with the first case is not what is measured."""
        case = self.runs.cases[0]
        make_folder(self.folder)
        for side, worker in (("a", self.a), ("b", self.b)):
            require_cases(worker, self.runs)
            make_folder(self.folder / side)
            run_once(worker, self.runs, case, 0, self.folder / side)

    def more(self, pairs: int) -> None:
        """Run as many pairs of every case more; what is there already is what a longer run would have begun with."""
        first, until = self.count * len(self.runs.cases), (self.count + pairs) * len(self.runs.cases)
        order = stats.interleave(until, self.runs.seed)
        for place in range(first, until):
            began = time.monotonic()
            pair, number = divmod(place, len(self.runs.cases))
            case = self.runs.cases[number]
            found: dict[str, CaseResult] = {}
            for side in order[2 * place : 2 * place + 2]:
                worker = self.a if side == "a" else self.b
                found[side] = run_once(worker, self.runs, case, pair, self.folder / side)
                self.ended(found[side])
            self.pairs.setdefault(case.id, []).append((found["a"], found["b"]))
            self.count = min(len(self.pairs.get(each.id, ())) for each in self.runs.cases)
            self.took_s += time.monotonic() - began

    def seconds_for(self, pairs: int) -> float:
        """Return how long that many pairs more should take."""
        return self.took_s / max(1, self.count) * pairs

    def findings(self, metrics: Sequence[str] = ()) -> list[paired.Finding]:
        """Judge what has run so far."""
        return paired.judge(self.pairs, metrics)
