"""Probe a live link before anything is measured on it, and refuse one that is not as asked (promise P19).

Four short phases a direction, each of packets that carry their number and the time they were sent:

* *calibration* over the same devices with an ideal link: what the machine itself adds to the delay;
* *decisions*: GSO trains of small packets, as many as the asked loss needs to be told from half of it;
* *delay*: single packets, far enough apart that jitter cannot make them wait for each other;
* *rate*: more than the bottleneck carries, for a fraction of a second.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from harness.link.base import DIRECTIONS, CoreSpec, Direction, LinkSpecs, LiveLink
from harness.link.expected import Expected, expected
from harness.link.judge import (
    TIMER_SLACK_US,
    Finding,
    Sample,
    judge_copies,
    judge_delay,
    judge_loss,
    judge_rate,
    packets_for_half,
)
from harness.network.pace import EMULATED
from punktfunk.core._core import probe_receive, probe_send
from punktfunk.errors import HarnessError, LinkUnverifiedError

_SMALL_BYTES = 64
"""Payload of a probe packet; small, so that a slow link carries many."""

_RATE_BYTES = 1200
_DRAIN_S = 0.005
_LET_GO_S = 20.0
"""How long the link may take until every packet sent is accounted for: as long as a pump may be without a core."""
_LOOK_S = 0.01
_PHASES = 3
"""Tries at a phase in which the device before the link drops nothing, or so little that it can be left out."""
_MOST_DROPPED = 0.01
"""Share of a phase's packets that may be left out: a machine that drops more has no time for this link."""
_LEAST = 20
"""Arrivals without which nothing is known of a delay."""
_TRAIN = 10
_RECEIVE_BUFFER_BYTES = 16 << 20
_SO_RCVBUFFORCE = 33
_MAX_SATURATED_KBPS = 1_500_000
"""Rates above cannot be overloaded reliably by one thread beside others; they are not judged."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much probing a direction may cost."""

    packets_per_s: float = 40_000.0
    decisions_s: float = 1.0
    delay_s: float = 0.6
    rate_s: float = 0.5
    idle_s: float = 0.15
    delay_quantile: float = 0.5
    """Which of the delays is judged."""
    wake_us: float = TIMER_SLACK_US
    """What waking up for a departure may add to a delay."""
    repeats: int = 1
    """How often a direction that is refused is probed again: another process may have taken the machine for a
    moment, while a link that is wrong is so each time."""

    @classmethod
    def emulated(cls) -> Budget:
        """Return what a machine under software emulation can carry."""
        return cls(
            packets_per_s=6_000.0,
            decisions_s=4.0,
            delay_s=0.3,
            rate_s=1.0,
            idle_s=0.4,
            delay_quantile=0.1,
            wake_us=1_000.0,
            repeats=2,
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """Findings by direction, all of which hold."""

    findings: dict[Direction, list[Finding]]
    repeated: int = 0
    """Probes that came to nothing or were refused before one that held."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for a case's result."""
        plain: dict[str, Any] = {
            way: [asdict(finding) for finding in found] for way, found in self.findings.items()
        }
        return plain | {"repeated": self.repeated}


def verify(
    link: LiveLink,
    asked: LinkSpecs,
    actual: LinkSpecs | None = None,
    *,
    budget: Budget | None = None,
    directions: Sequence[Direction] = DIRECTIONS,
) -> Verification:
    """Probe both ``directions`` of ``link`` and return what was found.

    ``actual`` is what is really applied (``asked`` unless a test sabotages the link). The link is left
    with the ideal spec. Raises :class:`LinkUnverifiedError` naming every property that is not as asked.
    """
    budget = budget or (Budget.emulated() if EMULATED else Budget())
    asked, actual = asked.steady(), (actual or asked).steady()
    findings: dict[Direction, list[Finding]] = {}
    repeated = 0
    try:
        for direction in directions:
            with _Path(link, direction, _idle_s(asked.of(direction), budget)) as path:
                for attempt in range(1 + budget.repeats):
                    last = attempt == budget.repeats
                    try:
                        findings[direction] = _probe(path, asked, actual, budget)
                    except LinkUnverifiedError:
                        if last:
                            raise
                    else:
                        if all(finding.ok for finding in findings[direction]):
                            break
                    repeated += not last
    finally:
        link.restart(LinkSpecs({}, {}, asked.seed))
    wrong = [
        f"{direction}: {finding.name}: asked {finding.asked}, found {finding.found}"
        for direction, found in findings.items()
        for finding in found
        if not finding.ok
    ]
    if wrong:
        raise LinkUnverifiedError(
            f"the {link.backend} link is not as asked: {'; '.join(wrong)}",
            "nothing was measured on it; if the machine is busy try again, else see the link's log",
        )
    return Verification(findings, repeated)


def _probe(path: _Path, asked: LinkSpecs, actual: LinkSpecs, budget: Budget) -> list[Finding]:
    link, direction = path.link, path.direction
    link.restart(LinkSpecs({}, {}, asked.seed))
    base = path.spaced(_delay_count(budget, 1_000_000), 1_000_000)
    if len(base.index) < _LEAST:
        raise LinkUnverifiedError(
            f"only {len(base.index)} of {base.sent} probe packets came through {direction} while the link was ideal",
            "the machine is too busy to carry a link, or something else is wrong with it: see the link's log",
        )
    want = expected(asked.of(direction))
    link.restart(_only(direction, actual))
    found = []
    got, dropped = _decided(path, want, asked.of(direction), budget)
    if dropped:
        found.append(
            Finding(
                "dropped before the link",
                True,
                f"at most {_MOST_DROPPED:.0%}, which are left out",
                f"{dropped}",
            )
        )
    found += judge_loss(want, got) + judge_copies(want, got)
    # Far enough apart that a late packet holds back the next one hardly ever, also with a heavy tail.
    apart_ns = max(1_000_000, round(want.jitter_us * (12e3 if want.jitter_distribution == "pareto" else 6e3)))
    spaced = path.spaced(_delay_count(budget, apart_ns), apart_ns)
    delays = _without_held(want, spaced)
    if len(delays.index) < _LEAST:
        raise LinkUnverifiedError(
            f"only {len(delays.index)} of {spaced.sent} probe packets came through {direction} in time",
            "a link that loses nearly everything cannot be probed for its delay",
        )
    found += judge_delay(want, base, delays, budget.delay_quantile, budget.wake_us)
    if want.rate_kbps and want.rate_kbps <= _MAX_SATURATED_KBPS:
        found.append(judge_rate(want, path.overload(want, budget.rate_s)))
    return found


def _decided(path: _Path, want: Expected, spec: CoreSpec, budget: Budget) -> tuple[Sample, int]:
    """Send the packets by which decisions are judged; return those that the link was given, and how many it was not.

    What a full device dropped before the link is no evidence about the link: it is left out where that can be done,
    and else the phase is begun again. Raises LinkUnverifiedError where it keeps happening.
    """
    count, interval_ns, segments = _decisions(want, spec, budget)
    for _ in range(_PHASES):
        sent = path.trains(count, interval_ns, segments)
        given = (
            _given(sent, path.device_dropped) if path.link.takes_trains or not path.device_dropped else None
        )
        if given is not None:
            return given, sent.sent - given.sent
    raise LinkUnverifiedError(
        f"the device before the {path.link.backend} link dropped {path.device_dropped} packets or trains "
        f"{path.direction}, and others in each of {_PHASES} tries: its queue was full, and what the link itself loses "
        "cannot be told from them",
        "the machine is too busy to carry this link: end what else runs, or ask for a slower one",
    )


def _given(sent: Sample, dropped: int) -> Sample | None:
    """Return the sample without ``dropped`` whole trains of which nothing came; None where they cannot be left out.

    A device drops a train whole, so each is among those of which nothing came. Which of these is no matter where
    there are more: as many packets are lost by the link whichever are taken. A single packet is not that sure: the
    wrong one would move what is left to other distances.
    """
    if not dropped:
        return sent
    whole = np.flatnonzero(~sent.arrived.reshape(-1, sent.segments).any(axis=1))
    packets = dropped * sent.segments
    if sent.segments < 2 or len(whole) < dropped or packets > _MOST_DROPPED * sent.sent:
        return None
    before = np.searchsorted(whole[:dropped], sent.index // sent.segments)
    return replace(sent, sent=sent.sent - packets, index=sent.index - before * sent.segments)


def _only(direction: Direction, specs: LinkSpecs) -> LinkSpecs:
    """The direction under test as asked, the other one ideal: nothing of the probe travels there."""
    ideal: CoreSpec = {}
    return LinkSpecs(
        specs.down if direction == "down" else ideal, specs.up if direction == "up" else ideal, specs.seed
    )


def _decisions(want: Expected, spec: CoreSpec, budget: Budget) -> tuple[int, int, int]:
    """Return how many packets to send, how far apart (ns, on average), and how many to a train."""
    per_s = budget.packets_per_s
    train = _TRAIN
    if want.rate_kbps:
        # Half the bottleneck's rate at most: its queue must not be what loses packets.
        per_s = min(per_s, 0.5 * want.rate_kbps * 1000 / 8 / (_SMALL_BYTES + want.overhead_bytes))
    queue = spec.get("queue_packets")
    if queue is not None and want.rate_kbps:
        train = max(1, min(train, queue // 2))
    shares = [share for share in (want.loss, want.duplicate, want.payload_corrupt) if share > 0]
    wanted = max((packets_for_half(share) for share in shares), default=2_000) * want.loss_inflation
    count = min(wanted, per_s * budget.decisions_s)
    count = max(200, math.ceil(count / train) * train)
    return count, round(1e9 / per_s), train


def _idle_s(spec: CoreSpec, budget: Budget) -> float:
    """Return after how long a silence nothing more will come: longer than any packet can be under way."""
    want = expected(spec)
    return budget.idle_s + 2e-6 * (want.delay_us + 5 * want.jitter_us + want.reorder_extra_us)


def _delay_count(budget: Budget, apart_ns: int) -> int:
    return max(100, min(400, round(budget.delay_s * 1e9 / apart_ns)))


def _without_held(want: Expected, got: Sample) -> Sample:
    """Leave out packets that were held back to be reordered: their delay is another one, on purpose."""
    if not want.reorder:
        return got
    keep = got.delay_us < want.delay_us + want.jitter_us + want.reorder_extra_us / 2
    return Sample(
        got.sent, got.segments, got.size_bytes, got.interval_ns,
        got.index[keep], got.sent_ns[keep], got.received_ns[keep], got.corrupt, got.unidentified,
    )  # fmt: skip


class _Path:
    """A pair of connected UDP sockets at the two ends of one direction."""

    def __init__(self, link: LiveLink, direction: Direction, idle_s: float) -> None:
        self.link = link
        self.direction = direction
        self._idle_s = idle_s
        self.device_dropped = 0
        """Packets, or whole trains, of the last phase that a full device dropped before the link saw them."""
        down = direction == "down"
        near, far = (link.host, link.client) if down else (link.client, link.host)
        to = link.client_address if down else link.host_address
        self._receiver = far.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._sender = near.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._receiver.bind((to.ipv4, 0))
        self._sender.connect(self._receiver.getsockname())
        try:
            self._receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        except PermissionError:
            self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)

    def __enter__(self) -> _Path:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._receiver.close()
        self._sender.close()

    def trains(self, count: int, interval_ns: int, segments: int) -> Sample:
        """Send ``count`` small packets, ``interval_ns`` apart on average, in trains of ``segments``."""
        return self._send(count, _SMALL_BYTES, interval_ns, segments)

    def spaced(self, count: int, interval_ns: int) -> Sample:
        """Send ``count`` single packets, one every ``interval_ns``."""
        return self._send(count, _SMALL_BYTES, interval_ns, 1)

    def overload(self, want: Expected, seconds: float) -> Sample:
        """Send half as much again as the bottleneck passes, for ``seconds``."""
        assert want.rate_kbps is not None
        bits = (_RATE_BYTES + want.overhead_bytes) * 8
        per_s = 1.5 * want.rate_kbps * 1000 / bits / max(0.05, 1 - want.loss)
        return self._send(max(100, round(per_s * seconds)), _RATE_BYTES, round(1e9 / per_s), 1)

    def _until_let_go(self, came: int, dropped: int, count: int, segments: int) -> None:
        """Wait until ``count`` packets are accounted for and the link holds none of them.

        Each was taken by the link, which had taken ``came`` before, or dropped by the device in front of it, which had
        dropped ``dropped``: a full queue drops what the link will never see, and waiting for that would never end.
        """
        deadline = time.monotonic() + _LET_GO_S
        each = segments if self.link.takes_trains else 1
        while time.monotonic() < deadline:
            self.device_dropped = self.link.device_drops()[self.direction] - dropped
            counts = self.link.counters()[self.direction]
            taken = counts["link_in"] - came
            if taken + each * self.device_dropped >= count and not counts["in_flight"]:
                return
            time.sleep(_LOOK_S)

    def _send(self, count: int, size_bytes: int, interval_ns: int, segments: int) -> Sample:
        """Send and receive; ``interval_ns`` is the time between packets."""
        last_sent = math.inf
        came = self.link.counters()[self.direction]["link_in"]
        dropped = self.link.device_drops()[self.direction]
        self.device_dropped = 0

        def receive() -> list[dict[str, bytes | int]]:
            # A silence is the end only once all is sent: the sender may be without a core for longer than that.
            parts: list[dict[str, bytes | int]] = []
            left, drained = 4 * count, False
            while left > 0:
                part = probe_receive(
                    self._receiver.fileno(),
                    idle_timeout_s=_DRAIN_S if drained else self._idle_s,
                    max_packets=left,
                    size_bytes=size_bytes,
                )
                parts.append(part)
                left -= int(part["count"])
                if drained:
                    break
                # What this thread has not looked at while it was without a core is in the socket by now.
                drained = time.monotonic() - last_sent >= self._idle_s
            return parts

        with ThreadPoolExecutor(1, "probe receiver") as pool:
            receiving = pool.submit(receive)
            try:
                sent = probe_send(
                    self._sender.fileno(),
                    count=count,
                    size_bytes=size_bytes,
                    interval_ns=interval_ns,
                    segments=segments,
                )
                if not sent["dropped"]:
                    self._until_let_go(came, dropped, count, segments)
            finally:
                last_sent = time.monotonic()
            got = receiving.result()
        columns = {
            name: np.concatenate([np.frombuffer(part[name], "<i8") for part in got])  # type: ignore[arg-type]  # counts or columns; these three are columns
            for name in ("index", "tx_ns", "rx_ns")
        }
        # A flipped bit may have hit the number: such a packet counts as corrupt and as nothing else.
        known = (columns["index"] >= 0) & (columns["index"] < count)
        if sent["dropped"]:
            raise HarnessError(f"the probe's own socket dropped {sent['dropped']} of {count} packets")
        return Sample(
            count,
            segments,
            size_bytes,
            interval_ns,
            columns["index"][known],
            columns["tx_ns"][known],
            columns["rx_ns"][known],
            sum(int(part["corrupted"]) for part in got),
            int((~known).sum()),
        )
