"""Who may hold links at a listener, and who has to go for a newcomer: no sockets, no clock.

Links are limited in two groups, strangers and admitted ones, by the same rule: when a group is full, the oldest link
of whoever holds most of them makes room. An attacker that renews its links so evicts its own; a client that holds one
goes only when there are more keys than room, and then the oldest goes first. A stranger's key is its source address
(IPv4 by address, IPv6 by /64, which one subscriber has), an admitted link's is its certificate.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from enum import Enum, auto
from typing import Generic, TypeVar

MAX_STRANGERS = 64
"""QUIC links whose peer is not admitted, in whatever state; each costs at most `quic_limits.WORST_LINK_BYTES`."""
MAX_STRANGERS_PER_SOURCE = 16
MAX_ADMITTED = 128
"""Twice the most sessions that a host may be configured for."""
MAX_ADMITTED_PER_CERTIFICATE = 8
RETRY_FROM_STRANGERS = 16
"""With so many strangers a newcomer proves its address before anything is kept of it (RFC 9000 section 8.1.2)."""
HANDSHAKES_PER_S = 64.0
HANDSHAKE_BURST = 64.0
"""Handshakes with strangers; each takes the loop 2 to 4 ms, so that they never take more than a quarter of it."""
SOURCE_HANDSHAKES_PER_S = 0.5
SOURCE_HANDSHAKE_BURST = 8.0
"""Of one source. The more of these it has spent, the more of the above it leaves to the others, half at the end."""
REPAID_PER_S = 4.0
REPAID_BURST = 32.0
"""Of these, what is given back for handshakes that a certificate which is let in has completed. Without a limit one
paired client that dials without a pause would leave nothing to the others."""
MAX_SOURCES = 1024
"""Sources whose rate is remembered; the one that was quiet longest is forgotten beyond."""

L = TypeVar("L", bound=Hashable)


class FairQuota(Generic[L]):
    """Hold at most ``limit`` links, and ``per_key`` of one key."""

    def __init__(self, limit: int, per_key: int) -> None:
        self._limit, self._per_key = limit, per_key
        self._keys: dict[L, Hashable] = {}
        self._held: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, link: L) -> bool:
        return link in self._keys

    def held(self, key: Hashable) -> int:
        """Return how many links a key has."""
        return self._held[key]

    def add(self, link: L, key: Hashable) -> L | None:
        """Take a link; return the one that has to go for it, which is out already, or ``None``."""
        self._held[key] += 1
        victim = self._victim(key)
        if victim is not None:
            self.remove(victim)
        self._keys[link] = key
        return victim

    def remove(self, link: L) -> None:
        """Forget a link; one that is not here is none."""
        key = self._keys.pop(link, None)
        if key is not None:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]

    def _victim(self, newcomer: Hashable) -> L | None:
        if self._held[newcomer] > self._per_key:
            return next(link for link, key in self._keys.items() if key == newcomer)
        if len(self._keys) < self._limit:
            return None
        most = max(self._held[key] for key in self._keys.values())
        return next(link for link, key in self._keys.items() if self._held[key] == most)


class Verdict(Enum):
    """What to do with an Initial that would make a link."""

    ACCEPT = auto()
    RETRY = auto()
    WAIT = auto()
    """Drop it: the client sends it again."""


class _Bucket:
    """A token bucket; ``now_s`` never goes back."""

    __slots__ = ("_burst", "_filled_s", "_per_s", "tokens")

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s, self._burst = per_s, burst
        self.tokens = burst
        self._filled_s = now_s

    def fill(self, now_s: float) -> float:
        self.tokens = min(self._burst, self.tokens + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        return self.tokens


class _Source:
    """What one source may still spend, and what it may still be paid back."""

    __slots__ = ("repaid", "share")

    def __init__(self, now_s: float) -> None:
        self.share = _Bucket(SOURCE_HANDSHAKES_PER_S, SOURCE_HANDSHAKE_BURST, now_s)
        self.repaid = _Bucket(REPAID_PER_S, REPAID_BURST, now_s)


class HandshakeGate:
    """Decide which Initials a listener spends a handshake on.

    A source that comes rarely is served before one that comes often, and one that comes often has to prove its address
    first, so that nobody is limited for what others send in its name.
    """

    def __init__(self, now_s: float) -> None:
        self._all = _Bucket(HANDSHAKES_PER_S, HANDSHAKE_BURST, now_s)
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def judge(self, source: str, *, strangers: int, of_source: int, validated: bool, now_s: float) -> Verdict:
        """Judge an Initial: ``strangers`` links are held in all, ``of_source`` by its source.

        ``validated`` says that it carries a token of a Retry, which only whoever receives at its source can, or that it
        came by TCP, where the kernel has seen to that.
        """
        known = self._sources.get(source) or _Source(now_s)
        bucket = known.share
        spent = bucket.fill(now_s) < 1
        busy = strangers >= RETRY_FROM_STRANGERS or of_source >= MAX_STRANGERS_PER_SOURCE or spent
        if busy and not validated:
            return Verdict.RETRY
        reserved = HANDSHAKE_BURST / 2 * (1 - bucket.tokens / SOURCE_HANDSHAKE_BURST)
        if self._all.fill(now_s) < 1 + reserved:
            return Verdict.WAIT
        self._all.tokens -= 1
        bucket.tokens -= min(1.0, bucket.tokens)
        self._sources[source] = known
        self._sources.move_to_end(source)
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        return Verdict.ACCEPT

    def repay(self, source: str, now_s: float) -> None:
        """Give a source back what a handshake took of its share: it ended with a certificate that is let in.

        A client that is paired and comes back often, on a bad path or because its user tries again, so keeps its
        priority over a flood.
        """
        known = self._sources.get(source)
        if known is None or known.repaid.fill(now_s) < 1:
            return
        known.repaid.tokens -= 1
        known.share.tokens = min(SOURCE_HANDSHAKE_BURST, known.share.tokens + 1)
