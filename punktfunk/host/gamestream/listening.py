"""Sockets of a GameStream host, one for each family that it listens on (gamestream section 1.1)."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

from punktfunk.addresses import parse_address
from punktfunk.errors import CapabilityError

_NO_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def bound_sockets(bind: str, port: int, kind: socket.SocketKind, what: str) -> list[socket.socket]:
    """Bind a port, non-blocking: of IPv4 and of IPv6 where ``bind`` is unspecified and the machine has both.

    Raises ``CapabilityError`` when it is taken, or the address is none of this machine's.
    """
    address = parse_address(bind)
    places = [("0.0.0.0", False), ("::", True)] if address.is_unspecified else [(str(address), False)]  # noqa: S104 - what the operator asked for
    with ExitStack() as undo:
        sockets = []
        for place, may_lack in places:
            try:
                bound = undo.enter_context(_bound(place, port, kind))
            except OSError as error:
                if may_lack and error.errno in _NO_FAMILY:
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
    family = socket.AF_INET6 if ":" in place else socket.AF_INET
    bound = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM:
            # Connections of a host that has just ended must not keep the next one from its port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((place, port))
    except OSError:
        bound.close()
        raise
    return bound
