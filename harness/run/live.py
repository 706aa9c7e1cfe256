"""Run a case over a live link: real processes in network namespaces, real packets, real time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.analysis import agreement, ledger, metrics, records
from harness.analysis.results import CaseResult, Check, Status
from harness.analysis.theory import Blocks
from harness.link.base import LinkSpecs, LiveLink
from harness.link.netem import NetemLink
from harness.link.tun import TunLink
from harness.link.verify import Verification, verify
from harness.link.watching import Watching
from harness.machine.watch import Watch
from harness.network.capture import CAPTURE_NAME
from harness.network.pace import PATIENCE
from harness.network.process import NamespaceProcess
from harness.network.topology import Topology, topology
from harness.peers.command import CommandPeer, stream_packets
from harness.peers.loading import ClientKind, HostKind, live_peers
from harness.peers.peer import LiveClient, LiveHost, LivePeer, Peer, Place, Role, Stats, described
from harness.run import arrival, checks, outside
from harness.run.code import code_of
from harness.run.context import RunContext
from harness.run.sabotage import Sabotage
from harness.scenario.expand import Case
from harness.scenario.link import Backend
from harness.scenario.model import Event, Session
from harness.scenario.protocols import PROTOCOLS
from punktfunk.errors import (
    CapabilityError,
    CheckFailedError,
    HarnessError,
    ResultsError,
    UsageError,
)

DOWN, UP = "host_to_client", "client_to_host"

_ATTEMPTS = 3
"""Tries at a handshake: over a link that loses a lot, one may fail by chance, which is no matter of this case."""

_LOOK_S = 1.0
"""Between two looks at what the link does."""
_DRAIN_S = 2.0
_END_S = 30.0 * PATIENCE
"""What ending takes at most once the last frame is sent: the client's drain, artefacts, idle limits."""


@dataclass
class _Session:
    """What is left of a session once both ends are gone."""

    stats: dict[Role, Stats]
    """Of the ends that left some."""
    recorded: set[Role]
    """The ends that left frame records."""
    table: records.Records
    killed: set[str] = field(default_factory=set)

    def counters(self) -> dict[str, dict[str, int]]:
        """What each end knows; of loss that it cannot know the whole of, there is nothing in it."""
        return {role: dict(stats.counters) for role, stats in self.stats.items()}

    def seen(self) -> dict[str, dict[str, int]]:
        """The same with what an end saw of such loss, which is what has to balance with the other end's."""
        return {role: {**stats.counters, **stats.at_least} for role, stats in self.stats.items()}

    @property
    def lost_peer(self) -> str:
        """Why the session ended, where an end lost the other one that nobody had killed."""
        lost = (stats.lost_peer for stats in self.stats.values() if stats.lost_peer)
        return "" if self.killed else next(lost, "")


def run(case: Case, folder: Path, context: RunContext, backend: Backend) -> CaseResult:
    """Set up the link, prove it, stream over it and return what was found, as root or root of a user namespace.

    Raises :class:`~punktfunk.errors.LinkUnverifiedError` for a link that is not as asked,
    :class:`~punktfunk.errors.CapabilityError` for what this machine or back end cannot do, other
    :class:`~punktfunk.errors.HarnessError` for what went wrong around the session.
    """
    outside.refuse_what_cannot_be(case.spec, case.layer)
    if not (case.spec.link.capture and outside.watched(case)):
        return _run(case, folder, context, backend, keys=None)
    from harness.run import captured  # scapy is behind it, which a run without a capture has no use for

    with captured.key_log_in(folder) as keys:
        return _run(case, folder, context, backend, keys=keys)


