"""The pointer of a host that leaves it to this client to draw: kept within bounds, and passed on to the window.

Whatever a host sends, the worker is told a state each two milliseconds at most, the newest, and shapes at a rate:
the channel to it carries orders too.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from punktfunk.allowance import Allowance
from punktfunk.client import messages
from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorUpdate, PackedShape
from punktfunk.native.control import MS
from punktfunk.native.cursor import CACHED_SHAPES, CursorCache
from punktfunk.native.datagrams import CursorState
from punktfunk.native.messages import CursorShape

SHAPES_BURST, SHAPE_INTERVAL_NS = 64, 20 * MS
"""Shapes that a host may tell, so many at once, then one each interval; those beyond are dropped and counted."""
_STATE_INTERVAL_S: Final = 0.002
_AGAIN_S: Final = 0.005
"""For a worker that reads too slowly."""


class CursorFeed:
    """What a host tells of the pointer; ``offer`` passes an order to the worker, or says that it has no room now.

    Without ``offer`` there is no window, and ``on_change`` alone hears of it. Belongs to one event loop.
    """

    def __init__(self, offer: Callable[[messages.CursorOrder], bool] | None) -> None:
        self.on_change: Callable[[CursorUpdate], None] = lambda _pointer: None
        """Called with the pointer, its shape included, whenever that is another."""
        self.counters: Counter[str] = Counter()
        """``cursor_shapes``, and ``cursor_shapes_dropped`` of a host that tells too many."""
        self._cache = CursorCache()
        self._offer = offer
        self._allowance = Allowance(SHAPES_BURST, SHAPE_INTERVAL_NS, monotonic_ns())
        self._shapes: deque[CursorShape] = deque(maxlen=CACHED_SHAPES)
        self._state: CursorState | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pointer(self) -> CursorUpdate:
        """The pointer as it is to be drawn, with its shape."""
        return self._cache.pointer

    def shaped(self, message: CursorShape) -> None:
        """Take a shape."""
        if not self._allowance.try_take(monotonic_ns()):
            self.counters["cursor_shapes_dropped"] += 1
            return
        self.counters["cursor_shapes"] += 1
        self._shapes.append(message)
        self._changed(otherwise=self._cache.shaped(message))

    def moved(self, state: CursorState) -> None:
        """Take a state."""
        self._state = state
        self._changed(otherwise=self._cache.moved(state))

    def close(self) -> None:
        """Pass nothing on any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _changed(self, *, otherwise: bool) -> None:
        if otherwise:
            self.on_change(self._cache.pointer)
        if self._timer is None and self._offer is not None and not self._closed:
            self._pass_on()

    def _pass_on(self) -> None:
        """Pass on what the worker has not been told, then nothing for a moment."""
        self._timer = None
        assert self._offer is not None
        while self._shapes:
            shape = self._shapes[0]
            if not self._offer(messages.CursorShaped(shape.serial, PackedShape.of(shape.shape))):
                self._later(_AGAIN_S)
                return
            self._shapes.popleft()
        state = self._state
        if state is None:
            return
        if not self._offer(messages.CursorMoved(state.serial, state.flags, state.x, state.y)):
            self._later(_AGAIN_S)
            return
        self._state = None
        self._later(_STATE_INTERVAL_S)

    def _later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._pass_on)
