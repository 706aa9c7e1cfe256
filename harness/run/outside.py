"""What is seen of described programs from outside, and what has to hold of it.

A program that keeps no records of ours is judged by what passes on the link, by the frame markers in the coded video
that it leaves, by what its own output tells, and by what it does when its peer dies. What nothing shows is not
checked; ``evidence`` of a result says by what a case was judged.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from harness.analysis.definitions import METRICS
from harness.analysis.results import CaseResult, Check, Metric
from harness.link.base import LiveLink
from harness.network.pace import PATIENCE
from harness.peers import pairing
from harness.peers.command import CommandPeer, control_port, program_of, stream_packets
from harness.peers.loading import ClientKind, HostKind
from harness.peers.peer import LiveHost, LivePeer, Place
from harness.scenario.expand import Case
from harness.scenario.model import Session
from punktfunk.errors import CapabilityError, CheckFailedError, HarnessError

if TYPE_CHECKING:
    from harness.peers.pictures import Pictures

DEATH_S: Final = 45.0 * PATIENCE
"""How long an end may take to notice that the other one is dead: QUIC gives up after 30 s where nobody says less."""
_BEGINS_S: Final = 10.0 * PATIENCE
"""Between what a client says of its stream and the stream's first packet."""
_SILENT_S: Final = 2.0
_POLL_S: Final = 0.1
_LAST_STATUS: Final = 128
"""Of a program's own end; above it stand signals."""
_IMPOSSIBLE_S: Final = 10.0 * PATIENCE
"""How long a client is watched that was sent to a host that is not there."""
_GIVES_UP_S: Final = 30.0 * PATIENCE
"""How long a host is watched that was asked for a port that is taken: it is started and has to end."""


@dataclass(slots=True)
class Course:
    """What was seen while a stream ran."""

    killed: set[str] = field(default_factory=set)
    halfway: int | None = None
    """Packets of the stream that had reached the client in the middle of its time."""
    silent_s: float | None = None
    """Seconds after the client's death until the host sent nothing more; None where it went on."""
    noticed_s: float | None = None
    """Seconds after the host's death until the client ended; None where it did not."""


def watched(case: Case) -> bool:
    """Return whether a case is judged from outside, too: one with a described program, or a matrix's cell."""
    return bool(case.spec.foreign) or {"host", "client"} <= case.params.keys()


def refuse_what_cannot_be(spec: Session, test: str) -> None:
    """Raise CapabilityError for a test that a description says its program cannot do, and for a missing program.

    It is asked before a link is made.
    """
    for peer in spec.foreign.values():
        if test in peer.cannot:
            raise CapabilityError(f"{peer.name} {peer.cannot[test]}")
        program_of(peer)


_asked: dict[tuple[str, str], str] = {}
"""What came of asking each program for something impossible; once a process and wire is enough."""


def ask_impossible(kinds: Iterable[HostKind | ClientKind], spec: Session, place: Place) -> dict[str, str]:
    """Ask each described program for something that cannot be, once, and return what it made of it.

    A client is sent to a host that is not there, a host to a port that is taken. Raises HarnessError for one that
    claims to be ready all the same, or ends with status 0: whatever it says later proves nothing.
    """
    found: dict[str, str] = {}
    for kind in kinds:
        peer = kind(spec, place)
        if not isinstance(peer, CommandPeer):
            continue
        key = (peer.description.model_dump_json(), spec.protocol)
        if key not in _asked:
            _asked[key] = _ask(peer, spec, place)
        found[peer.role] = _asked[key]
    return found


