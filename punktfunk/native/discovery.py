"""Hosts on the local network by multicast DNS: ``_punktfunk._udp.local.`` (punktfunk/1 section 2.4)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from zeroconf import (
    BadTypeInNameException,
    InterfaceChoice,
    IPVersion,
    NonUniqueNameException,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from punktfunk import log
from punktfunk.addresses import parse_address, reachable_addresses
from punktfunk.errors import CapabilityError
from punktfunk.printable import device_name

SERVICE_TYPE = "_punktfunk._udp.local."
PROTOCOL = "punktfunk/1"
MAX_HOSTS = 64
"""Hosts that one search returns; whoever floods the network with answers gets no further."""
_RESOLVE_LIMIT_MS = 1500


@dataclass(frozen=True, slots=True)
class FoundHost:
    """A host as it announces itself. Nothing of it is proven: the fingerprint has to be, by a pin or a pairing."""

    name: str
    addresses: tuple[str, ...]
    port: int
    fingerprint: str
    pairing_required: bool


class Announcement:
    """Announce a host while the context lasts.

    ``bind`` limits it to one address; for an unspecified one all interfaces hear of it. A network that takes
    no multicast is logged and otherwise without consequence: the host can still be dialled by address.
    """

    def __init__(self, *, name: str, bind: str, port: int, fingerprint: str, pairing_required: bool) -> None:
        self._bind = bind
        self._info = AsyncServiceInfo(
            SERVICE_TYPE,
            f"{name[:40]} {fingerprint[:8]}.{SERVICE_TYPE}",
            port=port,
            properties={
                "proto": PROTOCOL,
                "fp": fingerprint,
                "pair": "required" if pairing_required else "optional",
                "id": fingerprint[:16],
            },
            server=f"punktfunk-{fingerprint[:12]}.local.",
            parsed_addresses=reachable_addresses(bind),
        )
        self.made = False
        """Whether the network has been told."""
        self._zeroconf: AsyncZeroconf | None = None
        self._log = log.get("host.discovery")

    async def __aenter__(self) -> Self:
        try:
            self._zeroconf = _open([] if parse_address(self._bind).is_unspecified else [self._bind])
            await self._zeroconf.async_register_service(self._info, allow_name_change=True)
            self.made = True
        except (OSError, CapabilityError, NonUniqueNameException) as error:
            self._log.warning("not announced", cause=str(error))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zeroconf is not None:
            # Closing says goodbye for what is registered.
            await self._zeroconf.async_close()


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

    zeroconf = _open(interfaces or [])
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


def _open(interfaces: list[str]) -> AsyncZeroconf:
    try:
        return AsyncZeroconf(
            interfaces=interfaces or InterfaceChoice.Default,
            ip_version=IPVersion.All
            if any(":" in interface for interface in interfaces)
            else IPVersion.V4Only,
        )
    except OSError as error:
        raise CapabilityError(
            f"multicast DNS cannot be used here: {error.strerror}", "name the host's address instead"
        ) from error


def _asked_for(name: str) -> AsyncServiceInfo | None:
    """Return what a host of that name is asked by, ``None`` for a name that none may have (RFC 6763, 4.1.1)."""
    try:
        return AsyncServiceInfo(SERVICE_TYPE, name)
    except BadTypeInNameException:
        return None


def _found(info: AsyncServiceInfo) -> FoundHost | None:
    """Read an announcement; what is not of this protocol, or no address, is none of ours."""
    text = {key: value or "" for key, value in info.decoded_properties.items()}
    addresses = tuple(info.parsed_scoped_addresses())
    fingerprint = text.get("fp", "").lower()
    if text.get("proto") != PROTOCOL or not addresses or not info.port:
        return None
    if len(fingerprint) != 64 or not set(fingerprint) <= set("0123456789abcdef"):
        return None
    name = info.name.removesuffix(f".{SERVICE_TYPE}")
    return FoundHost(device_name(name), addresses, info.port, fingerprint, text.get("pair") != "optional")
