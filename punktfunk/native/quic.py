"""One QUIC connection as a control link: events for its owner, datagrams for its socket.

aioquic is sans-I/O itself; :class:`Link` feeds it datagrams and the clock and turns its events into calls on
a :class:`LinkHandler`. The connections come from :mod:`punktfunk.native.quic_connection`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from aioquic.quic import events
from aioquic.quic.connection import QuicConnectionState
from aioquic.quic.packet import QuicErrorCode, QuicFrameType

from punktfunk import log
from punktfunk.addresses import SocketAddress, host_of
from punktfunk.native.dialect import KEEP_ALIVE_S, CloseCode, Dialect
from punktfunk.native.quic_limits import CONTROL_STREAM, BoundedConnection
from punktfunk.printable import MAX_PEER_CHARACTERS, printable
from punktfunk.reachability import NetworkError
from punktfunk.trust.identity import fingerprint_of

ALPN_MISMATCH = 0x178
PIN_MISMATCH = 0x131
"""QUIC error codes of the TLS alerts no_application_protocol (120) and access_denied (49)."""
_MAX_UNSENT_BYTES = 1 << 20
"""Control bytes that may wait for a peer which does not acknowledge them; the link is given up beyond."""
_MAX_UNSENT_DATAGRAMS = 256
"""Datagrams that may wait for the congestion window; the oldest is dropped beyond, for the newest matters most."""
_CLOSE_LIMIT_S = 1.0
"""How long a link that this end closes is kept: QUIC's three probe time-outs are as long as the peer wants."""

_MAX_REPEATS = 3

_ACK_DELAY_S = 0.02
"""Within the 25 ms that aioquic announces. Its own 1 ms acknowledges each of 200 sound packets a second alone, which
cost either end 3 % of a core."""

Datagrams = list[tuple[bytes, SocketAddress]]


class _AioquicLog(logging.Handler):
    """Logs at debug level what aioquic says: whoever gets a warning of it gets an error of ours with a next step."""

    def emit(self, record: logging.LogRecord) -> None:
        log.get("quic").debug(record.getMessage())


# It is the only one to hear of them: the root's would tell a second time, as warnings, what is told as an error.
_quic_log = logging.getLogger("quic")
_quic_log.addHandler(_AioquicLog())
_quic_log.propagate = False


@dataclass(frozen=True, slots=True)
class Peer:
    """What the handshake showed of the other end."""

    address: tuple[str, int]
    """Where it is; a link-local address with its zone."""
    dialect: Dialect
    fingerprint: str | None
    """Of the certificate whose key the peer proved to hold; ``None`` when a client presented none."""


class PeerLoss(Enum):
    """How a peer was lost that has not closed its link."""

    SILENT = auto()
    """Nothing came for the whole idle time: it has stopped, or the path to it has."""
    REFUSED = auto()
    """Its machine refuses what is sent to its port: the program is gone."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a link ended. ``application`` tells application close codes from QUIC and TLS errors.

    ``reason`` is printable, also where it is the peer's. ``loss`` is ``None`` where an end closed the link.
    """

    code: int
    reason: str
    application: bool
    by_peer: bool
    loss: PeerLoss | None = None
    unreached: NetworkError | None = None
    """What the network said before the peer was ever heard."""

    @property
    def sentence(self) -> str:
        """Return the end in words for a person."""
        if not self.application:
            return self.reason or f"QUIC error {self.code:#x}"
        try:
            said = CloseCode(self.code).sentence
        except ValueError:
            said = f"close code {self.code:#x}"
        return f"{said} ({self.reason})" if self.reason and self.reason != said else said


class LinkHandler(Protocol):
    """What a link tells its owner. Calls come from the event loop and must not block."""

    def link_established(self, peer: Peer) -> None:
        """Take note that the handshake is complete and the peer's key is proven."""

    def stream_received(self, data: bytes) -> None:
        """Take bytes of the control stream."""

    def stream_ended(self) -> None:
        """Take note that the peer finished or reset its side of the control stream."""

    def datagram_received(self, data: bytes) -> None:
        """Take one QUIC datagram."""

    def link_closed(self, closed: Closed) -> None:
        """Take note of the end; called exactly once, also when the handshake fails."""


