"""Why nothing came of dialling an address: told apart by what the network says of it, and made a typed error.

A port that is closed, a firewall that refuses, a machine that is not there and a path that is silent look the same to a
program that only waits. The kernel knows more: a connected UDP socket that asks for it is given each ICMP error (ip(7),
``IP_RECVERR``), the kernel's own among them, when no card of the link has the address.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from punktfunk.addresses import parse_address, written
from punktfunk.errors import (
    HandshakeError,
    HostUnreachableError,
    NoAnswerError,
    PortClosedError,
    PortFilteredError,
)
from punktfunk.neighbours import hardware_address

_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
"""Of linux/in.h and linux/in6.h, which Python does not name."""
_EXTENDED = struct.Struct("=IBBBBII")
"""``sock_extended_err`` (linux/errqueue.h): errno, origin, type, code; the address of whoever sent it follows."""
_FROM_ICMP, _FROM_ICMP6 = 2, 3
_ANCILLARY_BYTES: Final = 512
_ADMINISTRATIVE = {_FROM_ICMP: (3, {9, 10, 13}), _FROM_ICMP6: (1, {1, 5, 6})}
"""Unreachable by somebody's rule: type and codes (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1)."""


class Unreached(Enum):
    """Why an address or its port could not be reached."""

    PORT_CLOSED = auto()
    """The machine is there and refuses the port."""
    FILTERED = auto()
    """A firewall refuses it."""
    NO_MACHINE = auto()
    """No machine answers at the address."""
    NO_ROUTE = auto()
    """No route leads there."""
    SILENT = auto()
    """Nothing came back."""


@dataclass(frozen=True, slots=True)
class NetworkError:
    """What the network says of a datagram that was sent."""

    kind: Unreached
    teller: str = ""
    """Address of whoever said it, "" where that is unknown."""


def ask_for_errors(connected: socket.socket) -> None:
    """Have the kernel keep what the network says of each datagram; :func:`network_errors` has to read it then."""
    if connected.family == socket.AF_INET6:
        connected.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        connected.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def network_errors(connected: socket.socket) -> list[NetworkError]:
    """Return what has come since, and forget it; a non-blocking socket that asked for it by :func:`ask_for_errors`."""
    found: list[NetworkError] = []
    while True:
        try:
            _, ancillary, _, _ = connected.recvmsg(0, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE)
        except OSError:  # nothing more
            return found
        error = _network_error(ancillary)
        if error is not None:
            found.append(error)


def _network_error(ancillary: list[tuple[int, int, bytes]]) -> NetworkError | None:
    for level, kind, data in ancillary:
        if (level, kind) not in {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}:
            continue
        number, origin, icmp_type, code, _, _, _ = _EXTENDED.unpack_from(data)
        refused_by = _ADMINISTRATIVE.get(origin)
        if refused_by is not None and icmp_type == refused_by[0] and code in refused_by[1]:
            return NetworkError(Unreached.FILTERED, _teller(data[_EXTENDED.size :]))
        unreached = _OF_ERRNO.get(number)
        return None if unreached is None else NetworkError(unreached, _teller(data[_EXTENDED.size :]))
    return None


def _teller(address: bytes) -> str:
    family = int.from_bytes(address[:2], sys.byteorder)
    if family == socket.AF_INET and len(address) >= 8:
        return socket.inet_ntop(socket.AF_INET, address[4:8])
    if family == socket.AF_INET6 and len(address) >= 24:
        return socket.inet_ntop(socket.AF_INET6, address[8:24])
    return ""


_OF_ERRNO = {
    errno.ECONNREFUSED: Unreached.PORT_CLOSED,
    errno.ECONNRESET: Unreached.PORT_CLOSED,
    errno.EHOSTUNREACH: Unreached.NO_MACHINE,
    errno.EHOSTDOWN: Unreached.NO_MACHINE,
    errno.ENETUNREACH: Unreached.NO_ROUTE,
    errno.ENETDOWN: Unreached.NO_ROUTE,
    errno.EADDRNOTAVAIL: Unreached.NO_ROUTE,
    errno.EAFNOSUPPORT: Unreached.NO_ROUTE,
    errno.EACCES: Unreached.FILTERED,
    errno.EPERM: Unreached.FILTERED,
    errno.ETIMEDOUT: Unreached.SILENT,
}


def of_error(error: OSError) -> Unreached | None:
    """Return what an error of connecting or sending says; ``None`` where it says nothing of the network."""
    return Unreached.SILENT if isinstance(error, TimeoutError) else _OF_ERRNO.get(error.errno or 0)


def unreached_error(
    unreached: Unreached, address: tuple[str, int], kind: str, *, teller: str = "", waited_s: float = 0.0
) -> HandshakeError:
    """Return the error that says why ``address`` could not be reached by ``kind`` (``UDP`` or ``TCP``), and what to do.

    ``waited_s`` is how long an answer was waited for, ``teller`` who refused. For a silence the neighbour table says
    whether the machine is there at all.
    """
    host, port = address
    match unreached:
        case Unreached.PORT_CLOSED:
            return PortClosedError(
                f"the machine at {host} answers, and nothing listens on that port ({kind} {port})",
                "start a host there (punktfunk serve), name its port (punktfunk discover), or open it in the firewall",
            )
        case Unreached.FILTERED:
            by = f", says {teller}" if teller and teller != str(parse_address(host)) else ""
            return PortFilteredError(
                f"a firewall lets nobody through to {kind} port {port} of {host}{by}",
                "open the port at the host: its console names the command",
            )
        case Unreached.NO_MACHINE:
            return HostUnreachableError(
                f"no machine answers at {host}",
                "is it on (punktfunk wake), and is that still its address (punktfunk discover)?",
            )
        case Unreached.NO_ROUTE:
            return HostUnreachableError(
                f"no route leads from this machine to {host}",
                f"is this machine in a network? ip route get {host}",
            )
        case Unreached.SILENT:
            return _silence(address, kind, waited_s)


def _silence(address: tuple[str, int], kind: str, waited_s: float) -> NoAnswerError:
    where = written(*address)
    if hardware_address(address[0]) is not None:
        return NoAnswerError(
            f"no answer from {where} within {waited_s:.0f} s, though its machine is there: its network card answers",
            f"a firewall there drops {kind} port {address[1]}, or the host hangs: its console names the ports to open",
        )
    return NoAnswerError(
        f"no answer from {where} within {waited_s:.0f} s",
        f"is the host running, and does a firewall pass {kind} port {address[1]}? see: punktfunk doctor {where}",
    )
