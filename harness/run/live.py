"""Run a case over a live link: real processes in network namespaces, real packets, real time."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.analysis import agreement, ledger, metrics, records
from harness.analysis.results import CaseResult, Check, Status
from harness.link.base import LinkSpecs, LiveLink
from harness.link.netem import NetemLink
from harness.link.tun import TunLink
from harness.link.verify import Verification, verify
from harness.network.process import NamespaceProcess
from harness.network.topology import Topology, topology
from harness.peers.client import start_client
from harness.peers.host import MEDIA_PORTS, start_host
from harness.run import checks
from harness.run.context import RunContext
from harness.scenario.expand import Case
from harness.scenario.link import Backend
from harness.scenario.model import Session
from punktfunk.client.ending import End
from punktfunk.errors import HarnessError, ResultsError, UsageError

DOWN, UP = "host_to_client", "client_to_host"

SABOTAGE_VARIABLE = "PUNKTFUNK_LAB_SABOTAGE"
"""Applies another link than the one asked for: ``half-loss``, ``wrong-delay`` or ``gso``. It is there to show
that a run on such a link is refused."""

_READY_S = 30.0
_ATTEMPTS = 3
"""Tries at a handshake: over a link that loses a lot, one may fail by chance, which is no matter of this case."""

_SETTLE_S = 2.0
_END_S = 30.0
"""What ending takes at most once the last frame is sent: the client's drain, artefacts, idle limits."""


@dataclass
class _Session:
    """What is left of a session once both ends are gone."""

    host: dict[str, Any] | None
    client: dict[str, Any] | None
    table: records.Records
    killed: set[str] = field(default_factory=set)

    def counters(self, side: str) -> dict[str, int] | None:
        """What a side knows; of loss that a client cannot know the whole of, there is nothing in it."""
        stats = self.host if side == "host" else self.client
        return None if stats is None else dict(stats["counters"])

    def seen(self, side: str) -> dict[str, int] | None:
        """The same with what a client saw of such loss, which is what has to balance with the other side's."""
        counters = self.counters(side)
        if counters is None or side == "host" or self.client is None:
            return counters
        return {**counters, **self.client["at_least"]}


def run(case: Case, folder: Path, context: RunContext, backend: Backend) -> CaseResult:
    """Set up the link, prove it, stream over it and return what was found, as root or root of a user namespace.

    Raises :class:`~punktfunk.errors.LinkUnverifiedError` for a link that is not as asked,
    :class:`~punktfunk.errors.CapabilityError` for what this machine or back end cannot do, other
    :class:`~punktfunk.errors.HarnessError` for what went wrong around the session.
    """
    spec = case.spec
    asked = LinkSpecs(
        spec.core_link("down"),
        spec.core_link("up"),
        case.seed,
    )
    sabotage = os.environ.get(SABOTAGE_VARIABLE, "")
    with topology(context.run_id) as made, _open(backend, made, folder, sabotage) as link:
        proof = verify(link, asked, _sabotaged(asked, sabotage))
        if spec.link.capture:
            _capture(link, folder)
        drops = link.device_drops()
        host, client = _connect(spec, link, folder, asked)
        killed = _stream(spec, link, host, client, asked)
        _settle(link)
        counters = link.counters()
        for direction, count in link.device_drops().items():
            counters[direction]["device_dropped"] = count - drops[direction]
        report = link.report() if isinstance(link, TunLink) else {}
        outcomes = host.stop(), client.stop()
    found = _collect(folder, killed)
    records.write(folder / "frames.parquet", found.table, {"case": case.id, "seed": case.seed})
    result = _result(case, backend, found, counters)
    result.link = {
        "asked": {"down": asked.down, "up": asked.up},
        "verified": proof.to_dict(),
        "lateness_ns": report.get("lateness", {}),
        "realtime": report.get("realtime", False),
    }
    lost = _lost_host(found)
    if lost is not None:
        result.status, result.reason = Status.FAILED, lost.measured
        result.checks.append(lost)
        return result
    _judge(result, spec, found, counters, proof)
    if not killed and any(outcomes):
        names = [role for role, status in zip(("host", "client"), outcomes, strict=True) if status]
        words = "; ".join(f"{name}: {_last_words(folder, name)}" for name in names)
        raise HarnessError(f"{' and '.join(names)} failed: {words}", f"see the logs in {folder.name}")
    return result


