"""The ``run`` command: from files and flags to results, a report and an exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.network import leftovers
from harness.report import summary
from harness.report.text import clock
from harness.run import estimate, progress, runner, verdict
from harness.run.case import resolve_backend
from harness.run.context import RunContext
from harness.run.environment import usable_cores
from harness.run.store import RunFolder, RunPlan
from harness.scenario.expand import Case, expand
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
    show: Literal["run", "list", "dry-run"] = "run"
    command: str = ""


def run(request: Request) -> int:
    """Do what was asked and return the exit code; raises errors of the tree for what the user must mend."""
    earlier: RunFolder | None = None
    plan = RunPlan(
        files=tuple(str(file) for file in request.files),
        seed=request.seed,
        backend=request.backend,
        expression=request.expression,
        cases=request.case_ids,
    )
    if request.resume:
        if request.files or request.expression or request.case_ids or request.seed is not None:
            raise UsageError(
                "--resume goes on with what the earlier run was asked for", "give no files, -k or --seed"
            )
        earlier, plan = RunFolder.reopen(request.out, request.resume)
    if not plan.files:
        raise UsageError("no scenario is given", "for example: python -m harness run scenarios/smoke.yaml")
    backend = plan.backend
    cases = _cases(plan)
    if request.show == "list":
        for case in cases:
            say(case.id)
        return 0
    jobs = request.jobs or usable_cores()
    if request.show == "dry-run":
        _dry_run(cases, backend, jobs)
        return 0
    folder = earlier or RunFolder.create(
        request.out, list(dict.fromkeys(case.scenario for case in cases)), plan
    )
    leftovers.clean()  # of earlier runs that were killed
    outcome = runner.run_cases(
        cases,
        folder,
        progress.reporter(plain=request.plain),
        backend=backend,
        jobs=jobs,
        strict=request.strict,
        require_quiet=request.require_quiet,
        command=request.command,
        resume=earlier is not None,
    )
    return _conclude(outcome, folder, charts=request.charts)


def _cases(plan: RunPlan) -> list[Case]:
    cases = [case for file in plan.files for case in expand(Path(file), seed=plan.seed).cases]
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise UsageError(
                f"two of the files name a case '{case.id}'", "give the scenarios different names"
            )
        seen.add(case.id)
    return select(cases, plan.expression, plan.cases)


def _dry_run(cases: list[Case], backend: Backend | None, jobs: int) -> None:
    context = RunContext(run_id="", backend=backend)
    side_by_side = alone = 0.0
    for case in cases:
        try:
            link = resolve_backend(case, context)
        except CapabilityError as error:
            say(f"{'not here':>9}  {case.id}  ({error.hint})")
            continue
        seconds = estimate.estimate_s(case, link)
        if link is Backend.SIM:
            side_by_side += seconds
        else:
            alone += seconds
        say(f"{seconds:>7.1f} s  {case.id}  ({link})")
    total = side_by_side / jobs + alone
    say(f"{len(cases)} case{'s' * (len(cases) != 1)}, about {clock(total)} with {jobs} jobs")


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
        if outcome.run.cases:
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
