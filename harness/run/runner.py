"""Run cases: simulations in a pool of processes, real links one after another, results kept as they come."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import FrameType

from harness.analysis.results import CaseResult, RunResult, Status
from harness.run import verdict
from harness.run.case import capability, failed_result, resolve_backend, run_case
from harness.run.context import RunContext
from harness.run.elsewhere import Carried, Elsewhere, unpack
from harness.run.environment import describe
from harness.run.estimate import estimate_s
from harness.run.groups import Feed
from harness.run.order import in_turn
from harness.run.pool import in_pool
from harness.run.progress import Reporter
from harness.run.store import RunFolder
from harness.scenario.expand import Case
from harness.scenario.link import Backend
from punktfunk.errors import CapabilityError, ClusterError, PunktfunkError, ResultsError
from punktfunk.process import loading

INLINE_BELOW_S = 1.5
"""Simulations that take less than this altogether are not worth the start of a pool of processes."""


@dataclass(slots=True)
class Outcome:
    """What is left of a run when it ends, in whatever way."""

    run: RunResult
    interrupted: bool = False
    trouble: PunktfunkError | None = None
    """What the run could not go on from: results that cannot be written, a cluster that is lost. The rest is kept."""
    reused: int = 0
    """Cases whose earlier results ``--resume`` kept."""
    order: list[str] = field(default_factory=list)


def run_cases(
    cases: Sequence[Case],
    folder: RunFolder,
    reporter: Reporter,
    *,
    backend: Backend | None = None,
    jobs: int = 1,
    strict: bool = False,
    require_quiet: bool = False,
    command: str = "",
    resume: bool = False,
    elsewhere: Elsewhere | None = None,
    families: Mapping[str, int] | None = None,
) -> Outcome:
    """Run ``cases``, here or ``elsewhere``, and return their results in the order of the scenario.

    Each case's result is on disk before the next is reported. SIGINT and SIGTERM end the run with what it
    has (``interrupted``); a folder that cannot be written ends it, too (``trouble``). Never raises for a case.
    ``families`` as in :func:`harness.run.verdict.agreement_checks`.
    """
    loading.ready()
    began = time.monotonic()
    environment = describe()
    context = RunContext(
        run_id=secrets.token_hex(3),
        backend=backend,
        strict=strict,
        require_quiet=require_quiet,
        environment_class=str(environment.get("machine_class", "")),
    )
    run = RunResult(
        run_id=folder.run_id,
        scenario="+".join(dict.fromkeys(case.scenario for case in cases)),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        environment=environment,
    )
    outcome = Outcome(run=run)
    results: dict[str, CaseResult] = {}
    if resume:
        for case in cases:
            earlier = folder.finished(case)
            if earlier is not None:
                results[case.id] = earlier
        outcome.reused = len(results)
    waiting = [case for case in cases if case.id not in results]
    links_there = elsewhere is not None and elsewhere.carries_links
    simulated, real = _split(waiting, context, links_there=links_there)
    real = in_turn(real)
    costs = {case.id: estimate_s(case, Backend.SIM) for case in simulated}
    costs |= {
        case.id: estimate_s(case, Backend.TUN) if links_there else _real_cost(case, context) for case in real
    }
    inline = elsewhere is None and (sum(costs[case.id] for case in simulated) < INLINE_BELOW_S or jobs == 1)
    parallel = 1 if inline else jobs if elsewhere is None else elsewhere.slots
    reporter.begin(
        len(waiting),
        sum(costs[c.id] for c in simulated) / parallel + sum(costs[c.id] for c in real),
    )
    try:
        with sigterm_interrupts():
            if elsewhere is not None:
                stream = _brought(elsewhere.cases(simulated, context), folder)
            elif inline:
                stream = _inline(simulated, folder, context)
            else:
                stream = _pooled(simulated, folder, context, jobs)
            over_links = (
                _brought(elsewhere.links(real, context), folder)
                if elsewhere is not None and links_there
                else _inline(real, folder, context)
            )
            for source, share in ((stream, parallel), (over_links, 1)):
                for result in source:
                    results[result.id] = result
                    folder.write_case(result)
                    reporter.ended(result, costs[result.id] / share)
    except KeyboardInterrupt:
        outcome.interrupted = True
        run.notes.append(f"Interrupted: {len(results)} of {len(cases)} cases have run.")
    except (ResultsError, ClusterError) as error:
        outcome.trouble = error
        what = "Results could not be written" if isinstance(error, ResultsError) else "The cluster was lost"
        run.notes.append(f"{what}: {error.cause}. {len(results)} of {len(cases)} cases have run.")
    finally:
        reporter.close()
    run.cases = [results[case.id] for case in cases if case.id in results]
    run.duration_s = time.monotonic() - began
    verdict.conclude(
        run,
        interrupted=outcome.interrupted or outcome.trouble is not None,
        strict=strict,
        optional={case.id for case in cases if case.spec.optional},
        families=families or {},
    )
    return outcome


def _split(
    cases: Sequence[Case], context: RunContext, *, links_there: bool = False
) -> tuple[list[Case], list[Case]]:
    """Part the cases that a simulator carries, which may run side by side, from those that need the machine.

    Where another machine carries links, what this one has says nothing.
    """
    simulated: list[Case] = []
    real: list[Case] = []
    for case in cases:
        asked = context.backend or case.spec.link.backend
        try:
            if links_there:
                backend = Backend.SIM if asked is Backend.SIM else Backend.TUN
            else:
                backend = resolve_backend(case, context)
        except CapabilityError:
            backend = Backend.TUN  # run_case says why it cannot run
        (simulated if backend is Backend.SIM else real).append(case)
    return simulated, real


def _real_cost(case: Case, context: RunContext) -> float:
    """Return what a case on a real link takes; next to nothing where it will only be said why it cannot run."""
    asked = context.backend or case.spec.link.backend
    if asked is Backend.AUTO or capability(asked).ok:
        return estimate_s(case, Backend.TUN)
    return 0.01


def _inline(cases: Sequence[Case], folder: RunFolder, context: RunContext) -> Iterator[CaseResult]:
    for case in cases:
        yield run_case(case, folder.case_folder(case), context)


def _brought(found: Iterator[tuple[Case, Carried | str]], folder: RunFolder) -> Iterator[CaseResult]:
    """Keep what came back of cases that ran elsewhere."""
    for case, answer in found:
        if isinstance(answer, str):
            folder.case_folder(case)
            yield failed_result(case, case.spec.link.backend, Status.FAULT, answer)
        else:
            yield unpack(answer, case, folder)


def _pooled(cases: Sequence[Case], folder: RunFolder, context: RunContext, jobs: int) -> Iterator[CaseResult]:
    """Run simulations in ``jobs`` spawned processes; a process that dies costs its case, not the run."""

    def submit(pool_submit: Callable[..., Future[CaseResult]], case: Case) -> Future[CaseResult]:
        return pool_submit(run_case, case, folder.case_folder(case), context)

    for case, result in in_pool(Feed(cases), jobs, submit):
        yield result or failed_result(
            case, Backend.SIM, Status.FAULT, "its process died (out of memory, or killed)"
        )


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C while cases run, so that a CI job that is cancelled keeps its results, too."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous: Callable[[int, FrameType | None], object] | int | None
    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
