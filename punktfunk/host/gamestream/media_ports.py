"""The UDP ports of video and sound: they hear pings, and make of each session's first one a socket to its client.

All sessions share a port. What is sent has to leave from it and from the local address that the client pinged
(gamestream sections 1.1 and 6), so a second socket is bound to both and connected to the client: the kernel gives it
what comes from there, pings to come included, and the listening socket all else. A worker process can be handed it.
"""

from __future__ import annotations

import socket
from asyncio import get_running_loop
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from punktfunk.addresses import SocketAddress
from punktfunk.gamestream.ping import PING_BYTES, PingBook
from punktfunk.host.gamestream.listening import bound_sockets
from punktfunk.host.gamestream.local_address import (
    ANCILLARY_BYTES,
    ask_for_local_address,
    socket_address_of,
)

_READS_PER_WAKE = 32
_RECEIVE_BUFFER_BYTES = 4096
"""Of a connected socket: nobody reads the pings that go on coming there."""
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO = 10, 2
_IPV6_MTU_DISCOVER = 23

S = TypeVar("S", bound=Hashable)


class MediaPort(Generic[S]):
    """One of the two ports. Belongs to one event loop.

    ``latched`` is called with a session of ``book`` and the socket to its client, once until :meth:`forget`; the socket
    is the callee's then. Counters: ``pings_unmatched`` (of no session, or no pings at all) and ``pings_unanswerable``
    (no socket could be made; the next one tries again).
    """

    def __init__(
        self,
        bind: str,
        port: int,
        what: str,
        book: PingBook[S],
        latched: Callable[[S, socket.socket], None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._bind, self._port, self._what = bind, port, what
        self._book, self._on_latched = book, latched
        self._sockets: list[socket.socket] = []
        self._latched: set[S] = set()

    def open(self, held: list[socket.socket] | None = None) -> None:
        """Begin to listen, by the sockets that hold the port already; raise ``CapabilityError`` when it is taken."""
        self._sockets = held or bound_sockets(self._bind, self._port, socket.SOCK_DGRAM, self._what)
        for bound in self._sockets:
            ask_for_local_address(bound)
            # Only now: a port that another host has was to be told.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            get_running_loop().add_reader(bound.fileno(), self._readable, bound)

    def close(self) -> None:
        """Stop to listen; the sockets of sessions are their own."""
        for bound in self._sockets:
            get_running_loop().remove_reader(bound.fileno())
            bound.close()
        self._sockets = []

    def forget(self, session: S) -> None:
        """Take note that a session is over."""
        self._latched.discard(session)

    def _readable(self, bound: socket.socket) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                datagram, ancillary, _, source = bound.recvmsg(PING_BYTES + 1, ANCILLARY_BYTES)
            except OSError:
                return
            session = self._book.session_of(datagram, source[0])
            if session is None:
                self.counters["pings_unmatched"] += 1
            elif session not in self._latched:
                self._latch(session, socket_address_of(ancillary, self._port, source), source)

    def _latch(self, session: S, local: SocketAddress | None, source: SocketAddress) -> None:
        try:
            connected = _connected(local, source)
        except OSError:
            self.counters["pings_unanswerable"] += 1
            return
        self._latched.add(session)
        self._on_latched(session, connected)


def _connected(local: SocketAddress | None, source: SocketAddress) -> socket.socket:
    if local is None:
        raise OSError("the kernel did not say where the ping went")
    family = socket.AF_INET6 if len(source) == 4 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        # Packets are as long as the client chose for the path: pieces of them would be lost one by one.
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IP_PMTUDISC_DO)
        else:
            made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        made.bind(local)
        made.connect(source)
    except OSError:
        made.close()
        raise
    return made