def _ask(peer: CommandPeer, spec: Session, place: Place) -> str:
    asked = "a host that is not there" if peer.role == "client" else "a port that is taken"
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        if peer.role == "host":
            stack.enter_context(_taken(place.link, control_port(spec.protocol)))
        peer.start()
        # Its port is bound by us, so a host that is seen by that alone has to end: it cannot do what it is for.
        listens = peer.description.ready.listens is not None
        ready = not listens and peer.becomes_ready(_IMPOSSIBLE_S)
        status = peer.wait(_GIVES_UP_S if listens else 0.0)
        words = peer.last_words()
        peer.stop()
    if ready or status == 0:
        claim = "says that it is ready" if ready else "ends with status 0"
        raise HarnessError(
            f"{peer.program}, asked for {asked}, {claim}: nothing that it says proves anything",
            "its description, ready:, has to mean something that only a stream brings about",
        )
    how = "kept trying" if status is None else f"ended with status {status}"
    return f"asked for {asked}: {how} after {time.monotonic() - begin:.1f} s ({words})"


@contextlib.contextmanager
def _taken(link: LiveLink, port: int) -> Iterator[None]:
    """Hold a port of the host's namespace, of UDP and of TCP, by IPv4 and IPv6."""

    def take() -> list[socket.socket]:
        held = []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            holder = socket.socket(socket.AF_INET6, kind)
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            holder.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                holder.listen()
            held.append(holder)
        return held

    held = link.host.run(take)
    try:
        yield
    finally:
        for holder in held:
            holder.close()


def acquaint(spec: Session, host: CommandPeer, client: CommandPeer) -> dict[str, str]:
    """Pair a running host and a client that has not been started; return what was seen.

    Raises CheckFailedError where they do not pair, or where somebody gets in who should not; CapabilityError where
    their descriptions do not say how they pair.
    """
    pairing.able(spec.protocol, host, client)
    seen: dict[str, str] = {}
    if spec.pairing == "prove":
        if pairing.stranger_gets_in(client):
            raise CheckFailedError(f"{host.program} streams to {client.program}, which was never paired")
        seen["stranger"] = f"refused: {client.last_words()}"
        wrong = pairing.pair(spec.protocol, host, client, wrong=True)
        if wrong.paired:
            raise CheckFailedError(f"{client.program} paired with {host.program} by a wrong PIN")
        if pairing.stranger_gets_in(client):
            raise CheckFailedError(f"{host.program} streams to {client.program}, which gave a wrong PIN")
        seen["wrong PIN"] = f"refused, and let in no more than before: {wrong.words}"
        # A PIN is one guess: a new one comes with a new start.
        host.stop()
        host.start()
        host.ready()
    done = pairing.pair(spec.protocol, host, client)
    if not done.paired:
        raise CheckFailedError(f"{client.program} does not pair with {host.program}: {done.words}")
    seen["right PIN"] = f"paired: {done.words}"
    return seen


def await_stream(link: LiveLink, client: LivePeer) -> None:
    """Return once a packet of the stream has reached the client, or it has ended, or would have by all experience.

    A program may say that it is ready when it has agreed on a stream of which nothing has come: what a scenario does at
    its times is meant for the stream.
    """
    deadline = time.monotonic() + _BEGINS_S
    while not stream_packets(link.counters()["down"]) and time.monotonic() < deadline:
        if client.wait(_POLL_S) is not None:
            return


def until_silent(link: LiveLink, limit_s: float) -> float | None:
    """Return the seconds until the host had sent its last packet of the stream; None where it goes on."""
    begin = last = time.monotonic()
    count = _sent(link)
    while (now := time.monotonic()) - begin < limit_s:
        fresh = _sent(link)
        if fresh != count:
            count, last = fresh, now
        elif now - last >= _SILENT_S:
            return last - begin
        time.sleep(_POLL_S)
    return None


def _sent(link: LiveLink) -> int:
    down = link.counters()["down"]
    return down.get("link_in", 0) - down.get("other_in", 0)


