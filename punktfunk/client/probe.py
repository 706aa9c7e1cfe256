"""``punktfunk probe``: what a path carries and what it does to packets, measured on the data plane itself.

The client asks for bursts of filler (punktfunk/1 section 2.4, ProbeRequest) at growing rates until the path, the
host or this machine does not keep up, then for one burst below that and one of single packets. Everything is read
from the core's frame records, whose arrival times are the kernel's: nothing here is timed by the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from punktfunk.client.config import ClientConfig
from punktfunk.client.path_figures import (
    Burst,
    BurstFigures,
    LossPattern,
    carried_kbps,
    figures,
    loss_pattern,
)
from punktfunk.client.request import dialects, hello_for, known_pin, load_identity
from punktfunk.client.verdict import LimitedBy, PathShape, Verdict, held_back, judge, saturated
from punktfunk.clock import monotonic_ns
from punktfunk.core._core import ClientStream, StreamConfig
from punktfunk.errors import HandshakeError, SessionClosedError
from punktfunk.native import control
from punktfunk.native.client import ClientConnection, closed_error, parse_host_port
from punktfunk.native.handshake import FecCode, Welcome
from punktfunk.native.messages import ProbeResult
from punktfunk.native.quic import Closed
from punktfunk.process.artefacts import RecordStore
from punktfunk.trust.open_trust import require_open_trust
from punktfunk.units import Bitrate, Mode

FIRST_KBPS = 5_000
RAMP_MS, SATURATE_MS, HOLD_MS, SINGLE_MS = 400, 800, 2000, 1500
SINGLE_KBPS = 16_000
"""Below some 20 Mbit/s a host sends its filler packet by packet, so that loss shows packet by packet."""
_STREAM_LIMIT_S = 20.0
_ANSWER_LIMIT_S = 4.0
_QUIET_S = 0.06
_QUIET_PACKETS = 12
_SETTLE_LIMIT_S = 2.5
_MODE = Mode(640, 360, 10)
"""The least that makes a host stream at all: its own video is not what is measured."""
_WINDOW_FRAMES = 128
"""Units that are waited for: at least 64 ms of filler. Larger, and a burst would end before it has records."""
_NOTHING = {
    name: np.empty(0, dtype=np.int64)
    for name in ("flags", "pts_ns", "recv_first_ns", "recv_last_ns", "k", "m", "packets_received")
}
_COUNTED = ("packets_received", "packets_reordered", "kernel_dropped")


@dataclass(frozen=True, slots=True)
class PathReport:
    """What a probe found. ``verdict`` is None for a host that does not send filler; ``why`` then says so."""

    address: str
    fingerprint: str
    rtt_ms: float | None
    clock_error_ms: float | None
    packet_bytes: int
    bursts: tuple[BurstFigures, ...] = ()
    pattern: LossPattern | None = None
    verdict: Verdict | None = None
    why: str = ""
    video: dict[str, int] = field(default_factory=dict)
    """Without filler: packets received, lost and reordered of the host's own video."""


