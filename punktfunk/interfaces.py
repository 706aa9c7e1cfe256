"""The network interfaces of this machine: their addresses, their hardware address, and whether they are in use."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ifaddr

from punktfunk.addresses import Address, Network, bound_versions, is_wildcard, parse_address, zone_index
from punktfunk.neighbours import NO_MAC, is_mac

_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFHWADDR: Final = 0x8927
_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING, _IFF_MULTICAST = 0x1, 0x8, 0x40, 0x1000
_ETHERNET: Final = 1
"""``ARPHRD_ETHER``: of wires, wireless cards, bridges and bonds; tunnels have other kinds, or none."""
_IF_INET6 = Path("/proc/thread-self/net/if_inet6")
_TEMPORARY, _TENTATIVE, _DEPRECATED, _DUPLICATE = 0x01, 0x40, 0x20, 0x08
"""``IFA_F_*`` of linux/if_addr.h."""
_OUTSIDE: Final = {4: (socket.AF_INET, "192.0.2.1"), 6: (socket.AF_INET6, "2001:db8::1")}
"""By version of IP, what stands for all that is not in this machine's networks (RFC 5737, RFC 3849)."""
_UNUSABLE = _TENTATIVE | _DEPRECATED | _DUPLICATE


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address of this machine."""

    ip: Address
    prefix: int

    @property
    def broadcast(self) -> str | None:
        """Where all machines of its network hear; ``None`` for IPv6 and for networks without one."""
        if not isinstance(self.ip, ipaddress.IPv4Address) or self.prefix >= 31:
            return None
        return str(ipaddress.IPv4Interface((self.ip, self.prefix)).network.broadcast_address)


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface at one moment."""

    name: str
    index: int
    mac: str
    """Hardware address, ``NO_MAC`` where it has none that could be woken: loopback and tunnels."""
    addresses: tuple[OwnAddress, ...]
    """IPv4 first, link-local ones last; IPv6 addresses that are not in use (yet or any more) are left out."""
    up: bool
    loopback: bool
    multicast: bool

    @property
    def in_use(self) -> bool:
        """Whether other machines may be reached by it."""
        return self.up and not self.loopback and bool(self.addresses)


def interfaces() -> list[Interface]:
    """Return the interfaces of this network namespace, by number."""
    flags_of_v6 = _flags_of_v6()
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        for adapter in ifaddr.get_adapters(include_unconfigured=True):
            if adapter.index is None:  # gone since it was listed
                continue
            flags = _flags(query, adapter.name)
            own = [_own_address(ip, adapter.index, flags_of_v6) for ip in adapter.ips]
            found.append(
                Interface(
                    name=adapter.name,
                    index=adapter.index,
                    mac=_mac(query, adapter.name),
                    addresses=tuple(sorted(_settled(own), key=_rank)),
                    up=bool(flags & _IFF_UP and flags & _IFF_RUNNING),
                    loopback=bool(flags & _IFF_LOOPBACK),
                    multicast=bool(flags & _IFF_MULTICAST),
                )
            )
    return sorted(found, key=lambda interface: interface.index)


def mac_of(local_address: str) -> str:
    """Return the hardware address of the interface that has an address of this machine; ``NO_MAC`` where it has none.

    Of a link-local address its zone says which interface is meant.
    """
    address, zone = parse_address(local_address), zone_index(local_address)
    for interface in interfaces():
        if zone not in {0, interface.index}:
            continue
        if any(own.ip == address for own in interface.addresses):
            return interface.mac
    return NO_MAC


def reachable_addresses(bind: str) -> list[str]:
    """Return the addresses at which a port bound to ``bind`` can be dialled from this machine's networks.

    For every address of a family or of both: those that packets to the outside would leave from, IPv4 first (nothing
    is sent); those of its networks where no route leads out; loopback where it is in none.
    """
    if not is_wildcard(bind):
        return [str(parse_address(bind))]
    versions = bound_versions(bind)
    found = []
    for version in versions:
        family, target = _OUTSIDE[version]
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found.append(str(ipaddress.ip_address(probe.getsockname()[0])))
        except OSError:  # no route, or no such family
            continue
    if not found:
        with contextlib.suppress(OSError):  # a sandbox without netlink
            found = [
                str(ip)
                for ip in _own_addresses()
                if ip.version in versions and (ip.version == 4 or not ip.is_link_local)
            ]
    return found or ["127.0.0.1" if 4 in versions else "::1"]


def _own_addresses() -> list[Address]:
    return [own.ip for interface in interfaces() if interface.in_use for own in interface.addresses]


_Flagged = tuple[OwnAddress, int]


def _own_address(ip: ifaddr.IP, index: int, flags_of_v6: dict[tuple[int, int], int]) -> _Flagged:
    if isinstance(ip.ip, str):
        return OwnAddress(ipaddress.IPv4Address(ip.ip), ip.network_prefix), 0
    address = ipaddress.IPv6Address(ip.ip[0].partition("%")[0])
    return OwnAddress(address, ip.network_prefix), flags_of_v6.get((index, int(address)), 0)


def _settled(own: list[_Flagged]) -> list[OwnAddress]:
    """Return the addresses that are in use; of a network with a lasting address, the temporary ones are left out."""
    usable = [(address, flags) for address, flags in own if not flags & _UNUSABLE]
    lasting = {_network(address) for address, flags in usable if not flags & _TEMPORARY}
    return [a for a, flags in usable if not flags & _TEMPORARY or _network(a) not in lasting]


def _network(own: OwnAddress) -> Network:
    return ipaddress.ip_interface((own.ip, own.prefix)).network


def _rank(own: OwnAddress) -> tuple[bool, bool, int]:
    return own.ip.is_link_local, own.ip.version == 6, int(own.ip)


def _flags(query: socket.socket, name: str) -> int:
    try:
        answer = fcntl.ioctl(query, _SIOCGIFFLAGS, struct.pack("16s24x", name.encode()))
    except OSError:  # gone since it was listed
        return 0
    return int(struct.unpack_from("=H", answer, 16)[0])


def _mac(query: socket.socket, name: str) -> str:
    # By ioctl: /sys shows the interfaces of the namespace that mounted it, which need not be this one.
    try:
        answer = fcntl.ioctl(query, _SIOCGIFHWADDR, struct.pack("16s24x", name.encode()))
    except OSError:
        return NO_MAC
    kind = struct.unpack_from("=H", answer, 16)[0]
    text = ":".join(f"{byte:02x}" for byte in answer[18:24])
    return text if kind == _ETHERNET and is_mac(text) else NO_MAC


def _flags_of_v6() -> dict[tuple[int, int], int]:
    try:
        lines = _IF_INET6.read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return {}
    rows = [line.split() for line in lines]
    return {(int(row[1], 16), int(row[0], 16)): int(row[4], 16) for row in rows}
