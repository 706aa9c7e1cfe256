"""The ``sim`` link: host and client session in one process, in virtual time, over the seeded link model.

One native call simulates one seed; a case may pool many. Nothing here waits, sends or needs a privilege, and
equal seeds give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.analysis import agreement, ledger, metrics, records
from harness.analysis.results import CaseResult, Check, Status
from harness.run.context import RunContext
from harness.scenario.expand import Case
from harness.scenario.model import Session
from punktfunk.core import _core

DIRECTION = "host_to_client"


@dataclass(slots=True)
class _Pooled:
    """What the seeds of a case add up to."""

    counters: dict[str, dict[str, int]] = field(
        default_factory=lambda: {"host": {}, "client": {}, "link": {}}
    )
    frames: dict[str, int] = field(default_factory=dict)
    tables: list[records.Records] = field(default_factory=list)
    unbalanced: dict[str, int] = field(default_factory=dict)
    """Balances that were not zero in some seed: sums could hide them."""
    digest: Any = field(default_factory=hashlib.sha256)


def run(case: Case, folder: Path, context: RunContext) -> CaseResult:
    """Simulate every seed of a case and compare what came out with theory."""
    spec = case.spec
    pooled = _Pooled()
    for number in range(spec.seeds):
        seed = seed_of(case.seed, number)
        result = _core.simulate(json.dumps(core_spec(spec, seed)))
        _add(pooled, result)
        if number == 0:
            first = result.digest
    again = _core.simulate(json.dumps(core_spec(spec, seed_of(case.seed, 0)))).digest
    found = ledger.balances(pooled.counters["host"], pooled.counters["link"], pooled.counters["client"])
    found.balances |= pooled.unbalanced
    records.write(
        folder / "frames.parquet", pooled.tables[0], {"case": case.id, "seed": seed_of(case.seed, 0)}
    )
    outcome = CaseResult(
        id=case.id,
        scenario=case.scenario,
        params=case.params,
        repeat=case.repeat,
        seed=case.seed,
        backend="sim",
        status=Status.PASSED,
        metrics=metrics.case_metrics(pooled.tables, pooled.counters, frames=pooled.frames),
        ledgers={DIRECTION: found},
        series=metrics.timeline(pooled.tables[0]),
        quantiles=metrics.quantile_curves(pooled.tables[0]),
        digest=pooled.digest.hexdigest(),
        link={
            "asked": spec.link.model_dump(mode="json", exclude_unset=True),
            "verified": "by its own counters",
        },
    )
    outcome.checks.append(
        Check(name="same seed, same bytes", passed=first == again, expected=first[:16], measured=again[:16])
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
    if spec.theory and not any(event.down for event in spec.events):
        outcome.theory = agreement.case_theory(
            [agreement.sent_bytes(table) for table in pooled.tables],
            pooled.counters["client"]["frames_complete"],
            spec.link.down.core(),
            shard_bytes=spec.stream.shard.bytes,
            block_shards=spec.stream.block,
            fec_percent=spec.stream.fec_percent,
        )
    return outcome


def seed_of(case_seed: int, number: int) -> int:
    """Return the seed of a case's ``number``-th simulation; the first is the case's own."""
    if number == 0:
        return case_seed
    return int.from_bytes(hashlib.sha256(f"{case_seed}/{number}".encode()).digest()[:8]) >> 11


def core_spec(spec: Session, seed: int) -> dict[str, Any]:
    """Write a session as the core's simulator takes it."""
    stream, media = spec.stream, spec.media
    up = spec.link.up
    return {
        "stream": {
            "scheme": stream.scheme,
            "fec_percent": stream.fec_percent,
            "max_block_shards": stream.block,
            "shard_bytes": stream.shard.bytes,
            "key": hashlib.sha256(f"key/{seed}".encode()).hexdigest()[:32] if stream.encryption else None,
            "hold_undecodable": stream.hold_undecodable,
            "reorder_window_ns": stream.reorder_window.ns,
        },
        "link": spec.core_link("down"),
        "seed": seed,
        "frames": media.frame_count,
        "fps": media.fps,
        "frame_bytes": media.sizes.core(),
        "key_interval": _key_interval(spec),
        "content": media.content,
        "rate_kbps": media.bitrate.kbps,
        "pacing": {
            "burst_packets": stream.pacing.burst,
            "packets_per_ms": stream.pacing.per_ms,
            "rate_factor": stream.pacing.rate_factor,
        },
        # The request travels the way back; its loss is not simulated, its delay is.
        "recovery_rtt_us": up.delay.us if stream.recovery else None,
        "verify_content": True,
        "sabotage": stream.sabotage,
        "records": True,
    }


def _key_interval(spec: Session) -> int:
    interval = spec.media.key_interval
    return spec.media.frame_count if interval is None else interval


def _add(pooled: _Pooled, result: _core.SimResult) -> None:
    counts = json.loads(result.ledger_json)
    for side, sums in pooled.counters.items():
        pooled.counters[side] = ledger.add(sums, counts[side])
    pooled.frames = ledger.add(pooled.frames, counts["frames"])
    one = ledger.balances(counts["host"], counts["link"], counts["client"])
    for name, count in (counts.get("balances", {}) | one.balances).items():
        if count:
            pooled.unbalanced[name] = pooled.unbalanced.get(name, 0) + abs(count)
    pooled.digest.update(result.digest.encode())
    pooled.tables.append(records.from_sim(result.records()))
