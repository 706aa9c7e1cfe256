"""The control port: ENet by UDP, and the messages of each session (gamestream section 10).

A connection belongs to a session once its data named one that waits, and a message of it could be opened with that
session's key. Until then it is nobody's: four of them a session, for five seconds.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from asyncio import TimerHandle, get_running_loop
from collections import Counter
from typing import Final

from punktfunk.addresses import SocketAddress
from punktfunk.clock import monotonic_ns
from punktfunk.core import EnetEndpoint, EnetEvent
from punktfunk.gamestream.control import GRACEFUL, HostMessage, Termination
from punktfunk.gamestream.input import EnableHaptics
from punktfunk.host.client_session import ClientSession
from punktfunk.host.gamestream.control_connection import ControlConnection
from punktfunk.host.gamestream.control_owner import ControlKeys, ControlOwner
from punktfunk.host.gamestream.listening import bound_sockets
from punktfunk.host.gamestream.local_address import (
    ANCILLARY_BYTES,
    ancillary_of,
    ask_for_local_address,
    path_of,
)

CHANNELS: Final = 48
SILENCE_NS: Final = 10_000_000_000
"""Without a message for so long a client is gone (section 10.5); it pings every 100 ms."""
PROOF_NS: Final = 5_000_000_000
MAX_UNPROVEN: Final = 4
"""For a connection's first message that can be opened, and how many of a session may wait for it. Clients send theirs
with the acknowledgement of the connection."""
END_S: Final = 1.0
"""For a client to acknowledge that its session ends."""
_READS_PER_WAKE: Final = 64
_MAX_DATAGRAM_BYTES: Final = 2048
_RECEIVE_BUFFER_BYTES: Final = 1 << 20
"""Holds some ten thousand forged CONNECTs, behind which a client's own must not be lost."""


