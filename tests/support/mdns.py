"""Which services a network hears of, asked as any other program of it would."""

from __future__ import annotations

import asyncio

from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser

from punktfunk.announcement import open_responder


async def instances(kind: str, seconds: float) -> list[str]:
    """Listen for a kind of service and return the names of those that are there at the end, sorted."""
    found: set[str] = set()

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        (found.discard if state_change is ServiceStateChange.Removed else found.add)(name)

    zeroconf = open_responder([])
    try:
        browser = AsyncServiceBrowser(zeroconf.zeroconf, kind, handlers=[changed])
        await asyncio.sleep(seconds)
        await browser.async_cancel()
    finally:
        await zeroconf.async_close()
    return sorted(name.removesuffix(f".{kind}") for name in found)
