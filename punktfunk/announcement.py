"""Announce services in the local networks by multicast DNS, whatever their protocol (RFC 6762, 6763).

Each interface has a responder of its own, which tells the addresses of that interface and no others: what a client
of one network hears, it can dial (RFC 6762 section 14). Addresses that come and go, and a machine that is called
otherwise, are followed. A name that another machine's service has is numbered: ``den``, ``den-2``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from zeroconf import (
    IPVersion,
    NotRunningException,
    RecordUpdate,
    RecordUpdateListener,
    Zeroconf,
)
from zeroconf._dns import DNSService
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from punktfunk import log
from punktfunk.addresses import bound_versions, is_wildcard, parse_address
from punktfunk.errors import CapabilityError
from punktfunk.interfaces import Interface, interfaces
from punktfunk.network_watch import NetworkWatch

MAX_INTERFACES: Final = 32
"""Interfaces that are spoken on; machines with containers have one for each of these."""
MAX_NUMBER: Final = 9
"""Whoever claims every name of the network has a host called ``den-9`` and no further."""
_PROBE_MS: Final = 750
"""How long a name's owner is waited for (RFC 6762 section 8.1)."""
CONFLICT_PAUSE_S: Final = 5.0
"""Between another machine's claim to a name and the search for a new one, so that nobody is renamed again and again."""
_MAX_LABEL_BYTES: Final = 63
_SO_BINDTOIFINDEX: Final = 62
"""Of asm-generic/socket.h, which Python does not name."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service to announce, without what changes: addresses and the machine's name."""

    kind: str
    """Such as ``_punktfunk._udp.local.``."""
    port: int
    server: str
    """Name under which the addresses of the host are found: :func:`server_name`."""
    label: Callable[[str], str]
    """Gives what people see from the machine's name."""
    properties: Mapping[str, str] | bytes

    def info(self, label: str, addresses: Sequence[str]) -> AsyncServiceInfo:
        """Return its records."""
        properties = self.properties if isinstance(self.properties, bytes) else dict(self.properties)
        return AsyncServiceInfo(
            self.kind,
            f"{label}.{self.kind}",
            port=self.port,
            properties=properties,
            server=self.server,
            parsed_addresses=list(addresses),
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to announce: an interface, and its addresses that a client can dial."""

    interface: int
    addresses: tuple[str, ...]


class Announcement:
    """Announce services while the context lasts, on each interface with its own addresses.

    ``bind`` limits them to one address, or to those of a family; for ``*`` all interfaces hear of all. A network that
    takes no multicast is logged and otherwise without consequence: the host can still be dialled by address.
    """

    def __init__(
        self, services: Sequence[Service], bind: str, hostname: Callable[[], str] = socket.gethostname
    ) -> None:
        self.services = tuple(services)
        self._bind, self._hostname = bind, hostname
        self._named_after = ""
        self.labels: dict[str, str] = {}
        """By kind of service what it is called, number included."""
        self._responders: dict[_Place, _Responder] = {}
        self._changing = asyncio.Lock()
        self._watch: NetworkWatch | None = None
        self._tasks: set[asyncio.Future[None]] = set()
        self._contested = False
        self._closed = False
        self._log = log.get("host.discovery")

    @property
    def made(self) -> bool:
        """Whether a network has been told."""
        return any(responder.registered for responder in self._responders.values())

    @property
    def places(self) -> dict[int, tuple[str, ...]]:
        """The addresses that are announced, by interface."""
        return {place.interface: place.addresses for place in self._responders}

    async def __aenter__(self) -> Self:
        self._watch = NetworkWatch(self._changed)
        await self.follow()
        if not self._responders:
            self._log.warning("not announced", cause="no network interface with an address takes multicast")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._watch is not None:
            self._watch.close()
        async with self._changing:
            responders, self._responders = list(self._responders.values()), {}
            # Closing says goodbye for what is registered.
            await asyncio.gather(*(responder.close() for responder in responders))
        for task in self._tasks:
            task.cancel()

    def _changed(self) -> None:
        if not self._closed:
            self._keep(asyncio.ensure_future(self.follow()))

    def _conflict(self) -> None:
        """Look for another name, some time after somebody was heard who has ours."""
        if not self._contested and not self._closed:
            self._contested = True
            asyncio.get_running_loop().call_later(CONFLICT_PAUSE_S, self._changed)

    async def follow(self) -> None:
        """Announce what is true now, and only what has changed."""
        async with self._changing:
            if self._closed:
                return
            hostname = self._hostname()
            try:
                wanted = await asyncio.to_thread(_places, self._bind)
            except OSError as error:
                self._log.warning("what is announced is not followed", cause=str(error))
                return
            anew = hostname != self._named_after or self._contested
            self._contested = False
            former = {place.interface for place in self._responders}
            self._open([place for place in wanted if place not in self._responders])
            # An interface with other addresses leads to the same machines as before.
            asked = [r for place, r in self._responders.items() if anew or place.interface not in former]
            labels = {
                service.kind: await self._free_label(service, asked, hostname, anew=anew)
                for service in self.services
            }
            renamed, self._named_after = labels != self.labels, hostname
            if renamed and self.labels:
                self._log.info("announced under another name", names=sorted(labels.values()))
            self.labels = labels
            await asyncio.gather(*(self._register(r, again=renamed) for r in self._responders.values()))
            # Without a goodbye: what goes on with other addresses is not gone, and the others have no network any more.
            gone = [place for place in self._responders if place not in set(wanted)]
            await asyncio.gather(*(self._responders.pop(place).close(goodbye=False) for place in gone))

    def _open(self, fresh: Iterable[_Place]) -> None:
        for place in fresh:
            try:
                self._responders[place] = _Responder(place, self._conflict)
            except CapabilityError as error:
                self._log.warning("not announced", addresses=list(place.addresses), cause=error.cause)

    async def _free_label(
        self, service: Service, asked: Sequence[_Responder], hostname: str, *, anew: bool
    ) -> str:
        """Return what to call a service: the label that follows from the machine's name, or a numbered one."""
        base = service.label(hostname)
        current = self.labels.get(service.kind)
        number = 1 if anew or current is None else _number(current, base)
        while number < MAX_NUMBER:
            label = numbered(base, number)
            taken = await asyncio.gather(*(responder.owned_by_others(service, label) for responder in asked))
            if not any(taken):
                return label
            number += 1
        return numbered(base, MAX_NUMBER)

    async def _register(self, responder: _Responder, *, again: bool) -> None:
        if responder.registered and not again:
            return
        infos = [
            service.info(self.labels[service.kind], responder.place.addresses) for service in self.services
        ]
        try:
            for sent in await responder.register(infos):
                self._keep(asyncio.ensure_future(sent))
        except (OSError, NotRunningException) as error:
            self._log.warning("not announced", addresses=list(responder.place.addresses), cause=str(error))

    def _keep(self, task: asyncio.Future[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Responder(RecordUpdateListener):
    """What speaks multicast DNS on one interface. Raises ``CapabilityError`` where that cannot be done.

    Of two machines with one name that of the lower server keeps it, and says so; on the other ``conflict`` is called.
    """

    def __init__(self, place: _Place, conflict: Callable[[], None]) -> None:
        super().__init__()
        self.place = place
        self.registered = False
        self._conflict = conflict
        self._infos: dict[str, AsyncServiceInfo] = {}
        """What is announced, by name in lower case."""
        self._defended_s = -CONFLICT_PAUSE_S
        self._defence: set[asyncio.Future[Awaitable[None]]] = set()
        self._zeroconf = open_responder(place.addresses, place.interface)
        _hear_own_interface_only(self._zeroconf.zeroconf, place.interface)
        self._zeroconf.zeroconf.async_add_listener(self, None)

    async def owned_by_others(self, service: Service, label: str) -> bool:
        """Return whether a machine of this network has a service of that name."""
        asked = AsyncServiceInfo(service.kind, f"{label}.{service.kind}")
        with contextlib.suppress(OSError, NotRunningException):
            await asked.async_request(self._zeroconf.zeroconf, _PROBE_MS)
        return asked.server is not None and asked.server.lower() != service.server.lower()

    async def register(self, infos: Sequence[AsyncServiceInfo]) -> list[Awaitable[None]]:
        """Announce services in place of what was announced before; return what sends the repetitions."""
        if self.registered:
            self._infos.clear()
            await self._zeroconf.async_unregister_all_services()
        sending = []
        for info in infos:
            # Names were looked for on all interfaces; the library would take our own, heard there, for a stranger's.
            sending.append(await self._zeroconf.async_register_service(info, cooperating_responders=True))
            self._infos[info.name.lower()] = info
        self.registered = True
        return sending

    async def close(self, *, goodbye: bool = True) -> None:
        """Speak no longer; ``goodbye`` tells the network that the services are gone."""
        self._infos.clear()
        if not goodbye:
            registry = self._zeroconf.zeroconf.registry
            registry.async_remove(registry.async_get_service_infos())
        with contextlib.suppress(OSError, NotRunningException):
            await self._zeroconf.async_close()

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """Notice another machine that announces a service under a name of ours."""
        for update in records:
            record = update.new
            if not isinstance(record, DNSService) or record.is_expired(now):
                continue
            ours = self._infos.get(record.name.lower())
            if ours is None or ours.server is None or record.server.lower() == ours.server.lower():
                continue
            if record.server.lower() < ours.server.lower():
                self._conflict()
            else:
                self._defend(ours)

    def _defend(self, ours: AsyncServiceInfo) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._defended_s >= CONFLICT_PAUSE_S:
            self._defended_s = loop.time()
            announcing = loop.create_task(self._zeroconf.async_update_service(ours))
            self._defence.add(announcing)
            announcing.add_done_callback(self._defence.discard)


# A packet that an interface which is going does not take is no news; what cannot be announced is logged here.
logging.getLogger("zeroconf").setLevel(logging.ERROR)


def server_name(fingerprint: str) -> str:
    """Return the name under which the addresses of a host are found, the same for all its services."""
    return f"punktfunk-{fingerprint[:12]}.local."


def numbered(base: str, number: int) -> str:
    """Return a label with its number, which the first has none of, within what DNS lets a label have."""
    end = "" if number == 1 else f"-{number}"
    kept = base.encode()[: _MAX_LABEL_BYTES - len(end)].decode(errors="ignore")
    return kept + end


def open_responder(addresses: Sequence[str], interface: int | None = None) -> AsyncZeroconf:
    """Return what speaks multicast DNS at these addresses of this machine, at all of them when none is named.

    ``interface`` is the one that addresses of IPv6 are of. Raises ``CapabilityError`` where multicast cannot be used.
    """
    where: list[str | int] = []
    if addresses:
        where += [address for address in addresses if ":" not in address]
        of_v6 = [address for address in addresses if ":" in address]
        where += of_v6 if interface is None else [interface][: len(of_v6)]
    else:
        for each in speaking_interfaces():
            where += [str(own.ip) for own in each.addresses if own.ip.version == 4]
            where += [each.index] if any(own.ip.version == 6 for own in each.addresses) else []
    if not where:
        raise CapabilityError(
            "multicast DNS cannot be used here: no network interface is up", "name the host's address instead"
        )
    has_v4 = any(isinstance(place, str) and ":" not in place for place in where)
    has_v6 = any(isinstance(place, int) or ":" in place for place in where)
    version = IPVersion.All if has_v4 and has_v6 else IPVersion.V6Only if has_v6 else IPVersion.V4Only
    try:
        return AsyncZeroconf(interfaces=where, ip_version=version)
    except (OSError, RuntimeError) as error:  # the latter for an address that has just gone
        cause = getattr(error, "strerror", None) or str(error)
        raise CapabilityError(
            f"multicast DNS cannot be used here: {cause}", "name the host's address instead"
        ) from error


def speaking_interfaces() -> list[Interface]:
    """Return the interfaces where other machines may be: up, with an address, and taking multicast."""
    found = [interface for interface in interfaces() if interface.in_use and interface.multicast]
    return found[:MAX_INTERFACES]


def _places(bind: str) -> list[_Place]:
    if is_wildcard(bind):
        versions = bound_versions(bind)
        found = (
            (i.index, tuple(str(own.ip) for own in i.addresses if own.ip.version in versions))
            for i in speaking_interfaces()
        )
        return [_Place(index, addresses) for index, addresses in found if addresses]
    address = parse_address(bind)
    holding = (i.index for i in interfaces() if i.up and any(own.ip == address for own in i.addresses))
    index = next(holding, None)
    return [] if index is None else [_Place(index, (str(address),))]


def _number(label: str, base: str) -> int:
    matched = re.fullmatch(r"(.+)-(\d)", label)
    return int(matched[2]) if matched is not None and numbered(base, int(matched[2])) == label else 1


def _hear_own_interface_only(zeroconf: Zeroconf, interface: int) -> None:
    """Keep what comes by other interfaces out: the kernel gives a socket all groups that any program has joined."""
    listening = zeroconf.engine._listen_socket
    if listening is not None:
        # Without this right (kernels before 5.7) the host answers on each network with the addresses of all.
        with contextlib.suppress(PermissionError):
            listening.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, interface)
