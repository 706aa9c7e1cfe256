"""Devices that await approval: unpaired clients that asked to connect, and those that were turned away."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto

from punktfunk.addresses import source_of
from punktfunk.printable import device_name

MAX_PENDING = 32
MAX_PENDING_PER_SOURCE = 4
PENDING_LIFE_NS = 600 * 1_000_000_000
"""Devices that await approval (punktfunk/1 section 2.4: 32 for 10 minutes)."""
MAX_DENIED = 256
"""Devices remembered to have been turned away; the one that was so longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An unpaired device that asked to connect."""

    fingerprint: str
    name: str
    source: str
    since_ns: int


class Asked(Enum):
    """What became of a device's request."""

    NEW = auto()
    KNOWN = auto()
    """It awaits approval already."""
    DENIED = auto()
    """It was turned away within the last 10 minutes."""
    OVERFLOW = auto()
    """Too many wait, or too many of its source."""


class PendingClients:
    """Remember who asked, within caps. Times are CLOCK_MONOTONIC ns, given by the caller."""

    def __init__(self) -> None:
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        self._denied: OrderedDict[str, int] = OrderedDict()

    @property
    def denied(self) -> int:
        """How many devices are remembered to have been turned away."""
        return len(self._denied)

    def ask(self, fingerprint: str, name: str, source: str, now_ns: int) -> Asked:
        """Remember an unpaired device so that a person can approve it."""
        self._expire(now_ns)
        if fingerprint in self._denied:
            return Asked.DENIED
        if fingerprint in self._pending:
            return Asked.KNOWN
        key = source_of(source)
        of_source = sum(source_of(p.source) == key for p in self._pending.values())
        if len(self._pending) >= MAX_PENDING or of_source >= MAX_PENDING_PER_SOURCE:
            return Asked.OVERFLOW
        self._pending[fingerprint] = Pending(fingerprint, device_name(name), source, now_ns)
        return Asked.NEW

    def all(self, now_ns: int) -> tuple[Pending, ...]:
        """Return the devices that wait, oldest first."""
        self._expire(now_ns)
        return tuple(self._pending.values())

    def get(self, fingerprint: str, now_ns: int) -> Pending | None:
        """Return a device that waits, ``None`` when it does not (any more)."""
        self._expire(now_ns)
        return self._pending.get(fingerprint)

    def settle(self, fingerprint: str) -> None:
        """Take a device off the list: it is paired."""
        self._pending.pop(fingerprint, None)

    def deny(self, fingerprint: str, now_ns: int) -> bool:
        """Turn a device away for 10 minutes; ``False`` when it does not wait."""
        self._expire(now_ns)
        if self._pending.pop(fingerprint, None) is None:
            return False
        self._denied[fingerprint] = now_ns + PENDING_LIFE_NS
        while len(self._denied) > MAX_DENIED:
            self._denied.popitem(last=False)
        return True

    def _expire(self, now_ns: int) -> None:
        for key in [k for k, p in self._pending.items() if now_ns >= p.since_ns + PENDING_LIFE_NS]:
            del self._pending[key]
        for key in [k for k, until in self._denied.items() if now_ns >= until]:
            del self._denied[key]
