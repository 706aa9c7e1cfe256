"""What a person calls a host, made into an address: a literal address, a name of the network, or an announced host.

A name proves nothing: the host behind it still has to show the certificate that was paired with or pinned. A host
that was paired with is known again by the fingerprint that it announces, also at another address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence

from punktfunk.addresses import parse_address, resolved_hosts, written
from punktfunk.client.config import ClientConfig
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.errors import CapabilityError, ConfigError, HandshakeError, HostNotFoundError
from punktfunk.native.client import DEFAULT_PORT, parse_host_port
from punktfunk.native.discovery import MAX_ADDRESSES, FoundHost, discover
from punktfunk.native.port_probe import probe_port

LISTEN_S = 1.5
"""How long announced hosts are listened for; one that runs answers in a few milliseconds."""
RESOLVE_LIMIT_S = 5.0
ANSWER_LIMIT_S = 1.0
"""How long each of several addresses has to answer; they are asked at once."""
_NAME = re.compile(r"(?P<name>[^:\[\]/]{1,253}?)(?::(?P<port>\d{1,5}))?")


async def dialled(config: ClientConfig, *, pairing: bool = False) -> ClientConfig:
    """Return ``config`` with a literal address, and with a pin where an announcement led to a known host.

    A literal address that no host was paired at may be another one of a host that was: the hosts that announce
    themselves are asked, unless ``pairing`` needs no pin.
    Of several addresses it is the first that answers. Raises ``ConfigError`` for what is neither address nor name,
    ``HostNotFoundError`` for a name that nobody has, ``HandshakeError`` for one that several announced hosts have.
    """
    name, port = host_and_port(config.address)
    if name is None:
        place = parse_host_port(config.address)
        return config if pairing else await _pinned(config, place)
    # A bare name is most likely one that a host announces, a dotted one belongs to the domain name system.
    ways = (_announced, _resolved) if "." not in name.removesuffix(".local") else (_resolved, _announced)
    for way in ways:
        found = await way(config, name, port)
        if found is not None:
            return found
    raise HostNotFoundError(
        f"no host is called {name!r}: nobody announces that name here, and the name service does not know it",
        "is the host on (punktfunk wake)? punktfunk discover lists those that announce themselves; an address will do",
    )


def host_and_port(text: str) -> tuple[str | None, int]:
    """Return name and port of ``NAME[:PORT]``, 0 for none; no name where it is not one, as a literal address is not.

    Raises ``ConfigError`` for a port that there is not.
    """
    match = _NAME.fullmatch(text.strip())
    if match is None or _is_literal(match["name"]):
        return None, 0
    port = int(match["port"] or 0)
    if port > 65535:
        raise ConfigError(f"{port} is not a UDP port", "leave it out, or write 1 to 65535")
    return match["name"], port


async def _announced(config: ClientConfig, name: str, port: int) -> ClientConfig | None:
    try:
        hosts = await discover(LISTEN_S)
    except CapabilityError:
        # Without multicast there are other ways to a host.
        return None
    wanted = name.removesuffix(".local").casefold()
    found = [host for host in hosts if host.name.casefold() == wanted]
    if len({host.fingerprint for host in found}) > 1:
        raise HandshakeError(
            f"{len(found)} hosts are called {name!r}", "dial the address of one: punktfunk discover"
        )
    return None if not found else await _at_announced(config, found[0], port)


async def _at_announced(config: ClientConfig, host: FoundHost, port: int) -> ClientConfig | None:
    if not host.addresses:
        return None
    address = await answering(host.addresses, port or host.port)
    changes: dict[str, str] = {"address": written(address, port or host.port)}
    if config.pin is None and config.state_dir is not None:
        known = {host.fingerprint for host in KnownHosts(config.state_dir).all()}
        # An announcement may lie about the fingerprint; the pin then ends the handshake.
        if host.fingerprint in known:
            changes["pin"] = host.fingerprint
    return config.model_copy(update=changes)


async def _pinned(config: ClientConfig, place: tuple[str, int]) -> ClientConfig:
    if config.pin is not None or config.state_dir is None or parse_address(place[0]).is_loopback:
        return config
    hosts = KnownHosts(config.state_dir)
    known = {host.fingerprint for host in hosts.all()}
    if not known or hosts.find(place) is not None:
        return config
    try:
        announced = await discover(LISTEN_S)
    except CapabilityError:
        return config
    wanted = parse_address(place[0])
    for host in announced:
        # An announcement may lie about the fingerprint; the pin then ends the handshake.
        if host.fingerprint in known and any(parse_address(address) == wanted for address in host.addresses):
            return config.model_copy(update={"pin": host.fingerprint})
    return config


async def _resolved(config: ClientConfig, name: str, port: int) -> ClientConfig | None:
    try:
        async with asyncio.timeout(RESOLVE_LIMIT_S):
            answers = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError, TimeoutError):
        return None
    found = resolved_hosts(answers)
    # IPv4 first, which is the way of fewest surprises where both lead there.
    addresses = sorted(found, key=lambda address: ":" in address)[:MAX_ADDRESSES]
    if not addresses:
        return None
    port = port or DEFAULT_PORT
    return config.model_copy(update={"address": written(await answering(addresses, port), port)})


async def answering(addresses: Sequence[str], port: int) -> str:
    """Return the first address, in this order, whose port answers; the first of all where none does."""
    if len(addresses) == 1:
        return addresses[0]
    probes = [asyncio.ensure_future(probe_port((address, port), ANSWER_LIMIT_S)) for address in addresses]
    try:
        for address, probe in zip(addresses, probes, strict=True):
            if (await probe).answered:
                return address
    finally:
        for probe in probes:
            probe.cancel()
    return addresses[0]


def _is_literal(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
