"""The ``ab`` command: two builds on one link, run in turn, and what moved between them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from harness.analysis import paired
from harness.analysis import runs as runs_on_disk
from harness.analysis.paired import FIGURES, Finding
from harness.analysis.results import CaseResult, RunResult, Status
from harness.analysis.stats import Verdict
from harness.builds import machine, text
from harness.builds.cache import Cache
from harness.builds.make import Build, make
from harness.builds.origin import Origin, resolve
from harness.builds.pairing import MAX_PAIRS, PairedRun, Runs
from harness.builds.repository import Repository
from harness.builds.worker import Worker
from harness.run import INTERRUPTED_EXIT, progress
from harness.run.environment import describe
from harness.run.store import new_folder, read_json, write_atomically
from harness.scenario.diagnostics import did_you_mean
from harness.scenario.expand import expand
from harness.scenario.link import Backend
from harness.scenario.selection import select
from punktfunk.errors import (
    BuildError,
    BusyMachineError,
    CapabilityError,
    CheckFailedError,
    RegressionError,
    ResultsError,
    UsageError,
)
from punktfunk.terminal import say

SCHEMA_VERSION: Final = 1
SIDES: Final = {"a": "base", "b": "head"}


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    base: str
    head: str
    scenario: Path
    metrics: tuple[str, ...] = ()
    expression: str = ""
    case_ids: tuple[str, ...] = ()
    pairs: int = 20
    resume: str = ""
    seed: int | None = None
    backend: Backend | None = None
    out: Path = Path("reports")
    cache: Path | None = None
    repository: Path = Path()
    plain: bool = False
    command: str = ""


@dataclass(slots=True)
class Outcome:
    """What two builds differ in, as far as it is known."""

    findings: list[Finding]
    seconds_for: Callable[[int], float]
    notes: list[str] = field(default_factory=list)
    """Why not to believe it, and what did not run."""
    lost: bool = False
    """Whether head came to no result where base did."""

    @property
    def exit_code(self) -> int:
        """0; 3 for a regression, 1 where head did not run through, 4 where nothing could be judged."""
        if any(f.verdict is Verdict.REGRESSION and f.gates for f in self.findings):
            return RegressionError.exit_code
        if self.lost:
            return CheckFailedError.exit_code
        if all(f.verdict is Verdict.TOO_FEW for f in self.findings):
            return CapabilityError.exit_code
        return 0


def run(request: Request) -> int:
    """Build both, run them in turn, print what moved and return the exit code.

    Raises errors of the tree for what whoever asked has to put right. The folder of the run keeps the results of both
    sides (``a``, ``b``: runs that ``compare`` and ``report`` read) and ``ab.json``.
    """
    runs = runs_of(request.scenario, request.seed, request.backend, request.expression, request.case_ids)
    require_figures(request.metrics)
    quiet = machine.Quiet(runs, request.metrics)
    quiet.require()
    repository, cache = Repository(request.repository), cache_of(request.cache)
    origins = {"a": resolve(request.base, repository), "b": resolve(request.head, repository)}
    folder = _folder(request, origins, runs)
    builds = {side: built(origin, cache, SIDES[side]) for side, origin in origins.items()}
    say_builds(builds)
    reporter = progress.reporter(plain=request.plain)
    interrupted, trouble = False, None
    with ExitStack() as stack:
        workers = {side: stack.enter_context(Worker(build)) for side, build in builds.items()}
        pair = PairedRun(workers["a"], workers["b"], runs, folder)
        if request.resume:
            _take_up(pair, folder)
        try:
            pair.warm_up()
            estimate = estimate_s(runs) * 2
            reporter.begin(2 * request.pairs * len(runs.cases), estimate * request.pairs)
            pair.ended = lambda result: reporter.ended(result, estimate / (2 * len(runs.cases)))
            with quiet:
                pair.more(request.pairs)
        except KeyboardInterrupt:
            interrupted = True
        except BuildError as error:
            if not pair.pairs:
                raise
            trouble = error  # what has run is kept and shown, and then it is raised
        finally:
            reporter.close()
    outcome = conclude(pair, request.metrics, quiet)
    _write(folder, request, origins, runs, pair, outcome)
    for line in [
        *(f"note: {note}" for note in outcome.notes),
        *text.table(outcome.findings, pair.seconds_for),
    ]:
        say(line)
    say(f"results: {folder}")
    if any(f.verdict is Verdict.TOO_FEW for f in outcome.findings):
        say(f"  → the same with --resume {folder} --pairs N adds pairs to these")
    if trouble is not None:
        raise trouble
    return INTERRUPTED_EXIT if interrupted else outcome.exit_code


def runs_of(
    scenario: Path, seed: int | None, backend: Backend | None, expression: str, case_ids: Sequence[str]
) -> Runs:
    """Return what is run of a scenario; raise ScenarioError or UsageError where it names nothing."""
    plan = expand(scenario, seed=seed)
    return Runs(scenario.resolve(), tuple(select(plan.cases, expression, case_ids)), plan.seed, backend)


def require_figures(names: Iterable[str]) -> None:
    """Raise UsageError with the nearest name for a figure that there is not."""
    for name in names:
        if name not in FIGURES:
            hint = did_you_mean(
                name, FIGURES, otherwise="see docs/reference/metrics.md; two more are core_cpu and case_cpu"
            )
            raise UsageError(f"there is no metric '{name}'", hint)


def cache_of(folder: Path | None) -> Cache:
    """Return the cache in a folder, or in the usual one."""
    from harness.builds.cache import default_folder

    return Cache((folder or default_folder()).resolve())


def built(origin: Origin, cache: Cache, name: str) -> Build:
    """Make a build and say what takes its time."""
    return make(origin, cache, lambda words: say(f"{name}: {origin.title}: {words}", err=True))


def say_builds(builds: dict[str, Build]) -> None:
    """Print which builds are compared, and whether their compiled cores are the same."""
    a, b = builds["a"], builds["b"]
    for side, build in builds.items():
        core = f", core {build.core[:12]}" if build.core else ""
        same = " (the same)" if side == "b" and build.core and a.core == b.core else ""
        say(f"{SIDES[side]}  {build.origin.title}{core}{same}")


def estimate_s(runs: Runs) -> float:
    """Return the seconds that one build's turn at all cases should take."""
    from harness.run import estimate

    return sum(
        estimate.estimate_s(case, Backend.SIM if machine.simulated(case, runs.backend) else Backend.TUN)
        for case in runs.cases
    )


