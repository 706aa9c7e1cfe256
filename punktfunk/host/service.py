"""``punktfunk.Host``: one native host with its listener, sessions and stream workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from punktfunk import log
from punktfunk.clock import SessionClock
from punktfunk.errors import ConfigError, RejectedError
from punktfunk.host import work
from punktfunk.host.admission import HostAdmission
from punktfunk.host.config import HostConfig
from punktfunk.host.pairing import NativePairing
from punktfunk.host.stream import WorkerStream, negotiate, prepare
from punktfunk.native.dialect import CloseCode
from punktfunk.native.endpoint import Listener
from punktfunk.native.handshake import Hello, VideoMode
from punktfunk.native.host import HostSession, Stream
from punktfunk.native.identity import Identity, Role
from punktfunk.native.quic import Peer
from punktfunk.native.trust import OpenTrust, require_open_trust
from punktfunk.units import Bitrate

_CLOSE_LIMIT_S = 1.9


@dataclass(slots=True)
class SessionReport:
    """A session that had a stream: what is known of it, and at last how it ended.

    ``counters`` are the worker's, as of its last second or its end. ``stream_reason`` is the worker's own end
    (frames, seconds, stopped, or what failed), ``reason`` the session's.
    """

    number: int
    peer: Peer
    mode: VideoMode
    artefacts: Path | None
    worker_pid: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    stream_reason: str = ""
    reason: str = ""
    failed: bool = False
    _worker_gone: bool = False
    _session_gone: bool = False


class Host:
    """Serve punktfunk/1 until the context ends.

    Raises ``CapabilityError`` when the port is taken, ``UntrustedPeerError`` when open trust is asked for
    where it does not hold, ``ConfigError`` when nobody could connect. Belongs to one event loop, whose thread
    has to live as long as the host.

    ``pairing`` lets clients pair, and its trust store lets paired ones in; it is for the fingerprint of
    ``identity``, which is then given too. Without them, ``config`` says who is let in.
    """

    def __init__(
        self, config: HostConfig, *, identity: Identity | None = None, pairing: NativePairing | None = None
    ) -> None:
        self.config = config
        self.admission = HostAdmission(config.trusted_clients, config.trust, pairing)
        self.reports: list[SessionReport] = []
        """Sessions that got a stream, in order."""
        self._log = log.get("host")
        self._listener: Listener | None = None
        self._identity = identity
        self._stop_listening_to_trust: Callable[[], None] = lambda: None
        self._sessions: set[HostSession] = set()
        self._streams: dict[HostSession, tuple[WorkerStream, SessionReport]] = {}
        self._report_done = asyncio.Condition()
        self._closing = False

    async def __aenter__(self) -> Self:
        config = self.config
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
        self._listener = Listener(config.bind, config.port, self._identity, self._make_session)
        self._log.info("listening", bind=config.bind, port=self.port, fingerprint=self.fingerprint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._stop_listening_to_trust()
        for session in list(self._sessions):
            session.close(CloseCode.DONE, "host stopped")
        for worker, _ in self._streams.values():
            worker.stop()
        try:
            async with asyncio.timeout(_CLOSE_LIMIT_S), self._report_done:
                await self._report_done.wait_for(lambda: not self._streams)
        except TimeoutError:
            self._log.error("a worker did not end in time")
        if self._listener is not None:
            self._listener.close()

    @property
    def port(self) -> int:
        """UDP port of the control connection."""
        return self._listener.port if self._listener else 0

    @property
    def fingerprint(self) -> str:
        """Fingerprint that clients pin."""
        return self._identity.fingerprint if self._identity else ""

    @property
    def listener_counters(self) -> dict[str, int]:
        """What the listener took and dropped."""
        return dict(self._listener.counters) if self._listener else {}

    async def sessions_over(self, count: int) -> list[SessionReport]:
        """Wait until ``count`` streams have ended, workers included, and return their reports."""
        async with self._report_done:
            await self._report_done.wait_for(lambda: len(self._ended()) >= count)
        return self._ended()

    def request_keyframe(self) -> None:
        """Make the next frame of every stream a key frame."""
        for worker, _ in self._streams.values():
            worker.request_keyframe(0)

    def set_bitrate(self, bitrate: Bitrate) -> None:
        """Encode and pace every stream for another rate."""
        for worker, _ in self._streams.values():
            worker.set_bitrate(bitrate.kbps)

    def open_stream(self, session: HostSession, hello: Hello, udp_port: int) -> Stream:
        """Start a worker for a client and answer its Hello."""
        if self._closing or len(self._streams) >= self.config.max_sessions:
            raise RejectedError(CloseCode.BUSY.sentence, close_code=CloseCode.BUSY)
        assert session.peer is not None
        welcome = negotiate(self.config, hello, udp_port, session.local_address)
        number = len(self.reports) + 1
        report = SessionReport(number, session.peer, welcome.mode, self._artefacts(number))
        worker = WorkerStream(
            prepare(self.config, hello, welcome, session.clock, report.artefacts),
            adaptive_fec=self.config.adaptive_fec,
            on_message=lambda message: self._worker_says(session, report, message),
            on_exit=lambda status: self._worker_gone(session, report, status),
        )
        report.worker_pid = worker.pid
        self.reports.append(report)
        self._streams[session] = (worker, report)
        return Stream(welcome, worker)

    def session_over(self, session: HostSession, reason: str) -> None:
        """Take note of a connection's end; its report is complete once its worker is gone too."""
        self._sessions.discard(session)
        if session in self._streams:
            report = self._streams[session][1]
            report.reason = reason
            report._session_gone = True
            self._settle(session, report)

    def _unpaired(self, fingerprint: str) -> None:
        """End what an unpaired client has, streams and handshakes alike."""
        for session in list(self._sessions):
            if session.peer is not None and session.peer.fingerprint == fingerprint:
                session.revoke(CloseCode.DENIED, "unpaired")

    def _make_session(self) -> HostSession:
        session = HostSession(self, SessionClock.start())
        self._sessions.add(session)
        return session

    def _worker_says(self, session: HostSession, report: SessionReport, message: Any) -> None:
        match message:
            case work.Progress(counters):
                report.counters = counters
            case work.Ended(reason, counters):
                report.counters, report.stream_reason = counters, reason
                session.stream_finished(f"stream ended: {reason}")
            case work.Failed(code, cause, hint):
                report.failed, report.stream_reason = True, cause
                session.log.error("stream failed", code=code, cause=cause, hint=hint)
                session.stream_failed(f"stream failed: {cause}")
            case work.ModeInForce(accepted, width, height, refresh_hz):
                mode = VideoMode(width, height, refresh_hz)
                report.mode = mode if accepted else report.mode
                session.mode_in_force(accepted, mode)
            case work.Ready(codec):
                session.log.info("worker ready", pid=report.worker_pid, codec=codec)

    def _worker_gone(self, session: HostSession, report: SessionReport, status: int) -> None:
        report._worker_gone = True
        if not report.stream_reason and not report._session_gone and not session.ending:
            report.failed, report.stream_reason = True, _exit_words(status)
            session.log.error("worker gone", pid=report.worker_pid, status=status)
            session.stream_failed(report.stream_reason)
        self._settle(session, report)

    def _settle(self, session: HostSession, report: SessionReport) -> None:
        if not (report._worker_gone and report._session_gone):
            return
        report.stream_reason = report.stream_reason or "stopped"
        self._streams.pop(session, None)
        asyncio.get_running_loop().create_task(self._announce())

    async def _announce(self) -> None:
        async with self._report_done:
            self._report_done.notify_all()

    def _ended(self) -> list[SessionReport]:
        return [report for report in self.reports if report._worker_gone and report._session_gone]

    def _artefacts(self, number: int) -> Path | None:
        folder = self.config.artefacts
        if folder is None:
            return None
        return folder if number == 1 else folder / f"stream-{number}"


def _identity(state_dir: Path | None) -> Identity:
    return (
        Identity.generate(Role.HOST) if state_dir is None else Identity.load_or_create(state_dir, Role.HOST)
    )


def _exit_words(status: int) -> str:
    if status < 0:
        return f"worker killed by signal {-status}"
    return f"worker ended with status {status} before the stream did"
