"""IP addresses: how they are read, whom they stand for, which are private, and at which a socket can be dialled."""

from __future__ import annotations

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""Where a datagram comes from or goes to, as :mod:`socket` says it: IPv4, or IPv6 with flow and zone."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PRIVATE = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def parse_address(text: str) -> Address:
    """Return the address, un-mapping ``::ffff:a.b.c.d``; a zone such as ``%eth0`` is dropped."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def source_of(address: str) -> str:
    """Return what whoever comes from ``address`` is limited by: an IPv4 address, or the /64 of an IPv6 one.

    Everybody has 2^64 of the latter. ``::1`` stands for itself, and so does what is no address.
    """
    try:
        parsed = parse_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.is_loopback:
        return str(parsed)
    return str(ipaddress.IPv6Interface((parsed, 64)).network)


def is_private(address: Address) -> bool:
    """Return whether an address is loopback, link-local or of a private range; shared ranges (100.64/10) are not."""
    if address.is_loopback or address.is_link_local:
        return True
    return any(address.version == net.version and address in net for net in _PRIVATE)


def reachable_addresses(bind: str) -> list[str]:
    """Return the addresses at which a socket bound to ``bind`` can be dialled from this machine's networks.

    For an unspecified address: the one that a packet to the outside would leave from (nothing is sent), or
    loopback where no route leads out.
    """
    address = parse_address(bind)
    if not address.is_unspecified:
        return [str(address)]
    outside = [(socket.AF_INET, "192.0.2.1")]
    if address.version == 6:
        outside.append((socket.AF_INET6, "2001:db8::1"))
    found = []
    for family, target in outside:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
            except OSError:
                continue
            found.append(str(ipaddress.ip_address(probe.getsockname()[0])))
    return found or ["127.0.0.1"]
