"""The ``backfill`` command: runs of commits that are past, so that a history begins before somebody kept one.

Rounds go over all commits in a random order each: what the machine does in one hour falls on all of them alike, and
does not look like one commit's step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from harness.analysis import dataset
from harness.analysis.results import RunResult
from harness.builds import ab, folders
from harness.builds.make import Build
from harness.builds.origin import revision
from harness.builds.pairing import Runs, require_cases, run_once
from harness.builds.repository import Repository
from harness.builds.worker import Worker
from harness.run import INTERRUPTED_EXIT, progress
from harness.run.environment import describe
from harness.run.store import make_folder, new_folder
from harness.run.whole_files import write_atomically
from harness.scenario.link import Backend
from punktfunk.errors import BuildError, PunktfunkError, UsageError
from punktfunk.terminal import say

FEWEST: Final = 2
"""Commits that a history is made of."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    range: str
    scenario: Path
    expression: str = ""
    case_ids: tuple[str, ...] = ()
    commits: int = 16
    rounds: int = 4
    seed: int | None = None
    backend: Backend | None = None
    to: Path = Path("reports/history")
    out: Path = Path("reports")
    cache: Path | None = None
    repository: Path = Path()
    plain: bool = False
    command: str = ""


def run(request: Request) -> int:
    """Run a scenario's cases with commits of a range, add the results to the data set, and return the exit code.

    Commits that cannot be built or cannot run the scenario are named and left out; of one that dies of a case no
    further rounds are run. What has run is in the data set, also where the rest was interrupted. Raises BuildError
    where fewer than two commits are left.
    """
    runs = ab.runs_of(request.scenario, request.seed, request.backend, request.expression, request.case_ids)
    repository, cache = Repository(request.repository), ab.cache_of(request.cache)
    chosen = spread(repository.between(request.range), request.commits)
    if len(chosen) < FEWEST:
        raise UsageError(
            f"{request.range} has {len(chosen)} commits",
            "name a range of several: v0.1..HEAD, or HEAD for all",
        )
    builds: list[Build] = []
    skipped: list[str] = []
    for sha in chosen:
        origin = revision(sha, repository)
        try:
            build = ab.built(origin, cache, sha[:12])
            with Worker(build) as worker:
                require_cases(worker, runs)
            builds.append(build)
        except PunktfunkError as error:
            skipped.append(sha[:12])
            say(f"skip  {origin.title}: {error.cause.splitlines()[0]}")
    if len(builds) < FEWEST:
        raise BuildError(
            f"{len(builds)} of {len(chosen)} commits can run {request.scenario}",
            "name later commits, or an older scenario",
        )
    folder = new_folder(request.out, ["backfill", runs.cases[0].scenario])
    reporter = progress.reporter(plain=request.plain)
    estimate = ab.estimate_s(runs)
    reporter.begin(request.rounds * len(builds) * len(runs.cases), estimate * request.rounds * len(builds))
    rng = np.random.default_rng(runs.seed)
    interrupted, died = False, set[int]()
    try:
        for round_ in range(request.rounds):
            for number in rng.permutation(len(builds)).tolist():
                if number in died:
                    continue
                try:
                    _once(request, runs, builds[number], round_, folder, reporter)
                except BuildError as error:
                    died.add(number)
                    skipped.append(builds[number].origin.key[:12])
                    reporter.note(f"skip  {error.cause.splitlines()[0]}")
    except KeyboardInterrupt:
        interrupted = True
    finally:
        reporter.close()
    left_out = f", {len(skipped)} skipped ({', '.join(skipped)})" if skipped else ""
    say(f"{len(builds) - len(died)} commits, {request.rounds} rounds{left_out}")
    say(f"results: {folder}")
    say(f"data set: {request.to}")
    if not interrupted and len(builds) - len(died) < FEWEST:
        raise BuildError(
            f"{len(builds) - len(died)} of {len(chosen)} commits could run {request.scenario} to the end",
            "name later commits, or an older scenario",
        )
    say(f"  → punktfunk-lab history {request.to} draws them")
    return INTERRUPTED_EXIT if interrupted else 0


def spread(commits: Sequence[str], count: int) -> list[str]:
    """Return as many commits at equal distances, first and last among them; all where there are no more."""
    if len(commits) <= count:
        return list(commits)
    places = np.linspace(0, len(commits) - 1, count).round().astype(int)
    return [commits[place] for place in places]


def _once(  # noqa: PLR0917 - what a round of a commit is made of
    request: Request, runs: Runs, build: Build, round_: int, folder: Path, reporter: progress.Reporter
) -> None:
    """Run all cases with a commit, and add them to the data set as a run."""
    sha = build.origin.key
    place = folder / f"{sha[:12]}-{round_}"
    make_folder(place)
    began = datetime.now(UTC)
    estimate = ab.estimate_s(runs) / len(runs.cases)
    cases = []
    with Worker(build) as worker:
        for number, case in enumerate(runs.cases):
            if number == 0:  # what is loaded with the first case is not what is measured
                run_once(worker, runs, case, 0, place)
            found = run_once(worker, runs, case, 0, place)
            # The seed is the scenario's own in every round: the same case of another run, and no pair.
            cases.append(found.model_copy(update={"id": case.id}))
            reporter.ended(found, estimate)
    result = RunResult(
        run_id=f"{folder.name}/{place.name}",
        scenario=runs.cases[0].scenario,
        started=began.isoformat(timespec="seconds"),
        duration_s=(datetime.now(UTC) - began).total_seconds(),
        command=request.command,
        environment=describe() | {"git": sha[:12]},
        cases=cases,
        verdict=folders.verdict_of(cases),
        notes=[f"a run of {build.origin.title}, made later"],
    )
    write_atomically(place / "run.json", result.model_dump_json(indent=2) + "\n")
    dataset.archive(result, place, request.to)