def _run(case: Case, folder: Path, context: RunContext, backend: Backend, *, keys: Path | None) -> CaseResult:
    spec = case.spec
    asked = LinkSpecs(
        spec.core_link("down"),
        spec.core_link("up"),
        case.seed,
    )
    kinds = live_peers(spec)
    sabotage = Sabotage.from_environment()
    watching = Watching()
    with topology(context.run_id) as made, _open(backend, made, folder, kinds[0].ports, sabotage) as link:
        proof = verify(link, asked, sabotage.before(asked))
        drops = link.device_drops()
        place, seen = Place(link, folder, case.layer, keys), dict[str, Any]()
        if spec.foreign:
            link.restart(LinkSpecs({}, {}, case.seed))
            seen["impossible"] = outside.ask_impossible(kinds, spec, place)
        host, client, capture = _connect(kinds, spec, place, asked, seen)
        with Watch() as machine:
            try:
                course = _stream(case, link, (host, client), asked, watching=watching, sabotage=sabotage)
                _drain(link)
                _look(link, watching, final=True)
            finally:
                _keep_windows(watching, folder)
        counters = link.counters()
        for direction, count in link.device_drops().items():
            counters[direction]["device_dropped"] = count - drops[direction]
        report = link.report()
        failed: list[LivePeer] = [peer for peer in (host, client) if outside.fails(peer, spec)]
        if capture is not None:
            capture.stop()  # before its device goes with the link
    killed = course.killed
    found = _collect(host, client, killed)
    records.write(folder / "frames.parquet", found.table, {"case": case.id, "seed": case.seed})
    result = _result(case, backend, found, counters)
    result.peers = described(host, client)
    result.machine = machine.found
    result.link = {
        "asked": {"down": asked.down, "up": asked.up},
        "verified": proof.to_dict(),
        "watched": watching.to_dict(),
        "lateness_ns": report.get("lateness", {}),
        "realtime": report.get("realtime", False),
    }
    if found.lost_peer:
        result.status, result.reason = Status.FAILED, found.lost_peer
        result.checks.append(
            Check(
                name="the session ends in order",
                passed=False,
                expected="closed by the host",
                measured=found.lost_peer,
            )
        )
        return result
    _judge(result, spec, found, counters, proof)
    if outside.watched(case):
        outside.observe(result, spec, (host, client), course, counters=counters, seen=seen)
    if not killed and failed:
        words = "; ".join(f"{peer.role}: {peer.last_words()}" for peer in failed)
        names = " and ".join(peer.role for peer in failed)
        # Where another program is at one end, what ours makes of it is what is asked.
        kind = CheckFailedError if spec.foreign else HarnessError
        raise kind(f"{names} failed: {words}", f"see the logs in {folder.name}")
    if spec.link.capture and killed <= {"host", "client"}:  # a pump that was killed has no last counts
        _judge_by_capture(result, case, place, client)
    _judge_arrival(result, spec, found, counters["down"])
    return result


def _open(
    backend: Backend, made: Topology, folder: Path, media_ports: frozenset[int], sabotage: Sabotage
) -> LiveLink:
    if backend is Backend.NETEM:
        return NetemLink(made, folder, media_ports, segmentation=sabotage.kind == "gso")
    if sabotage.kind == "gso":
        raise UsageError("the tun link decides inside segmentation trains whatever the sender's device does")
    return TunLink(made, folder, media_ports, log_packets=True)


def _connect(
    kinds: tuple[HostKind, ClientKind], spec: Session, place: Place, asked: LinkSpecs, seen: dict[str, Any]
) -> tuple[LiveHost, LiveClient, NamespaceProcess | None]:
    """Bring host and client together over the link as it is at its start; return them, and what captures it.

    ``seen`` is told how they paired.
    """
    attempts = 1 if spec.foreign and outside.lossless(spec) else _ATTEMPTS
    for attempt in range(1, attempts + 1):
        host, client = kinds[0](spec, place), kinds[1](spec, place)
        capture = None
        pairing = isinstance(host, CommandPeer) and isinstance(client, CommandPeer) and spec.pairing != "none"
        try:
            if not pairing:
                capture = _begin(spec, place, asked)
            else:
                # Over a link that loses nothing: it is the stream that a case is about.
                place.link.restart(LinkSpecs({}, {}, asked.seed))
            host.start()
            host.ready()
            if isinstance(client, CommandPeer):
                client.pinned = host.fingerprint or client.pinned
            if isinstance(host, CommandPeer) and isinstance(client, CommandPeer) and pairing:
                seen["pairing"] = outside.acquaint(spec, host, client)
                capture = _begin(spec, place, asked)
            client.start()
            client.ready()
        except HarnessError:
            # A client fails where its host has found out only now that it cannot.
            _refuse_unsupported(host, client)
            if attempt == attempts:
                raise
            client.stop()
            host.stop()
            if capture is not None:
                capture.stop()
        else:
            return host, client, capture
    raise AssertionError("unreachable")


