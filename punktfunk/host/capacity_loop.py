"""The event loop around :class:`~punktfunk.host.capacity.Capacity`: its clock, its timer, what it says carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from punktfunk.clock import monotonic_ns
from punktfunk.errors import PunktfunkError
from punktfunk.host.capacity import Capacity, Claimant, Expire, LaunchWorker, Supersede

Id = TypeVar("Id", bound=Hashable)


@dataclass(frozen=True, slots=True)
class CapacityEvents(Generic[Id]):
    """What the owner of the sessions does about them."""

    expired: Callable[[Id], None]
    """End a session that has not started."""
    superseded: Callable[[Id], None]
    """End a session whose client has come again."""
    unlaunched: Callable[[Id, PunktfunkError], None]
    """End a stream whose worker could not be started."""


class CapacityLoop(Generic[Id]):
    """Reserve, start and leave as in :class:`Capacity`, which says the errors; belongs to one event loop."""

    def __init__(self, max_streams: int, events: CapacityEvents[Id]) -> None:
        self._capacity: Capacity[Id] = Capacity(max_streams, monotonic_ns())
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._launches: dict[Id, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def counters(self) -> dict[str, int]:
        """What :class:`Capacity` counted."""
        return dict(self._capacity.counters)

    def allow(self, max_streams: int) -> None:
        """Let so many streams run from now on; none is ended."""
        self._capacity.max_streams = max_streams
        self._follow()

    def reserve(self, session: Id, claimant: Claimant) -> None:
        """Take a reservation."""
        self._capacity.reserve(session, claimant, monotonic_ns())
        self._follow()

    def start(self, session: Id, launch: Callable[[list[Id]], None]) -> None:
        """Make a reservation a stream; ``launch`` starts its worker, at once or later.

        ``launch`` gets the streams of the same client that this one supersedes, and may raise ``PunktfunkError``.
        """
        former = self._capacity.start(session)
        self._launches[session] = lambda: launch(former)
        # Not in this call: the caller is still making the stream.
        self._loop.call_soon(self._follow)

    def leave(self, session: Id) -> None:
        """Free what a session has that is over, but for its worker."""
        self._launches.pop(session, None)
        self._capacity.leave(session)
        self._follow()

    def worker_gone(self) -> None:
        """Take note of the end of a worker."""
        self._capacity.worker_gone()
        self._follow()

    def close(self) -> None:
        """Start and end nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _follow(self) -> None:
        while not self._closed and (action := self._capacity.poll(monotonic_ns())) is not None:
            match action:
                case LaunchWorker(session):
                    self._launch(session)
                case Expire(session):
                    self._events.expired(session)
                case Supersede(session):
                    self._launches.pop(session, None)
                    self._events.superseded(session)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._capacity.next_timeout()
        if due is not None and not self._closed:
            self._timer = self._loop.call_at(due / 1e9, self._follow)

    def _launch(self, session: Id) -> None:
        try:
            self._launches.pop(session)()
        except PunktfunkError as error:
            self._capacity.worker_gone()
            self._events.unlaunched(session, error)
