"""Sockets of a GameStream host, one for each family that it listens on (gamestream section 1.1)."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from punktfunk.addresses import lacks_family, places_to_bind, socket_address
from punktfunk.errors import CapabilityError
from punktfunk.gamestream.ports import Ports

_BACKLOG = 128
"""Connections that wait to be accepted."""


class HeldPorts:
    """All ports of a GameStream host, bound before anything of it runs: what is held cannot be taken any more.

    Raises ``CapabilityError`` when one is taken; then none is held.
    """

    def __init__(self, bind: str, ports: Ports) -> None:
        uses = (
            (ports.http, socket.SOCK_STREAM, "HTTP"),
            (ports.https, socket.SOCK_STREAM, "HTTPS"),
            (ports.rtsp, socket.SOCK_STREAM, "RTSP"),
            (ports.video, socket.SOCK_DGRAM, "video"),
            (ports.control, socket.SOCK_DGRAM, "the control port"),
            (ports.audio, socket.SOCK_DGRAM, "sound"),
        )
        self._sockets: dict[int, list[socket.socket]] = {}
        try:
            for port, kind, what in uses:
                self._sockets[port] = bound_sockets(bind, port, kind, what)
        except CapabilityError:
            self.close()
            raise

    def take(self, port: int) -> list[socket.socket]:
        """Return the sockets of a port, which are the caller's from now on."""
        return self._sockets.pop(port)

    def close(self) -> None:
        """Let go of the ports that nobody took."""
        for sockets in self._sockets.values():
            for held in sockets:
                held.close()
        self._sockets.clear()


def bound_sockets(bind: str, port: int, kind: socket.SocketKind, what: str) -> list[socket.socket]:
    """Bind a port, non-blocking: of IPv4 and of IPv6 where ``bind`` is unspecified and the machine has both.

    TCP listens from here on: two programs can bind a port of it at once, and only one of them can listen.
    Raises ``CapabilityError`` when it is taken, or the address is none of this machine's.
    """
    with ExitStack() as undo:
        sockets = []
        for place, may_lack in places_to_bind(bind):
            try:
                bound = undo.enter_context(_bound(place, port, kind))
            except OSError as error:
                if may_lack and lacks_family(error):
                    continue
                name = "TCP" if kind is socket.SOCK_STREAM else "UDP"
                raise CapabilityError(
                    f"{name} port {port} of {place}, for {what} of GameStream, cannot be had: {error.strerror}",
                    "end the other host, or move all ports with --gamestream-port",
                ) from error
            sockets.append(bound)
        undo.pop_all()
        return sockets


def _bound(place: str, port: int, kind: socket.SocketKind) -> socket.socket:
    address = socket_address(place, port)
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    bound = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM:
            # Connections of a host that has just ended must not keep the next one from its port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        if kind is socket.SOCK_STREAM:
            bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