def _begin(spec: Session, place: Place, asked: LinkSpecs) -> NamespaceProcess | None:
    """Begin the link's counts anew, and with them a capture of exactly what they count, where one is wanted."""
    place.link.restart(asked.steady())
    return _capture(place.link, place.folder) if spec.link.capture else None


def _stream(
    case: Case,
    link: LiveLink,
    peers: tuple[LiveHost, LiveClient],
    asked: LinkSpecs,
    *,
    watching: Watching,
    sabotage: Sabotage,
) -> outside.Course:
    """Let the stream run, do what the scenario says at its times, and return what was seen meanwhile.

    Raises :class:`~punktfunk.errors.LinkUnverifiedError` when the link turns out not to be as asked any more.
    """
    spec = case.spec
    host, client = peers
    if spec.foreign:
        outside.await_stream(link, client)
    begin = time.monotonic()
    if asked.down != asked.steady().down:
        link.set_spec("down", asked.down)
    if asked.up != asked.steady().up:
        link.set_spec("up", asked.up)
    link.watch(asked)
    course = outside.Course()

    def happens(event: Event) -> None:
        if event.bitrate is not None and host.running:
            host.set_bitrate(event.bitrate.kbps)
        if event.mode is not None:
            client.set_mode(event.mode)
        if event.kill is not None:
            course.killed.add(event.kill)
            victims: dict[str, LivePeer] = {"host": host, "client": client}
            (victims.get(event.kill) or _pump(link)).kill()

    steps: list[tuple[float, Callable[[], None]]] = [
        (event.at.seconds, partial(happens, event)) for event in spec.events
    ]
    if sabotage.at_s is not None:
        other = sabotage.later(asked.down, sabotage.at_s)
        steps.append((sabotage.at_s, partial(link.set_spec, "down", other)))
    for at_s, happen in sorted(steps, key=lambda step: step[0]):
        if _wait(client, begin + at_s, link, watching) is not None:
            break
        happen()
    if outside.watched(case):
        if course.killed:
            _watch_survivors(link, host, client, course)
            return course
        _wait(client, begin + spec.media.duration_ns / 2e9, link, watching)
        course.halfway = stream_packets(link.counters()["down"])
    limit_s = spec.timeout.seconds if spec.timeout else spec.media.duration_ns / 1e9 * 1.5 + _END_S
    wait = partial(_wait, client, link=link, watching=watching)
    if not outside.finish(spec, host, client, begin=begin, limit_s=limit_s, drain_s=_END_S, wait=wait):
        kind = CheckFailedError if spec.foreign else HarnessError
        raise kind(
            f"the session did not end within {limit_s:.0f} s: {client.last_words()}",
            f"see {client.role}.log",
        )
    # Also after its client was killed: it finds that out and leaves its records, if it is given the time.
    if host.ends == "itself":
        host.wait(_END_S)
    _refuse_unsupported(host, client)
    return course


def _refuse_unsupported(*peers: LivePeer) -> None:
    for peer in peers:
        if isinstance(peer, CommandPeer):
            peer.refuse_unsupported()


def _watch_survivors(link: LiveLink, host: LiveHost, client: LivePeer, course: outside.Course) -> None:
    """Note what an end makes of the other one's death."""
    if "client" in course.killed:
        course.silent_s = outside.until_silent(link, outside.DEATH_S)
        if host.ends == "itself":
            host.wait(_END_S)
    elif "host" in course.killed:
        if client.ends == "never":
            raise CapabilityError(f"{client.program} never ends by itself: nothing shows what it notices")
        died = time.monotonic()
        if client.wait(outside.DEATH_S) is not None:
            course.noticed_s = time.monotonic() - died


def _wait(client: LivePeer, until: float, link: LiveLink, watching: Watching) -> int | None:
    """Wait for the client's end or a moment, and look at the link meanwhile; return the client's status."""
    while True:
        left = until - time.monotonic()
        status = client.wait(max(0.0, min(left, _LOOK_S)))
        if status is not None or left <= _LOOK_S:
            return status
        _look(link, watching)


def _look(link: LiveLink, watching: Watching, *, final: bool = False) -> None:
    watching.add(link.windows(final=final))
    watching.check(link.backend)


