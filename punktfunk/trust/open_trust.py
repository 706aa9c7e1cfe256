"""Where open trust is allowed: on loopback, inside a network namespace that leads nowhere, in a private network.

Open trust means a host that takes clients it does not know, or a client that takes a host without a pin.
Each kind names where it ends:

* ``loopback``: the address at hand is in 127.0.0.0/8 or ::1;
* ``lab``: this process's network namespace has no route, of either family, to any globally reachable
  address, every IPv6 address it holds is private or link-local, and every interface that is up is the
  loopback, a veth, a TUN or a bridge. Namespaces that are joined by such devices and by nothing else pass; a
  machine with a network card that is up, or a container with a default route, does not;
* ``private``: the peer's address is loopback, link-local or of a private range (RFC 1918, RFC 4193). Everybody in
  that network is let in: it is for a person who says so (``serve --open``), and never holds for a public address.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from punktfunk.addresses import Network, is_private, is_wildcard, parse_address
from punktfunk.errors import UntrustedPeerError

_PROC_NET = Path("/proc/thread-self/net")
"""Of the thread that asks: its sockets are in that namespace, and not every thread has to be in the process's."""
_ROUTE_REJECT = 0x0200
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
_SIOCGIFFLAGS, _SIOCETHTOOL, _ETHTOOL_GDRVINFO = 0x8913, 0x8946, 3
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_DRVINFO_BYTES = 196
_LAB_DRIVERS = frozenset({"veth", "tun", "bridge"})


class OpenTrust(Enum):
    """How far trust without identity goes."""

    NONE = "none"
    LOOPBACK = "loopback"
    LAB = "lab"
    PRIVATE = "private"


def require_open_trust(trust: OpenTrust, address: str, *, proc_net: Path = _PROC_NET) -> None:
    """Raise ``UntrustedPeerError`` unless ``trust`` covers ``address`` (bound, dialled or of a peer)."""
    if trust is OpenTrust.NONE:
        raise UntrustedPeerError(
            f"{address} is neither pinned nor paired",
            "name its fingerprint (a client by --pin, a host by --trust), or pair; punktfunk serve lets clients pair",
        )
    everywhere = is_wildcard(address)
    if not everywhere and parse_address(address).is_loopback:
        return
    if trust is OpenTrust.LOOPBACK:
        raise UntrustedPeerError(
            f"open trust is for loopback and {address} is not",
            "name the peer's fingerprint (a client by --pin, a host by --trust), or pair: punktfunk serve",
        )
    if trust is OpenTrust.PRIVATE:
        # Bound to every address the peers' own addresses decide.
        if everywhere or is_private(parse_address(address)):
            return
        raise UntrustedPeerError(
            f"open trust is for private networks and {address} is not in one", "let the client pair"
        )
    ways_out = outward_interfaces() + outward_networks(proc_net)
    if ways_out:
        raise UntrustedPeerError(
            f"lab trust needs a namespace that leads nowhere, this one has {ways_out[0]}",
            "run inside a network namespace without a default route",
        )
    if not everywhere and not _stays_inside(ipaddress.ip_network(parse_address(address))):
        raise UntrustedPeerError(f"lab trust does not cover the public address {address}")


def outward_interfaces() -> list[str]:
    """Return the interfaces of this namespace that are up and may end in hardware, in words."""
    found = []
    with socket.socket() as query:  # any will do to ask
        for _, name in socket.if_nameindex():
            request = name.encode().ljust(16, b"\0")
            answer = fcntl.ioctl(query, _SIOCGIFFLAGS, request + bytes(24))
            (flags,) = struct.unpack_from("=H", answer, 16)
            if not flags & _IFF_UP or flags & _IFF_LOOPBACK:
                continue
            driver = _driver(query, request)
            if driver not in _LAB_DRIVERS:
                found.append(f"the interface {name} ({driver or 'driver unknown'})")
    return found


def _driver(query: socket.socket, interface: bytes) -> str:
    info = ctypes.create_string_buffer(struct.pack("=I", _ETHTOOL_GDRVINFO), _DRVINFO_BYTES)
    request = interface + struct.pack("@P16x", ctypes.addressof(info))
    try:
        fcntl.ioctl(query, _SIOCETHTOOL, request)
    except OSError:
        return ""
    return info.raw[4:36].partition(b"\0")[0].decode(errors="replace")


def outward_networks(proc_net: Path = _PROC_NET) -> list[str]:
    """Return the routes and addresses of this namespace that lead to or are somebody else's, in words.

    Reads ``route``, ``ipv6_route`` and ``if_inet6`` of procfs. Routes that reject do not count.
    """
    found = [f"a route to {net}" for net in _routes(proc_net) if not _stays_inside(net)]
    found += [f"the address {net}" for net in _ipv6_addresses(proc_net) if not _stays_inside(net)]
    return found


def _routes(proc_net: Path) -> Iterable[Network]:
    for line in _lines(proc_net / "route")[1:]:
        _, destination, _, flags, _, _, _, mask, *_ = line.split()
        if int(flags, 16) & _ROUTE_REJECT:
            continue
        # procfs prints both in the machine's byte order, as the kernel holds them.
        address = socket.inet_ntoa(struct.pack("=I", int(destination, 16)))
        netmask = socket.inet_ntoa(struct.pack("=I", int(mask, 16)))
        yield ipaddress.IPv4Network(f"{address}/{netmask}")
    for line in _lines(proc_net / "ipv6_route"):
        fields = line.split()
        if not int(fields[8], 16) & _ROUTE_REJECT:
            yield ipaddress.IPv6Network((bytes.fromhex(fields[0]), int(fields[1], 16)))


def _ipv6_addresses(proc_net: Path) -> Iterable[Network]:
    for line in _lines(proc_net / "if_inet6"):
        yield ipaddress.IPv6Network((bytes.fromhex(line.split()[0]), 128))


def _lines(path: Path) -> list[str]:
    """Read a procfs table; a family that the kernel was built without has no file and no routes."""
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _stays_inside(network: Network) -> bool:
    if network.prefixlen == 0:
        return False
    shared = isinstance(network, ipaddress.IPv4Network) and network.subnet_of(_SHARED)
    # Loopback and link-local networks are private ones to Python.
    return network.is_multicast or network.is_private or shared
