"""A client of a GameStream control port on a real socket, and an owner that keeps what it is told."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

from punktfunk import log
from punktfunk.addresses import SocketAddress
from punktfunk.clock import monotonic_ns
from punktfunk.core import EnetEndpoint, EnetEvent
from punktfunk.errors import CryptoError
from punktfunk.gamestream import control
from punktfunk.gamestream.control_cipher import ControlCipher
from punktfunk.gamestream.input import Event
from punktfunk.gamestream.input_encoder import channel_of, encode, unreliable
from punktfunk.host.client_session import ClientSession
from punktfunk.host.gamestream.control_owner import ControlKeys, ControlMessage

RIKEY = bytes(range(16))


class WaitingSession(ClientSession):
    """A session that waits for its control connection."""

    def __init__(self) -> None:
        self.log = log.get("test")
        self.dropped_datagrams: Counter[str] = Counter()


class Owner:
    """Lets in who knows a session's number."""

    def __init__(self) -> None:
        self.waiting: dict[int, ControlKeys] = {}
        self.asked: Counter[int] = Counter()
        self.arrived: list[ClientSession] = []
        self.heard: list[tuple[ClientSession, ControlMessage]] = []
        self.lost: list[tuple[ClientSession, str]] = []

    def expect(self, data: int, *, rikey: bytes = RIKEY, v2: bool = True) -> WaitingSession:
        """Have a session wait."""
        session = WaitingSession()
        self.waiting[data] = ControlKeys(session, rikey, v2)
        return session

    def session_for(self, connect_data: int, _address: str) -> ControlKeys | None:
        self.asked[connect_data] += 1
        return self.waiting.get(connect_data)

    def connected(self, session: ClientSession) -> None:
        self.arrived.append(session)

    def received(self, session: ClientSession, message: ControlMessage) -> None:
        self.heard.append((session, message))

    def gone(self, session: ClientSession, reason: str) -> None:
        self.lost.append((session, reason))

    @property
    def messages(self) -> list[ControlMessage]:
        """What was heard, whoever said it."""
        return [message for _, message in self.heard]


class ControlClient:
    """A client in the test's own event loop; ``silent`` has it neither send nor take anything any more."""

    def __init__(
        self, server: SocketAddress, *, rikey: bytes = RIKEY, v2: bool = True, bind: str = "127.0.0.1"
    ) -> None:
        self.server = server
        self.heard: list[control.HostMessage] = []
        self.unopened = 0
        self.events: list[EnetEvent] = []
        self.sources: set[SocketAddress] = set()
        self.silent = False
        self._cipher = ControlCipher(rikey, "client", v2=v2)
        self._enet = EnetEndpoint(seed=monotonic_ns() & 0xFFFF_FFFF, peers=1)
        self._socket = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((bind, 0))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._timer: asyncio.TimerHandle | None = None
        self._peer = 0

    @property
    def kinds(self) -> list[str]:
        """What has become of the connection."""
        return [event.kind for event in self.events if event.kind != "received"]

    @property
    def unacknowledged(self) -> int:
        """Messages that the server has not acknowledged."""
        return self._enet.unacknowledged(self._peer)

    def connect(self, data: int) -> None:
        self._peer = self._enet.connect(self.server, data, now_ns=monotonic_ns())
        self._flush()

    def say(self, message: control.ClientMessage) -> bytes:
        """Send a message; return its bytes as they were sealed."""
        sealed = self._cipher.seal(control.encode_from_client(message))
        self.send(sealed)
        return sealed

    def put_in(self, event: Event, *, modifiers: int = 0) -> None:
        """Send input, on its channel."""
        inner = control.encode_from_client(control.Input(encode(event, modifiers=modifiers)))
        delivery = "unreliable" if unreliable(event) else "reliable"
        self._enet.send(
            self._peer, channel_of(event), self._cipher.seal(inner), delivery, now_ns=monotonic_ns()
        )
        self._flush()

    def seal(self, inner: bytes) -> bytes:
        return self._cipher.seal(inner)

    def send(self, payload: bytes, channel: int = 0) -> None:
        """Send these bytes."""
        assert self._enet.send(self._peer, channel, payload, now_ns=monotonic_ns())
        self._flush()

    def leave(self) -> None:
        """Disconnect as clients do."""
        self._enet.disconnect(self._peer, now_ns=monotonic_ns())
        self._flush()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _readable(self) -> None:
        while True:
            try:
                datagram, source = self._socket.recvfrom(2048)
            except OSError:
                break
            if not self.silent:
                self.sources.add(source)
                self._take(self._enet.feed(datagram, source, now_ns=monotonic_ns()))
        self._flush()

    def _take(self, events: list[EnetEvent]) -> None:
        self.events += events
        for event in events:
            if event.kind != "received":
                continue
            try:
                message = control.decode_from_host(self._cipher.open(event.payload))
            except CryptoError:
                self.unopened += 1
                continue
            assert not isinstance(message, control.Ignored)
            self.heard += message if isinstance(message, tuple) else (message,)

    def _flush(self) -> None:
        for datagram, remote, _ in self._enet.datagrams():
            if not self.silent:
                self._socket.sendto(datagram, remote)
        due = self._enet.next_timeout()
        if self._timer is not None:
            self._timer.cancel()
        if due is not None and not self.silent:
            self._timer = self._loop.call_later(max(0, due - monotonic_ns()) / 1e9, self._on_time)

    def _on_time(self) -> None:
        self._take(self._enet.tick(now_ns=monotonic_ns()))
        self._flush()