def finish(
    spec: Session,
    host: LiveHost,
    client: LivePeer,
    *,
    begin: float,
    limit_s: float,
    drain_s: float,
    wait: Callable[[float], int | None],
) -> bool:
    """Let a stream come to its end, ending whoever would not; return whether both ends came in time.

    ``limit_s`` counts from ``begin``; ``drain_s`` is what an end takes at most whose peer has gone. ``wait`` waits
    for the client's end until a moment.
    """
    # A host of numbered frames goes on to the next client, and its stream has an end all the same.
    has_end = host.ends == "itself" or not spec.streams_pictures
    if client.ends == "itself" or (client.ends == "with-peer" and has_end):
        return wait(begin + limit_s) is not None
    if host.ends == "itself":
        in_time = host.wait(_left(begin + limit_s)) is not None
    else:
        wait(begin + spec.media.duration_ns / 1e9)
        in_time = True
    if client.ends == "with-peer":
        host.stop()
        return client.wait(drain_s) is not None
    client.stop()
    return in_time


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def fails(peer: LivePeer, spec: Session) -> bool:
    """End a peer; return whether its exit status is a failure, which that of frames lost on a link with loss is not.

    Death by a signal always is: whatever it said before, it did not end by its own strictness.
    """
    status = peer.stop()
    if not status:
        return False
    strict = isinstance(peer, CommandPeer) and 0 < status <= _LAST_STATUS and peer.says_incomplete()
    return not strict or lossless(spec)


def observe(
    result: CaseResult,
    spec: Session,
    peers: tuple[LivePeer, LivePeer],
    course: Course,
    *,
    counters: Mapping[str, Mapping[str, int]],
    seen: dict[str, Any],
) -> None:
    """Add to a result what was seen of its described programs, and the checks that follow from it.

    ``peers`` are host and client, ``seen`` what was noted before the stream.
    """
    host, client = peers
    evidence = ["packets"]
    pictures: Pictures | None = None
    dump = client.description.dump if isinstance(client, CommandPeer) and spec.streams_pictures else None
    if dump and isinstance(client, CommandPeer) and (path := client.dump):
        from harness.peers.pictures import read_pictures  # FFmpeg, which most cases have no need of

        pictures = read_pictures(path, spec.media.codec, container=dump.format == "container")
        seen["pictures"] = pictures.to_dict()
        evidence.append("pictures")
        for name, value in (
            ("pictures_read", pictures.read),
            ("pictures_missing", pictures.missing),
            ("pictures_unreadable", pictures.unreadable),
            ("pictures_repeated", pictures.repeated),
        ):
            row = METRICS[name]
            result.metrics[name] = Metric(value=float(value), unit=row.unit, better=row.better)
    told: dict[str, dict[str, int]] = {
        peer.role: found
        for peer in (host, client)
        if isinstance(peer, CommandPeer) and (found := peer.told())
    }
    if told:
        seen["told"] = told
        evidence.append("its own statistics")
    ours = [peer.role for peer in (host, client) if not isinstance(peer, CommandPeer)]
    evidence += [f"records of our {role}" for role in ours]
    result.outside = seen | {"evidence": evidence}
    result.checks += _stream_checks(course, counters["down"])
    if course.killed:
        result.checks += _death_checks(course, host, client)
        return
    if pictures is not None and _has_markers(host):
        result.checks += _picture_checks(spec, pictures, host, client)
    result.checks += _told_checks(spec, told)


def frames_whole(result: CaseResult, client: Mapping[str, int] | None) -> int | None:
    """Return how many frames arrived whole, by the client's counters, what it tells or the capture; None if unknown."""
    if client is not None and "frames_complete" in client:
        return client["frames_complete"]
    told = result.outside.get("told", {}).get("client", {})
    if "frames" in told:
        return int(told["frames"])
    wire = result.metrics.get("wire_frames_whole")
    return None if wire is None or wire.value is None else int(wire.value)


def _has_markers(host: LivePeer) -> bool:
    return not isinstance(host, CommandPeer) or host.description.markers


