"""What a person calls a host, made into an address: a literal address, a name of the network, or an announced host.

A name proves nothing: the host behind it still has to show the certificate that was paired with or pinned. A host
that was paired with is known again by the fingerprint that it announces, also at another address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket

from punktfunk.client.config import ClientConfig
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.errors import CapabilityError, ConfigError, HandshakeError
from punktfunk.native.client import DEFAULT_PORT, parse_host_port
from punktfunk.native.discovery import FoundHost, discover

LISTEN_S = 1.5
"""How long announced hosts are listened for; one that runs answers in a few milliseconds."""
RESOLVE_LIMIT_S = 5.0
_NAME = re.compile(r"(?P<name>[^:\[\]/]{1,253}?)(?::(?P<port>\d{1,5}))?")


async def dialled(config: ClientConfig) -> ClientConfig:
    """Return ``config`` with a literal address, and with a pin where an announcement led to a known host.

    Raises ``ConfigError`` for what is neither address nor name, ``HandshakeError`` for a name that nobody has.
    """
    match = _NAME.fullmatch(config.address.strip())
    if match is None or _is_literal(match["name"]):
        parse_host_port(config.address)
        return config
    name, port = match["name"], int(match["port"] or 0)
    if port > 65535:
        raise ConfigError(f"{port} is not a UDP port", "leave it out, or write 1 to 65535")
    # A bare name is most likely one that a host announces, a dotted one belongs to the domain name system.
    ways = (_announced, _resolved) if "." not in name.removesuffix(".local") else (_resolved, _announced)
    for way in ways:
        found = await way(config, name, port)
        if found is not None:
            return found
    raise HandshakeError(
        f"no host is called {name!r}",
        "punktfunk discover lists those that announce themselves; an address will do, too",
    )


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
    return None if not found else _at_announced(config, found[0], port)


def _at_announced(config: ClientConfig, host: FoundHost, port: int) -> ClientConfig | None:
    if not host.addresses:
        return None
    changes: dict[str, str] = {"address": _written(host.addresses[0], port or host.port)}
    if config.pin is None and config.state_dir is not None:
        known = {host.fingerprint for host in KnownHosts(config.state_dir).all()}
        # An announcement may lie about the fingerprint; the pin then ends the handshake.
        if host.fingerprint in known:
            changes["pin"] = host.fingerprint
    return config.model_copy(update=changes)


async def _resolved(config: ClientConfig, name: str, port: int) -> ClientConfig | None:
    try:
        async with asyncio.timeout(RESOLVE_LIMIT_S):
            answers = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError, TimeoutError):
        return None
    # IPv4 first: hosts listen there by default.
    addresses = sorted((str(answer[4][0]) for answer in answers), key=lambda address: ":" in address)
    if not addresses:
        return None
    return config.model_copy(update={"address": _written(addresses[0], port or DEFAULT_PORT)})


def _is_literal(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _written(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
