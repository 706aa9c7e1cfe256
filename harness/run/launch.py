"""The ``run`` command: from files and flags to results, a report and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.analysis.results import group_of_name
from harness.network import leftovers
from harness.report import summary
from harness.report.text import clock
from harness.run import estimate, many, progress, runner, verdict
from harness.run.case import resolve_backend
from harness.run.context import RunContext
from harness.run.elsewhere import Elsewhere
from harness.run.environment import usable_cores
from harness.run.store import RunFolder, RunPlan
from harness.scenario.expand import MAX_CASES, Case, Cases, expand
from harness.scenario.link import Backend
from harness.scenario.selection import select
from punktfunk.errors import CapabilityError, ResultsError, UsageError
from punktfunk.rich_terminal import Console
from punktfunk.terminal import say


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    files: tuple[Path, ...]
    expression: str = ""
    case_ids: tuple[str, ...] = ()
    resume: str = ""
    jobs: int = 0
    seed: int | None = None
    out: Path = Path("reports")
    backend: Backend | None = None
    plain: bool = False
    charts: bool = True
    strict: bool = False
    require_quiet: bool = False
    axes: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Values of axes that are given instead of a file's own, by file and axis."""
    post_hoc: bool = False
    """Whether the cases are chosen for what they showed in an earlier run, as those of a replay command are."""
    show: Literal["run", "list", "dry-run"] = "run"
    command: str = ""
    on: str = ""
    """A cluster that runs the cases, as ``harness.run.cluster`` takes it; "" runs them here."""
    insecure_cluster: bool = False


def run(request: Request) -> int:
    """Do what was asked and return the exit code; raises errors of the tree for what the user must mend."""
    earlier: RunFolder | None = None
    plan = RunPlan(
        files=tuple(str(file) for file in request.files),
        seed=request.seed,
        backend=request.backend,
        expression=request.expression,
        cases=request.case_ids,
        axes=request.axes,
        post_hoc=request.post_hoc,
    )
    if request.resume:
        if (
            request.files
            or request.expression
            or request.case_ids
            or request.axes
            or request.post_hoc
            or request.seed is not None
        ):
            raise UsageError(
                "--resume goes on with what the earlier run was asked for",
                "give no files, -k, --case, --post-hoc, --axis or --seed",
            )
        earlier, plan = RunFolder.reopen(request.out, request.resume)
    if not plan.files:
        raise UsageError("no scenario is given", "for example: python -m harness run scenarios/smoke.yaml")
    backend = plan.backend
    cases = _cases(plan)
    if request.show == "list":
        for name in cases.ids():
            say(name)
        return 0
    jobs = request.jobs or usable_cores()
    if request.show == "dry-run":
        _dry_run(cases, backend, jobs)
        return 0
    if len(cases) > many.EACH_UP_TO:
        many.check_simulated(cases, backend)
    with ExitStack() as stack:
        there = None
        if request.on:
            from harness.run import cluster

            there = stack.enter_context(cluster.connected(request.on, insecure=request.insecure_cluster))
        folder = earlier or RunFolder.create(
            request.out, list(dict.fromkeys(layer.scenario for layer in cases.layers)), plan
        )
        leftovers.clean()  # of earlier runs that were killed
        outcome = _run(
            cases,
            folder,
            request,
            backend,
            jobs=jobs,
            resume=earlier is not None,
            there=there,
            families=_families(cases) if plan.post_hoc else None,
        )
    return _conclude(outcome, folder, charts=request.charts)


def _run(
    cases: Cases,
    folder: RunFolder,
    request: Request,
    backend: Backend | None,
    *,
    jobs: int,
    resume: bool,
    there: Elsewhere | None,
    families: Mapping[str, int] | None,
) -> runner.Outcome:
    reporter = progress.reporter(plain=request.plain)
    if len(cases) > many.EACH_UP_TO:
        return many.run_table(
            cases,
            folder,
            reporter,
            backend=backend,
            jobs=jobs,
            strict=request.strict,
            command=request.command,
            elsewhere=there,
        )
    return runner.run_cases(
        list(cases),
        folder,
        reporter,
        backend=backend,
        jobs=jobs,
        strict=request.strict,
        require_quiet=request.require_quiet,
        command=request.command,
        resume=resume,
        elsewhere=there,
        families=families,
    )


