"""The pointer on its way to a client that draws it: what :class:`CursorTelling` gives out, sent when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorUpdate
from punktfunk.native.control import S
from punktfunk.native.cursor import CursorTelling
from punktfunk.native.datagrams import CursorState
from punktfunk.native.messages import CursorShape


class Backlog(Protocol):
    """The link of a session."""

    @property
    def unacknowledged_bytes(self) -> int:
        """Control bytes that the peer has not acknowledged."""


class CursorChannel:
    """Send one client what it is told of the pointer. Belongs to the event loop of its session."""

    def __init__(
        self,
        link: Backlog,
        send_shape: Callable[[CursorShape], None],
        send_state: Callable[[CursorState], None],
    ) -> None:
        self._link = link
        self._send_shape = send_shape
        self._send_state = send_state
        self._telling = CursorTelling(monotonic_ns())
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def counters(self) -> dict[str, int]:
        """What was told, by name."""
        return dict(self._telling.counters)

    def tell(self, update: CursorUpdate) -> None:
        """Send what is new, at once as far as that may be."""
        self._telling.update(update, monotonic_ns())
        self._send_due()

    def close(self) -> None:
        """Send nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _send_due(self) -> None:
        while not self._closed:
            due = self._telling.poll(monotonic_ns(), self._link.unacknowledged_bytes)
            match due:
                case CursorState():
                    self._send_state(due)
                case CursorShape():
                    self._send_shape(due)
                case None:
                    break
        if self._timer is not None:
            self._timer.cancel()
        at = self._telling.next_timeout()
        self._timer = None if at is None or self._closed else self._loop.call_at(at / S, self._send_due)
