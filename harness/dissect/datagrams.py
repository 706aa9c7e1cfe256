"""Find the UDP datagram in a captured packet: Ethernet, raw IP, loopback and Linux cooked captures; IPv4 and IPv6.

Plain arithmetic instead of scapy's layers, which take longer for one packet than all that follows.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from harness.network.capture_file import Record
from harness.network.pcapng import LINKTYPE_ETHERNET, LINKTYPE_RAW

LINKTYPES: Final = {
    0: "loopback",
    LINKTYPE_ETHERNET: "Ethernet",
    LINKTYPE_RAW: "raw IP",
    113: "Linux cooked",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked v2",
}
"""Link layers that are understood, by their number (draft-ietf-opsawg-pcaplinktype)."""
_RAW: Final = {0: 4, LINKTYPE_RAW: 0, 228: 0, 229: 0}
"""Where IP begins, for links that do not say which IP."""
_COOKED: Final = {113: (14, 16), 276: (0, 20)}
"""Where the EtherType is, and where IP begins."""
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS: Final = (0x8100, 0x88A8)
_UDP: Final = 17
_PROTOCOLS: Final = {1: "ICMP", 2: "IGMP", 6: "TCP", 58: "ICMPv6"}
_EXTENSIONS: Final = (0, 43, 60)
"""IPv6 headers that may stand before UDP's: hop-by-hop, routing, destination options."""
_MAX_EXTENSIONS: Final = 8

Endpoint = tuple[str, int]
"""Address and UDP port."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram of a capture."""

    time_ns: int
    source: Endpoint
    destination: Endpoint
    payload: bytes
    length: int
    """Bytes that its payload had; more than ``payload`` where the capture kept its beginning alone."""
    intact: bool
    """Its checksum is right, was left out, or cannot be judged because the datagram was cut."""

    @property
    def cut(self) -> bool:
        """Whether the capture kept its beginning alone."""
        return len(self.payload) < self.length


def find_datagram(record: Record) -> Datagram | str:
    """Return the datagram in a packet, or in a word what the packet is instead."""
    data = record.data
    network = _network(record.linktype, data)
    if network is None:
        return "of an unknown link layer" if record.linktype not in LINKTYPES else "malformed"
    kind, at = network
    if kind == _IPV4:
        return _ipv4(record, at)
    if kind == _IPV6:
        return _ipv6(record, at)
    return "not IP"


def _network(linktype: int, data: bytes) -> tuple[int, int] | None:
    """Return the EtherType of what the link carries, and where it begins."""
    if linktype == LINKTYPE_ETHERNET:
        return _ethernet(data)
    if linktype in _RAW:
        return _by_version(data, _RAW[linktype])
    if linktype in _COOKED:
        kind_at, begins = _COOKED[linktype]
        return (int.from_bytes(data[kind_at : kind_at + 2], "big"), begins) if len(data) >= begins else None
    return None


def _ethernet(data: bytes) -> tuple[int, int] | None:
    at = 12
    while len(data) >= at + 2:
        kind = int.from_bytes(data[at : at + 2], "big")
        if kind not in _VLANS or at > 20:
            return kind, at + 2
        at += 4
    return None


def _by_version(data: bytes, at: int) -> tuple[int, int] | None:
    version = data[at] >> 4 if len(data) > at else 0
    kind = {4: _IPV4, 6: _IPV6}.get(version)
    return None if kind is None else (kind, at)


def _ipv4(record: Record, at: int) -> Datagram | str:
    data = record.data
    if len(data) < at + 20 or data[at] >> 4 != 4:
        return "malformed"
    header, total = (data[at] & 15) * 4, int.from_bytes(data[at + 2 : at + 4], "big")
    if header < 20 or total < header:
        return "malformed"
    if data[at + 9] != _UDP:
        return _PROTOCOLS.get(data[at + 9], "of another protocol")
    if int.from_bytes(data[at + 6 : at + 8], "big") & 0x3FFF:
        return "a fragment"
    source, destination = data[at + 12 : at + 16], data[at + 16 : at + 20]
    return _udp(record, at + header, source, destination)


def _ipv6(record: Record, at: int) -> Datagram | str:
    data = record.data
    if len(data) < at + 40 or data[at] >> 4 != 6:
        return "malformed"
    source, destination = data[at + 8 : at + 24], data[at + 24 : at + 40]
    following, begins = data[at + 6], at + 40
    for _ in range(_MAX_EXTENSIONS):
        if following not in _EXTENSIONS:
            break
        if len(data) < begins + 8:
            return "malformed"
        following, begins = data[begins], begins + 8 * (data[begins + 1] + 1)
    if following == 44:
        return "a fragment"
    if following != _UDP:
        return _PROTOCOLS.get(following, "of another protocol")
    return _udp(record, begins, source, destination)


def _udp(record: Record, at: int, source: bytes, destination: bytes) -> Datagram | str:
    data = record.data
    if len(data) < at + 8:
        return "malformed"
    from_port, to_port, length, checksum = struct.unpack_from("!HHHH", data, at)
    if length < 8:
        return "malformed"
    udp = data[at : at + length]
    if len(udp) == length:
        # Ones' complement sums are sums modulo 2^16 - 1, which a number of any length has (RFC 1071).
        pseudo = source + destination + struct.pack("!HH", _UDP, length)
        summed = int.from_bytes(pseudo + udp + bytes(length % 2), "big") % 0xFFFF
        intact = summed == 0 or (checksum == 0 and len(source) == 4)
    elif record.length > len(data):
        intact = True
    else:
        return "malformed"
    return Datagram(
        record.time_ns,
        (_text(source), from_port),
        (_text(destination), to_port),
        udp[8:],
        length - 8,
        intact,
    )


@lru_cache(maxsize=256)
def _text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))
