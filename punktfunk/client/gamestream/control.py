"""The control connection to a GameStream host: ENet over a UDP socket of this process's event loop.

What the host says comes out as the types of :mod:`punktfunk.gamestream.control`; what cannot be opened or read is
counted and dropped. The client pings ten times a second, as all clients do, so that a host sees it go.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal, cast

from punktfunk.clock import monotonic_ns
from punktfunk.core._core import EnetEndpoint, EnetEvent
from punktfunk.errors import CryptoError, HandshakeError
from punktfunk.gamestream.control import (
    ClientMessage,
    FecStatus,
    HostMessage,
    IdrRequest,
    Ignored,
    Input,
    Ping,
    StartB,
    decode_from_host,
    encode_from_client,
)
from punktfunk.gamestream.control_cipher import ControlCipher

CHANNELS: Final = 48
CONNECT_LIMIT_S: Final = 10.0
CLOSE_LIMIT_S: Final = 1.0
PING_INTERVAL_S: Final = 0.1
GENERIC, URGENT = 0, 1
"""Channels for what is no input (gamestream section 10.2)."""

Delivery = Literal["reliable", "unreliable", "unsequenced"]

_S: Final = 1_000_000_000


class ControlConnection(asyncio.DatagramProtocol):
    """One control connection; :meth:`open` makes it. Belongs to one event loop.

    ``on_message`` gets what the host says, ``on_closed`` why it is over, once, unless :meth:`close` ended it.
    """

    def __init__(self, address: tuple[str, int], key: bytes, connect_data: int) -> None:
        self.counters: Counter[str] = Counter()
        self.on_message: Callable[[HostMessage], None] = lambda _message: None
        self.on_closed: Callable[[str], None] = lambda _reason: None
        self._cipher = ControlCipher(key, "client", v2=True)
        self._enet = EnetEndpoint(peers=1, channels=CHANNELS, seed=secrets.randbits(32))
        self._address, self._connect_data = address, connect_data
        self._peer = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._connected = asyncio.Event()
        self._over = asyncio.Event()
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._ping_timer: asyncio.TimerHandle | None = None
        self._refused = False

    @classmethod
    async def open(cls, address: tuple[str, int], key: bytes, connect_data: int) -> ControlConnection:
        """Connect; raise ``HandshakeError`` when the host does not answer in 10 s, or refuses."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_datagram_endpoint(
            lambda: cls(address, key, connect_data), remote_addr=address
        )
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await connection._connected.wait()
        except TimeoutError:
            connection._end()
            raise HandshakeError(
                f"no control connection to {address[0]} UDP port {address[1]}",
                "does a firewall pass UDP both ways?",
            ) from None
        except asyncio.CancelledError:
            connection._end()
            raise
        return connection

    @property
    def round_trip_ns(self) -> int | None:
        """The control connection's round trip as ENet measures it; ``None`` once the connection is over."""
        return self._enet.round_trip_ns(self._peer)

    def start(self) -> None:
        """Begin the stream: both start messages, and from now on pings."""
        self.send(IdrRequest(), GENERIC)
        self.send(StartB(), GENERIC)
        self._ping()

    def request_idr(self) -> None:
        """Ask for an IDR frame."""
        self.send(IdrRequest(), URGENT)

    def send_input(self, payload: bytes, channel: int, *, reliable: bool = True) -> None:
        """Send one input message."""
        self.send(Input(payload), channel, reliable=reliable)

    def send(self, message: ClientMessage, channel: int, *, reliable: bool = True) -> None:
        """Send one message; nothing happens once the connection is over."""
        if self._over.is_set() or not self._connected.is_set():
            return
        sealed = self._cipher.seal(encode_from_client(message))
        self.counters[f"sent_{type(message).__name__}"] += 1
        kind: Delivery = (
            "unsequenced" if isinstance(message, FecStatus) else "reliable" if reliable else "unreliable"
        )
        if not self._enet.send(self._peer, channel, sealed, kind, now_ns=monotonic_ns()):
            self.counters["unsent"] += 1
        self._tend(())

    async def close(self) -> None:
        """Disconnect in order; return once the host has acknowledged it, a second at most."""
        if self._over.is_set():
            return
        self._closing = True
        self._enet.disconnect(self._peer, now_ns=monotonic_ns())
        self._tend(())
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._over.wait()
        except TimeoutError:
            self.counters["unacknowledged_end"] += 1
        self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and begin to connect."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._peer = self._enet.connect(self._address, self._connect_data, now_ns=monotonic_ns())
        self._tend(())

    def datagram_received(self, data: bytes, _address: object) -> None:
        """Take what came."""
        # The socket is connected: what comes is the host's, however its address is written.
        self._tend(self._enet.feed(data, self._address, now_ns=monotonic_ns()))

    def error_received(self, error: Exception) -> None:
        """Take note of a port that refuses; the connection's own patience decides when it is over."""
        self.counters["icmp_errors"] += 1
        self._refused = isinstance(error, ConnectionRefusedError)

    def _tend(self, events: Iterable[EnetEvent]) -> None:
        """Send what is due, hand on what happened, and set the timer."""
        if self._transport is None or self._over.is_set():
            return
        for datagram, _, _ in self._enet.datagrams():
            self._transport.sendto(datagram)
        for event in events:
            self._take(event)
        if self._timer is not None:
            self._timer.cancel()
        due = self._enet.next_timeout()
        if due is not None and not self._over.is_set():
            wait_s = max(0.0, (due - monotonic_ns()) / _S)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._timed_out)

    def _timed_out(self) -> None:
        self._tend(self._enet.tick(now_ns=monotonic_ns()))

    def _take(self, event: EnetEvent) -> None:
        match event.kind:
            case "connected":
                self._connected.set()
            case "received":
                self._opened(event.payload)
            case _:
                closing = self._closing
                self._end()
                if not closing:
                    self.on_closed(self._words(event.cause))

    def _words(self, cause: str) -> str:
        if cause == "timeout":
            return "the host is gone" if self._refused else "the host fell silent"
        return "the host closed the control connection"

    def _opened(self, sealed: bytes) -> None:
        try:
            message = decode_from_host(self._cipher.open(sealed))
        except CryptoError:
            self.counters["dropped_sealed"] += 1
            return
        if isinstance(message, Ignored):
            self.counters[f"dropped_{message.reason}"] += 1
            return
        for said in message if isinstance(message, tuple) else (message,):
            self.counters[f"received_{type(said).__name__}"] += 1
            self.on_message(said)

    def _ping(self) -> None:
        if self._over.is_set():
            return
        self.send(Ping(), GENERIC)
        self._ping_timer = asyncio.get_running_loop().call_later(PING_INTERVAL_S, self._ping)

    def _end(self) -> None:
        self._over.set()
        for timer in (self._timer, self._ping_timer):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            self._transport.close()
