"""The UDP ports of video and sound: they hear pings, and make of each session's first one a socket to its client.

All sessions share a port. What is sent has to leave from it and from the local address that the client pinged
(gamestream sections 1.1 and 6), so a second socket is bound to both and connected to the client: the kernel gives it
what comes from there, pings to come included, and the listening socket all else. A worker process can be handed it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from asyncio import get_running_loop
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from punktfunk.addresses import SocketAddress
from punktfunk.gamestream.ping import PING_BYTES, PingBook
from punktfunk.host.gamestream.listening import bound_sockets

_READS_PER_WAKE = 32
_RECEIVE_BUFFER_BYTES = 4096
"""Of a connected socket: nobody reads the pings that go on coming there."""
_IPV4_INFO = struct.Struct("=i4s4s")
"""``in_pktinfo``: interface, local address, destination of the header (ip(7))."""
_IPV6_INFO = struct.Struct("=16sI")
"""``in6_pktinfo``: destination, interface (RFC 3542 section 6)."""
_IP_PKTINFO = 8
"""Of linux/in.h, which Python 3.11 does not name."""
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

    def open(self) -> None:
        """Begin to listen; raise ``CapabilityError`` when the port is taken."""
        self._sockets = bound_sockets(self._bind, self._port, socket.SOCK_DGRAM, self._what)
        for bound in self._sockets:
            if bound.family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
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
                datagram, ancillary, _, source = bound.recvmsg(
                    PING_BYTES + 1, socket.CMSG_SPACE(_IPV6_INFO.size)
                )
            except OSError:
                return
            session = self._book.session_of(datagram, source[0])
            if session is None:
                self.counters["pings_unmatched"] += 1
            elif session not in self._latched:
                self._latch(session, _local_of(ancillary, self._port, source), source)

    def _latch(self, session: S, local: SocketAddress | None, source: SocketAddress) -> None:
        try:
            connected = _connected(local, source)
        except OSError:
            self.counters["pings_unanswerable"] += 1
            return
        self._latched.add(session)
        self._on_latched(session, connected)


def mark_traffic(connected: socket.socket, dscp: int) -> None:
    """Have routers treat what is sent as ``dscp``; where that is not allowed, they treat it as anything else."""
    with contextlib.suppress(OSError):
        if connected.family == socket.AF_INET6:
            connected.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        else:
            connected.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


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


def _local_of(
    ancillary: list[tuple[int, int, bytes]], port: int, source: SocketAddress
) -> SocketAddress | None:
    """Return where a datagram was sent to."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _IPV4_INFO.unpack_from(data)
            return socket.inet_ntop(socket.AF_INET, local), port
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            local, interface = _IPV6_INFO.unpack_from(data)
            text = socket.inet_ntop(socket.AF_INET6, local)
            # Only link-local addresses are of one interface; those come from a source that has a zone.
            zone = interface if len(source) == 4 and source[3] else 0
            return text, port, 0, zone
    return None
