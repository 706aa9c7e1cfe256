"""``punktfunk.Host``: one native host with its listener, sessions and stream workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from punktfunk import log
from punktfunk.addresses import source_of
from punktfunk.clock import SessionClock
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.errors import CapacityFullError, ConfigError, PunktfunkError, RejectedError
from punktfunk.host.admission import HostAdmission
from punktfunk.host.capacity import Claimant
from punktfunk.host.capacity_loop import CapacityEvents, CapacityLoop
from punktfunk.host.config import HostConfig
from punktfunk.host.desktop import DesktopPool, OutputLease
from punktfunk.host.history import SessionHistory
from punktfunk.host.negotiation import kbps_in_shards, negotiate, prepare, wanted_kbps
from punktfunk.host.pairing import NativePairing
from punktfunk.host.peripherals.router import InputSink, Peripherals
from punktfunk.host.session_report import SessionReport
from punktfunk.host.stream import messages
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
from punktfunk.native.messages import ProbeResult
from punktfunk.native.quic import Peer
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

_CLOSE_LIMIT_S = 1.9


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
        self.side_planes = Peripherals(self._listening, desktop=desktop, input_sink=input_sink)
        self.on_session: Callable[[SessionReport], None] = lambda _report: None
        """Called in the event loop when a session begins, changes (about once a second) and has ended."""
        self.admission = HostAdmission(config.trusted_clients, config.trust, pairing)
        self.history = SessionHistory()
        """Sessions that got a stream: their reports as far as they are kept, and what all of them add up to."""
        self._log = log.get("host")
        self.stranger_log = StrangerLog(self._log)
        """Where clients that are not known are written of."""
        self._listener: Listener | None = None
        self._identity = identity
        self._stop_listening_to_trust: Callable[[], None] = lambda: None
        self._sessions: set[HostSession] = set()
        self._capacity: CapacityLoop[HostSession] | None = None
        self._welcomed: dict[HostSession, tuple[HostConfig, Hello, Welcome]] = {}
        """What was negotiated with clients that have no worker yet, and by which configuration."""
        self._streams: dict[HostSession, tuple[WorkerStream, SessionReport]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._report_done = asyncio.Condition()
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
        self._capacity = CapacityLoop(
            config.max_sessions,
            CapacityEvents(
                expired=lambda session: session.refuse(
                    CloseCode.SETUP_FAILED, "no Start within 3 s, and others wait"
                ),
                superseded=lambda session: session.revoke(CloseCode.SUPERSEDED, "superseded"),
                unlaunched=self._unlaunched,
            ),
        )
        self._listener = Listener(config.bind, config.port, self._identity, self._make_session)
        self._log.info("listening", bind=config.bind, port=self.port, fingerprint=self.fingerprint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._stop_listening_to_trust()
        self._stop_listening_to_trust = lambda: None
        self.capacity.close()
        for session in list(self._sessions):
            session.close(CloseCode.DONE, "host stopped")
        for worker, _ in self._streams.values():
            worker.stop()
        try:
            async with asyncio.timeout(_CLOSE_LIMIT_S), self._report_done:
                await self._report_done.wait_for(lambda: not self._streams)
        except TimeoutError:
            self._log.error("a worker did not end in time")
        self.side_planes.nobody_streams()
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
    def capacity(self) -> CapacityLoop[HostSession]:
        """Reservations, streams and workers of a host that has begun to listen."""
        assert self._capacity is not None
        return self._capacity

    @property
    def listener_counters(self) -> dict[str, int]:
        """What the listener took and dropped, and what became of those that asked for a stream."""
        return {**self._listener.counters, **self.capacity.counters} if self._listener else {}

    async def sessions_over(self, count: int) -> list[SessionReport]:
        """Wait until ``count`` streams have ended, workers included; return the kept reports as they ended."""
        async with self._report_done:
            await self._report_done.wait_for(lambda: self.history.over >= count)
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
        return [report for session, (_, report) in self._streams.items() if not session.ending]

    def streams(self) -> list[SessionReport]:
        """Return the reports of all streams that are not over, those included that are ending."""
        for session, (_, report) in self._streams.items():
            if session.ending:
                report.state = "ending"
        return [report for _, report in self._streams.values()]

    def end_session(self, number: int) -> bool:
        """End one stream from the host's side; ``False`` when no stream of that number runs."""
        for session, (_, report) in list(self._streams.items()):
            if report.number == number and not session.ending:
                self._revoke(session, CloseCode.DONE, "ended at the host")
                return True
        return False

    def request_keyframe(self) -> None:
        """Make the next frame of every stream a key frame."""
        for worker, _ in self._streams.values():
            worker.request_keyframe(0)

    def set_bitrate(self, bitrate: Bitrate) -> None:
        """Encode and pace every stream for another rate."""
        for worker, _ in self._streams.values():
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
        if self._capacity is not None:
            self._capacity.allow(config.max_sessions)
        rate = config.bitrate if config.bitrate != former.bitrate else None
        for worker, report in self._streams.values():
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
            self.capacity.reserve(session, _claimant(session.peer))
        except CapacityFullError as error:
            raise _busy() from error
        self._welcomed[session] = (self.config, hello, welcome)
        return welcome

    def start_stream(self, session: HostSession) -> WorkerStream:
        """Give a client that starts its stream, whose worker follows as soon as capacity has one for it."""
        try:
            self.capacity.start(session, lambda former: self._launch(session, former))
        except CapacityFullError as error:
            raise _busy() from error
        config, hello, welcome = self._welcomed[session]
        report = self._report(session, config, hello, welcome)
        lending = report._lending
        worker = WorkerStream(
            screen_for=None if lending is None else lending.change,
            max_kbps=kbps_in_shards(MAX_BITRATE.kbps, welcome.shard_bytes),
            fec_percent=report.fec_percent,
            fec_floor=config.fec_floor_percent,
            packets_sent=lambda: report.counters.get("packets_sent", 0),
            on_loss=lambda loss_ppm: self._loss_reported(report, loss_ppm),
            on_message=lambda message: self._worker_says(session, report, message),
            on_exit=lambda status: self._worker_gone(session, report, status),
        )
        self.history.begin(report)
        self._streams[session] = (worker, report)
        self.on_session(report)
        return worker

    def side_plane(self, session: HostSession, datagram: FromClient) -> None:
        """Pass on what a client that streams has sent beside its control stream."""
        if session in self._streams and not session.ending:
            self.side_planes.take(session, self._streams[session][1], datagram)

    def send(self, datagram: FromHost, number: int | None = None) -> int:
        """Send audio, rumble or HID output to one stream's client, or to all; return how many were sent it.

        Raises ``ValueError`` for what does not fit the wire.
        """
        return self.side_planes.send(datagram, number)

    def _listening(self) -> Iterator[tuple[HostSession, SessionReport]]:
        """Give the streams that can be sent something."""
        return ((one, report) for one, (_, report) in self._streams.items() if not one.ending)

    def session_over(self, session: HostSession, reason: str) -> None:
        """Take note of a connection's end; its report is complete once its worker is gone too."""
        self._sessions.discard(session)
        self._leave(session)
        if session in self._streams:
            report = self._streams[session][1]
            report.reason = reason
            report._session_gone = True
            self.side_planes.session_over(session, report)
            self._settle(session, report)

    def _unpaired(self, fingerprint: str) -> None:
        """End what an unpaired client has, streams and handshakes alike."""
        for session in list(self._sessions):
            if session.peer is not None and session.peer.fingerprint == fingerprint:
                self._revoke(session, CloseCode.DENIED, "unpaired")

    def _revoke(self, session: HostSession, code: CloseCode, reason: str) -> None:
        session.revoke(code, reason)
        self._leave(session)

    def _leave(self, session: HostSession) -> None:
        """Free what a session that ends has of the host's capacity, but for its worker."""
        self._welcomed.pop(session, None)
        self.capacity.leave(session)

    def _unlaunched(self, session: HostSession, error: PunktfunkError) -> None:
        _, report = self._streams[session]
        report.failed, report.stream_reason = True, error.cause
        session.stream_failed(f"stream failed: {error.cause}")
        self._leave(session)

    def _make_session(self) -> HostSession:
        session = HostSession(self, SessionClock.start())
        self._sessions.add(session)
        return session

    def _worker_says(self, session: HostSession, report: SessionReport, message: Any) -> None:
        match message:
            case messages.Progress(counters, stages, rates):
                report.counters, report.stages, report.rates = counters, stages, rates
                report.bitrate_kbps, report.fec_percent = counters["rate_kbps"], counters["fec_percent"]
                report.state = "ending" if session.ending else "streaming"
                self.on_session(report)
            case messages.Logged(level, concern, event, fields):
                self._relay(level, concern, event, {**fields, "session": report.number})
            case messages.Ended(reason, counters):
                report.counters, report.stream_reason = counters, reason
                session.stream_finished(f"stream ended: {reason}")
                self._leave(session)
            case messages.Failed(code, cause, hint):
                report.failed, report.stream_reason = True, cause
                session.log.error("stream failed", code=code, cause=cause, hint=hint)
                session.stream_failed(f"stream failed: {cause}")
                self._leave(session)
            case messages.PortRefused(count, first_ns, last_ns):
                session.data_refused(count, first_ns, last_ns)
            case messages.ModeInForce(accepted, mode):
                report.mode = mode if accepted else report.mode
                session.mode_in_force(accepted, mode)
            case messages.ProbeSent():
                session.probe_over(
                    ProbeResult(
                        message.goodput_bytes,
                        message.access_units,
                        message.duration_ms,
                        message.packets_sent,
                        message.send_drops,
                    )
                )
            case messages.Ready(codec, encoder):
                report.codec, report.encoder = codec, encoder
                session.log.info("worker ready", pid=report.worker_pid, codec=codec, encoder=encoder)
                self.on_session(report)
                if not self._closing:
                    # Not earlier: the start of recorder and worker at once takes longer than one by one.
                    self.side_planes.somebody_streams()

    def _loss_reported(self, report: SessionReport, loss_ppm: int) -> None:
        report.loss_reports += 1
        report.loss_ppm = loss_ppm

    @staticmethod
    def _relay(level: str, concern: str, event: str, fields: dict[str, Any]) -> None:
        """Write a worker's line to the log of this process."""
        say = getattr(log.get(concern), level if level in log.LEVELS else "error")
        say(event, **fields)

    def _worker_gone(self, session: HostSession, report: SessionReport, status: int | None) -> None:
        """Take note of the end of a worker, or (without a status) that a stream ended before it had one."""
        report._worker_gone = True
        if status is not None:
            self.capacity.worker_gone()
            self._leave(session)
        if status is not None and not (report.stream_reason or report._session_gone or session.ending):
            report.failed, report.stream_reason = True, _exit_words(status)
            session.log.error("worker gone", pid=report.worker_pid, status=status)
            session.stream_failed(report.stream_reason)
        self._settle(session, report)

    def _settle(self, session: HostSession, report: SessionReport) -> None:
        if not (report._worker_gone and report._session_gone):
            return
        report.stream_reason = report.stream_reason or "stopped"
        self._streams.pop(session, None)
        if not self._streams:
            self.side_planes.nobody_streams()
        self.history.end(report)
        report.state = "ended"
        self.on_session(report)
        if report._lending is not None:
            report._lending.end()
        self._keep(self._announce())

    def _report(
        self, session: HostSession, config: HostConfig, hello: Hello, welcome: Welcome
    ) -> SessionReport:
        assert session.peer is not None
        number = self.history.next_number
        artefacts = self._artefacts(number)
        measured = artefacts is not None and config.record_frames
        return SessionReport(
            number,
            session.peer,
            welcome.mode.checked(),
            artefacts,
            name=device_name(hello.name or ""),
            source=config.source.kind,
            bitrate_kbps=wanted_kbps(config, hello, welcome.shard_bytes),
            fec_scheme=config.fec_scheme,
            fec_percent=welcome.fec_percent,
            adaptive_fec=config.adaptive_fec,
            _lending=None if self.desktop is None else OutputLease(self.desktop, read_strip=measured),
        )

    def _launch(self, session: HostSession, former: list[HostSession]) -> None:
        """Start a stream's worker, and have a desktop's output made for it meanwhile."""
        worker, report = self._streams[session]
        config, hello, welcome = self._welcomed.pop(session)

        def go_on(screen: ScreenSpec | None) -> None:
            order = prepare(config, hello, welcome, session.clock, report.artefacts, screen=screen)
            worker.prepare(order)

        report.worker_pid = worker.launch()
        if report._lending is None:
            go_on(None)
        else:
            self._keep(self._prepare_desktop(session, report, report._lending, former, go_on))

    async def _prepare_desktop(
        self,
        session: HostSession,
        report: SessionReport,
        lending: OutputLease,
        former: list[HostSession],
        go_on: Callable[[ScreenSpec], None],
    ) -> None:
        """Have an output made for the stream, and let its worker capture that.

        A client that takes over wants the output that it had, with its windows, once that has been given back.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_LIMIT_S), self._report_done:
                await self._report_done.wait_for(lambda: not any(one in self._streams for one in former))
        try:
            screen = await lending.begin(report.mode)
        except PunktfunkError as error:
            report.failed, report.stream_reason = True, error.cause
            session.stream_failed(f"stream failed: {error}")
            self._leave(session)
        else:
            if not session.ending:
                go_on(screen)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the event loop's other work; the loop itself would not keep it alive."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _announce(self) -> None:
        async with self._report_done:
            self._report_done.notify_all()

    def _artefacts(self, number: int) -> Path | None:
        folder = self.config.artefacts
        if folder is None:
            return None
        return folder if number == 1 else folder / f"stream-{number}"


def _identity(state_dir: Path | None) -> Identity:
    return (
        Identity.generate(Role.HOST) if state_dir is None else Identity.load_or_create(state_dir, Role.HOST)
    )


def _claimant(peer: Peer) -> Claimant:
    """Name a client by its certificate, which nobody else can come with, or else by where it comes from."""
    if peer.fingerprint is not None:
        return Claimant(peer.fingerprint, proven=True)
    return Claimant(source_of(peer.address[0]), proven=False)


def _busy() -> RejectedError:
    return RejectedError(CloseCode.BUSY.sentence, close_code=CloseCode.BUSY)


def _exit_words(status: int) -> str:
    if status < 0:
        return f"worker killed by signal {-status}"
    return f"worker ended with status {status} before the stream did"