def _open(backend: Backend, made: Topology, folder: Path, sabotage: str) -> LiveLink:
    if backend is Backend.NETEM:
        return NetemLink(made, folder, MEDIA_PORTS, segmentation=sabotage == "gso")
    if sabotage == "gso":
        raise UsageError("the tun link decides inside segmentation trains whatever the sender's device does")
    return TunLink(made, folder, MEDIA_PORTS, log_packets=True)


def _sabotaged(asked: LinkSpecs, sabotage: str) -> LinkSpecs:
    down = dict(asked.down)
    match sabotage:
        case "" | "gso":
            return asked
        case "half-loss":
            loss = dict(down.get("loss") or {})
            if "p" not in loss:
                raise UsageError("half of no loss is no sabotage")
            down["loss"] = loss | {"p": loss["p"] / 2}
        case "wrong-delay":
            down["delay_us"] = float(down.get("delay_us") or 0) + 5_000
        case other:
            raise UsageError(f"{SABOTAGE_VARIABLE}={other} is unknown", "half-loss, wrong-delay or gso")
    return LinkSpecs(down, asked.up, asked.seed)


def _connect(
    spec: Session, link: LiveLink, folder: Path, asked: LinkSpecs
) -> tuple[NamespaceProcess, NamespaceProcess]:
    """Bring host and client together over the link as it is at its start."""
    for attempt in range(1, _ATTEMPTS + 1):
        link.restart(asked.steady())
        host = start_host(spec, link, folder)
        client = start_client(spec, link, folder)
        try:
            client.wait_event("ready", _READY_S)
        except HarnessError:
            client.stop()
            host.stop()
            if attempt == _ATTEMPTS:
                raise
        else:
            return host, client
    raise AssertionError("unreachable")


def _stream(
    spec: Session, link: LiveLink, host: NamespaceProcess, client: NamespaceProcess, asked: LinkSpecs
) -> set[str]:
    """Let the stream run, do what the scenario says at its times, and return what was killed on purpose."""
    begin = time.monotonic()
    if asked.down != asked.steady().down:
        link.set_spec("down", asked.down)
    if asked.up != asked.steady().up:
        link.set_spec("up", asked.up)
    killed: set[str] = set()
    for event in sorted(spec.events, key=lambda event: event.at):
        if client.wait(max(0.0, begin + event.at.seconds - time.monotonic())) is not None:
            break
        if event.bitrate is not None and host.returncode is None:
            host.send({"do": "bitrate", "kbps": event.bitrate.kbps})
        if event.kill is not None:
            killed.add(event.kill)
            victims = {"host": host, "client": client}
            (victims.get(event.kill) or _pump(link)).kill()
    limit_s = spec.timeout.seconds if spec.timeout else spec.media.duration_ns / 1e9 * 1.5 + _END_S
    if client.wait(max(0.0, begin + limit_s - time.monotonic())) is None:
        raise HarnessError(
            f"the session did not end within {limit_s:.0f} s: {client.last_words()}", f"see {client.log.name}"
        )
    # Also after its client was killed: it finds that out and leaves its records, if it is given the time.
    host.wait(_END_S)
    return killed


def _pump(link: LiveLink) -> NamespaceProcess:
    if isinstance(link, TunLink):
        return link.pump
    raise UsageError(f"the {link.backend} link has no pump to kill", "link.backend: tun")


