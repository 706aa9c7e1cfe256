"""Which network card of the local network has an address: what this machine's kernel has learnt by ARP and ND.

Only machines of the same link are in these tables. Others are reached by a router, whose card is not theirs.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import subprocess
from pathlib import Path

from punktfunk.addresses import parse_address

NO_MAC = "00:00:00:00:00:00"
_MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ARP = Path("/proc/thread-self/net/arp")
_COMPLETE = 0x2
_LIMIT_S = 2.0


def is_mac(text: str) -> bool:
    """Return whether a text is the hardware address of a card: six bytes in lower-case hex, not all zero."""
    return _MAC.fullmatch(text) is not None and text != NO_MAC


def hardware_address(host: str) -> str | None:
    """Return the hardware address of the machine that has an address of this link; ``None`` where that is not known.

    For IPv6 the program ``ip`` is asked, which takes a few milliseconds.
    """
    address = parse_address(host)
    found = _by_arp(address) if isinstance(address, ipaddress.IPv4Address) else _by_nd(address)
    return found if found is not None and is_mac(found) else None


def _by_arp(address: ipaddress.IPv4Address) -> str | None:
    with contextlib.suppress(OSError):
        for line in _ARP.read_text().splitlines()[1:]:
            text, _, flags, mac, *_ = line.split()
            if text == str(address) and int(flags, 16) & _COMPLETE:
                return mac.lower()
    return None


def _by_nd(address: ipaddress.IPv6Address) -> str | None:
    plain = str(ipaddress.IPv6Address(int(address)))
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        asked = ["ip", "-6", "-json", "neighbor", "show", plain]
        done = subprocess.run(asked, capture_output=True, check=True, timeout=_LIMIT_S)
        for entry in json.loads(done.stdout):
            if "FAILED" not in entry.get("state", ()) and "lladdr" in entry:
                return str(entry["lladdr"]).lower()
    return None
