"""The server of punktfunk/1: its listener, who is let in, and what is agreed on with each client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from punktfunk import log
from punktfunk.app import DESKTOP, App
from punktfunk.clock import SessionClock
from punktfunk.ending import EndReason
from punktfunk.errors import CapabilityError, CapacityFullError, ConfigError, RejectedError
from punktfunk.host.client_session import StreamRequest
from punktfunk.host.config import HostConfig
from punktfunk.host.describe import place_of
from punktfunk.host.native.admission import HostAdmission
from punktfunk.host.native.negotiation import (
    kbps_in_shards,
    negotiate,
    separates_cursor,
    stream_spec,
    wanted_kbps,
)
from punktfunk.host.native.pairing import WIRE, NativePairing
from punktfunk.host.native.sender import SENDER
from punktfunk.host.protocol_server import HostServices
from punktfunk.host.running_apps import RunningApp
from punktfunk.host.stream.handle import WorkerStream
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.input import FromClient
from punktfunk.interfaces import reachable_addresses
from punktfunk.log_limit import StrangerLog
from punktfunk.media.encoders.base import MAX_BITRATE
from punktfunk.native.dialect import CloseCode
from punktfunk.native.endpoint import Listener
from punktfunk.native.handshake import Hello, Welcome
from punktfunk.native.host import HostSession
from punktfunk.native.quic import Peer
from punktfunk.printable import printable
from punktfunk.trust.open_trust import OpenTrust, require_open_trust

_NAME_CHARACTERS = 40
_TITLES_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class _Agreed:
    """What was negotiated with a client that has not started, and by which configuration."""

    config: HostConfig
    hello: Hello
    welcome: Welcome
    running: RunningApp | None


class NativeServer:
    """A :class:`~punktfunk.host.protocol_server.ProtocolServer` for punktfunk/1.

    ``pairing`` lets clients pair, and its trust store lets paired ones in; it is for the fingerprint of the host's
    identity. Without it, the configuration says who is let in.
    """

    name = WIRE
    sender = SENDER

    def __init__(self, services: HostServices, pairing: NativePairing | None) -> None:
        self.config = services.config
        self.admission = HostAdmission(self.config.trusted_clients, self.config.trust, pairing)
        self.listener: Listener | None = None
        """Once it is open."""
        self.connected: set[HostSession] = set()
        """The sessions of all connections, streams or not."""
        self._services = services
        self._sessions = services.sessions
        self._agreed: dict[HostSession, _Agreed] = {}
        self._running: dict[HostSession, RunningApp] = {}
        """The apps of those that have named one."""
        self._closing = False

    @property
    def stranger_log(self) -> StrangerLog:
        """Where to write what clients cause that are not known."""
        return self._services.stranger_log

    @property
    def port(self) -> int:
        """UDP port of the control connections; 0 before it is open."""
        return self.listener.port if self.listener else 0

    @property
    def counters(self) -> dict[str, int]:
        """What the listener took and dropped."""
        return dict(self.listener.counters) if self.listener else {}

    async def open(self) -> None:
        """Listen.

        Raises ``CapabilityError`` when the port is taken, ``UntrustedPeerError`` when open trust is asked for where it
        does not hold, ``ConfigError`` when nobody could connect.
        """
        config = self.config
        if config.trust is OpenTrust.NONE and not config.trusted_clients and self.admission.pairing is None:
            raise ConfigError(
                "no client could connect: none is trusted and trust is not open",
                "name clients' fingerprints in trusted_clients, or open trust on loopback (--open)",
            )
        if config.trust is not OpenTrust.NONE:
            require_open_trust(config.trust, config.bind)
        identity = self._services.identity
        self.listener = Listener(config.bind, config.port, identity, self._make_session)
        log.get("host").info("listening", bind=config.bind, port=self.port, fingerprint=identity.fingerprint)

    def end_all(self) -> None:
        """End every connection and agree on nothing any more."""
        self._closing = True
        for session in list(self.connected):
            session.end(EndReason.HOST_STOPPED)

    def close(self) -> None:
        """Stop to listen."""
        if self.listener is not None:
            self.listener.close()

    def revoke(self, fingerprint: str) -> None:
        """End what an unpaired client has, streams and handshakes alike."""
        for session in list(self.connected):
            if session.peer is not None and session.peer.fingerprint == fingerprint:
                self._sessions.end(session, EndReason.UNPAIRED)

    def reconfigure(self, config: HostConfig) -> None:
        """Answer the next Hello by another configuration."""
        self.config = config

    def banner(self) -> list[str]:
        """Return the line of its addresses."""
        return [f"native host  {', '.join(self.places())} (UDP)"]

    def places(self) -> list[str]:
        """Return what clients may be told to connect to."""
        return [place_of(address, self.port) for address in reachable_addresses(self.config.bind)]

    # --- what its connections ask (:class:`punktfunk.native.host.SessionOwner`) --------------------------------

    def reserve_stream(self, session: HostSession, hello: Hello, udp_port: int) -> Welcome:
        """Answer a client's Hello; the stream is its own once it starts."""
        assert session.peer is not None
        if self._closing:
            raise _busy()
        source = self.config.source
        # Where there is no shared desktop, who names no app wants the first one.
        first = str(DESKTOP.id) if isinstance(source, DesktopSpec) and source.each_its_own else ""
        name = hello.launch or first
        running = self._launch(session, session.peer, name) if name else None
        try:
            config = self.config if running is None else running.configured(self.config)
            # An app's own desktop may not be there yet, and is a headless one, which paints.
            shared = running is None or not running.app.own_desktop
            welcome = negotiate(
                config,
                hello,
                udp_port,
                session.local_address,
                tells_cursor=shared and self._sessions.tells_cursor,
            )
            self._sessions.reserve(session)
        except CapacityFullError as error:
            raise _busy() from error
        self._agreed[session] = _Agreed(config, hello, welcome, running)
        return welcome

    def _launch(self, session: HostSession, peer: Peer, name: str) -> RunningApp:
        """Have a client stream the app that it names, which starts with the stream unless it runs already.

        Raises ``RejectedError`` where it may not. What is launched and not started is forgotten with the session.
        """
        apps = self._services.apps
        app = apps.named(name)
        if app is None:
            raise _not_permitted(f"no app '{printable(name, _NAME_CHARACTERS)}': {_titles(apps.all())}")
        if peer.fingerprint is None:
            raise _not_permitted("apps are for clients with a certificate")
        try:
            running = apps.launch(app, peer.fingerprint)
        except CapacityFullError as error:
            raise _busy() from error
        except CapabilityError as error:
            raise _not_permitted(error.cause) from error
        if running.ending:
            raise _not_permitted(f"{app.title} is being quit")
        self._running[session] = running
        running.join(peer.fingerprint, session)
        return running

    def start_stream(self, session: HostSession) -> WorkerStream:
        """Give a client that starts its stream, whose worker follows as soon as capacity has one for it."""
        agreed = self._agreed[session]
        config, hello, welcome, running = agreed.config, agreed.hello, agreed.welcome, agreed.running
        request = StreamRequest(
            name=hello.name or "",
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
            separate_cursor=separates_cursor(welcome),
            open_desktop=running.open_desktop if running is not None and running.on_a_desktop else None,
        )
        try:
            worker = self._sessions.start(session, request)
        except CapacityFullError as error:
            raise _busy() from error
        self._agreed.pop(session)
        return worker

    def received(self, session: HostSession, datagram: FromClient) -> None:
        """Pass on what a client that streams has sent beside its control stream."""
        self._sessions.received(session, datagram)

    def session_over(self, session: HostSession, reason: str) -> None:
        """Take note of a connection's end; its report is complete once its worker is gone too."""
        self.connected.discard(session)
        self._agreed.pop(session, None)
        self._sessions.over(session, reason)
        running = self._running.pop(session, None)
        if running is not None:
            running.leave(session)
            if session.quit_by_client and not running.sessions:
                self._services.apps.keep(running.quit())

    def _make_session(self) -> HostSession:
        session = HostSession(self, SessionClock.start())
        self.connected.add(session)
        return session


def _not_permitted(cause: str) -> RejectedError:
    return RejectedError(cause, close_code=CloseCode.LAUNCH_NOT_PERMITTED)


def _titles(apps: Sequence[App]) -> str:
    """Return what there is, as far as a refusal has room: a client has no other way to ask."""
    text = ", ".join(app.title for app in apps)
    return text if len(text) <= _TITLES_CHARACTERS else f"{text[:_TITLES_CHARACTERS]}…"


def _busy() -> RejectedError:
    return RejectedError(CloseCode.BUSY.sentence, close_code=CloseCode.BUSY)
