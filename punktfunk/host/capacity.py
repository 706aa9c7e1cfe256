"""Who may stream, and when a worker is started for it: decided without I/O, clock or knowledge of a protocol.

A client that asks for a stream takes a *reservation*, which holds nothing but its connection: no stream, no
worker. It becomes a *stream* when the client starts, if ``max_streams`` others do not run. A stream then gets a
worker in the order of starting, as soon as few enough are alive and its client has not just had some.

Times are CLOCK_MONOTONIC ns. A reservation or stream is named by whatever its owner likes (the session itself).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from punktfunk.allowance import Allowance
from punktfunk.errors import CapacityFullError

S = 1_000_000_000
RESERVATION_NS = 3 * S
"""A client that asked for a stream starts it by then: most have nothing to do in between and take a round trip."""
RESERVATIONS_KEPT = 8
"""Reservations that may be older, so that a slow machine has its protocol's time while nobody crowds the host."""
WORKERS_BEYOND_STREAMS = 2
"""Workers alive beyond ``max_streams``: one that ends (up to 2 s) beside its successor, and one more."""
CLIENT_WORKERS_BURST, CLIENT_WORKER_NS = 4, S
"""Workers that one client gets started at once, and how long until it has one more."""
WORKERS_BURST, WORKER_NS = 8, S // 2
"""The same for all clients together. A worker costs some 0.4 s of a core before its first frame."""