class ControlServer:
    """The control port of a host. Belongs to one event loop.

    Counters: those of the ENet endpoint, ``unproven`` (connections that nobody could be recognised by) and
    ``send_errors``.
    """

    def __init__(self, bind: str, port: int, owner: ControlOwner) -> None:
        self._bind, self._port, self._owner = bind, port, owner
        self._sockets: dict[int, socket.socket] = {}
        self._endpoint = EnetEndpoint(channels=CHANNELS, seed=secrets.randbits(32), admit=self._admit)
        self._connections: dict[int, ControlConnection] = {}
        self._peer_of: dict[ClientSession, int] = {}
        self._timer: TimerHandle | None = None
        self._counters: Counter[str] = Counter()

    @property
    def port(self) -> int:
        """The port that is bound, where 0 was asked for."""
        for bound in self._sockets.values():
            port: int = bound.getsockname()[1]
            return port
        return self._port

    @property
    def counters(self) -> dict[str, int]:
        """What was counted so far."""
        return {**self._endpoint.counters(), **self._counters}

    def open(self, held: list[socket.socket] | None = None) -> None:
        """Begin to listen, by the sockets that hold the port already; raise ``CapabilityError`` when it is taken."""
        for bound in held or bound_sockets(self._bind, self._port, socket.SOCK_DGRAM, "the control port"):
            ask_for_local_address(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            self._sockets[bound.family] = bound
            get_running_loop().add_reader(bound.fileno(), self._readable, bound)

    def close(self) -> None:
        """Stop to listen. Connections that are left are dropped, without their owner hearing of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for peer in list(self._connections):
            self._endpoint.abandon(peer, now_ns=monotonic_ns())
        self._send_datagrams()
        self._connections.clear()
        self._peer_of.clear()
        for bound in self._sockets.values():
            get_running_loop().remove_reader(bound.fileno())
            bound.close()
        self._sockets = {}

    def send(self, session: ClientSession, message: HostMessage) -> bool:
        """Send a message; ``False`` when its client is not there, cannot take it, or acknowledges nothing."""
        peer = self._peer_of.get(session)
        if peer is None or self._connections[peer].ending is not None:
            return False
        sent = self._say(peer, message)
        self._flush()
        return sent

    def end(self, session: ClientSession, code: int = GRACEFUL, reason: str = "ended by the host") -> None:
        """End a session: let its client know, and disconnect it once it does, or after a second; then ``gone``.

        A session without a client is gone at once, and nobody can connect to it any more once its owner says so.
        """
        for unproven in [p for p, c in self._connections.items() if c.session is session and not c.proven]:
            self._abandon(unproven)
        peer = self._peer_of.get(session)
        if peer is None:
            self._owner.gone(session, reason)
        elif self._connections[peer].ending is None:
            self._say(peer, Termination(code))
            self._connections[peer].ending = reason
            self._endpoint.disconnect(peer, now_ns=monotonic_ns())
            get_running_loop().call_later(END_S, self._give_up, peer)
        self._flush()

    def _admit(self, data: int, address: str) -> bool:
        """Whether a session waits for a CONNECT, which anybody can send in any name: this is all that it costs."""
        keys = self._owner.session_for(data, address)
        return keys is not None and keys.session not in self._peer_of

    def _readable(self, bound: socket.socket) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                datagram, ancillary, _, source = bound.recvmsg(_MAX_DATAGRAM_BYTES, ANCILLARY_BYTES)
            except OSError:
                break  # no more, or the report of a datagram that did not arrive
            self._take(self._endpoint.feed(datagram, source, now_ns=monotonic_ns(), path=path_of(ancillary)))
        self._flush()

    def _take(self, events: list[EnetEvent]) -> None:
        for event in events:
            if event.kind == "connected":
                self._connected(event)
            elif event.kind == "received":
                self._received(event)
            else:
                self._gone(event.peer, "the client left" if event.cause == "peer" else "the client is silent")

    def _connected(self, event: EnetEvent) -> None:
        address = event.remote[0] if event.remote is not None else ""
        keys: ControlKeys | None = self._owner.session_for(event.data, address)
        if keys is None or keys.session in self._peer_of:
            self._endpoint.abandon(event.peer, now_ns=monotonic_ns())
            return
        unproven = [
            peer
            for peer, other in self._connections.items()
            if other.session is keys.session and not other.proven
        ]
        for peer in unproven[: max(0, len(unproven) - MAX_UNPROVEN + 1)]:
            self._abandon(peer)
        self._connections[event.peer] = ControlConnection(keys, monotonic_ns())

    def _received(self, event: EnetEvent) -> None:
        connection = self._connections.get(event.peer)
        if connection is None or connection.ending is not None:
            return
        inner = connection.opened(event.payload, monotonic_ns())
        if inner is None:
            return
        session = connection.session
        if session not in self._peer_of:
            self._prove(event.peer, session)
        for message in connection.read(inner):
            # What an earlier one made the owner do may have ended the connection.
            if connection.ending is not None or self._peer_of.get(session) != event.peer:
                return
            if isinstance(message, EnableHaptics):
                for motors in connection.motors():
                    self._say(event.peer, motors)
            else:
                self._owner.received(session, message)

    def _prove(self, peer: int, session: ClientSession) -> None:
        """Make a connection its session's, and send away those that only knew the number."""
        self._peer_of[session] = peer
        for other, connection in list(self._connections.items()):
            if other != peer and connection.session is session:
                self._abandon(other)
        self._owner.connected(session)

    def _abandon(self, peer: int) -> None:
        """Drop a connection that is nobody's."""
        del self._connections[peer]
        self._counters["unproven"] += 1
        self._endpoint.abandon(peer, now_ns=monotonic_ns())

    def _gone(self, peer: int, reason: str) -> None:
        connection = self._connections.pop(peer, None)
        if connection is None or self._peer_of.get(connection.session) != peer:
            return
        del self._peer_of[connection.session]
        self._owner.gone(connection.session, connection.ending or reason)

    def _give_up(self, peer: int) -> None:
        """Do without the acknowledgement of a client that ends."""
        if peer in self._connections:
            self._endpoint.abandon(peer, now_ns=monotonic_ns())
            self._gone(peer, "")
            self._flush()

    def _say(self, peer: int, message: HostMessage) -> bool:
        sealed = self._connections[peer].sealed(message)
        return sealed is not None and self._endpoint.send(peer, 0, sealed, now_ns=monotonic_ns())

    def _look_after(self) -> None:
        """Give up who has been silent for too long, or has not shown that it has the key."""
        now_ns = monotonic_ns()
        for peer, connection in list(self._connections.items()):
            if not connection.proven:
                if now_ns - connection.since_ns > PROOF_NS:
                    self._abandon(peer)
            elif now_ns - connection.heard_ns > SILENCE_NS:
                self._endpoint.abandon(peer, now_ns=now_ns)
                self._gone(peer, "the client is silent")

    def _on_time(self) -> None:
        self._timer = None
        self._take(self._endpoint.tick(now_ns=monotonic_ns()))
        self._look_after()
        self._flush()

    def _flush(self) -> None:
        """Send what there is to send, and see to being called again in time."""
        self._send_datagrams()
        due_ns = self._endpoint.next_timeout()
        if due_ns is None or not self._sockets:
            return
        loop = get_running_loop()
        due = loop.time() + max(0, due_ns - monotonic_ns()) / 1e9
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = loop.call_at(due, self._on_time)

    def _send_datagrams(self) -> None:
        for datagram, remote, path in self._endpoint.datagrams():
            bound = self._socket_for(remote)
            if bound is None:
                continue
            try:
                bound.sendmsg([datagram], ancillary_of(path), 0, remote)
            except OSError:
                # As if it were lost on the way: what matters is sent again.
                self._counters["send_errors"] += 1

    def _socket_for(self, remote: SocketAddress) -> socket.socket | None:
        with contextlib.suppress(KeyError):
            return self._sockets[socket.AF_INET6 if len(remote) == 4 else socket.AF_INET]
        return None
