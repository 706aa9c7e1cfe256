"""A client's control connection: dial, shake hands, keep the clock, punch, carry requests."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from punktfunk import log
from punktfunk.addresses import require_interface, socket_address, written
from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.errors import ConfigError, HandshakeError, ProtocolError, RejectedError, UntrustedPeerError
from punktfunk.native import control
from punktfunk.native.client_control import ClientControl
from punktfunk.native.datagrams import (
    COUNTER_NAMES,
    CursorState,
    FromClient,
    FromHost,
    Ignored,
    decode_from_host,
    encode,
)
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.endpoint import Dialer
from punktfunk.native.handshake import Hello, Welcome
from punktfunk.native.quic import ALPN_MISMATCH, PIN_MISMATCH, Closed, Peer, PeerLoss
from punktfunk.reachability import Unreached, unreached_error
from punktfunk.trust.identity import Identity
from punktfunk.units import Mode

DEFAULT_PORT = 9777
CONNECT_LIMIT_S = 5.0
"""A QUIC handshake that takes longer has failed: on a working path it takes two round trips."""
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
"""Asked for before the worker takes the socket over; it asks for its own size again."""
_SO_RCVBUFFORCE = 33
_ADDRESS = re.compile(
    r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:]+)|(?P<bare>[0-9a-fA-F:]+:[0-9a-fA-F:.]*(?:%[^\s:]+)?))(?::(?P<port>\d+))?"
)


def parse_host_port(text: str) -> tuple[str, int]:
    """Read ``HOST[:PORT]`` or ``[HOST]:PORT`` with a literal IP address; the port defaults to 9777.

    A link-local address has to name the interface of its link, as in ``[fe80::20%eth0]:9777``.
    """
    match = _ADDRESS.fullmatch(text.strip())
    hint = "write a literal address such as 192.168.1.20, 192.168.1.20:9777 or [fd00::20]:9777"
    if match is None:
        raise ConfigError(f"{text!r} is not HOST[:PORT]", hint)
    address = match["six"] or match["four"] or match["bare"]
    port = int(match["port"] or DEFAULT_PORT)
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise ConfigError(f"{address!r} is not an IP address", hint) from None
    require_interface(parsed)
    if not 1 <= port <= 65535:
        raise ConfigError(f"{port} is not a UDP port", hint)
    return address, port


_REFUSAL_HINTS = {
    int(CloseCode.DONE): "hosts before v0.12.0 do not say why; look at the host's log",
    int(CloseCode.DENIED): "pair first, or let somebody approve this device at the host",
    int(CloseCode.PAIRING_NOT_ARMED): "arm pairing on the host and type the PIN that it shows",
    int(CloseCode.RATE_LIMITED): "wait a little, then arm pairing on the host again",
    int(CloseCode.LAUNCH_NOT_PERMITTED): "name an app by its title or number; the host's owner adds them",
    int(CloseCode.BUSY): "end another session, or raise the host's --max-sessions",
}


LOSS_SENTENCES = {
    PeerLoss.SILENT: "fell silent",
    PeerLoss.REFUSED: "is gone: its port refuses packets",
}
LOSS_HINTS = {
    PeerLoss.SILENT: "is the host's machine up, and the network between? then connect again",
    PeerLoss.REFUSED: "look at the host's log for how it ended, start it and connect again",
}


class ClientConnection:
    """One control connection after its handshake; make one with :meth:`open`.

    ``on_output`` gets ModeAnswered, BitrateAnswered, ProbeAnswered and ClockRoundsOver; ``on_closed`` is called once.
    """

    def __init__(self, peer_address: tuple[str, int], clock: SessionClock) -> None:
        self.address = peer_address
        self.clock = clock
        self.peer: Peer | None = None
        self.welcome: Welcome | None = None
        self.closed: Closed | None = None
        self.on_output: Callable[[control.Output], None] = lambda _output: None
        self.datagrams: Counter[str] = Counter()
        """Input, audio and feedback datagrams taken, dropped (by reason) and sent."""
        self.on_datagram: Callable[[FromHost], None] = lambda _datagram: None
        self.on_closed: Callable[[Closed], None] = lambda _closed: None
        self._loop = asyncio.get_running_loop()
        self._log = log.get("client")
        self._dialer: Dialer | None = None
        self._control: ClientControl | None = None
        self._settled = asyncio.Event()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._punch_timer: asyncio.TimerHandle | None = None
        self._punches = 0
        self._data: socket.socket | None = None

    @classmethod
    async def open(
        cls,
        address: tuple[str, int],
        identity: Identity,
        hello: Hello,
        dialects: list[Dialect],
        *,
        pin: str | None,
        idle_timeout_s: float | None = None,
        before_hello: Callable[[], Awaitable[None]] | None = None,
    ) -> ClientConnection:
        """Dial, and return once Welcome has come. Tries ``dialects`` in turn where ALPN does not match.

        ``idle_timeout_s`` is the silence after which the host is given up, ``None`` for the dialect's.
        ``before_hello`` is awaited between the QUIC handshake and Hello, which starts the host's clock.

        Raises ``HandshakeError``, ``RejectedError`` (with the host's close code) or ``UntrustedPeerError``.
        """
        for dialect in dialects:
            connection = cls(address, SessionClock.start())
            if not await connection._handshake(identity, dialect, pin, idle_timeout_s):
                continue
            try:
                if before_hello is not None:
                    await before_hello()
                connection._say_hello(hello)
                await connection._ready
            except BaseException:
                connection.close()
                connection.abandon()
                raise
            return connection
        tried = " and ".join(dialect.value for dialect in dialects)
        raise HandshakeError(
            f"the host at {written(*address)} speaks no common protocol (ALPN tried: {tried})",
            "it may speak another generation of punktfunk, or be no punktfunk host",
        )

    async def _handshake(
        self, identity: Identity, dialect: Dialect, pin: str | None, idle_timeout_s: float | None
    ) -> bool:
        """Return whether the host speaks this dialect; other failures raise."""
        self._dialer = Dialer(self.address, identity, dialect, pin, self, idle_timeout_s=idle_timeout_s)
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await self._settled.wait()
        except TimeoutError:
            self._dialer.abandon("no answer")
            raise await no_answer(self.address) from None
        if self.closed is not None:
            # Raises what ended it, unless that was the dialect.
            await self._ready
            return False
        return True

    def _say_hello(self, hello: Hello) -> None:
        if self.peer is not None and self.closed is None:
            self._control = ClientControl(
                self.peer.dialect, hello, now_ns=monotonic_ns(), realtime_offset_ns=self.clock.offset_ns
            )
            self._drain()

    @property
    def rtt_ns(self) -> int:
        """Smoothed round trip of the QUIC connection."""
        return self._dialer.link.rtt_ns if self._dialer else 0

    @property
    def counters(self) -> dict[str, int]:
        """Control messages sent, received and dropped, by name."""
        return self._control.counters if self._control else {}

    def bind_data_socket(self) -> socket.socket:
        """Return a UDP socket connected to the host's data port; this connection keeps and punches it.

        Raises what ended the connection where a host sent Welcome and closed at once.
        """
        assert self.welcome is not None
        self._require_open()
        target = socket_address(self.address[0], self.welcome.udp_port)
        family = socket.AF_INET6 if len(target) == 4 else socket.AF_INET
        data = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            _grow_receive_buffer(data)
            data.connect(target)
        except OSError as error:
            data.close()
            raise HandshakeError(
                f"no data socket: {error.strerror}", "check the route to the host"
            ) from error
        self._data = data
        return data

    def start(self) -> None:
        """Announce to the host that the data socket is bound and being read; raise what ended the connection."""
        self._require_open()
        assert self._data is not None
        self._with_control(
            lambda machine, now: machine.start(self._data.getsockname()[1] if self._data else 0, now)
        )

    def request_keyframe(self) -> None:
        """Ask for a key frame; coalesced."""
        self._with_control(lambda machine, now: machine.request_keyframe(now))

    def report_loss(self, loss_ppm: int) -> None:
        """Send a loss report."""
        self._with_control(lambda machine, _now: machine.report_loss(loss_ppm))

    def request_mode(self, mode: Mode) -> None:
        """Ask for another mode; answered through ``on_output``."""
        self._with_control(lambda machine, _now: void(machine.request_mode(mode)))

    def request_bitrate(self, kbps: int) -> None:
        """Ask for another bitrate."""
        self._with_control(lambda machine, _now: machine.request_bitrate(kbps))

    def request_probe(self, target_kbps: int, duration_ms: int) -> None:
        """Ask for a bandwidth probe; answered through ``on_output`` by hosts that know it."""
        self._with_control(lambda machine, _now: machine.request_probe(target_kbps, duration_ms))

    def close(self, code: CloseCode = CloseCode.DONE, reason: str = "done") -> None:
        """End the session."""
        if self._control is not None:
            self._with_control(lambda machine, _now: machine.finish(code, reason))
        elif self._dialer is not None:
            self._dialer.link.close(int(CloseCode.DONE), reason)

    def abandon(self) -> None:
        """Forget the connection without waiting for QUIC to drain."""
        if self._dialer is not None:
            self._dialer.abandon("closed")
        self._end_timers()

    def link_established(self, peer: Peer) -> None:
        """Take note of whom this is; Hello follows when the caller is ready."""
        self.peer = peer
        self._settled.set()
        self._log.info("connected", dialect=peer.dialect.value, fingerprint=peer.fingerprint)

    def stream_received(self, data: bytes) -> None:
        """Take control bytes."""
        self._with_control(lambda machine, now: machine.receive(data, now))

    def stream_ended(self) -> None:
        """Wait for the close: a host that refuses may end its stream first (section 1.6)."""

    def datagram_received(self, data: bytes) -> None:
        """Take one input, audio or feedback datagram."""
        datagram = decode_from_host(data)
        if isinstance(datagram, Ignored):
            self.datagrams[f"dropped_{datagram.reason}"] += 1
        elif isinstance(datagram, CursorState) and not (self._control and self._control.draws_cursor):
            self.datagrams["dropped_unasked"] += 1
        else:
            self.datagrams[COUNTER_NAMES[type(datagram)]] += 1
            self.on_datagram(datagram)

    def send_datagram(self, datagram: FromClient) -> None:
        """Send one datagram of input or audio, unreliably; raise ``ValueError`` when it does not fit the wire."""
        data = encode(datagram)
        if self._dialer is not None and self.closed is None:
            self._dialer.link.send_datagram(data)
            self.datagrams[f"sent_{COUNTER_NAMES[type(datagram)]}"] += 1

    def link_closed(self, closed: Closed) -> None:
        """Take note of the end."""
        self.closed = closed
        self._settled.set()
        self._end_timers()
        if not self._ready.done():
            error = self._handshake_error(closed)
            if error is None:
                self._ready.set_result(None)
            else:
                self._ready.set_exception(error)
                # Looked at only by a handshake that got past ALPN; the others have their own answer.
                self._ready.exception()
        self.on_closed(closed)

    def _handshake_error(self, closed: Closed) -> ProtocolError | None:
        if self._control is not None and self._control.error is not None:
            return self._control.error
        if self.peer is None and not closed.application and closed.code == ALPN_MISMATCH:
            return None
        return closed_error(self.address, closed)

    def _require_open(self) -> None:
        if self.closed is not None:
            raise closed_error(self.address, self.closed)

    def _with_control(self, step: Callable[[ClientControl, int], None]) -> None:
        if self._control is not None and self.closed is None:
            step(self._control, monotonic_ns())
            self._drain()

    def _drain(self) -> None:
        assert self._control is not None
        while (output := self._control.poll()) is not None:
            self._act(output)
        if self._timer is not None:
            self._timer.cancel()
        due = self._control.next_timeout()
        self._timer = None if due is None or self.closed else self._loop.call_at(due / control.S, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._with_control(lambda machine, now: machine.handle_timeout(now))

    def _act(self, output: control.Output) -> None:
        assert self._dialer is not None
        assert self.peer is not None
        match output:
            case control.Transmit(data):
                self._dialer.link.send_stream(data)
            case control.CloseConnection(code, reason):
                self._dialer.link.close(self.peer.dialect.close_code(code), reason)
            case control.WelcomeReceived(welcome):
                self.welcome = welcome
                if not self._ready.done():
                    self._ready.set_result(None)
            case control.ClockRoundsOver():
                self._punch()
                self.on_output(output)
            case _:
                self.on_output(output)

    def _punch(self) -> None:
        """Open the path for the host's packets: every 200 ms at first, every 2 s later (section 2.4)."""
        if self._data is None or self.closed is not None:
            return
        # ICMP errors of earlier punches surface here; the stream's own receiver copes with them too.
        with contextlib.suppress(OSError):
            self._data.send(control.PUNCH)
        self._punches += 1
        early = self._punches < control.PUNCH_EARLY_COUNT
        wait_ns = control.PUNCH_INTERVAL_NS if early else control.PUNCH_LATE_INTERVAL_NS
        self._punch_timer = self._loop.call_later(wait_ns / control.S, self._punch)

    def _end_timers(self) -> None:
        for timer in (self._timer, self._punch_timer):
            if timer is not None:
                timer.cancel()
        if self._data is not None:
            self._data.close()
            self._data = None


def closed_error(address: tuple[str, int], closed: Closed) -> ProtocolError:
    """Return the error for a connection that was closed before it did what it was made for."""
    where = written(*address)
    if closed.unreached is not None:
        return unreached_error(closed.unreached.kind, address, "UDP", teller=closed.unreached.teller)
    if closed.loss is not None:
        return HandshakeError(f"{where} {LOSS_SENTENCES[closed.loss]}", LOSS_HINTS[closed.loss])
    if not closed.application and closed.code == PIN_MISMATCH:
        return UntrustedPeerError(
            f"the host at {where} does not have the pinned certificate",
            "it was set up anew, or it is another machine: pair again only if you know which",
        )
    if closed.application:
        untold = closed.code == CloseCode.DONE and not closed.reason
        return RejectedError(
            "the host refused and gave no reason" if untold else f"the host refused: {closed.sentence}",
            _REFUSAL_HINTS.get(closed.code, ""),
            close_code=closed.code,
        )
    return HandshakeError(f"no session with {where}: {closed.sentence}", "is the host running there?")


async def no_answer(address: tuple[str, int]) -> HandshakeError:
    """Return the error for a host that did not answer within ``CONNECT_LIMIT_S``: whether its machine is there."""
    return await asyncio.to_thread(
        unreached_error, Unreached.SILENT, address, "UDP", waited_s=CONNECT_LIMIT_S
    )


def void(_value: Any) -> None:
    """Drop a result that says what the machine's outputs will say again."""


def _grow_receive_buffer(data: socket.socket) -> None:
    data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    # Beyond the system's limit needs CAP_NET_ADMIN; without it the limit stands.
    with contextlib.suppress(PermissionError):
        data.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