def _keep_windows(watching: Watching, folder: Path) -> None:
    plain = {**watching.to_dict(), "each": [asdict(window) for window in watching.windows]}
    (folder / "link.windows.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _pump(link: LiveLink) -> NamespaceProcess:
    if link.pump is None:
        raise UsageError(f"the {link.backend} link has no pump to kill", "link.backend: tun")
    return link.pump


def _drain(link: LiveLink) -> None:
    """Wait until nothing is under way on the link any more."""
    deadline = time.monotonic() + _DRAIN_S
    while time.monotonic() < deadline:
        if not any(counts.get("in_flight", 0) for counts in link.counters().values()):
            return
        time.sleep(0.02)


def _capture(link: LiveLink, folder: Path) -> NamespaceProcess:
    file = str(folder / CAPTURE_NAME)
    process = NamespaceProcess(
        "capture",
        [sys.executable, "-m", "harness.network.capture", link.client_device, file],
        registration=link.topology.registration,
        folder=folder,
        namespace=link.client,
    )
    link.topology.callback(process.stop)
    process.wait_event("ready", 10.0)
    return process


def _judge_by_capture(result: CaseResult, case: Case, place: Place, client: LivePeer) -> None:
    from harness.run import captured  # scapy is behind it, which a run without a capture has no use for

    dumped = isinstance(client, CommandPeer) and client.dump is not None
    spec = case.spec if outside.watched(case) else None
    captured.judge(result, place.folder, place.keys, spec, dumped=dumped)


def _judge_arrival(result: CaseResult, spec: Session, found: _Session, down: Mapping[str, int]) -> None:
    """Add the check that a frame arrives, where an end or the capture shows how many did."""
    whole = outside.frames_whole(result, found.seen().get("client"))
    if whole is None:
        return

    def streams() -> list[list[Blocks]]:
        if "host" in found.recorded:
            return arrival.streams_of(spec, [found.table])
        return [arrival.unknown_stream(spec, down.get("link_in", 0) - down.get("other_in", 0))]

    counts = result.ledgers[DOWN].counts
    check = arrival.arrival_check(spec, whole, streams, result.metrics, counts, live=True)
    result.checks += [check] if check else []


def _collect(host: Peer, client: Peer, killed: set[str]) -> _Session:
    def stats(peer: Peer) -> Stats | None:
        try:
            return peer.stats()
        except ResultsError:
            if killed:  # on purpose: what a killed process held is lost with it
                return None
            raise

    counted: dict[Role, Stats | None] = {peer.role: stats(peer) for peer in (host, client)}
    tables: dict[Role, records.Records | None] = {peer.role: peer.records() for peer in (host, client)}
    return _Session(
        {role: found for role, found in counted.items() if found is not None},
        {role for role, table in tables.items() if table is not None},
        records.join(tables["host"], tables["client"]),
        killed,
    )


def _result(
    case: Case,
    backend: Backend,
    found: _Session,
    counters: dict[str, dict[str, int]],
) -> CaseResult:
    sides, seen = found.counters(), found.seen()
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
        protocol=case.spec.protocol,
        backend=str(backend),
        status=Status.PASSED,
        metrics=metrics.case_metrics(
            found.table, {**sides, **link}, first_index=PROTOCOLS[case.spec.protocol].first_index
        ),
        series=metrics.timeline(found.table),
        quantiles=metrics.quantile_curves(found.table),
    )
    down = ledger.balances(seen.get("host"), counters.get("down"), seen.get("client"))
    up = ledger.balances(None, counters.get("up"), None)
    if found.killed or found.lost_peer:
        # What a killed process held is lost with it, and what a client did not hear of is unknown to it: the
        # counts stand, nothing has to balance.
        down.balances, up.balances = {}, {}
    result.ledgers = {DOWN: down, UP: up}
    return result


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
    seen = found.seen()
    client = seen.get("client") if "client" in found.recorded else None
    result.checks += checks.session_checks(spec, found.table, seen.get("host", {}), client, counters["down"])

    steady = not any(event.down for event in spec.events) and spec.link.down.trace is None
    loss = spec.link.down.core().get("loss") or {"kind": "none"}
    # The control connection's packets shift the phase of periodic loss, so nothing exact can be said of it.
    if spec.theory and steady and loss["kind"] != "periodic" and found.recorded == {"host", "client"}:
        result.theory = agreement.case_theory(
            [agreement.sent_bytes(found.table)],
            int(((found.table["client_status"] == 0) & (found.table["host_status"] != 1)).sum()),
            spec.link.down.core(),
            code_of(spec),
        )
