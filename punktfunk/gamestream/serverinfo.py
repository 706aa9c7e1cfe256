"""What ``/serverinfo`` says of a host (gamestream section 2.2): to anybody by HTTP, to paired clients by HTTPS."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from punktfunk.addresses import parse_address
from punktfunk.gamestream import xml
from punktfunk.gamestream.describe import ANY_HEVC
from punktfunk.neighbours import NO_MAC

APP_VERSION = "7.1.431.-1"
"""The dialect: clients test its fourth number, which is negative, for all that this project speaks."""
GFE_VERSION = "3.23.0.74"
NO_LOCAL_IP = "127.0.0.1"
"""What clients ignore, where they came by IPv6: an IPv6 literal would replace the IPv4 address that they know."""

_MAX_LUMA_PIXELS_HEVC = 1_869_449_984


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A host at one moment, as the client sees it that asks."""

    hostname: str
    unique_id: str
    https_port: int
    http_port: int
    codec_mask: int
    running_app: int
    """Number of the app that runs, 0 for none: what is busy and with what is one thing, so that the two agree."""
    local_ip: str
    mac: str = NO_MAC
    """All zeros, which clients ignore, where there is nothing to wake or nobody to be told."""
    paired: bool = False

    def document(self) -> bytes:
        """Return the reply. ``ExternalIP`` is left out: an empty element breaks one client."""
        return xml.reply(
            (
                ("hostname", self.hostname or "punktfunk"),
                ("appversion", APP_VERSION),
                ("GfeVersion", GFE_VERSION),
                ("uniqueid", self.unique_id),
                ("HttpsPort", self.https_port),
                ("ExternalPort", self.http_port),
                ("MaxLumaPixelsHEVC", _MAX_LUMA_PIXELS_HEVC if self.codec_mask & ANY_HEVC else 0),
                ("mac", self.mac if self.paired else NO_MAC),
                ("LocalIP", self.local_ip),
                ("ServerCodecModeSupport", int(self.codec_mask)),
                ("PairStatus", int(self.paired)),
                ("currentgame", self.running_app),
                ("state", f"SUNSHINE_SERVER_{'BUSY' if self.running_app else 'FREE'}"),
            )
        )


def unique_id(fingerprint: str) -> str:
    """Return the number that a host goes by in every client, 16 hex digits, from its certificate's fingerprint.

    It lasts as long as the certificate does, and no longer: clients keep the certificate under it.
    """
    return hashlib.sha256(b"uniqueid" + bytes.fromhex(fingerprint)).hexdigest()[:16]


def local_ip(address: str) -> str:
    """Return ``LocalIP`` for a client that reached the host at ``address``: an IPv4 address, never an IPv6 one."""
    parsed = parse_address(address)
    return str(parsed) if isinstance(parsed, ipaddress.IPv4Address) else NO_LOCAL_IP
