"""The front door of punktfunk: host, client and what both are made of, a room each.

Not here: what measures them (``harness``).

``Host`` and ``Client`` are asynchronous context managers; they and their configurations are loaded when first
asked for::

    async with punktfunk.Host(punktfunk.HostConfig(trust="loopback", port=0)) as host:
        config = punktfunk.ClientConfig(trust="loopback")
        async with punktfunk.Client(f"127.0.0.1:{host.port}", config) as client:
            summary = await client.finished()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from punktfunk.client.config import ClientConfig as ClientConfig
    from punktfunk.client.pair import pair as pair
    from punktfunk.client.service import Client as Client
    from punktfunk.host.config import HostConfig as HostConfig
    from punktfunk.host.service import Host as Host

_LAZY = {
    "Client": "punktfunk.client.service",
    "ClientConfig": "punktfunk.client.config",
    "Host": "punktfunk.host.service",
    "HostConfig": "punktfunk.host.config",
    "pair": "punktfunk.client.pair",
}
__all__ = ["Client", "ClientConfig", "Host", "HostConfig", "pair"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