def _stream_checks(course: Course, down: Mapping[str, int]) -> list[Check]:
    delivered = stream_packets(down)
    checks = [
        Check(
            name="the stream reaches the client",
            passed=delivered > 0,
            expected="packets",
            measured=f"{delivered} packets",
        )
    ]
    if course.halfway is not None:
        checks.append(
            Check(
                name="the stream goes on in its second half",
                passed=delivered > course.halfway,
                expected=f"more than {course.halfway} packets",
                measured=f"{delivered} packets",
            )
        )
    return checks


def _death_checks(course: Course, host: LivePeer, client: LivePeer) -> list[Check]:
    checks = []
    for dead, seconds, name in (
        ("client", course.silent_s, f"{host.program} stops sending to a dead client"),
        ("host", course.noticed_s, f"{client.program} notices that its host is dead"),
    ):
        if dead in course.killed:
            checks.append(
                Check(
                    name=name,
                    passed=seconds is not None,
                    expected=f"within {DEATH_S:g} s",
                    measured=f"after {seconds:.1f} s" if seconds is not None else "it did not",
                )
            )
    return checks


def lossless(spec: Session) -> bool:
    """Return whether every packet arrives that the host sends, if perhaps late."""
    down = spec.link.down
    steady = down.trace is None and not any(event.down for event in spec.events)
    core = down.core()
    return (
        steady
        and (core.get("loss") or {"kind": "none"})["kind"] == "none"
        and not core.get("corrupt")
        and not core.get("rate_kbps")
    )


def _picture_checks(spec: Session, pictures: Pictures, host: LivePeer, client: LivePeer) -> list[Check]:
    changed = next((event.mode for event in spec.events if event.mode), None)
    checks = [
        Check(
            name="pictures can be decoded and their markers read",
            passed=pictures.read > 0 and not pictures.trouble,
            expected="pictures",
            measured=f"{pictures.read} of {pictures.decoded} pictures"
            + (f"; {pictures.trouble}" * bool(pictures.trouble)),
        )
    ]
    if changed is not None:
        wanted = f"{changed.width}x{changed.height}"
        checks.append(
            Check(
                name="pictures change to the mode that was asked for",
                passed=len(pictures.sizes) > 1 and pictures.sizes[-1] == wanted,
                expected=f"at last {wanted}",
                measured=", then ".join(pictures.sizes) or "no picture",
            )
        )
        return checks
    if lossless(spec):
        checks.append(
            Check(
                name="every frame has its picture",
                passed=pictures.missing == 0 and pictures.unreadable == 0,
                expected="0 missing, 0 unreadable",
                measured=f"{pictures.missing} missing, {pictures.unreadable} unreadable",
            )
        )
    if host.ends == "itself" and client.ends != "itself":
        last, frames = pictures.last, spec.media.frame_count
        # The last second may go down with the end of the session; what comes before it does not.
        least = frames - 1 - round(spec.media.fps)
        checks.append(
            Check(
                name="pictures come until the stream ends",
                passed=last is not None and last >= least,
                expected=f"frame {max(0, least)} or a later one of {frames}",
                measured=f"frame {last}" if last is not None else "no frame",
            )
        )
    return checks


def _told_checks(spec: Session, told: Mapping[str, Mapping[str, int]]) -> list[Check]:
    checks = []
    for role, counts in told.items():
        zero = ["frames_corrupt", *(("frames_lost", "packets_lost") if lossless(spec) else ())]
        checks += [
            Check(
                name=f"the {role} tells of no {name.replace('_', ' ')}",
                passed=counts[name] == 0,
                expected="0",
                measured=str(counts[name]),
            )
            for name in zero
            if name in counts
        ]
        if {"frames", "frames_expected"} <= counts.keys() and lossless(spec):
            checks.append(
                Check(
                    name=f"the {role} counts every frame",
                    passed=counts["frames"] == counts["frames_expected"],
                    expected=str(counts["frames_expected"]),
                    measured=str(counts["frames"]),
                )
            )
    return checks