Id = TypeVar("Id", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A client as capacity knows it: by its certificate, or without one by its address."""

    name: str
    proven: bool
    """Only its owner can come with this name again, so that its newer session replaces its older one."""


@dataclass(frozen=True, slots=True)
class LaunchWorker(Generic[Id]):
    """Start the worker of a stream now; tell its end with :meth:`Capacity.worker_gone`."""

    id: Id


@dataclass(frozen=True, slots=True)
class Expire(Generic[Id]):
    """A reservation is over because the client did not start, and others wait."""

    id: Id


@dataclass(frozen=True, slots=True)
class Supersede(Generic[Id]):
    """A reservation or stream is over because the same client has come again."""

    id: Id


@dataclass(slots=True)
class _Entry:
    claimant: Claimant
    expires_ns: int | None
    """``None`` once it is a stream."""


class Capacity(Generic[Id]):
    """Count reservations, streams and workers; :meth:`poll` says what to do about them.

    Streams never exceed ``max_streams``, and workers alive, those included that are ending, never
    ``max_streams`` + 2. ``max_streams`` may change at any time; streams that run are not ended by that.

    Counters: ``reservations``, ``reservations_expired``, ``superseded``, ``streams_refused``, ``workers_started``.
    """

    def __init__(self, max_streams: int, now_ns: int) -> None:
        self.max_streams = max_streams
        self.counters: Counter[str] = Counter()
        self.workers_alive = 0
        self._entries: dict[Id, _Entry] = {}
        self._unlaunched: deque[Id] = deque()
        self._over: deque[Expire[Id] | Supersede[Id]] = deque()
        self._all = Allowance(WORKERS_BURST, WORKER_NS, now_ns)
        self._clients: dict[str, Allowance] = {}

    @property
    def streams(self) -> int:
        """Streams that run or wait for their worker."""
        return sum(entry.expires_ns is None for entry in self._entries.values())

    @property
    def clients_remembered(self) -> int:
        """Clients that got a worker lately; bounded by what all clients together are allowed."""
        return len(self._clients)

    def reserve(self, session: Id, claimant: Claimant, now_ns: int) -> None:
        """Take a reservation, in place of an earlier one of the same client.

        Raises ``CapacityFullError`` when it could not become a stream now.
        """
        self._require_room(claimant)
        self._supersede(claimant, streams=False)
        self._entries[session] = _Entry(claimant, now_ns + RESERVATION_NS)
        self.counters["reservations"] += 1

    def start(self, session: Id) -> list[Id]:
        """Turn a reservation into a stream; return the streams of the same client that it supersedes.

        Raises ``CapacityFullError`` when others were faster, or its reservation has expired.
        """
        entry = self._entries.get(session)
        if entry is None:
            raise CapacityFullError("the reservation of this session is over", "ask for a stream again")
        self._require_room(entry.claimant)
        del self._entries[session]
        former = self._supersede(entry.claimant, streams=True)
        self._entries[session] = entry
        entry.expires_ns = None
        self._unlaunched.append(session)
        return former

    def leave(self, session: Id) -> None:
        """Take note that a reservation or stream is over; its worker counts until it is gone."""
        if self._entries.pop(session, None) is not None and session in self._unlaunched:
            self._unlaunched.remove(session)

    def worker_gone(self) -> None:
        """Take note of the end of a worker."""
        self.workers_alive -= 1

    def poll(self, now_ns: int) -> LaunchWorker[Id] | Expire[Id] | Supersede[Id] | None:
        """Return the next thing to do; ``None`` when there is none before :meth:`next_timeout`."""
        self._expire(now_ns)
        if self._over:
            return self._over.popleft()
        if self.workers_alive >= self.max_streams + WORKERS_BEYOND_STREAMS:
            return None
        for session in self._unlaunched:
            if self._due_ns(session) <= now_ns:
                self._unlaunched.remove(session)
                self._launched(self._entries[session], now_ns)
                return LaunchWorker(session)
        return None

    def next_timeout(self) -> int | None:
        """Return when :meth:`poll` has something to do though nothing else happens."""
        if self._over:
            return 0
        reserved = self._reserved()
        times = [expires_ns for _, expires_ns in reserved[: max(0, len(reserved) - RESERVATIONS_KEPT)]]
        if self.workers_alive < self.max_streams + WORKERS_BEYOND_STREAMS:
            times += [self._due_ns(session) for session in self._unlaunched]
        return min(times, default=None)

    def _require_room(self, claimant: Claimant) -> None:
        others = sum(
            entry.expires_ns is None and not _same_client(entry.claimant, claimant)
            for entry in self._entries.values()
        )
        if others >= self.max_streams:
            self.counters["streams_refused"] += 1
            raise CapacityFullError(
                f"{others} streams run, and no more may", "end one of them, or raise max_sessions"
            )

    def _supersede(self, claimant: Claimant, *, streams: bool) -> list[Id]:
        """End what the same client has; an address is no proof that it is the same."""
        former = [
            session
            for session, entry in self._entries.items()
            if _same_client(entry.claimant, claimant) and (streams or entry.expires_ns is not None)
        ]
        for session in former:
            self.leave(session)
            self._over.append(Supersede(session))
        self.counters["superseded"] += len(former)
        return former

    def _expire(self, now_ns: int) -> None:
        reserved = self._reserved()
        for session, expires_ns in reserved[: max(0, len(reserved) - RESERVATIONS_KEPT)]:
            if expires_ns <= now_ns:
                self.leave(session)
                self._over.append(Expire(session))
                self.counters["reservations_expired"] += 1

    def _reserved(self) -> list[tuple[Id, int]]:
        """Return the reservations and when they expire, oldest first."""
        return [
            (session, entry.expires_ns)
            for session, entry in self._entries.items()
            if entry.expires_ns is not None
        ]

    def _due_ns(self, session: Id) -> int:
        own = self._clients.get(self._entries[session].claimant.name)
        return max(self._all.due_ns(), own.due_ns() if own is not None else 0)

    def _launched(self, entry: _Entry, now_ns: int) -> None:
        self._clients = {name: own for name, own in self._clients.items() if not own.full(now_ns)}
        own = self._clients.setdefault(
            entry.claimant.name, Allowance(CLIENT_WORKERS_BURST, CLIENT_WORKER_NS, now_ns)
        )
        own.take(now_ns)
        self._all.take(now_ns)
        self.workers_alive += 1
        self.counters["workers_started"] += 1


def _same_client(a: Claimant, b: Claimant) -> bool:
    return a.proven and b.proven and a.name == b.name
