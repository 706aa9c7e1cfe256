"""Two ENet endpoints and the datagrams between them, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from punktfunk.core import EnetEndpoint, EnetEvent

MS = 1_000_000
SERVER = ("192.0.2.1", 47999)
CLIENT = ("198.51.100.7", 50123)
WAITING = 0x7E6F02E3
"""The connect data that the server's session waits with."""


class EnetPair:
    """A server that lets in who knows WAITING, and a client; ``lose`` says which datagrams do not arrive."""

    def __init__(self, *, channels: int = 48, server_channels: int = 48) -> None:
        self.asked: list[tuple[int, str]] = []
        self.server = EnetEndpoint(seed=1, channels=server_channels, admit=self._admit)
        self.client = EnetEndpoint(seed=2, channels=channels)
        self.now = 0
        self.lose: Callable[[bytes], bool] = lambda _datagram: False
        self.at_server: list[EnetEvent] = []
        self.at_client: list[EnetEvent] = []
        self.wire: list[tuple[str, bytes]] = []

    def _admit(self, data: int, address: str) -> bool:
        self.asked.append((data, address))
        return data == WAITING

    def exchange(self) -> None:
        """Carry datagrams, a millisecond each way, until neither side has any."""
        moved = True
        while moved:
            moved = False
            self.now += MS
            for datagram, _, _ in self.client.datagrams():
                moved = True
                self.wire.append(("client", datagram))
                if not self.lose(datagram):
                    self.at_server += self.server.feed(datagram, CLIENT, now_ns=self.now, path=b"path")
            for datagram, remote, path in self.server.datagrams():
                moved = True
                assert path in {b"path", b"other"}
                self.wire.append(("server", datagram))
                if remote == CLIENT and not self.lose(datagram):
                    self.at_client += self.client.feed(datagram, SERVER, now_ns=self.now)

    def pass_time(self, seconds: float) -> None:
        """Let time go by, with the timers of both sides and what they send."""
        end = self.now + round(seconds * 1e9)
        while self.now < end:
            due = [t for t in (self.server.next_timeout(), self.client.next_timeout()) if t is not None]
            self.now = max(self.now + MS, min([*due, end]))
            self.at_server += self.server.tick(now_ns=self.now)
            self.at_client += self.client.tick(now_ns=self.now)
            self.exchange()

    def connect(self, data: int = WAITING) -> int:
        """Connect and return the client's name for the connection."""
        peer = self.client.connect(SERVER, data, now_ns=self.now)
        self.exchange()
        return peer

    @property
    def server_peer(self) -> int:
        """The server's name for the newest connection."""
        return next(e.peer for e in reversed(self.at_server) if e.kind == "connected")


def payloads(events: list[EnetEvent]) -> list[bytes]:
    """Return the messages that came."""
    return [event.payload for event in events if event.kind == "received"]