def conclude(pair: PairedRun, metrics: Sequence[str], quiet: machine.Quiet) -> Outcome:
    """Judge what has run; leave out what the machine was too busy for, and raise where nothing is left."""
    findings, notes = pair.findings(metrics), []
    lost = False
    for case, both in pair.pairs.items():
        for side, name in enumerate(SIDES.values()):
            results = [results[side] for results in both]
            gone = [r for r in results if r.status not in {Status.PASSED, Status.FAILED}]
            if gone:
                other = sum(results[1 - side].status in {Status.PASSED, Status.FAILED} for results in both)
                lost |= name == "head" and other == len(both)
                words = f"{gone[0].status.value}: {gone[0].reason}"
                notes.append(
                    f"{name} came to no result in {len(gone)} of {len(both)} runs of {case} ({words})"
                )
    busy = quiet.trouble()
    if busy:
        wall = {f for f in findings if paired.is_wall_clock(f.metric, _backend(pair, f.case))}
        findings = [f for f in findings if f not in wall]
        if wall:
            notes.append(f"{len(wall)} latencies were not judged: {busy}")
    if not findings and pair.pairs and not lost:
        if busy:
            raise BusyMachineError(f"no latency is worth believing: {busy}", machine.HINT)
        raise CapabilityError(
            "; ".join(notes) or f"no case has a figure of {', '.join(metrics) or 'any kind'} above 0",
            "choose another metric, or cases that this machine can run",
        )
    return Outcome(findings, pair.seconds_for, notes, lost)


def _backend(pair: PairedRun, case: str) -> str:
    return pair.pairs[case][0][0].backend


