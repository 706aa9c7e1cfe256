"""How Moonlight clients find this host on the local network: ``_nvstream._tcp.local.`` (gamestream section 1.2)."""

from __future__ import annotations

import re

from zeroconf.asyncio import AsyncServiceInfo

from punktfunk.addresses import reachable_addresses
from punktfunk.announcement import Announcement, server_name

SERVICE_TYPE = "_nvstream._tcp.local."
ONE_EMPTY_STRING = b"\0"
"""The TXT record: with no string at all, Apple's resolver takes the whole service for none."""
MAX_NAME_BYTES = 63


def moonlight_announcement(*, name: str, bind: str, http_port: int, fingerprint: str) -> Announcement:
    """Return the announcement of a host that people call ``name``, as far as clients show it."""
    return Announcement(
        AsyncServiceInfo(
            SERVICE_TYPE,
            f"{instance_name(name)}.{SERVICE_TYPE}",
            port=http_port,
            properties=ONE_EMPTY_STRING,
            server=server_name(fingerprint),
            parsed_addresses=reachable_addresses(bind),
        ),
        bind,
    )


def instance_name(name: str) -> str:
    """Return a name of letters, digits and hyphens: some clients show it, and take no other."""
    return re.sub("[^A-Za-z0-9]+", "-", name).strip("-")[:MAX_NAME_BYTES].strip("-") or "punktfunk"