def _families(cases: Cases) -> dict[str, int]:
    """Return how many cases each layer has in its file, however few of them were chosen for what they had shown."""
    return {group_of_name(layer.id_of(0)): len(layer) for layer in cases.layers if len(layer)}


def _cases(plan: RunPlan) -> Cases:
    cases = Cases([])
    named: set[tuple[str, str]] = set()
    for file in plan.files:
        found = expand(Path(file), seed=plan.seed, axes=plan.axes.get(file)).cases
        layers = {(layer.scenario, layer.layer) for layer in found.layers}
        if layers & named and not set(cases.ids()).isdisjoint(found.ids()):
            twice = next(name for name in found.ids() if name in set(cases.ids()))
            raise UsageError(f"two of the files name a case '{twice}'", "give the scenarios different names")
        named |= layers
        cases = cases.joined(found)
    if len(cases) > MAX_CASES:
        raise UsageError(f"{len(cases)} cases; at most {MAX_CASES} are run", "choose some of them with -k")
    chosen = select(cases, plan.expression, plan.cases)
    assert isinstance(chosen, Cases)
    return chosen


def _dry_run(cases: Cases, backend: Backend | None, jobs: int) -> None:
    if len(cases) > many.EACH_UP_TO:
        many.check_simulated(cases, backend)
        total = len(cases) * many.mean_s(cases) / jobs
        say(
            f"{len(cases)} cases, about {clock(total)} with {jobs} jobs; a row of a table for each, no folder"
        )
        return
    context = RunContext(run_id="", backend=backend)
    side_by_side = alone = 0.0
    for case in cases:
        link, seconds = _estimated(case, context)
        if link is Backend.SIM:
            side_by_side += seconds
        else:
            alone += seconds
    total = side_by_side / jobs + alone
    say(f"{len(cases)} case{'s' * (len(cases) != 1)}, about {clock(total)} with {jobs} jobs")


def _estimated(case: Case, context: RunContext) -> tuple[Backend | None, float]:
    """Print a case's line and return its link, None where it cannot run here, and the seconds it takes."""
    try:
        link = resolve_backend(case, context)
    except CapabilityError as error:
        say(f"{'not here':>9}  {case.id}  ({error.hint})")
        return None, 0.0
    seconds = estimate.estimate_s(case, link)
    say(f"{seconds:>7.1f} s  {case.id}  ({link})")
    return link, seconds


def _conclude(outcome: runner.Outcome, folder: RunFolder, *, charts: bool) -> int:
    """Write the report, print the verdict; trouble with either costs neither the results nor the verdict."""
    # A log has no width of its own: names of cases stay whole there.
    console = Console(
        highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else summary.LOG_WIDTH
    )
    reports: dict[str, Path] = {}
    trouble = outcome.trouble
    try:
        folder.write_run(outcome.run)
        if outcome.run.cases or outcome.run.table is not None:
            from harness import report

            reports = report.write(outcome.run, folder.path, charts=charts)
    except ResultsError as error:
        trouble = trouble or error
    except OSError as error:
        trouble = trouble or ResultsError(f"the report could not be written: {error.strerror or error}")
    summary.show(console, outcome.run, folder.path, reports)
    if outcome.reused:
        console.print(f"{outcome.reused} results of the earlier run were kept", markup=False)
    if trouble is not None:
        say(f"error[{trouble.code}] {trouble.cause}", err=True)
        say(f"  → {trouble.hint or 'results that were finished before are kept'}", err=True)
        say(f"  → go on with: python -m harness run --resume {folder.path}", err=True)
        return trouble.exit_code
    if outcome.interrupted:
        say(f"go on with: python -m harness run --resume {folder.path}", err=True)
    return verdict.exit_code(outcome.run, interrupted=outcome.interrupted)
