"""Announce a service in the local network by multicast DNS, whatever its protocol (RFC 6762, 6763)."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from zeroconf import InterfaceChoice, IPVersion, NonUniqueNameException
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from punktfunk import log
from punktfunk.addresses import parse_address
from punktfunk.errors import CapabilityError


class Announcement:
    """Announce a service while the context lasts.

    ``bind`` limits it to one address; for an unspecified one all interfaces hear of it. A network that takes
    no multicast is logged and otherwise without consequence: the host can still be dialled by address.
    """

    def __init__(self, info: AsyncServiceInfo, bind: str) -> None:
        self.info = info
        self._bind = bind
        self.made = False
        """Whether the network has been told."""
        self._zeroconf: AsyncZeroconf | None = None
        self._log = log.get("host.discovery")

    async def __aenter__(self) -> Self:
        try:
            self._zeroconf = open_responder([] if parse_address(self._bind).is_unspecified else [self._bind])
            await self._zeroconf.async_register_service(self.info, allow_name_change=True)
            self.made = True
        except (OSError, CapabilityError, NonUniqueNameException) as error:
            self._log.warning("not announced", service=self.info.type, cause=str(error))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zeroconf is not None:
            # Closing says goodbye for what is registered.
            await self._zeroconf.async_close()


def server_name(fingerprint: str) -> str:
    """Return the name under which the addresses of a host are found, the same for all its services."""
    return f"punktfunk-{fingerprint[:12]}.local."


def open_responder(interfaces: list[str]) -> AsyncZeroconf:
    """Return what speaks multicast DNS at these addresses of this machine, at all of them when none is named.

    Raises ``CapabilityError`` where multicast cannot be used.
    """
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
