"""Whether anything of a stream arrived, and where nothing did, whether its link as asked may be why.

A session of which no frame arrives shows no loss, no delay and nothing that is wrong: without a check of its own it
passes wherever its scenario expects nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np

from harness.analysis import agreement, theory
from harness.analysis.records import Records
from harness.analysis.results import Check, Metric
from harness.analysis.theory import Blocks, Loss
from harness.link.asked import Asked, State
from harness.run.code import code_of
from harness.scenario import expectations
from harness.scenario.model import Session

ALPHA: Final = 1e-6
"""Where the link as asked loses every frame with more than this probability, that none arrived is no failure."""
ARRIVAL: Final = frozenset(
    {
        "frames_complete",
        "frames_intact",
        "frames_decoded",
        "frames_lost",
        "frames_unrecoverable",
        "recovery",
        "decodable",
        "goodput",
        "pictures_read",
        "wire_frames_whole",
    }
)
"""Metrics of what arrives: a scenario that expects something of them, which holds, has said how much has to."""

_STARTS_NS: Final = 2_000_000_000
"""What a live stream may take from the time that its events count from to its first frame."""
_PASSES_NS: Final = 60_000_000
"""How long a frame may be between its first packet and its last: half of what a client waits for the rest of it."""
_WIDEST_JITTER: Final = 4
_OUTAGE: Final = 0.5
"""Share of packets above which loss is an outage and no bad time."""
_HEADER_BYTES: Final = 64
"""What either wire puts around a shard, at most."""
_QUEUE_PACKETS: Final = 1000
"""Of a bottleneck for which the scenario gives none."""
_EDGE_FRAMES: Final = 2
"""Of a span, those at its ends that may have met another state of the link."""

Stream = Sequence[Blocks]
"""The frames that a host put on the wire, by their blocks."""


def arrival_check(
    spec: Session,
    whole: int,
    streams: Callable[[], Sequence[Stream]],
    metrics: Mapping[str, Metric],
    counts: Mapping[str, int],
    *,
    live: bool,
) -> Check | None:
    """Return the check that some frame arrives whole; None where none did and none had to.

    ``whole`` is how many did; ``streams``, asked where none did, gives the frames that were sent, one sequence a seed.
    None had to where an expectation of the scenario that holds says so (:data:`ARRIVAL`), and where the link as
    asked loses all of them with a probability above :data:`ALPHA`. ``counts`` are those of the ledger, host to client.
    """
    expected, name = "1 frame or more", "a frame arrives whole"
    if whole:
        return Check(name=name, passed=True, expected=expected, measured=f"{whole} frames")
    frames = streams()
    sent = sum(map(len, frames))
    if _is_expected(spec, metrics, sent) or chance_of_none(spec, frames, live=live) > ALPHA:
        return None
    trail, stopped = _trail(counts)
    return Check(
        name=name,
        passed=False,
        expected=expected,
        measured=f"none of {sent}{trail}",
        detail=f"{_next_step(stopped, counts, live=live)}; where nothing is to arrive, the scenario says so: "
        "expect: [frames_complete == 0]",
    )


def streams_of(spec: Session, tables: Sequence[Records]) -> list[list[Blocks]]:
    """Return the frames that a host of ours put on the wire, from the joined records, one table a seed.

    FEC that follows loss is taken as what it never falls below.
    """
    code = code_of(spec)
    return [[code.blocks(size) for size in agreement.sent_bytes(table)] for table in tables]


def unknown_stream(spec: Session, packets: int) -> list[Blocks]:
    """Return what a host that left no records has sent at worst: as many frames as were asked for, without FEC."""
    frames = max(1, math.floor(spec.media.frame_count * _end_ns(spec) / spec.media.duration_ns))
    return [((math.ceil(packets / frames), 0),)] * frames if packets else []


def chance_of_none(spec: Session, streams: Sequence[Stream], *, live: bool) -> float:
    """Return the probability, at most, that the link as asked lets none of these frames arrive whole.

    It is exact for a link that stays the same and has no bottleneck. Else it is that of the spans of time in which the
    link carries the stream, of their fewest frames and their greatest loss; 1 where there are none.
    """
    killed = any(event.kill for event in spec.events)
    asked = Asked(spec.core_link("down"))
    steady = asked.steady and not killed and not asked.state(0).limited
    chance = 1.0
    for frames in streams:
        if not frames and not killed:
            return 0.0  # none was sent, which is no matter of the link
        spans = list(_carrying(spec, asked, frames))
        ways = [spans] if steady else [spans, list(_joined(spans))]
        chance *= min(
            math.prod(
                theory.chance_of_none(frames if steady else _met(span, frames, spec, live=live), span.loss)
                for span in way
            )
            for way in ways
        )
        if chance <= ALPHA:
            break
    return chance


def _end_ns(spec: Session) -> int:
    return min([spec.media.duration_ns, *(event.at.ns for event in spec.events if event.kill)])


@dataclass(frozen=True, slots=True)
class _Span:
    """A time in which a link carries a stream."""

    begin_ns: float
    end_ns: float
    loss: Loss
    most_packets: float
    """Of a frame that passes its bottleneck as a whole."""


def _joined(spans: Sequence[_Span]) -> Iterator[_Span]:
    """Join spans that follow each other: between the points of a trace it may be that no whole frame is sent.

    Those with outages in them are left out, which would make all that they are joined with one.
    """
    before: _Span | None = None
    for span in spans:
        if span.loss.mean > _OUTAGE:
            continue
        joined = _join(before, span) if before is not None else None
        if before is not None and joined is None:
            yield before
        before = joined or span
    if before is not None:
        yield before


def _join(a: _Span, b: _Span) -> _Span | None:
    """Return both as one span with the worse of their figures; None where they are apart or losses have memory."""
    without_memory = isinstance(a.loss, theory.Independent) and isinstance(b.loss, theory.Independent)
    if a.end_ns != b.begin_ns or not (without_memory or a.loss == b.loss):
        return None
    loss = max((a.loss, b.loss), key=lambda loss: loss.mean)
    return _Span(a.begin_ns, b.end_ns, loss, min(a.most_packets, b.most_packets))


def _carrying(spec: Session, asked: Asked, frames: Stream) -> Iterator[_Span]:
    """Yield the spans of each state of the link, as long as its queue is not half full."""
    packets = np.array([_packets(blocks) for blocks in frames]) if frames else np.zeros(1)
    queues = _Queue.of(spec)
    waiting = 0.0
    edges = [*asked.moments(0, _end_ns(spec)).tolist(), _end_ns(spec)]
    for begin_ns, end_ns in pairwise(edges):
        state = asked.state(int(asked.number_at(np.array([begin_ns]))[0]))
        from_s, until_s = 0.0, (end_ns - begin_ns) / 1e9
        most = math.inf
        if state.rate_kbps is None:
            waiting = 0.0
        else:
            each = (spec.stream.shard.bytes + _HEADER_BYTES + state.overhead_bytes) * 8
            passes, holds = state.rate_kbps * 1e3 / each, queues.packets(each)
            more = packets.mean() * spec.media.fps - passes
            most = min(passes * _PASSES_NS / 1e9, holds / 2)
            room = holds / 2 - waiting
            waiting = min(holds, max(0.0, waiting + more * until_s))
            if more > 0:
                until_s = min(until_s, max(0.0, room / more))
            elif room < 0:
                from_s = room / more if more else math.inf
        loss = theory.process_of({"loss": state.loss, "corrupt": state.corrupt})
        if from_s < until_s and loss is not None and _in_order(state):
            yield _Span(begin_ns + from_s * 1e9, begin_ns + until_s * 1e9, loss, most)


@dataclass(frozen=True, slots=True)
class _Queue:
    """The least that the queue of a bottleneck ever holds."""

    count: float
    bits: float

    @classmethod
    def of(cls, spec: Session) -> Self:
        states = spec.link_states("down")
        counts = [state["queue_packets"] for state in states if state.get("queue_packets")]
        sizes = [state["queue_bytes"] for state in states if state.get("queue_bytes")]
        return cls(min(counts, default=_QUEUE_PACKETS), min(sizes, default=math.inf) * 8)

    def packets(self, bits: float) -> float:
        """Return how many packets of that many bits it holds."""
        return min(self.count, self.bits / bits)


def _in_order(state: State) -> bool:
    """Return whether a frame's packets stay near each other."""
    jitter_us = 2 * _WIDEST_JITTER * state.jitter_us if state.jitter_reorder else 0.0
    held_us = state.reorder_extra_us if state.reorder_p else 0.0
    return (jitter_us + held_us) * 1e3 <= _PASSES_NS


