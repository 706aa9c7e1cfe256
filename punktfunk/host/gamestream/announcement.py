"""How Moonlight clients find this host on the local network: ``_nvstream._tcp.local.`` (gamestream section 1.2)."""

from __future__ import annotations

import re

from punktfunk.announcement import Service, server_name

SERVICE_TYPE = "_nvstream._tcp.local."
ONE_EMPTY_STRING = b"\0"
"""The TXT record: with no string at all, Apple's resolver takes the whole service for none."""
MAX_NAME_BYTES = 63


def moonlight_service(*, http_port: int, fingerprint: str) -> Service:
    """Return what a host announces, under the machine's name as far as clients show it."""
    return Service(SERVICE_TYPE, http_port, server_name(fingerprint), instance_name, ONE_EMPTY_STRING)


def instance_name(name: str) -> str:
    """Return a name of letters, digits and hyphens: some clients show it, and take no other."""
    return re.sub("[^A-Za-z0-9]+", "-", name).strip("-")[:MAX_NAME_BYTES].strip("-") or "punktfunk"