def _folder(request: Request, origins: dict[str, Origin], runs: Runs) -> Path:
    """Return the folder of the run: a new one, or the one that is resumed, which has to be of the same."""
    if not request.resume:
        return new_folder(request.out, ["ab", runs.cases[0].scenario])
    folder = next(
        (p for p in (Path(request.resume), request.out / request.resume) if (p / "ab.json").is_file()), None
    )
    if folder is None:
        raise ResultsError(
            f"there is no comparison '{request.resume}' to resume", "give the folder that has ab.json"
        )
    earlier = read_json(folder / "ab.json")
    for name, now in _identity(origins, runs).items():
        if not isinstance(earlier, dict) or earlier.get(name) != now:
            was = earlier.get(name) if isinstance(earlier, dict) else None
            raise UsageError(
                f"{folder} compared something else: {name} was {str(was)[:60]}, is {str(now)[:60]}",
                "give the same builds, scenario, cases and seed",
            )
    return folder


def _identity(origins: dict[str, Origin], runs: Runs) -> dict[str, Any]:
    """Return what makes pairs of two runs pairs of one experiment."""
    return {
        "base": origins["a"].key,
        "head": origins["b"].key,
        "cases": [case.id for case in runs.cases],
        "seed": runs.seed,
        "backend": None if runs.backend is None else str(runs.backend),
    }


def _take_up(pair: PairedRun, folder: Path) -> None:
    sides = [runs_on_disk.load(folder / side)[0].cases for side in SIDES]
    for a, b in zip(*sides, strict=True):
        pair.pairs.setdefault(a.id.rpartition(",pair=")[0], []).append((a, b))
    pair.count = min(len(both) for both in pair.pairs.values())
    for both in pair.pairs.values():
        del both[pair.count :]  # of a run that was interrupted
    pair.took_s = float(read_json(folder / "ab.json")["took_s"])
    if pair.count >= MAX_PAIRS:
        raise UsageError(f"{folder} has {pair.count} pairs", f"at most {MAX_PAIRS} are run")


def _write(  # noqa: PLR0917 - all that a run is made of
    folder: Path,
    request: Request,
    origins: dict[str, Origin],
    runs: Runs,
    pair: PairedRun,
    outcome: Outcome,
) -> None:
    began = datetime.now(UTC).isoformat(timespec="seconds")
    for number, side in enumerate(SIDES):
        cases = [both[number] for results in pair.pairs.values() for both in results]
        result = RunResult(
            run_id=f"{folder.name}/{side}",
            scenario=runs.cases[0].scenario,
            started=began,
            duration_s=pair.took_s,
            command=request.command,
            environment=describe() | {"git": origins[side].key[:12]},
            cases=cases,
            verdict=_verdict(cases),
            notes=[f"{SIDES[side]} of a comparison of two builds: {origins[side].title}"],
        )
        (folder / side).mkdir(exist_ok=True)
        write_atomically(folder / side / "run.json", result.model_dump_json(indent=2) + "\n")
    said = {
        "schema_version": SCHEMA_VERSION,
        "command": request.command,
        "scenario": str(request.scenario),
        **_identity(origins, runs),
        "titles": {SIDES[side]: origin.title for side, origin in origins.items()},
        "pairs": pair.count,
        "took_s": pair.took_s,
        "notes": outcome.notes,
        "exit_code": outcome.exit_code,
        "findings": [_plain(finding) for finding in outcome.findings],
    }
    write_atomically(folder / "ab.json", json.dumps(said, indent=2, allow_nan=False) + "\n")


def _plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON has it, where infinity and what was not measured are null."""

    def finite(value: Any) -> Any:
        if isinstance(value, tuple):
            return [finite(each) for each in value]
        return value if not isinstance(value, float) or abs(value) < float("inf") else None

    return {name: finite(value) for name, value in dataclasses.asdict(finding).items()}


def _verdict(cases: Sequence[CaseResult]) -> Status:
    states = {case.status for case in cases}
    for status in (Status.FAULT, Status.FAILED, Status.UNSUPPORTED):
        if status in states:
            return status
    return Status.PASSED
