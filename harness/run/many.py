"""Run very many simulated cases: a row of a table for each, no folder for any, and never all of them in memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from harness.analysis.results import RunResult, Status
from harness.run import groups, overview
from harness.run.case_store import CaseStore
from harness.run.context import RunContext
from harness.run.elsewhere import Elsewhere
from harness.run.environment import describe
from harness.run.estimate import row_s
from harness.run.fingerprint import code_digest
from harness.run.groups import Feed, Group
from harness.run.pool import in_pool
from harness.run.progress import Reporter
from harness.run.runner import INLINE_BELOW_S, Outcome, sigterm_interrupts
from harness.run.store import RunFolder
from harness.scenario.expand import Cases
from harness.scenario.link import Backend
from punktfunk.errors import PunktfunkError, UsageError
from punktfunk.process import loading

if TYPE_CHECKING:
    import pyarrow as pa

EACH_UP_TO: Final = 5_000
"""Cases of a run up to which each has a folder; a larger run keeps a table."""
ESTIMATED_FROM: Final = 1_000
"""Cases, evenly spread, from which the time of all is estimated."""

Source: TypeAlias = Callable[[Feed[Group], RunContext], Iterator[tuple[Group, bytes | None]]]
"""Hands groups out and yields each with what came back; None where whoever had it was lost."""


def run_table(
    cases: Cases,
    folder: RunFolder,
    reporter: Reporter,
    *,
    backend: Backend | None = None,
    jobs: int = 1,
    strict: bool = False,
    command: str = "",
    elsewhere: Elsewhere | None = None,
) -> Outcome:
    """Run ``cases`` and return a result whose ``table`` has them; results that the folder holds are kept.

    A group's rows are on disk before they are reported. SIGINT and SIGTERM end the run with what it has, and so does
    whatever else it cannot go on from (``trouble``). Raises UsageError for cases that are not simulated, and
    ResultsError for a folder with rows of other cases.
    """
    check_simulated(cases, backend)
    loading.ready()
    began = time.monotonic()
    environment = describe()
    context = RunContext(
        run_id=secrets.token_hex(3),
        backend=Backend.SIM,
        strict=strict,
        environment_class=str(environment.get("machine_class", "")),
    )
    run = RunResult(
        run_id=folder.run_id,
        scenario="+".join(dict.fromkeys(layer.scenario for layer in cases.layers)),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        environment=environment,
    )
    store = CaseStore(folder, len(cases), cases.digest(), code_digest())
    outcome = Outcome(run=run, reused=store.ended)
    waiting = len(cases) - store.ended
    each_s = mean_s(cases)
    source: Source
    if elsewhere is not None:
        source, jobs = elsewhere.rows, elsewhere.slots
    else:
        source = _inline if jobs == 1 or waiting * each_s < INLINE_BELOW_S else _pooled(jobs)
    reporter.begin(waiting, waiting * each_s / jobs)
    feed = Feed(groups.grouped(((place, cases[place]) for place in store.waiting()), len(cases)))
    try:
        with sigterm_interrupts():
            for group, stream in source(feed, context):
                table = _returned(group, stream, feed)
                if table is not None:
                    kept = store.add(table)
                    reporter.advanced(kept.num_rows, _bad(kept), kept.num_rows * each_s / jobs)
    except KeyboardInterrupt:
        outcome.interrupted = True
        run.notes.append(f"Interrupted: {store.ended} of {len(cases)} cases have run.")
    except PunktfunkError as error:
        outcome.trouble = error
        run.notes.append(f"The run ended early: {error.cause}. {store.ended} of {len(cases)} cases have run.")
    finally:
        reporter.close()
    run.duration_s = time.monotonic() - began
    try:
        store.finish()
        overview.conclude(run, folder.path, asked=len(cases), strict=strict, interrupted=_early(outcome))
    except PunktfunkError as error:
        outcome.trouble = outcome.trouble or error
    return outcome


def check_simulated(cases: Cases, backend: Backend | None) -> None:
    """Raise UsageError unless every case is simulated: one on a real link leaves files of its own."""
    real = {
        Backend.SIM if backend is Backend.SIM else found
        for layer in cases.layers
        for found in layer.backends()
    }
    if real != {Backend.SIM} or backend not in {None, Backend.SIM}:
        raise UsageError(
            f"{len(cases)} cases are run in virtual time only, and these ask for another link",
            f"use --backend sim, or choose at most {EACH_UP_TO} of them with -k",
        )


def mean_s(cases: Cases) -> float:
    """Return the seconds that a case should take, from a sample of them."""
    step = max(1, len(cases) // ESTIMATED_FROM)
    sample = range(0, len(cases), step)
    return sum(row_s(cases[place]) for place in sample) / len(sample)


def _returned(group: Group, stream: bytes | None, feed: Feed[Group]) -> pa.Table | None:
    """Return the rows of a group; None where it is tried again in halves, for it ended whoever had it."""
    if stream is not None:
        return groups.rows(stream)
    if len(group.cases) > 1:
        feed.give_back(group.halves())
        return None
    return groups.lost(group, "the process that had it died (out of memory, or killed)")


def _inline(feed: Feed[Group], context: RunContext) -> Iterator[tuple[Group, bytes | None]]:
    while (group := feed.take()) is not None:
        yield group, groups.tabulated(group, context)


def _pooled(jobs: int) -> Source:
    def source(feed: Feed[Group], context: RunContext) -> Iterator[tuple[Group, bytes | None]]:
        def submit(pool_submit: Callable[..., Future[bytes]], group: Group) -> Future[bytes]:
            return pool_submit(groups.tabulated, group, context)

        return in_pool(feed, jobs, submit)

    return source


def _bad(table: pa.Table) -> int:
    return sum(status != Status.PASSED for status in table.column("status").to_pylist())


def _early(outcome: Outcome) -> bool:
    return outcome.interrupted or outcome.trouble is not None
