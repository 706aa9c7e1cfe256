"""``punktfunk.pair``: become a client that a host knows."""

from __future__ import annotations

import asyncio
import platform

from punktfunk.client.config import ClientConfig
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.client.request import dialects, load_identity
from punktfunk.native.client import parse_host_port
from punktfunk.native.pair_client import pair_with


async def pair(address: str, pin: str, config: ClientConfig | None = None) -> str:
    """Pair with the host at ``HOST[:PORT]`` by the PIN that it shows; return its fingerprint.

    ``config`` gives identity (``state_dir``), name and dialect. With a ``state_dir`` the host is remembered
    there, and sessions from the same folder pin it. Raises ``PairingError`` for a wrong PIN and
    ``PairingRefusedError`` where the host is not armed, bound to another device or cooling down.
    """
    config = config or ClientConfig()
    where = parse_host_port(address)
    # Read before the PIN is spent: a list that cannot be read would make the pairing useless.
    hosts = None if config.state_dir is None else KnownHosts(config.state_dir)
    identity = await asyncio.to_thread(load_identity, config)
    name = config.name or platform.node() or "punktfunk"
    fingerprint = await pair_with(where, identity, dialects(config), pin, name)
    if hosts is not None:
        hosts.remember(where, fingerprint)
    return fingerprint
