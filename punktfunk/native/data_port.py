"""The host's data port of one session, and how a stream follows a client whose port has moved.

A NAT forgets a mapping and makes another: what the client sends comes from a new port, and what is sent to the old one
goes nowhere. QUIC follows by itself. The data socket is connected, so that a second socket at the same port hears
what comes from elsewhere: the client's punches, which it repeats every 2 s (punktfunk/1 section 2.4). Both ends of
the socket's descriptor, the session's and its worker's, are one socket, which is connected anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from punktfunk.addresses import SocketAddress, host_of, parse_address, socket_address
from punktfunk.native.control import PUNCH

MOVE_SILENCE_NS = 5_000_000_000
"""The port that is streamed to has been silent for so long, which is two punches missed: whoever can send from the
client's address cannot draw the stream away from a client that punches."""
MOVE_SPAN_NS = 1_000_000_000
"""And the new port has punched for so long: a late datagram of a mapping that is gone moves nothing."""
_READS_PER_WAKE = 32


class MoveWatch:
    """Judge punches from other ports than the one that is streamed to; times are CLOCK_MONOTONIC ns."""

    def __init__(self, now_ns: int) -> None:
        self._current_ns = now_ns
        self._candidate: SocketAddress | None = None
        self._first_ns = 0

    def current(self, now_ns: int) -> None:
        """Take note of a punch from the port that is streamed to."""
        self._current_ns = now_ns
        self._candidate = None

    def other(self, source: SocketAddress, now_ns: int) -> bool:
        """Return whether a punch from another port of the client means that it has moved there."""
        if source != self._candidate:
            self._candidate, self._first_ns = source, now_ns
        moved = now_ns - self._current_ns >= MOVE_SILENCE_NS and now_ns - self._first_ns >= MOVE_SPAN_NS
        if moved:
            self.current(now_ns)
        return moved


class DataPort:
    """A bound UDP socket that hears the first punch, is connected to the client, and follows it.

    ``clock`` gives CLOCK_MONOTONIC ns. ``on_punch`` is called for the first punch, ``on_move`` with the new address
    after a move, ``on_refused`` for each ECONNREFUSED that this end of the socket hears instead of the worker. Punches
    count only from ``peer``, the address that the QUIC connection comes from. Raises ``OSError`` when no port can be
    bound. Belongs to one event loop.
    """

    def __init__(
        self,
        local: str,
        peer: str,
        clock: Callable[[], int],
        *,
        on_punch: Callable[[], None],
        on_move: Callable[[SocketAddress], None],
        on_refused: Callable[[], None],
    ) -> None:
        self.punched_from: SocketAddress | None = None
        self._peer = parse_address(peer)
        self._clock = clock
        self._on_punch, self._on_move, self._on_refused = on_punch, on_move, on_refused
        self._loop = asyncio.get_running_loop()
        self._watch: MoveWatch | None = None
        self._socket = _bound(local, 0)
        self._elsewhere: socket.socket | None = None
        self._loop.add_reader(self._socket.fileno(), self._first_readable)

    @property
    def port(self) -> int:
        """The UDP port that Welcome names."""
        return int(self._socket.getsockname()[1])

    def connect(self, target: SocketAddress, *, follow: bool) -> socket.socket:
        """Connect the socket to the client and return it for the worker; ``follow`` a client that repeats punches.

        Raises ``OSError`` when there is no way there.
        """
        self._loop.remove_reader(self._socket.fileno())
        self._socket.connect(target)
        if follow:
            # Without a second socket a client that stays is streamed to all the same.
            with contextlib.suppress(OSError):
                self._follow()
        return self._socket

    def close(self) -> None:
        """Close this end of the socket; the worker's stays open."""
        for each in (self._socket, self._elsewhere):
            if each is not None and each.fileno() >= 0:
                self._loop.remove_reader(each.fileno())
                each.close()

    def _follow(self) -> None:
        # Only now: bound together with others, a free port could be one that another session has.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._elsewhere = _bound(host_of(self._socket.getsockname()), self.port, shared=True)
        self._watch = MoveWatch(self._clock())
        self._loop.add_reader(self._socket.fileno(), self._current_readable)
        self._loop.add_reader(self._elsewhere.fileno(), self._other_readable, self._elsewhere)

    def _first_readable(self) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                data, source = self._socket.recvfrom(64)
            except OSError:
                return
            if data == PUNCH and parse_address(source[0]) == self._peer and self.punched_from is None:
                self.punched_from = source
                self._on_punch()
                return

    def _current_readable(self) -> None:
        assert self._watch is not None
        for _ in range(_READS_PER_WAKE):
            try:
                data = self._socket.recv(64)
            except ConnectionRefusedError:
                self._on_refused()
                return
            except OSError:
                return
            if data == PUNCH:
                self._watch.current(self._clock())

    def _other_readable(self, elsewhere: socket.socket) -> None:
        assert self._watch is not None
        for _ in range(_READS_PER_WAKE):
            try:
                data, source = elsewhere.recvfrom(64)
            except OSError:
                return
            if data != PUNCH or parse_address(source[0]) != self._peer:
                continue
            if self._watch.other(source, self._clock()):
                with contextlib.suppress(OSError):  # no way there: the next punch tries again
                    self._socket.connect(source)
                    self._on_move(source)


def _bound(local: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind a UDP port of the address that the client dialled, non-blocking; 0 takes a free one."""
    address = socket_address(local, port)
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
