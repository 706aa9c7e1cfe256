"""Which of its addresses a datagram reached, and to answer from that one (gamestream section 1.1).

Of a host with several addresses the kernel would choose one by the route back; clients and firewalls know the one
that they sent to.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from punktfunk.addresses import SocketAddress

_IPV4_INFO = struct.Struct("=i4s4s")
"""``in_pktinfo``: interface, local address, destination of the header (ip(7))."""
_IPV6_INFO = struct.Struct("=16sI")
"""``in6_pktinfo``: destination, interface (RFC 3542 section 6)."""
_IP_PKTINFO: Final = 8
"""Of linux/in.h, which Python 3.11 does not name."""
_LINK_LOCAL: Final = b"\xfe\x80"

ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_IPV6_INFO.size)
"""Room that ``recvmsg`` needs for it."""
Ancillary = list[tuple[int, int, bytes]]


def ask_for_local_address(bound: socket.socket) -> None:
    """Have the kernel say of each datagram which address it came to."""
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def path_of(ancillary: Ancillary) -> bytes:
    """Return, in a few bytes that mean something to :func:`ancillary_of` alone, where a datagram came to."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _IPV4_INFO.unpack_from(data)
            return bytes(local)
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return data[: _IPV6_INFO.size]
    return b""


def ancillary_of(path: bytes) -> Ancillary:
    """Return what has ``sendmsg`` answer from there; nothing where that is not known."""
    if len(path) == 4:
        return [(socket.IPPROTO_IP, _IP_PKTINFO, _IPV4_INFO.pack(0, path, bytes(4)))]
    if len(path) == _IPV6_INFO.size:
        local, interface = _IPV6_INFO.unpack(path)
        # Only link-local addresses are of one interface; for others the route back may lead through another one.
        zone = interface if local.startswith(_LINK_LOCAL) else 0
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IPV6_INFO.pack(local, zone))]
    return []


def socket_address_of(ancillary: Ancillary, port: int, source: SocketAddress) -> SocketAddress | None:
    """Return where a datagram from ``source`` came to, to bind a socket to; ``None`` where the kernel did not say."""
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