def _settle(link: LiveLink) -> None:
    """Wait until nothing is under way on the link any more."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        if not any(counts.get("in_flight", 0) for counts in link.counters().values()):
            return
        time.sleep(0.02)


def _capture(link: LiveLink, folder: Path) -> None:
    process = NamespaceProcess(
        "capture",
        [sys.executable, "-m", "harness.network.capture", link.client_device, str(folder / "client.pcapng")],
        registration=link.topology.registration,
        folder=folder,
        namespace=link.client,
    )
    link.topology.callback(process.stop)
    process.wait_event("ready", 10.0)


def _collect(folder: Path, killed: set[str]) -> _Session:
    def table(path: Path) -> records.Records | None:
        return records.load_npz(path) if path.is_file() else None

    def stats(side: str) -> dict[str, Any] | None:
        path = folder / side / "stats.json"
        if not path.is_file():
            if killed:
                return None
            raise ResultsError(f"the {side} left no statistics: {_last_words(folder, side)}")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    host, client = folder / "host", folder / "client"
    joined = records.join(
        table(host / "records.npz"), table(client / "records.npz"), table(client / "decoded.npz")
    )
    return _Session(stats("host"), stats("client"), joined, killed)


def _last_words(folder: Path, side: str) -> str:
    log = folder / f"{side}.log"
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return next((line[-300:] for line in reversed(lines) if line.strip()), "(it logged nothing)")


def _result(
    case: Case,
    backend: Backend,
    found: _Session,
    counters: dict[str, dict[str, int]],
) -> CaseResult:
    sides = {side: values for side in ("host", "client") if (values := found.counters(side)) is not None}
    seen = {side: values for side in sides if (values := found.seen(side)) is not None}
    for known in (sides, seen):
        if "client" in known:
            known["client"]["frames_unknown"] = ledger.unknown_frames(found.table)
            ledger.split_kernel_drops(known["client"], counters.get("down"))
    link = {"link": counters["down"]} if counters.get("down") else {}
    result = CaseResult(
        id=case.id,
        scenario=case.scenario,
        params=case.params,
        repeat=case.repeat,
        seed=case.seed,
        backend=str(backend),
        status=Status.PASSED,
        metrics=metrics.case_metrics(found.table, {**sides, **link}),
        series=metrics.timeline(found.table),
        quantiles=metrics.quantile_curves(found.table),
    )
    down = ledger.balances(seen.get("host"), counters.get("down"), seen.get("client"))
    up = ledger.balances(None, counters.get("up"), None)
    if found.killed or _lost_host(found) is not None:
        # What a killed process held is lost with it, and what a client did not hear of is unknown to it: the
        # counts stand, nothing has to balance.
        down.balances, up.balances = {}, {}
    result.ledgers = {DOWN: down, UP: up}
    return result


def _lost_host(found: _Session) -> Check | None:
    """Return the failed check of a session whose client lost a host that nobody had killed."""
    if found.killed or found.client is None:
        return None
    end = End(found.client["end"])
    if end not in (End.HOST_GONE, End.HOST_SILENT):
        return None
    return Check(
        name="the session ends in order", passed=False, expected=End.CLOSED, measured=found.client["ended"]
    )


def _judge(
    result: CaseResult,
    spec: Session,
    found: _Session,
    counters: dict[str, dict[str, int]],
    proof: Verification,
) -> None:
    del proof  # its findings hold, or verify() had raised
    if found.killed:
        return
    result.checks += checks.session_checks(
        spec, found.table, found.seen("host") or {}, found.seen("client") or {}, counters["down"]
    )
    steady = not any(event.down for event in spec.events) and spec.link.down.trace is None
    loss = spec.link.down.core().get("loss") or {"kind": "none"}
    # The control connection's packets shift the phase of periodic loss, so nothing exact can be said of it.
    if spec.theory and steady and loss["kind"] != "periodic":
        result.theory = agreement.case_theory(
            [agreement.sent_bytes(found.table)],
            int(((found.table["client_status"] == 0) & (found.table["host_status"] != 1)).sum()),
            spec.link.down.core(),
            shard_bytes=spec.stream.shard.bytes,
            block_shards=spec.stream.block,
            fec_percent=spec.stream.fec_percent,
        )
