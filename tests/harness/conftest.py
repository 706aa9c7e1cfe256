"""A small streaming system in numpy that fills frame records and counters: what the figures are tested on.

It draws losses packet by packet and rebuilds by counting, so that its results obey the same laws as the real
ones without calling the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from harness.analysis import agreement, ledger, metrics, records, theory
from harness.analysis.code import Code
from harness.analysis.results import CaseResult, Check, Metric, PeerResult, RunResult, Status

FRAME_NS = 16_666_667


@dataclass(frozen=True)
class Streamed:
    """What one seed left behind."""

    table: records.Records
    counters: dict[str, dict[str, int]]


def stream(
    seed: int,
    *,
    frames: int = 100,
    frame_bytes: int = 20_000,
    fec: int = 20,
    loss: theory.Loss | None = None,
    decoded: bool = False,
) -> Streamed:
    """Send frames over a lossy link of 5 ms and return their joined records and the counters of all sides."""
    rng = np.random.default_rng(seed)
    loss = loss or theory.Independent(0.0)
    blocks = theory.geometry(frame_bytes, 1200, 4096, fec)
    k, m = sum(b[0] for b in blocks), sum(b[1] for b in blocks)
    packets = k + m
    lost = _losses(rng, frames * packets, loss).reshape(frames, packets)
    table = records.empty(frames)
    index = np.arange(frames)
    missing = lost[:, :k].sum(axis=1) if len(blocks) == 1 else lost.sum(axis=1)
    complete = lost.sum(axis=1) <= m
    seen = lost.sum(axis=1) < packets
    captured = 10**9 + index * FRAME_NS
    encoded = captured + rng.gamma(9.0, 250_000, frames).astype(np.int64)
    sealed = encoded + 300_000
    sent = sealed + rng.gamma(2.0, 30_000, frames).astype(np.int64)
    received = sent + 5_000_000 + rng.gamma(2.0, 60_000, frames).astype(np.int64)
    finished = received + rng.gamma(2.0, 100_000, frames).astype(np.int64)
    done = finished + rng.gamma(9.0, 200_000, frames).astype(np.int64)
    table["index"] = index
    for name, value in {
        "bytes": frame_bytes,
        "k": k,
        "m": m,
        "blocks": len(blocks),
        "host_status": 0,
    }.items():
        table[name][:] = value
    table["packets"][:] = table["packets_sent"][:] = packets
    table["captured_ns"], table["encode_begin_ns"], table["encode_end_ns"] = (
        captured,
        captured + 50_000,
        encoded,
    )
    table["sealed_ns"], table["sent_first_ns"], table["sent_last_ns"] = sealed, sent, sent + 100_000
    table["packets_received"] = packets - lost.sum(axis=1)
    table["data_missing"] = np.where(seen, missing, -1)
    table["recovered"] = np.where(complete, missing, 0)
    table["client_status"] = np.where(complete, 0, 1)
    table["decodable"] = complete.astype(np.int64)
    table["recv_first_ns"] = np.where(seen, received, -1)
    for name, value in {
        "complete_ns": finished,
        "released_ns": finished,
        "recv_last_ns": finished - 20_000,
    }.items():
        table[name] = np.where(complete, value, -1)
    if decoded:
        table["decode_end_ns"] = np.where(complete, done, -1)
        table["strip_frame"] = np.where(complete, index, -1)
        table["strip_time_us"] = np.where(complete, captured // 1000, -1)
    total, gone = frames * packets, int(lost.sum())
    counters = {
        "host": {
            "frames_submitted": frames,
            "frames_queue_dropped": 0,
            "packets_sealed": total,
            "packets_sent": total,
            "bytes_sent": total * 1264,
            "cpu_ns": total * 900,
        },
        "link": {
            "link_in": total,
            "dropped_loss": gone,
            "dropped_total": gone,
            "delivered": total - gone,
            "duplicated": 0,
            "in_flight": 0,
            "queue_max_ns": 250_000,
        },
        "client": {
            "packets_received": total - gone,
            "packets_used": total - gone,
            "packets_lost": gone,
            "data_shards_missing": int(missing.sum()),
            "data_shards_recovered": int(missing[complete].sum()),
            "data_shards_unrecoverable": int(missing[~complete].sum()),
            "frames_complete": int(complete.sum()),
            "frames_decodable": int(complete.sum()),
            "frames_undecodable": 0,
            "frames_unrecoverable": int((~complete).sum()),
            "frames_expired": 0,
            "cpu_ns": total * 700,
            "memory_peak_bytes": 3 << 20,
        },
    }
    return Streamed(table, counters)


def _losses(rng: np.random.Generator, packets: int, loss: theory.Loss) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if isinstance(loss, theory.Independent):
        return np.asarray(rng.random(packets) < loss.p)
    if isinstance(loss, theory.Periodic):
        return np.array([bool(loss.lost(n, 1)) for n in range(packets)])
    draws, bad = rng.random(packets), bool(rng.random() < loss.stationary_bad)
    states = np.empty(packets, dtype=bool)
    for n, draw in enumerate(draws):
        states[n] = bad
        bad = draw >= loss.r if bad else draw < loss.p
    return states & (rng.random(packets) < loss.bad)


def case_of(
    name: str,
    params: dict[str, Any],
    *,
    seeds: int = 5,
    seed: int = 1,
    backend: str = "sim",
    fec: int = 20,
    link: dict[str, Any] | None = None,
    frames: int = 100,
    decoded: bool = False,
) -> CaseResult:
    """Stream some seeds and put the case together as the runner does."""
    link = link or {}
    loss = theory.process_of(link)
    runs = [stream(seed * 1000 + n, frames=frames, fec=fec, loss=loss, decoded=decoded) for n in range(seeds)]
    tables = [run.table for run in runs]
    counters: dict[str, dict[str, int]] = {"host": {}, "link": {}, "client": {}}
    for run in runs:
        counters = {side: ledger.add(counters[side], run.counters[side]) for side in counters}
    slug = ",".join(f"{key}={value}" for key, value in params.items())
    return CaseResult(
        id=f"{name}.{slug},repeat=0",
        scenario="loss-sweep",
        params=params,
        seed=seed,
        protocol="punktfunk/1",
        peers={
            role: PeerResult(program="simulation" if backend == "sim" else f"punktfunk.{role}")
            for role in ("host", "client")
        },
        backend=backend,
        status=Status.PASSED,
        metrics=metrics.case_metrics(tables, counters),
        checks=[Check(name="no frame is wrong", passed=True, expected="0 frames", measured="0 frames")],
        ledgers={"host_to_client": ledger.balances(counters["host"], counters["link"], counters["client"])},
        theory=agreement.case_theory(
            [agreement.sent_bytes(t) for t in tables],
            counters["client"]["frames_complete"],
            link,
            Code(shard_bytes=1200, block_shards=4096, fec_percent=fec),
        ),
        series=metrics.timeline(tables[0]),
        quantiles=metrics.quantile_curves(tables[0]),
        digest="ab" * 32 if backend == "sim" else "",
        link={"asked": link},
        folder=f"cases/{name}.{slug}",
        replay=f"python -m harness run scenarios/loss-sweep.yaml -k '{slug}' --seed {seed}",
        duration_s=0.2,
    )


def sweep(
    losses: tuple[float, ...] = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2),
    fecs: tuple[int, ...] = (0, 10, 20, 30, 50),
    bursts: tuple[int, ...] = (1, 8),
    codes: tuple[str, ...] = ("gf8", "gf16"),
    video: tuple[float, ...] = (0, 0.02, 0.05, 0.1),
) -> RunResult:
    """Return a whole run: a simulated matrix and a few cases with video over a tun link."""
    cases = []
    for number, (code, burst, fec, p) in enumerate(
        (c, b, f, p) for c in codes for b in bursts for f in fecs for p in losses
    ):
        link: dict[str, Any] = {"loss": {"kind": "independent", "p": p}}
        if burst > 1 and p:
            chain = theory.bursty(p, burst)
            link = {"loss": {"kind": "gilbert_elliott", "p": chain.p, "r": chain.r}}
        params = {"scheme": code, "burst": burst, "fec": f"{fec} %", "loss": f"{p * 100:g} %"}
        cases.append(case_of("matrix", params, seed=number + 1, fec=fec, link=link))
        if burst > 1 and not p:
            cases[-1].theory["burst_packets"] = burst
    for number, p in enumerate(video):
        link = {"loss": {"kind": "independent", "p": p}, "delay_us": 5000.0}
        cases.append(
            case_of(
                "video",
                {"loss": f"{p * 100:g} %"},
                seeds=1,
                seed=900 + number,
                backend="tun",
                link=link,
                frames=1200,
                decoded=True,
            )
        )
    check = agreement.sweep_check(cases)
    return RunResult(
        run_id="20260101-120000-ab12",
        scenario="loss-sweep",
        started="2026-01-01T12:00:00Z",
        duration_s=214.0,
        command="python -m harness run scenarios/loss-sweep.yaml",
        environment={"machine_class": "x86_64-2c", "kernel": "6.18.0", "packages": {"numpy": "2.4.0"}},
        cases=cases,
        checks=[check] if check else [],
        notes=["netem did not run: this kernel has no sch_netem (doctor names the fix)"],
    )


HOSTILE = (
    "<script>alert('x')</script>\"'&|`$\\frac{1}{2}$ \u202e_*[a](javascript:x)\x00\x1b[31m{{ 7*7 }}\n# y"
)


def hostile_run() -> RunResult:
    """Return a run in which every name from outside is an attack, and every kind of ending occurs."""
    cases = [
        case_of("matrix", {HOSTILE: HOSTILE, "loss": p}, seeds=1, frames=20, backend=backend, link={})
        for p, backend in ((HOSTILE, "sim"), (2, "tun"), (5, "tun"))
    ]
    for case, status in zip(cases, (Status.FAILED, Status.FAULT, Status.UNSUPPORTED), strict=True):
        case.status, case.reason, case.folder, case.replay = status, HOSTILE, HOSTILE, HOSTILE
        case.scenario, case.id, case.digest = HOSTILE, case.id + HOSTILE, HOSTILE
        case.checks.append(
            Check(name=HOSTILE, passed=False, expected=HOSTILE, measured=HOSTILE, detail=HOSTILE)
        )
        case.ledgers["host_to_client"].balances[HOSTILE] = 3
        case.ledgers["host_to_client"].counts[HOSTILE] = 3
        case.metrics[HOSTILE] = Metric(value=1.0, unit=HOSTILE)
        case.theory[HOSTILE] = 1.0
    cases[0].theory["burst_packets"] = 3.0
    return RunResult(
        run_id=HOSTILE,
        scenario=HOSTILE,
        started=HOSTILE,
        command=HOSTILE,
        environment={"machine_class": HOSTILE, HOSTILE: [HOSTILE]},
        cases=cases,
        checks=[Check(name=HOSTILE, passed=False, expected=HOSTILE, measured=HOSTILE, detail=HOSTILE)],
        verdict=Status.FAULT,
        notes=[HOSTILE],
    )


@pytest.fixture
def one_stream() -> Any:
    """Return the function that streams one seed."""
    return stream


@pytest.fixture(scope="session")
def one_case() -> Any:
    """Return the function that makes one case."""
    return case_of


@pytest.fixture(scope="session")
def sweep_run() -> RunResult:
    """A run of 144 cases."""
    return sweep()


@pytest.fixture(scope="session")
def small_run() -> RunResult:
    """A run of six cases that has every part of a report."""
    return sweep(losses=(0, 0.1), fecs=(10, 20), bursts=(1,), codes=("gf16",), video=(0, 0.1))


@pytest.fixture(scope="session")
def plain_run(small_run: RunResult) -> RunResult:
    """The small run without anything to draw."""
    run = small_run.model_copy(deep=True)
    for case in run.cases:
        case.theory, case.series, case.quantiles = {}, {}, {}
        case.metrics = {name: metric for name, metric in case.metrics.items() if not name.endswith("_p50")}
    return run


@pytest.fixture(scope="session")
def attacked_run() -> RunResult:
    """A run full of hostile names."""
    return hostile_run()


@pytest.fixture(scope="session")
def hostile_text() -> str:
    """The text that the attacked run is full of."""
    return HOSTILE