def _met(span: _Span, frames: Stream, spec: Session, *, live: bool) -> Stream:
    """Return the frames that were sent in a span, at worst: the fewest, and the largest that pass its bottleneck."""
    begin_ns = max(span.begin_ns, _STARTS_NS) if live else span.begin_ns
    count = math.floor((span.end_ns - begin_ns) * spec.media.fps / 1e9)
    passing = sorted((blocks for blocks in frames if _packets(blocks) <= span.most_packets), key=_packets)
    least = count - _EDGE_FRAMES - (len(frames) - len(passing))
    return passing[-least:] if least > 0 else []


def _packets(blocks: Blocks) -> int:
    return sum(k + m for k, m in blocks)


def _is_expected(spec: Session, metrics: Mapping[str, Metric], sent: int) -> bool:
    return sent > 0 and any(
        expected.metric in ARRIVAL and expectations.check(expected, metrics).passed
        for expected in spec.expect
    )


def _trail(counts: Mapping[str, int]) -> tuple[str, str]:
    """Return what became of the packets, in words, and where they ended; "" where nothing was counted."""
    other_in, other_out = counts.get("other_in", 0), counts.get("other_delivered", 0)
    stages = [
        ("sent", counts.get("packets_sent")),
        ("in the link", _less(counts.get("link_in"), other_in)),
        ("delivered", _less(counts.get("delivered"), other_out)),
        ("received", counts.get("packets_received")),
    ]
    known = [(name, count) for name, count in stages if count is not None]
    stopped = next((name for name, count in known if not count), "whole" if known else "")
    words = ", ".join(f"{count} {name}" for name, count in known)
    return (f"; packets: {words}" if words else ""), stopped


def _less(count: int | None, others: int) -> int | None:
    return None if count is None else count - others


def _next_step(stopped: str, counts: Mapping[str, int], *, live: bool) -> str:
    socket = counts.get("packets_socket_dropped", 0)
    refused = {name: count for name, count in counts.items() if name.startswith("rejected_") and count}
    most = max(refused, key=lambda name: refused[name], default="")
    steps = {
        "sent": f"the host put no packet on the wire: its socket refused {socket}, host.log has what it did",
        "in the link": "what the host sent never came to the link: host.log has where it sends to",
        "delivered": "the link let nothing through, which was not asked of it: link.windows.json has what it lost",
        "received": "the client took none of them: client.log has what it heard",
    }
    if live and stopped in steps:
        return steps[stopped]
    if refused:
        return f"the client refused {refused[most]} packets as {most.removeprefix('rejected_')}"
    return "frames.parquet has what came of each frame"
