"""Devices that await approval: unpaired clients that asked to connect over any wire, and those that were turned away.

There is one list for all wires, as there is one of paired clients, so that a person finds every device in one place.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from punktfunk.addresses import source_of
from punktfunk.printable import device_name
from punktfunk.trust.store import PairedClient, TrustStore

MAX_PENDING = 32
MAX_PENDING_PER_SOURCE = 4
PENDING_LIFE_NS = 600 * 1_000_000_000
"""Devices that await approval (punktfunk/1 section 2.4: 32 for 10 minutes). With 32, a newcomer takes the place of the
oldest one of whatever source has most, where it has two more than the newcomer's: eight addresses of one machine must
not keep a person's device from being seen."""
MAX_DENIED = 256
"""Devices remembered to have been turned away; the one that was so longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An unpaired device that asked to connect over a wire."""

    wire: str
    fingerprint: str
    name: str
    source: str
    since_ns: int
    needs_pin: bool = False
    """Whether it is paired by the PIN that it shows; a word of approval alone would prove nothing of it."""


class PendingClients:
    """Remember who asked, within caps, and pair those that a person approves.

    Times are CLOCK_MONOTONIC ns, given by the caller.
    """

    def __init__(self, trust: TrustStore) -> None:
        self.trust = trust
        self.overflow = 0
        """Requests that a cap held back, or that gave way to others."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when other devices are pending, or (by approval) others are paired."""
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        self._denied: OrderedDict[str, int] = OrderedDict()
        self._on_gone: dict[str, Callable[[], None]] = {}

    @property
    def denied(self) -> int:
        """How many devices are remembered to have been turned away."""
        return len(self._denied)

    def ask(
        self,
        wire: str,
        fingerprint: str,
        name: str,
        source: str,
        now_ns: int,
        *,
        on_gone: Callable[[], None] | None = None,
    ) -> bool:
        """Remember an unpaired device so that a person can approve it; its wire has seen it hold the certificate's key.

        With ``on_gone`` it needs a PIN instead, and its wire has seen nothing yet: it is called when the device is
        turned away or its time is over. Returns ``False``, and counts, when a cap holds it back or the device was
        denied within the last 10 minutes.
        """
        self._expire(now_ns)
        if fingerprint in self._denied:
            return False
        if fingerprint in self._pending:
            return True
        key = source_of(source)
        of_source = sum(source_of(p.source) == key for p in self._pending.values())
        if of_source >= MAX_PENDING_PER_SOURCE or not self._has_room(of_source):
            self.overflow += 1
            return False
        self._pending[fingerprint] = Pending(
            wire, fingerprint, device_name(name), source, now_ns, needs_pin=on_gone is not None
        )
        if on_gone is not None:
            self._on_gone[fingerprint] = on_gone
        self.on_change()
        return True

    def all(self, now_ns: int) -> tuple[Pending, ...]:
        """Return the pending devices, oldest first."""
        self._expire(now_ns)
        return tuple(self._pending.values())

    def is_denied(self, fingerprint: str, now_ns: int) -> bool:
        """Return whether a device was turned away within the last 10 minutes."""
        self._expire(now_ns)
        return fingerprint in self._denied

    def approve(self, fingerprint: str, now_ns: int, unix_s: int) -> bool:
        """Pair a pending device; ``False`` when it is not pending (any more) or needs a PIN.

        Raises ``TrustStoreError``.
        """
        self._expire(now_ns)
        device = self._pending.get(fingerprint.lower())
        if device is None or device.needs_pin:
            return False
        self.trust.add(PairedClient(device.fingerprint, device.name, device.wire, unix_s))
        self.resolve(device.fingerprint)
        self.on_change()
        return True

    def resolve(self, fingerprint: str) -> None:
        """Take a device off the list: it is paired."""
        self._pending.pop(fingerprint, None)
        self._on_gone.pop(fingerprint, None)

    def withdraw(self, fingerprint: str) -> None:
        """Take a device off the list that does not wait any more."""
        if fingerprint in self._pending:
            self.resolve(fingerprint)
            self.on_change()

    def deny(self, fingerprint: str, now_ns: int) -> bool:
        """Turn a device away for 10 minutes; ``False`` when it is not pending."""
        fingerprint = fingerprint.lower()
        self._expire(now_ns)
        if self._pending.pop(fingerprint, None) is None:
            return False
        self._denied[fingerprint] = now_ns + PENDING_LIFE_NS
        while len(self._denied) > MAX_DENIED:
            self._denied.popitem(last=False)
        self._tell_gone(fingerprint)
        self.on_change()
        return True

    def next_expiry_ns(self, now_ns: int) -> int | None:
        """Return when the first pending device runs out by itself; ``None`` while there is none."""
        return min((device.since_ns + PENDING_LIFE_NS for device in self.all(now_ns)), default=None)

    def _has_room(self, of_source: int) -> bool:
        """Make room for a device whose source has so many, if another has two more; ``False`` when there is none."""
        if len(self._pending) < MAX_PENDING:
            return True
        held = Counter(source_of(device.source) for device in self._pending.values())
        most = max(held.values())
        if most < of_source + 2:
            return False
        oldest = next(key for key, device in self._pending.items() if held[source_of(device.source)] == most)
        del self._pending[oldest]
        self.overflow += 1
        self._tell_gone(oldest)
        return True

    def _expire(self, now_ns: int) -> None:
        for key in [k for k, p in self._pending.items() if now_ns >= p.since_ns + PENDING_LIFE_NS]:
            del self._pending[key]
            self._tell_gone(key)
        for key in [k for k, until in self._denied.items() if now_ns >= until]:
            del self._denied[key]

    def _tell_gone(self, fingerprint: str) -> None:
        on_gone = self._on_gone.pop(fingerprint, None)
        if on_gone is not None:
            on_gone()
