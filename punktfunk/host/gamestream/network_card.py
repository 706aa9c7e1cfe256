"""The hardware address by which a paired client wakes this host: that of the card that it reached (gamestream 2.2)."""

from __future__ import annotations

import fcntl
import ipaddress
import re
import socket
import struct
from pathlib import Path

from punktfunk.addresses import parse_address
from punktfunk.gamestream.serverinfo import NO_MAC

_SIOCGIFADDR = 0x8915
_MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_SYS, _PROC = Path("/sys/class/net"), Path("/proc/self/net/if_inet6")


def mac_of(local_address: str) -> str:
    """Return the hardware address of the interface that has an address of this machine; zeros where it has none."""
    address = parse_address(local_address)
    name = _name_of_v4(address) if isinstance(address, ipaddress.IPv4Address) else _name_of_v6(address)
    if name is None:
        return NO_MAC
    try:
        text = (_SYS / name / "address").read_text().strip()
    except OSError:
        return NO_MAC
    return text if _MAC.fullmatch(text) else NO_MAC


def _name_of_v4(address: ipaddress.IPv4Address) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(query, _SIOCGIFADDR, struct.pack("16s24x", name.encode()))
            except OSError:  # an interface without an IPv4 address
                continue
            if answer[20:24] == address.packed:
                return name
    return None


def _name_of_v6(address: ipaddress.IPv6Address) -> str | None:
    try:
        lines = _PROC.read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return None
    for line in lines:
        digits, *_, name = line.split()
        if bytes.fromhex(digits) == address.packed:
            return name
    return None
