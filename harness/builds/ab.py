"""The ``ab`` command: two builds on one link, run in turn, and what moved between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.definitions import FIGURES
from harness.analysis.paired_run import SIDES
from harness.analysis.results import Quietness
from harness.analysis.stats import Verdict
from harness.builds import folders, machine, outcomes
from harness.builds.cache import Cache
from harness.builds.make import Build, make
from harness.builds.origin import Origin, resolve
from harness.builds.pairing import PairedRun, Runs
from harness.builds.repository import Repository
from harness.builds.worker import Worker
from harness.report import builds_text as text
from harness.run import INTERRUPTED_EXIT, progress
from harness.scenario.diagnostics import did_you_mean
from harness.scenario.expand import expand
from harness.scenario.link import Backend
from harness.scenario.selection import select
from punktfunk.errors import BuildError, UsageError
from punktfunk.terminal import say


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
    charts: bool = True
    command: str = ""


def run(request: Request) -> int:
    """Build both, run them in turn, print what moved and return the exit code.

    Raises errors of the tree for what whoever asked has to put right. The folder of the run keeps the results of both
    sides (``a``, ``b``: runs that ``compare`` and ``report`` read), ``ab.json`` and the page ``ab.html``; pairs that
    have run are in it whatever is raised, also where none of them can be judged, and ``resume`` adds others.
    """
    runs = runs_of(request.scenario, request.seed, request.backend, request.expression, request.case_ids)
    require_figures(request.metrics)
    machine.require_quiet(runs, request.metrics)
    repository, cache = Repository(request.repository), cache_of(request.cache)
    origins = {"a": resolve(request.base, repository), "b": resolve(request.head, repository)}
    folder = folders.of(request.out, request.resume, origins, runs)
    builds = {side: built(origin, cache, SIDES[side]) for side, origin in origins.items()}
    say_builds(builds)
    reporter = progress.reporter(plain=request.plain)
    interrupted, trouble = False, None
    spans: list[Quietness] = []
    with ExitStack() as stack:
        workers = {side: stack.enter_context(Worker(build)) for side, build in builds.items()}
        pair = PairedRun(workers["a"], workers["b"], runs, folder)
        if request.resume:
            spans += folders.take_up(pair, folder)
        try:
            pair.warm_up()
            estimate = estimate_s(runs) * 2
            reporter.begin(2 * request.pairs * len(runs.cases), estimate * request.pairs)
            pair.ended = lambda result: reporter.ended(result, estimate / (2 * len(runs.cases)))
            with machine.watched(spans):
                pair.more(request.pairs)
        except KeyboardInterrupt:
            interrupted = True
        except BuildError as error:
            if not pair.pairs:
                raise
            trouble = error  # what has run is kept and shown, and then it is raised
        finally:
            reporter.close()
    outcome = outcomes.conclude(pair, request.metrics)
    asked = folders.Asked(
        request.scenario, {"a": request.base, "b": request.head}, request.command, request.charts
    )
    page = folders.write(folder, asked, builds, runs, pair, outcome, spans)
    for line in [
        *(f"note: {note}" for note in outcome.notes),
        *text.table(outcome.findings, pair.seconds_for),
    ]:
        say(line)
    say(f"results: {folder}")
    say(f"page: {page}")
    if outcome.refused is not None or any(f.verdict is Verdict.TOO_FEW for f in outcome.findings):
        say(f"  → the same with --resume {folder} --pairs N adds pairs to these")
    if trouble is not None:
        raise trouble
    if interrupted:
        return INTERRUPTED_EXIT
    if outcome.refused is not None:
        raise outcome.refused
    return outcome.exit_code


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
        estimate.estimate_s(case, Backend.SIM if runs.simulated(case) else Backend.TUN) for case in runs.cases
    )
