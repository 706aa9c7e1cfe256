"""The ``sim`` link: host and client session in one process, in virtual time, over the seeded link model.

One native call simulates one seed; a case may pool many. Nothing here waits, sends or needs a privilege, and
equal seeds give equal bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.analysis import agreement, ledger, metrics, records
from harness.analysis.case_table import REPEATS
from harness.analysis.results import CaseResult, Check, PeerResult, Status
from harness.peers.loading import simulation_of
from harness.peers.peer import Role, described
from harness.peers.simulated import Simulation
from harness.run.arrival import arrival_check, streams_of
from harness.run.checks import recovery_checks
from harness.run.code import code_of
from harness.run.context import RunContext
from harness.scenario.expand import Case

DIRECTION = "host_to_client"
SAMPLE = 100
"""One case in so many is simulated twice where a run keeps a row for a case."""


@dataclass(slots=True)
class _Pooled:
    """What the seeds of a case add up to."""

    counters: dict[str, dict[str, int]] = field(
        default_factory=lambda: {"host": {}, "client": {}, "link": {}}
    )
    frames: dict[str, int] = field(default_factory=dict)
    tables: list[records.Records] = field(default_factory=list)
    percents: list[tuple[int, ...]] = field(default_factory=list)
    """FEC percentages of the frames that were sent, one tuple a seed, where they followed loss."""
    unbalanced: dict[str, int] = field(default_factory=dict)
    """Balances that were not zero in some seed: sums could hide them."""
    peers: dict[Role, PeerResult] = field(default_factory=dict)
    first: str = ""
    """Digest of the first seed."""
    digest: Any = field(default_factory=hashlib.sha256)


def run(case: Case, folder: Path, context: RunContext) -> CaseResult:
    """Simulate every seed of a case and compare what came out with theory."""
    pooled = _simulated(case)
    outcome = _outcome(case, pooled)
    outcome.series = metrics.timeline(pooled.tables[0])
    outcome.quantiles = metrics.quantile_curves(pooled.tables[0])
    outcome.link = {
        "asked": case.spec.link.model_dump(mode="json", exclude_unset=True),
        "verified": "by its own counters",
    }
    outcome.checks.insert(0, _repeated(case, pooled))
    records.write(
        folder / "frames.parquet", pooled.tables[0], {"case": case.id, "seed": seed_of(case.seed, 0)}
    )
    return outcome


def row(case: Case) -> CaseResult:
    """Return what :func:`run` finds, less what only a folder or a chart of the case alone would show.

    That a seed repeats exactly is checked of the cases of :func:`sampled`: twice the work for all of them would show
    no more.
    """
    pooled = _simulated(case)
    outcome = _outcome(case, pooled)
    if sampled(case):
        outcome.checks.insert(0, _repeated(case, pooled))
    return outcome


def sampled(case: Case) -> bool:
    """Return whether a case is of the sample, one in :data:`SAMPLE`, in which seeds are shown to repeat exactly."""
    return case.seed % SAMPLE == 0


def _simulated(case: Case) -> _Pooled:
    simulate = simulation_of(case.spec.protocol)
    pooled = _Pooled()
    for number in range(case.spec.seeds):
        _add(pooled, _streamed(simulate(case.spec, seed_of(case.seed, number))))
    return pooled


def _repeated(case: Case, pooled: _Pooled) -> Check:
    simulate = simulation_of(case.spec.protocol)
    again = _streamed(simulate(case.spec, seed_of(case.seed, 0))).streamed().digest
    return Check(name=REPEATS, passed=pooled.first == again, expected=pooled.first[:16], measured=again[:16])


def _outcome(case: Case, pooled: _Pooled) -> CaseResult:
    spec = case.spec
    found = ledger.balances(pooled.counters["host"], pooled.counters["link"], pooled.counters["client"])
    found.balances |= pooled.unbalanced
    outcome = CaseResult(
        id=case.id,
        scenario=case.scenario,
        params=case.params,
        repeat=case.repeat,
        seed=case.seed,
        protocol=spec.protocol,
        peers=pooled.peers,
        backend="sim",
        status=Status.PASSED,
        metrics=metrics.case_metrics(pooled.tables, pooled.counters, frames=pooled.frames),
        ledgers={DIRECTION: found},
        digest=pooled.digest.hexdigest(),
    )
    if pooled.frames.get("corrupt"):
        outcome.checks.append(
            Check(
                name="no frame is delivered with other bytes than were sent",
                passed=False,
                expected="0 frames",
                measured=f"{pooled.frames['corrupt']} frames",
            )
        )
    outcome.checks += recovery_checks(spec, pooled.tables)
    arrives = arrival_check(
        spec,
        pooled.counters["client"]["frames_complete"],
        partial(streams_of, spec, pooled.tables),
        outcome.metrics,
        found.counts,
        live=False,
    )
    outcome.checks += [arrives] if arrives else []
    if spec.theory and not any(event.down for event in spec.events):
        outcome.theory = agreement.case_theory(
            [agreement.sent_bytes(table) for table in pooled.tables],
            pooled.counters["client"]["frames_complete"],
            spec.link.down.core(),
            code_of(spec),
            percents=pooled.percents or None,
        )
    return outcome


def seed_of(case_seed: int, number: int) -> int:
    """Return the seed of a case's ``number``-th simulation; the first is the case's own."""
    if number == 0:
        return case_seed
    return int.from_bytes(hashlib.sha256(f"{case_seed}/{number}".encode()).digest()[:8]) >> 11


def _streamed(simulation: Simulation) -> Simulation:
    for peer in (simulation.host, simulation.client):
        peer.start()
        peer.ready()
    return simulation


def _add(pooled: _Pooled, simulation: Simulation) -> None:
    host, client = simulation.host.stats().counters, simulation.client.stats().counters
    found = simulation.streamed()
    for side, counters in (("host", host), ("client", client), ("link", found.link)):
        pooled.counters[side] = ledger.add(pooled.counters[side], counters)
    pooled.frames = ledger.add(pooled.frames, found.frames)
    own = ledger.balances(host, found.link, client)
    for name, count in (found.balances | own.balances).items():
        if count:
            pooled.unbalanced[name] = pooled.unbalanced.get(name, 0) + abs(count)
    pooled.peers = described(simulation.host, simulation.client)
    pooled.first = pooled.first or found.digest
    pooled.digest.update(found.digest.encode())
    table = records.join(simulation.host.records(), simulation.client.records())
    pooled.tables.append(table)
    if found.percents is not None:
        pooled.percents.append(agreement.sent_percents(table, found.percents))
