"""Hosts on the local network by multicast DNS: ``_punktfunk._udp.local.`` (punktfunk/1 section 2.4)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from zeroconf import BadTypeInNameException, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo

from punktfunk.addresses import parse_address
from punktfunk.announcement import Service, open_responder, server_name, speaking_interfaces
from punktfunk.printable import device_name

SERVICE_TYPE = "_punktfunk._udp.local."
PROTOCOL = "punktfunk/1"
MAX_HOSTS = 64
"""Hosts that one search returns; whoever floods the network with answers gets no further."""
MAX_ADDRESSES = 16
"""Addresses of one host that are looked at."""
_RESOLVE_LIMIT_MS = 1500


@dataclass(frozen=True, slots=True)
class FoundHost:
    """A host as it announces itself. Nothing of it is proven: the fingerprint has to be, by a pin or a pairing."""

    name: str
    addresses: tuple[str, ...]
    """IPv4 first, link-local ones last and with their zone."""
    port: int
    fingerprint: str
    pairing_required: bool


def native_service(*, port: int, fingerprint: str, pairing_required: bool) -> Service:
    """Return what a host that listens at a port announces."""
    return Service(
        SERVICE_TYPE,
        port,
        server_name(fingerprint),
        lambda hostname: f"{hostname[:40]} {fingerprint[:8]}",
        {
            "proto": PROTOCOL,
            "fp": fingerprint,
            "pair": "required" if pairing_required else "optional",
            "id": fingerprint[:16],
        },
    )


async def discover(seconds: float, interfaces: list[str] | None = None) -> list[FoundHost]:
    """Listen for ``seconds`` and return the hosts that answered, by name.

    ``interfaces`` are addresses of this machine to ask from; by default all. Raises ``CapabilityError`` where
    multicast cannot be used.
    """
    names: dict[str, None] = {}

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            names.pop(name, None)
        elif len(names) < MAX_HOSTS:
            names[name] = None

    zeroconf = open_responder(interfaces or [])
    try:
        browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, handlers=[changed])
        await asyncio.sleep(seconds)
        await browser.async_cancel()
        infos = [info for name in names if (info := _asked_for(name)) is not None]
        answers = await asyncio.gather(
            *(info.async_request(zeroconf.zeroconf, _RESOLVE_LIMIT_MS) for info in infos)
        )
    finally:
        await zeroconf.async_close()
    found = [_found(info) for info, answered in zip(infos, answers, strict=True) if answered]
    return sorted((host for host in found if host is not None), key=lambda host: host.name)


def _asked_for(name: str) -> AsyncServiceInfo | None:
    """Return what a host of that name is asked by, ``None`` for a name that none may have (RFC 6763, 4.1.1)."""
    try:
        return AsyncServiceInfo(SERVICE_TYPE, name)
    except BadTypeInNameException:
        return None


def _found(info: AsyncServiceInfo) -> FoundHost | None:
    """Read an announcement; what is not of this protocol, or no address, is none of ours."""
    text = {key: value or "" for key, value in info.decoded_properties.items()}
    addresses = dialable(info.parsed_scoped_addresses())
    fingerprint = text.get("fp", "").lower()
    if text.get("proto") != PROTOCOL or not addresses or not info.port:
        return None
    if len(fingerprint) != 64 or not set(fingerprint) <= set("0123456789abcdef"):
        return None
    name = info.name.removesuffix(f".{SERVICE_TYPE}")
    return FoundHost(device_name(name), addresses, info.port, fingerprint, text.get("pair") != "optional")


def dialable(announced: list[str]) -> tuple[str, ...]:
    """Return the addresses that can be dialled, the best first.

    A link-local one that was heard of by IPv4 names no link: where this machine is on one only, it is of that.
    """
    unzoned = {
        text for text in announced if "%" not in text and parse_address(text).is_link_local and ":" in text
    }
    links = speaking_interfaces() if unzoned else []
    zone = f"%{links[0].index}" if len(links) == 1 else None
    found = {
        text + (zone or "") if text in unzoned else text for text in announced if zone or text not in unzoned
    }
    return tuple(sorted(found, key=_rank)[:MAX_ADDRESSES])


def _rank(text: str) -> tuple[bool, bool, int]:
    address = parse_address(text)
    return address.is_link_local, address.version == 6, int(address)
