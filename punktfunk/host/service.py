"""``punktfunk.Host``: one native host: its listener, who is let in, what is agreed on with each client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from punktfunk import log
from punktfunk.clock import SessionClock
from punktfunk.ending import EndReason
from punktfunk.errors import CapacityFullError, ConfigError, RejectedError
from punktfunk.host.capacity_loop import CapacityLoop
from punktfunk.host.client_session import ClientSession, StreamRequest
from punktfunk.host.config import HostConfig
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.history import SessionHistory
from punktfunk.host.native.admission import HostAdmission
from punktfunk.host.native.negotiation import kbps_in_shards, negotiate, stream_spec, wanted_kbps
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.native.sender import SENDER
from punktfunk.host.peripherals.router import InputSink, Peripherals
from punktfunk.host.session_report import SessionReport
from punktfunk.host.sessions import Sessions
from punktfunk.host.stream.handle import WorkerStream
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.log_limit import StrangerLog
from punktfunk.media import Codec, choose_encoder
from punktfunk.media.encoders.base import MAX_BITRATE
from punktfunk.native.datagrams import FromClient, FromHost
from punktfunk.native.dialect import CloseCode
from punktfunk.native.endpoint import Listener
from punktfunk.native.handshake import Hello, Welcome
from punktfunk.native.host import HostSession
from punktfunk.printable import device_name
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust, require_open_trust
from punktfunk.units import Bitrate

CHANGEABLE = frozenset(
    {
        "adaptive_fec",
        "bitrate",
        "codec",
        "encoder",
        "fec_min_percent",
        "fec_percent",
        "fec_scheme",
        "max_sessions",
        "mode",
    }
)
"""Fields of the configuration that :meth:`Host.reconfigure` takes."""


class Host:
    """Serve punktfunk/1 until the context ends.

    Raises ``CapabilityError`` when the port is taken, ``UntrustedPeerError`` when open trust is asked for
    where it does not hold, ``ConfigError`` when nobody could connect. Belongs to one event loop, whose thread
    has to live as long as the host.

    ``input_sink`` gets the input of every client that streams, in place of ``desktop``; see
    :class:`~punktfunk.host.peripherals.router.Peripherals` for what else they send.

    ``pairing`` lets clients pair, and its trust store lets paired ones in; it is for the fingerprint of
    ``identity``, which is then given too. Without them, ``config`` says who is let in.
    """

    def __init__(
        self,
        config: HostConfig,
        *,
        identity: Identity | None = None,
        pairing: NativePairing | None = None,
        input_sink: InputSink | None = None,
        desktop: DesktopPool | None = None,
    ) -> None:
        self.config = config
        self.desktop = desktop
        self.sessions = Sessions(
            desktop=desktop, input_sink=input_sink, artefacts=lambda: self.config.artefacts
        )
        self.admission = HostAdmission(config.trusted_clients, config.trust, pairing)
        self._log = log.get("host")
        self.stranger_log = StrangerLog(self._log)
        """Where clients that are not known are written of."""
        self._listener: Listener | None = None
        self._identity = identity
        self._stop_listening_to_trust: Callable[[], None] = lambda: None
        self._connected: set[HostSession] = set()
        self._welcomed: dict[HostSession, tuple[HostConfig, Hello, Welcome]] = {}
        """What was negotiated with clients that have not started, and by which configuration."""
        self._closing = False

    async def __aenter__(self) -> Self:
        config = self.config
        if isinstance(config.source, DesktopSpec) and self.desktop is None:
            raise ConfigError("this host was given no desktop", "punktfunk serve --source desktop opens one")
        if config.encoder == "nvenc":
            # Better now than with the first client.
            codec = Codec.H264 if config.codec == "auto" else Codec(config.codec)
            await asyncio.to_thread(choose_encoder, codec, config.encoder)
        pairing = self.admission.pairing
        if config.trust is OpenTrust.NONE and not config.trusted_clients and pairing is None:
            raise ConfigError(
                "no client could connect: none is trusted and trust is not open",
                "name clients' fingerprints in trusted_clients, or open trust on loopback (--open)",
            )
        if config.trust is not OpenTrust.NONE:
            require_open_trust(config.trust, config.bind)
        if self._identity is None:
            self._identity = await asyncio.to_thread(_identity, config.state_dir)
        if pairing is not None:
            self._stop_listening_to_trust = pairing.trust.on_removal(self._unpaired)
        self.sessions.open(config.max_sessions, [SENDER])
        self._listener = Listener(config.bind, config.port, self._identity, self._make_session)
        self._log.info("listening", bind=config.bind, port=self.port, fingerprint=self.fingerprint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._stop_listening_to_trust()
        self._stop_listening_to_trust = lambda: None
        self.sessions.start_no_more()
        for session in list(self._connected):
            session.end(EndReason.HOST_STOPPED)
        await self.sessions.stop()
        if self._listener is not None:
            self._listener.close()
        self.stranger_log.close()

    @property
    def port(self) -> int:
        """UDP port of the control connection."""
        return self._listener.port if self._listener else 0

    @property
    def fingerprint(self) -> str:
        """Fingerprint that clients pin."""
        return self._identity.fingerprint if self._identity else ""

    @property
    def capacity(self) -> CapacityLoop[ClientSession]:
        """Reservations, streams and workers of a host that has begun to listen."""
        return self.sessions.capacity

    @property
    def history(self) -> SessionHistory:
        """Sessions that got a stream: their reports as far as they are kept, and what all of them add up to."""
        return self.sessions.history

    @property
    def side_planes(self) -> Peripherals:
        """What passes beside the streams: input and gamepads, sound and rumble."""
        return self.sessions.peripherals

    @property
    def on_session(self) -> Callable[[SessionReport], None]:
        """Called in the event loop when a session begins, changes (about once a second) and has ended."""
        return self.sessions.on_change

    @on_session.setter
    def on_session(self, listener: Callable[[SessionReport], None]) -> None:
        self.sessions.on_change = listener

    @property
    def listener_counters(self) -> dict[str, int]:
        """What the listener took and dropped, and what became of those that asked for a stream."""
        return {**self._listener.counters, **self.capacity.counters} if self._listener else {}

    async def sessions_over(self, count: int) -> list[SessionReport]:
        """Wait until ``count`` streams have ended, workers included; return the kept reports as they ended."""
        await self.sessions.ended(count)
        return self.ended

    @property
    def reports(self) -> list[SessionReport]:
        """The reports of the streams that run and of the last :data:`~punktfunk.host.history.MAX_ENDED` others."""
        return self.history.reports

    @property
    def ended(self) -> list[SessionReport]:
        """The reports of the last streams that are over, as they ended."""
        return self.history.ended()

    def live(self) -> list[SessionReport]:
        """Return the reports of the streams that run, oldest first; they change as their workers report."""
        return self.sessions.live()

    def streams(self) -> list[SessionReport]:
        """Return the reports of all streams that are not over, those included that are ending."""
        return self.sessions.all()

    def end_session(self, number: int) -> bool:
        """End one stream from the host's side; ``False`` when no stream of that number runs."""
        return self.sessions.end_number(number)

    def request_keyframe(self) -> None:
        """Make the next frame of every stream a key frame."""
        for worker, _ in self.sessions.workers():
            worker.request_keyframe(0)

    def set_bitrate(self, bitrate: Bitrate) -> None:
        """Encode and pace every stream for another rate."""
        for worker, _ in self.sessions.workers():
            worker.set_bitrate(bitrate.kbps)

    def reconfigure(self, **changes: Any) -> None:
        """Apply other values of some fields, for sessions to come and as far as possible for those that run.

        Raises ``ConfigError`` for a field that cannot change while the host runs, and for values that do not fit;
        then nothing changes.
        """
        fixed = set(changes) - CHANGEABLE
        if fixed:
            raise ConfigError(f"{sorted(fixed)[0]} cannot change while the host runs", "start the host anew")
        former, config = self.config, self.config.changed(**changes)
        self.config = config
        self.sessions.allow(config.max_sessions)
        rate = config.bitrate if config.bitrate != former.bitrate else None
        for worker, report in self.sessions.workers():
            if rate is not None:
                worker.set_bitrate(rate.kbps)
            report.adaptive_fec = config.adaptive_fec
            worker.change_fec(config.fec_percent, config.fec_floor_percent)

    def reserve_stream(self, session: HostSession, hello: Hello, udp_port: int) -> Welcome:
        """Answer a client's Hello; the stream is its own once it starts."""
        assert session.peer is not None
        if self._closing:
            raise _busy()
        welcome = negotiate(self.config, hello, udp_port, session.local_address)
        try:
            self.sessions.reserve(session)
        except CapacityFullError as error:
            raise _busy() from error
        self._welcomed[session] = (self.config, hello, welcome)
        return welcome

    def start_stream(self, session: HostSession) -> WorkerStream:
        """Give a client that starts its stream, whose worker follows as soon as capacity has one for it."""
        config, hello, welcome = self._welcomed[session]
        request = StreamRequest(
            name=device_name(hello.name or ""),
            mode=welcome.mode.checked(),
            source=config.source.kind,
            bitrate_kbps=wanted_kbps(config, hello, welcome.shard_bytes),
            max_kbps=kbps_in_shards(MAX_BITRATE.kbps, welcome.shard_bytes),
            fec_scheme=config.fec_scheme,
            fec_percent=welcome.fec_percent,
            fec_floor=config.fec_floor_percent,
            record_frames=config.record_frames,
            spec=lambda records, screen: stream_spec(
                config, hello, welcome, session.clock, records=records, screen=screen
            ),
        )
        try:
            worker = self.sessions.start(session, request)
        except CapacityFullError as error:
            raise _busy() from error
        self._welcomed.pop(session)
        return worker

    def side_plane(self, session: HostSession, datagram: FromClient) -> None:
        """Pass on what a client that streams has sent beside its control stream."""
        report = self.sessions.report_of(session)
        if report is not None:
            self.side_planes.take(session, report, datagram)

    def send(self, datagram: FromHost, number: int | None = None) -> int:
        """Send audio, rumble or HID output to one stream's client, or to all; return how many were sent it.

        Raises ``ValueError`` for what does not fit the wire.
        """
        return self.side_planes.send(datagram, number)

    def session_over(self, session: HostSession, reason: str) -> None:
        """Take note of a connection's end; its report is complete once its worker is gone too."""
        self._connected.discard(session)
        self._welcomed.pop(session, None)
        self.sessions.over(session, reason)

    def _unpaired(self, fingerprint: str) -> None:
        """End what an unpaired client has, streams and handshakes alike."""
        for session in list(self._connected):
            if session.peer is not None and session.peer.fingerprint == fingerprint:
                self.sessions.end(session, EndReason.UNPAIRED)

    def _make_session(self) -> HostSession:
        session = HostSession(self, SessionClock.start())
        self._connected.add(session)
        return session


def _identity(state_dir: Path | None) -> Identity:
    return (
        Identity.generate(Role.HOST) if state_dir is None else Identity.load_or_create(state_dir, Role.HOST)
    )


def _busy() -> RejectedError:
    return RejectedError(CloseCode.BUSY.sentence, close_code=CloseCode.BUSY)
