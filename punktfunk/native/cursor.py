"""The pointer of a session that its client draws: what the host tells of it, and what the client makes of that.

Shapes go by the control stream, once each, and states by datagrams (punktfunk/1 section 3.8). Both classes are
without I/O; times are CLOCK_MONOTONIC ns.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

from punktfunk.allowance import Allowance
from punktfunk.cursor import CursorShape, CursorUpdate
from punktfunk.native import messages
from punktfunk.native.control import MS, S
from punktfunk.native.datagrams import CursorFlag, CursorState

CACHED_SHAPES: Final = 32
"""Shapes that a client keeps: 1.8 MB of the largest."""
_KNOWN_SHAPES: Final = CACHED_SHAPES - 2
"""Shapes that a host takes for kept. Fewer, so that both ends forget in time whatever came last."""
SHAPES_BURST, SHAPE_INTERVAL_NS = 8, 100 * MS
"""New shapes that a host tells, so many at once, then one each interval, the newest: 4.6 Mbit/s of the largest."""
MAX_BACKLOG_BYTES: Final = 128 * 1024
"""Control bytes that a client has not acknowledged, beyond which it is told no new shape."""
_RETRY_NS: Final = 20 * MS
_REPEATS_NS: Final = (30 * MS, 100 * MS, 300 * MS, S)
"""When a state is told again, as the last one may be lost; the last interval goes on."""
_SERIALS: Final = 1 << 32


class CursorTelling:
    """What a host tells one client of the pointer."""

    def __init__(self, now_ns: int) -> None:
        self._shapes = Allowance(SHAPES_BURST, SHAPE_INTERVAL_NS, now_ns)
        self._known: OrderedDict[CursorShape, int] = OrderedDict()
        """Serials of the shapes that the client was told, the one used last at the end."""
        self._serial = self._last_serial = 0
        self._wanted: CursorShape | None = None
        """A new shape that has not been told yet."""
        self._shape_at_ns: int | None = None
        self._place: CursorUpdate | None = None
        self._state_at_ns: int | None = None
        self._repeats = 0
        self.counters = {"cursor_shapes": 0, "cursor_states": 0, "cursor_shapes_replaced": 0}
        """Told shapes and states, repeats included, and shapes that another one replaced before they were told."""

    def update(self, update: CursorUpdate, now_ns: int) -> None:
        """Take what is new; a shape that does not fit is a defect of who tells it, and raises ``ValueError``."""
        if update.shape is not None:
            self._take_shape(update.shape, now_ns)
        self._place = replace(update, shape=None)
        self._tell_state(now_ns)

    def next_timeout(self) -> int | None:
        """Return when :meth:`poll` has something again."""
        return min((at for at in (self._shape_at_ns, self._state_at_ns) if at is not None), default=None)

    def poll(self, now_ns: int, backlog_bytes: int) -> messages.CursorShape | CursorState | None:
        """Return what is to be sent now; ``backlog_bytes`` of the control stream are not acknowledged yet."""
        if self._wanted is not None and self._shape_at_ns is not None and now_ns >= self._shape_at_ns:
            if backlog_bytes > MAX_BACKLOG_BYTES:
                self._shape_at_ns = now_ns + _RETRY_NS
            elif self._shapes.try_take(now_ns):
                return self._new_shape(self._wanted, now_ns)
            else:
                self._shape_at_ns = max(self._shapes.due_ns(), now_ns + 1)
        if self._place is not None and self._state_at_ns is not None and now_ns >= self._state_at_ns:
            self._state_at_ns = now_ns + _REPEATS_NS[min(self._repeats, len(_REPEATS_NS) - 1)]
            self._repeats += 1
            self.counters["cursor_states"] += 1
            flags = CursorFlag.VISIBLE if self._place.visible else CursorFlag(0)
            return CursorState(self._serial, flags, self._place.x, self._place.y)
        return None

    def _take_shape(self, shape: CursorShape, now_ns: int) -> None:
        if not shape.fits:
            raise ValueError(f"a pointer of {shape.width}x{shape.height} cannot be told")
        self.counters["cursor_shapes_replaced"] += self._wanted is not None
        self._wanted = self._shape_at_ns = None
        serial = self._known.get(shape)
        if serial is None:
            self._wanted, self._shape_at_ns = shape, now_ns
        else:
            self._known.move_to_end(shape)
            self._serial = serial

    def _new_shape(self, shape: CursorShape, now_ns: int) -> messages.CursorShape:
        self._last_serial = (self._last_serial + 1) % _SERIALS
        self._serial = self._known[shape] = self._last_serial
        if len(self._known) > _KNOWN_SHAPES:
            self._known.popitem(last=False)
        self._wanted = self._shape_at_ns = None
        self.counters["cursor_shapes"] += 1
        if self._place is not None:
            self._tell_state(now_ns)
        return messages.CursorShape(self._serial, shape)

    def _tell_state(self, now_ns: int) -> None:
        self._state_at_ns, self._repeats = now_ns, 0


class CursorCache:
    """What a client knows of the pointer: at most ``CACHED_SHAPES`` shapes, whatever a host sends."""

    def __init__(self) -> None:
        self._shapes: OrderedDict[int, CursorShape] = OrderedDict()
        """By serial, the one used last at the end."""
        self._state: CursorState | None = None
        self._shown: CursorShape | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is known how to draw it: a state has come, and its shape unless it is invisible."""
        return self._state is not None and (not self._state.visible or self._shown is not None)

    @property
    def pointer(self) -> CursorUpdate:
        """The pointer as it is to be drawn, with its shape; invisible before a state and a shape have come."""
        if self._state is None or self._shown is None:
            return CursorUpdate(visible=False)
        return CursorUpdate(self._state.visible, self._state.x, self._state.y, self._shown)

    def shaped(self, message: messages.CursorShape) -> bool:
        """Keep a shape; return whether the pointer looks otherwise by it."""
        shape = message.shape
        # A hot spot beside the shape means nothing, and some would not draw it.
        shape = replace(
            shape, hot_x=min(shape.hot_x, shape.width - 1), hot_y=min(shape.hot_y, shape.height - 1)
        )
        self._shapes[message.serial] = shape
        self._shapes.move_to_end(message.serial)
        if len(self._shapes) > CACHED_SHAPES:
            self._shapes.popitem(last=False)
        return self._show()

    def moved(self, state: CursorState) -> bool:
        """Take a state; return whether the pointer is another by it. One of an unknown shape keeps the former one."""
        changed, self._state = state != self._state, state
        if state.serial in self._shapes:
            self._shapes.move_to_end(state.serial)
        return self._show() or changed

    def _show(self) -> bool:
        """Have the shape that the state names, if it is here; return whether that is another one."""
        shape = None if self._state is None else self._shapes.get(self._state.serial)
        if shape is None or shape == self._shown:
            return False
        self._shown = shape
        return True
