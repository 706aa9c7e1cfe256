"""The folder of a comparison of two builds: made, taken up again, written with its page (``analysis.paired_run``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.analysis import paired_run
from harness.analysis.paired_run import FILE, SIDES, Comparison
from harness.analysis.results import CaseResult, Quietness, RunResult, Status
from harness.builds.make import Build
from harness.builds.origin import Kind, Origin
from harness.builds.outcomes import Outcome
from harness.builds.pairing import MAX_PAIRS, PairedRun, Runs
from harness.report import builds as page_of_builds
from harness.run.environment import describe
from harness.run.store import new_folder
from harness.run.whole_files import write_atomically
from punktfunk.errors import ResultsError, UsageError


@dataclass(frozen=True, slots=True)
class Asked:
    """What a comparison was asked for, as its folder keeps it."""

    scenario: Path
    names: Mapping[str, str]
    """What the command line called each side."""
    command: str
    charts: bool = True
    """Whether the page has any: they are most of its CPU time."""


def of(out: Path, resume: str, origins: Mapping[str, Origin], runs: Runs) -> Path:
    """Return the folder of a comparison: a new one, or the one that is resumed, which has to be of the same."""
    if not resume:
        return new_folder(out, ["ab", runs.cases[0].scenario])
    folder = next((p for p in (Path(resume), out / resume) if paired_run.is_one(p)), None)
    if folder is None:
        raise ResultsError(f"there is no comparison '{resume}' to resume", "give the folder that has ab.json")
    earlier = paired_run.about(folder)
    for name, now in _identity(origins, runs).items():
        if getattr(earlier, name) != now:
            raise UsageError(
                f"{folder} compared something else: {name} was {str(getattr(earlier, name))[:60]}, is {str(now)[:60]}",
                "give the same builds, scenario, cases and seed",
            )
    return folder


def _identity(origins: Mapping[str, Origin], runs: Runs) -> dict[str, Any]:
    """Return what makes pairs of two runs pairs of one experiment."""
    return {
        "base": origins["a"].key,
        "head": origins["b"].key,
        "cases": [case.id for case in runs.cases],
        "seed": runs.seed,
        "backend": None if runs.backend is None else str(runs.backend),
    }


def take_up(pair: PairedRun, folder: Path) -> list[Quietness]:
    """Give a paired run the pairs that a folder has, and return what was found of the machine then."""
    earlier = paired_run.load(folder)
    pair.pairs |= {case: both for case, both in earlier.pairs.items() if both}
    pair.count = min((len(both) for both in earlier.pairs.values()), default=0)
    for both in pair.pairs.values():
        del both[pair.count :]  # of a run that was interrupted
    pair.took_s = earlier.about.took_s
    if pair.count >= MAX_PAIRS:
        raise UsageError(f"{folder} has {pair.count} pairs", f"at most {MAX_PAIRS} are run")
    return earlier.about.machine


def write(  # noqa: PLR0917 - all that a comparison is made of
    folder: Path,
    asked: Asked,
    builds: Mapping[str, Build],
    runs: Runs,
    pair: PairedRun,
    outcome: Outcome,
    spans: list[Quietness],
) -> Path:
    """Write both runs, ``ab.json`` and the page; return the page. ``spans`` is what was found of the machine."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    origins = {side: build.origin for side, build in builds.items()}
    for number, side in enumerate(SIDES):
        cases = [both[number] for results in pair.pairs.values() for both in results]
        result = RunResult(
            run_id=f"{folder.name}/{side}",
            scenario=runs.cases[0].scenario,
            started=began,
            duration_s=pair.took_s,
            command=asked.command,
            environment=describe() | {"git": origins[side].key[:12]},
            cases=cases,
            verdict=verdict_of(cases),
            notes=[f"{SIDES[side]} of a comparison of two builds: {origins[side].title}"],
        )
        (folder / side).mkdir(exist_ok=True)
        write_atomically(folder / side / "run.json", result.model_dump_json(indent=2) + "\n")
    said = Comparison(
        command=asked.command,
        scenario=str(asked.scenario),
        **_identity(origins, runs),
        names={
            name: origins[side].key[:12] if origins[side].kind is Kind.REVISION else asked.names[side]
            for side, name in SIDES.items()
        },
        titles={name: origins[side].title for side, name in SIDES.items()},
        cores={name: builds[side].core for side, name in SIDES.items()},
        pairs=pair.count,
        seeds=[runs.seed_of(number) for number in range(pair.count)],
        took_s=pair.took_s,
        machine=spans,
        notes=outcome.notes,
        exit_code=outcome.exit_code,
        findings=outcome.findings,
    )
    write_atomically(folder / FILE, said.model_dump_json(indent=2) + "\n")
    return page_of_builds.write(folder, charts=asked.charts)


def verdict_of(cases: Sequence[CaseResult]) -> Status:
    """Return what a run came to of which these are the cases."""
    states = {case.status for case in cases}
    for status in (Status.FAULT, Status.FAILED, Status.UNSUPPORTED):
        if status in states:
            return status
    return Status.PASSED