class PathProbe:
    """One probe of one host.

    :meth:`run` raises as :class:`~punktfunk.client.service.Client` does, and ``HandshakeError`` when the host
    ends the session in between. ``on_burst`` is told each burst as it ends. A client of the same identity that
    streams from the host is replaced by the probe, as by any new session.
    """

    def __init__(self, config: ClientConfig, *, limit: Bitrate, fps: int = 60) -> None:
        self.config = config.model_copy(update={"mode": _MODE, "bitrate": Bitrate.from_kbps(500)})
        self.address = parse_host_port(config.address)
        self.on_burst: Callable[[BurstFigures], None] = lambda _figures: None
        self._limit_kbps = limit.kbps
        self._bursts: list[Burst] = []
        self._records = RecordStore()
        self._answer: asyncio.Future[ProbeResult] | None = None
        self._clock: control.ClockEstimate | None = None
        self._rounds_over = asyncio.Event()
        self._closed: Closed | None = None
        self._shape = PathShape(1, 1, fps)

    async def run(self) -> PathReport:
        """Connect, measure and return what was found."""
        pin = self.config.pin or known_pin(self.config, self.address)
        if pin is None:
            require_open_trust(self.config.trust, self.address[0])
        identity = await asyncio.to_thread(load_identity, self.config)
        connection = await ClientConnection.open(
            self.address, identity, hello_for(self.config), dialects(self.config), pin=pin
        )
        connection.on_output = self._hear
        connection.on_closed = self._over
        try:
            with _receiving(connection) as stream:
                connection.start()
                return await self._measure(connection, stream)
        finally:
            connection.close()
            connection.abandon()

    async def _measure(self, connection: ClientConnection, stream: ClientStream) -> PathReport:
        welcome = connection.welcome
        assert welcome is not None
        ip_version = 6 if ":" in self.address[0] else 4
        packet_bytes = control.ip_packet_bytes(
            welcome.shard_bytes, sealed=welcome.encrypt, ip_version=ip_version
        )
        self._shape = PathShape(packet_bytes, welcome.shard_bytes, self._shape.fps)
        await self._until_stream_flows(stream)
        first = await self._burst(connection, stream, FIRST_KBPS, RAMP_MS)
        if first is None or not first.packets_sent:
            why = (
                "this host does not know bandwidth probes (its release is older than v0.1.0)"
                if first is None
                else "this host refuses bandwidth probes now: they are switched off there, or used up for this session"
            )
            await asyncio.sleep(2 * SATURATE_MS / 1000)
            return self._report(connection, why=why, video=_video(stream.stats()))
        ramp, limited_by = await self._ramp(connection, stream, first)
        rough = await self._capacity(connection, stream, ramp, limited_by)
        capacity_at = len(self._bursts)
        below = self._target(rough * 0.8)
        hold_at = len(self._bursts)
        await self._burst(connection, stream, below, HOLD_MS)
        single_at = len(self._bursts)
        await self._burst(connection, stream, min(below, SINGLE_KBPS), SINGLE_MS)
        stream.close()
        self._records.add(stream.take_records())
        records = self._records.columns()
        found = figures(records, self._bursts, packet_bytes=packet_bytes)
        pattern = loss_pattern(records, self._bursts, single_at)
        # With all units on record the rates of the bursts are exact.
        capacity = max(burst.delivered_kbps for burst in found[:capacity_at])
        verdict = judge(
            self._shape,
            capacity_kbps=capacity,
            limited_by=limited_by,
            hold=found[hold_at],
            pattern=pattern,
            bursts=found,
        )
        return self._report(connection, bursts=tuple(found), pattern=pattern, verdict=verdict)

    async def _ramp(
        self, connection: ClientConnection, stream: ClientStream, first: BurstFigures
    ) -> tuple[list[BurstFigures], LimitedBy]:
        """Double the rate until something does not keep up; return the bursts and what it was."""
        ramp = [first]
        wanted = self._target(FIRST_KBPS)
        while True:
            last = ramp[-1]
            base = min(burst.loss for burst in ramp)
            if last.kernel_dropped > last.packets_sent * 0.01:
                return ramp, "client"
            if saturated(last, base):
                return ramp, "path"
            if held_back(last, self._wire(self._bursts[-1].target_kbps)):
                return ramp, "host"
            if wanted >= self._target(self._limit_kbps):
                return ramp, "limit"
            wanted = min(wanted * 2, self._target(self._limit_kbps))
            ramp.append(await self._must(connection, stream, wanted, RAMP_MS))

    async def _capacity(
        self,
        connection: ClientConnection,
        stream: ClientStream,
        ramp: list[BurstFigures],
        limited_by: LimitedBy,
    ) -> int:
        """Return the path's capacity, or what it carried at least, kbit/s of IP packets."""
        if limited_by != "path":
            return carried_kbps(ramp)
        # A longer burst a little above the rate that came through: it shows the rate without a flood.
        above = self._target(min(1.3 * ramp[-1].delivered_kbps, 2 * self._limit_kbps))
        last = await self._must(connection, stream, max(above, FIRST_KBPS // 10), SATURATE_MS)
        unhurt = max((burst.delivered_kbps for burst in ramp[:-1]), default=0)
        return max(last.delivered_kbps, unhurt)

    async def _must(
        self, connection: ClientConnection, stream: ClientStream, kbps: int, duration_ms: int
    ) -> BurstFigures:
        found = await self._burst(connection, stream, kbps, duration_ms)
        if found is None:
            raise HandshakeError("the host stopped answering bandwidth probes", "look at the host's log")
        return found

    async def _burst(
        self, connection: ClientConnection, stream: ClientStream, kbps: int, duration_ms: int
    ) -> BurstFigures | None:
        """Ask for one burst and wait until it has come; None when the host does not answer."""
        before, began = stream.stats(), monotonic_ns()
        self._answer = asyncio.get_running_loop().create_future()
        connection.request_probe(kbps, duration_ms)
        try:
            async with asyncio.timeout(duration_ms / 1000 + _ANSWER_LIMIT_S):
                result = await self._answer
        except TimeoutError:
            return None
        if result.access_units:
            await self._until_quiet(stream)
        after = stream.stats()
        self._records.add(stream.take_records())
        counted = {name: after.get(name, 0) - before.get(name, 0) for name in _COUNTED}
        self._bursts.append(
            Burst(kbps, began, result, counted["packets_reordered"], counted["kernel_dropped"])
        )
        columns = self._records.columns()
        if not result.access_units or not columns:
            columns = _NOTHING
        found = figures(columns, self._bursts, packet_bytes=self._shape.packet_bytes)[-1]
        # The last units of a burst have no record until others come after them, but they are counted.
        received = min(counted["packets_received"], found.packets_sent)
        found = replace(found, packets_received=max(received, found.packets_received))
        self.on_burst(found)
        return found

    async def _until_stream_flows(self, stream: ClientStream) -> None:
        """Wait for the clock rounds and the first packet: a host may have a desktop to start first."""
        deadline = monotonic_ns() + round(_STREAM_LIMIT_S * 1e9)
        while not self._rounds_over.is_set() or not stream.stats()["packets_received"]:
            self._raise_if_closed()
            if monotonic_ns() > deadline:
                raise HandshakeError(
                    f"nothing came on the data plane within {_STREAM_LIMIT_S:.0f} s",
                    "does a firewall pass UDP from the host to this machine?",
                )
            await asyncio.sleep(0.02)

    async def _until_quiet(self, stream: ClientStream) -> None:
        """Wait until the rest of a burst has come out of the path's queues."""
        deadline = monotonic_ns() + round(_SETTLE_LIMIT_S * 1e9)
        seen = -_QUIET_PACKETS - 1
        while monotonic_ns() < deadline:
            await asyncio.sleep(_QUIET_S)
            self._raise_if_closed()
            now = stream.stats()["packets_received"]
            if now - seen <= _QUIET_PACKETS:
                return
            seen = now

    def _raise_if_closed(self) -> None:
        if self._closed is not None:
            raise closed_error(self.address, self._closed)

    def _hear(self, output: control.Output) -> None:
        match output:
            case control.ClockRoundsOver(estimate):
                self._clock = estimate
                self._rounds_over.set()
            case control.ProbeAnswered(result) if self._answer is not None and not self._answer.done():
                self._answer.set_result(result)
            case _:
                pass

    def _over(self, closed: Closed) -> None:
        self._closed = closed
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(closed_error(self.address, closed))

    def _target(self, wire_kbps: float) -> int:
        """Return the filler rate whose packets fill ``wire_kbps``."""
        return max(1, round(wire_kbps * self._shape.shard_bytes / self._shape.packet_bytes))

    def _wire(self, target_kbps: float) -> float:
        return target_kbps * self._shape.packet_bytes / self._shape.shard_bytes

    def _report(self, connection: ClientConnection, **found: object) -> PathReport:
        clock = self._clock
        return PathReport(
            address=f"{self.address[0]}:{self.address[1]}",
            fingerprint=(connection.peer.fingerprint or "") if connection.peer else "",
            rtt_ms=None if clock is None else clock.rtt_ns / 1e6,
            clock_error_ms=None if clock is None else clock.error_ns / 1e6,
            packet_bytes=self._shape.packet_bytes,
            **found,  # type: ignore[arg-type]  # fields of the report by name; the dataclass refuses others
        )


@contextlib.contextmanager
def _receiving(connection: ClientConnection) -> Iterator[ClientStream]:
    """Receive on the session's data socket; a thread throws the host's own video away."""
    welcome = connection.welcome
    assert welcome is not None
    data = connection.bind_data_socket()
    stream = ClientStream(_stream_config(welcome), data.fileno(), queue_frames=64)

    def discard() -> None:
        with contextlib.suppress(SessionClosedError):
            while not stopping.is_set():
                stream.next_frame(0.1)

    stopping = threading.Event()
    thread = threading.Thread(target=discard, name="discard", daemon=True)
    thread.start()
    try:
        yield stream
    finally:
        stopping.set()
        stream.close()
        thread.join()


def _stream_config(welcome: Welcome) -> StreamConfig:
    return StreamConfig(
        scheme="gf16" if welcome.fec is FecCode.GF16 else "gf8",
        fec_percent=welcome.fec_percent,
        max_block_shards=welcome.max_block_shards,
        shard_bytes=welcome.shard_bytes,
        key=welcome.key if welcome.encrypt else None,
        salt=welcome.salt,
        hold_undecodable=False,
        loss_window_frames=_WINDOW_FRAMES,
        loss_window_ns=control.S,
    )


def _video(stats: dict[str, int]) -> dict[str, int]:
    return {name: stats.get(name, 0) for name in ("packets_received", "packets_lost", "packets_reordered")}