class Link:
    """Drive one QuicConnection: datagrams in and out, timer, keep-alive, the control stream.

    ``send`` takes one datagram and the address that aioquic chose for it. All methods belong to the event
    loop that the link was made in.

    ``counters``, which a listener shares among its links: ``datagrams_unsent`` (the peer's path is too slow for
    them), and for links that this end closed because of what the peer did ``limit_NAME`` (a limit of
    :mod:`~punktfunk.native.quic_limits`), ``quic_NAME`` (another QUIC error) or ``tls_alert``.
    """

    def __init__(
        self,
        quic: BoundedConnection,
        handler: LinkHandler,
        send: Callable[[bytes, SocketAddress], None],
        counters: Counter[str] | None = None,
    ) -> None:
        self.peer: Peer | None = None
        self.closed: Closed | None = None
        self.heard_ns = 0
        """When the peer last sent a packet that its key has sealed, CLOCK_MONOTONIC ns."""
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.on_connection_id: Callable[[bytes, bool], None] = lambda _id, _issued: None
        """Called for every connection ID that begins (``True``) or ceases to lead to this link."""
        self.on_end: Callable[[], None] = lambda: None
        """Called once when the link is over, after the handler knows."""
        self.on_admitted: Callable[[Hashable], None] = lambda _key: None
        """Called by :meth:`admit`, with its key."""
        self._quic = quic
        self._handler = handler
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        # A peer that has nothing to say is heard twice within the idle time, however short that is.
        self._keep_alive_s = min(KEEP_ALIVE_S, quic.configuration.idle_timeout / 2)
        self._closing_locally = False
        self._last_words: Datagrams = []
        self._repeats = 0

    @property
    def rtt_ns(self) -> int:
        """Smoothed round trip as QUIC measures it, 0 before the first sample."""
        return int(self._quic._loss._rtt_smoothed * 1e9)

    def admit(self, key: Hashable = None) -> None:
        """Note for whoever limits links that this one's peer is no stranger any more.

        ``key`` is what its links are limited by from now on, such as the fingerprint of a certificate that is let
        in; without one something else limits them, as it does streams and pairings.
        """
        if self.closed is None:
            self.on_admitted(key)

    def connect(self, address: SocketAddress) -> None:
        """Begin the handshake (client)."""
        self._quic.connect(address, now=self._loop.time())
        self._pump()

    def receive(self, datagram: bytes, address: SocketAddress) -> None:
        """Take a UDP datagram. Whatever is in it, nothing is raised."""
        if self.closed is not None:
            return
        if self._closing_locally:
            # aioquic is silent from here on; the peer may not have heard why (RFC 9000 section 10.2.1).
            self._repeat_last_words()
        self._drive(lambda now: self._take(datagram, address, now))

    def ask(self) -> None:
        """Send a PING; a peer that lives acknowledges it, which :attr:`heard_ns` then tells."""
        if self.closed is None and not self._closing_locally:
            # One that was lost waits to be sent again; no peer may make a heap of them.
            self._quic._ping_pending.clear()
            self._quic.send_ping(0)
            self._pump()

    def send_stream(self, data: bytes, *, end: bool = False) -> None:
        """Queue bytes on the control stream; ``end`` finishes this side of it.

        Dropped once this side is finished or the peer has asked for its end: it may do so and let the session
        go on, and an answer that is due then has nowhere to go (section 4.8).
        """
        if (
            self.closed is not None
            or self._closing_locally
            or self._quic._stream_is_discarded(CONTROL_STREAM)
        ):
            return
        stream = self._quic._streams.get(CONTROL_STREAM)
        if stream is not None and (
            stream.sender._buffer_fin is not None or stream.sender._reset_error_code is not None
        ):
            return
        if stream is not None and len(stream.sender._buffer) > _MAX_UNSENT_BYTES:
            self._give_up("the peer does not acknowledge control messages")
            return
        self._quic.send_stream_data(CONTROL_STREAM, data, end_stream=end)
        self._pump()

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes of the control stream that the peer has not acknowledged yet."""
        stream = self._quic._streams.get(CONTROL_STREAM)
        return 0 if stream is None else len(stream.sender._buffer)

    def send_datagram(self, data: bytes) -> None:
        """Send one QUIC datagram, unreliably."""
        if self.closed is None and not self._closing_locally:
            waiting = self._quic._datagrams_pending
            while len(waiting) >= _MAX_UNSENT_DATAGRAMS:
                waiting.popleft()
                self.counters["datagrams_unsent"] += 1
            self._quic.send_datagram_frame(data)
            self._pump()

    def close(self, code: int, reason: str = "") -> None:
        """Close with an application code; ``link_closed`` follows once QUIC has drained.

        A peer that has proven itself is told up to four times: one lost packet must not make an end in order look
        like a failure.
        """
        if self.closed is None and not self._closing_locally:
            self._closing_locally = True
            self._quic.close(error_code=code, reason_phrase=reason)
            self._closing = self._loop.call_later(_CLOSE_LIMIT_S, self._closed_long_enough)
            self._pump()

    def expel(self, code: CloseCode) -> None:
        """Close with an application code, told once, and forget the link at once."""
        self._repeats = _MAX_REPEATS
        self.close(code if self.peer is None else self.peer.dialect.close_code(code), code.sentence)
        self._give_up(code.sentence)

    def abandon(
        self, reason: str, loss: PeerLoss | None = None, unreached: NetworkError | None = None
    ) -> None:
        """Forget the link at once, without waiting for QUIC to drain."""
        self._give_up(reason, loss, unreached)

    def _take(self, datagram: bytes, address: SocketAddress, now: float) -> None:
        idle_at = self._quic._close_at
        self._quic.receive_datagram(datagram, address, now=now)
        # aioquic puts the idle time-out off for what decrypts and for nothing else that comes in.
        if self._quic._close_at != idle_at:
            self.heard_ns = int(now * 1e9)

    def _drive(self, step: Callable[[float], None]) -> None:
        try:
            step(self._loop.time())
        except Exception as error:  # noqa: BLE001 - a defect of the QUIC stack costs one link, not the host
            self._give_up(f"the QUIC stack failed: {type(error).__name__}")
            return
        self._pump()

    def _pump(self) -> None:
        """Hand on events, send what is due, set the timer again."""
        while self.closed is None and (event := self._quic.next_event()) is not None:
            self._event(event)
        if self.closed is not None:
            return
        if (datagrams := self._datagrams()) is None:
            return
        for data, address in datagrams:
            self._send(data, address)
        if self._closing_locally and self.peer is not None and not self._last_words:
            self._last_words = datagrams
        # aioquic tells of an end when its closing or draining period is over; the session should end now.
        if self._quic._state is QuicConnectionState.DRAINING and not self._closing_locally:
            self._terminated(self._quic._close_event, by_peer=True)
        elif self._quic._state is QuicConnectionState.CLOSING and not self._closing_locally:
            self._count_violation(self._quic._close_event)
            self._terminated(self._quic._close_event, by_peer=False)
        else:
            self._arm()

    def _datagrams(self) -> Datagrams | None:
        """Return what is to be sent, ``None`` when there is no link any more."""
        try:
            return list(self._quic.datagrams_to_send(now=self._loop.time()))
        except Exception as error:  # noqa: BLE001 - as in `_drive`
            self._give_up(f"the QUIC stack failed: {type(error).__name__}")
            return None

    def _event(self, event: events.QuicEvent) -> None:
        match event:
            case events.HandshakeCompleted():
                self._established(event.alpn_protocol)
            case events.StreamDataReceived(data=data, end_stream=ended, stream_id=stream):
                if stream == CONTROL_STREAM:
                    if data:
                        self._handler.stream_received(data)
                    if ended:
                        self._handler.stream_ended()
            case events.StreamReset(stream_id=stream) if stream == CONTROL_STREAM:
                self._handler.stream_ended()
            case events.DatagramFrameReceived(data=data):
                self._handler.datagram_received(data)
            case events.ConnectionIdIssued(connection_id=cid):
                self.on_connection_id(cid, True)
            case events.ConnectionIdRetired(connection_id=cid):
                self.on_connection_id(cid, False)
            case events.ConnectionTerminated():
                self._terminated(event, by_peer=False)
            case _:
                pass

    def _established(self, alpn: str | None) -> None:
        self._quic._ack_delay = _ACK_DELAY_S  # not before: handshake packets are acknowledged at once
        certificate = self._quic.tls._peer_certificate
        address = self._quic.get_peer_address()
        self.peer = Peer(
            address=(host_of(address), int(address[1])) if address else ("", 0),
            dialect=Dialect.PLAIN if alpn is None else Dialect.PKF1,
            fingerprint=None if certificate is None else fingerprint_of(certificate),
        )
        self._keep_alive = self._loop.call_later(self._keep_alive_s, self._ping)
        self._handler.link_established(self.peer)

    def _ping(self) -> None:
        if self.closed is None and not self._closing_locally:
            self._keep_alive = self._loop.call_later(self._keep_alive_s, self._ping)
            self.ask()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self._quic.get_timer()
        self._timer = None if at is None else self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self.closed is None:
            self._drive(lambda now: self._quic.handle_timer(now=now))

    def _repeat_last_words(self) -> None:
        if self._repeats < _MAX_REPEATS:
            self._repeats += 1
            for data, address in self._last_words:
                self._send(data, address)

    def _closed_long_enough(self) -> None:
        if self.closed is None:
            self._terminated(self._quic._close_event, by_peer=False)

    def _count_violation(self, event: events.ConnectionTerminated | None) -> None:
        if self._quic.exceeded is not None:
            self.counters[f"limit_{self._quic.exceeded}"] += 1
        elif event is not None and event.error_code >= QuicErrorCode.CRYPTO_ERROR:
            self.counters["tls_alert"] += 1
        elif event is not None:
            self.counters[f"quic_{QuicErrorCode(event.error_code).name.lower()}"] += 1

    def _terminated(self, event: events.ConnectionTerminated | None, *, by_peer: bool) -> None:
        if event is None:
            self._give_up("closed without a reason")
            return
        self._end(
            Closed(
                code=event.error_code,
                reason=printable(event.reason_phrase, MAX_PEER_CHARACTERS),
                application=event.frame_type is None,
                by_peer=by_peer,
                loss=PeerLoss.SILENT if _is_idle_timeout(event) and not by_peer else None,
            )
        )

    def _give_up(
        self, reason: str, loss: PeerLoss | None = None, unreached: NetworkError | None = None
    ) -> None:
        code = int(CloseCode.ERROR)
        self._end(Closed(code, reason, application=False, by_peer=False, loss=loss, unreached=unreached))

    def _end(self, closed: Closed) -> None:
        if self.closed is not None:
            return
        if self._closing_locally and not closed.by_peer:
            self._repeat_last_words()
        self.closed = closed
        for timer in (self._timer, self._keep_alive, self._closing):
            if timer is not None:
                timer.cancel()
        self._handler.link_closed(closed)
        self.on_end()


def _is_idle_timeout(event: events.ConnectionTerminated) -> bool:
    """Return whether aioquic made the event for want of packets; it has no code of its own for that."""
    return event.frame_type == QuicFrameType.PADDING and event.reason_phrase == "Idle timeout"
