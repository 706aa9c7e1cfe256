"""Which class of traffic routers take a client's packets for (gamestream section 7.9)."""

from __future__ import annotations

import contextlib
import socket


def mark_traffic(connected: socket.socket, dscp: int) -> None:
    """Have routers treat what is sent as ``dscp``; where that is not allowed, they treat it as anything else."""
    with contextlib.suppress(OSError):
        if connected.family == socket.AF_INET6:
            connected.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        # Also of an IPv6 socket, whose packets may be of IPv4.
        connected.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
