"""Input by the virtual pointer and the virtual keyboard of wlroots compositors.

Both devices must live as long as the compositor: wlroots 0.15 crashes when a client asks for a relative
pointer on a seat that once had a pointer and lost it. So the session supervisor holds them, not a worker.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.inject.keycodes import EVDEV_OF_BUTTON, EVDEV_OF_VIRTUAL_KEY
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.desktop.inject.pointer_finger import PointerFinger
from punktfunk.desktop.inject.text import TextKeymap
from punktfunk.desktop.wayland.connection import Connection
from punktfunk.input import NOTCH, InputEvent, InputKind

_KEYMAP_XKB_V1: Final = 1
_UP, _DOWN = 0, 1
_AXIS_VERTICAL, _AXIS_HORIZONTAL = 0, 1
_SOURCE_WHEEL, _SOURCE_CONTINUOUS = 0, 2
_NOTCH_LENGTH: Final = 15.0
"""What a notch is worth in ``wl_pointer.axis`` values; libinput's figure, which toolkits expect."""
_MAX_MOVE: Final = 1 << 20
"""Farther movements, pixels, are cut: ``wl_fixed_t`` holds 23 bits before the point."""
_MAX_NOTCHES: Final = 1000


class WlrInjector:
    """A virtual pointer and a virtual keyboard on one connection, which it does not own."""

    def __init__(self, connection: Connection, keyboard: Keyboard, *, output: str | None = None) -> None:
        """Create both devices on the first seat and wait until clients know.

        ``output`` is the one that absolute positions count on; None: the whole layout. Raises CapabilityError
        where the compositor does not offer such devices.
        """
        self._connection = connection
        self._keyboard = keyboard
        self._counters: Counter[str] = Counter(injected=0)
        self._keys: set[int] = set()
        self._buttons: set[int] = set()
        # There is no virtual touch screen.
        self._finger = PointerFinger(self._move_to, self._press_left)
        self._closed = False
        seat = connection.bind("wl_seat", 1)
        pointers = connection.bind("zwlr_virtual_pointer_manager_v1", 2)

        def make_pointer(output: str | None) -> Any:
            on = connection.output(output).proxy if output is not None else None
            return pointers.create_virtual_pointer_with_output(seat, on)

        self._make_pointer = make_pointer
        self._pointer: Any = make_pointer(output)
        keyboards = connection.bind("zwp_virtual_keyboard_manager_v1", 1)
        self._virtual_keyboard: Any = keyboards.create_virtual_keyboard(seat)
        self._text = TextKeymap()
        # Made with its first character: programs are told of the keymap of whichever keyboard was used last.
        self._make_text_keyboard: Callable[[], Any] = lambda: keyboards.create_virtual_keyboard(seat)
        self._text_keyboard: Any = None
        self._send_keymap(self._virtual_keyboard, keyboard.keymap_text)
        self._send_modifiers()
        # A client that learns of the devices only now misses events sent before this round trip.
        connection.round_trip()

    @property
    def counters(self) -> dict[str, int]:
        """``injected``, and drops as ``dropped_<reason>``."""
        return dict(self._counters)

    def aim(self, output: str) -> None:
        """Have absolute positions count on another output from now on; what was held by the pointer is let go.

        Raises DesktopError where there is no such output.
        """
        made = self._make_pointer(output)
        for code in sorted(self._buttons):
            self._button(code, down=False)
        self._finger.forget()
        former, self._pointer = self._pointer, made
        former.destroy()  # after the other one is there: a seat is not to lose its last pointer
        self._connection.round_trip()

    def inject(self, event: InputEvent) -> bool:
        """Put one event in; see :class:`punktfunk.desktop.inject.InputInjector`."""
        reason = self._apply(event)
        self._counters["injected" if reason is None else f"dropped_{reason}"] += 1
        if reason is None:
            self._connection.flush()
        return reason is None

    def release_all(self) -> None:
        """Let go of every key and button that is down, and wait until the compositor knows."""
        for code in sorted(self._keys):
            self._key(code, down=False)
        for code in sorted(self._buttons):
            self._button(code, down=False)
        self._finger.forget()
        self._connection.round_trip()

    def close(self) -> None:
        """Release all. The devices stay until the connection is closed; see the module's text."""
        if not self._closed:
            self._closed = True
            self.release_all()

    def _apply(self, event: InputEvent) -> str | None:
        """Send what ``event`` means, or return why it means nothing."""
        means = {
            InputKind.KEY_DOWN: self._key_event,
            InputKind.KEY_UP: self._key_event,
            InputKind.MOUSE_MOVE: self._move_by,
            InputKind.MOUSE_ABSOLUTE: self._move_to,
            InputKind.BUTTON_DOWN: self._button_event,
            InputKind.BUTTON_UP: self._button_event,
            InputKind.SCROLL: self._scroll,
            InputKind.PAD_BUTTON: self._no_gamepad,
            InputKind.PAD_AXIS: self._no_gamepad,
            InputKind.TOUCH_DOWN: self._finger.take,
            InputKind.TOUCH_MOVE: self._finger.take,
            InputKind.TOUCH_UP: self._finger.take,
            InputKind.TOUCH_HOVER: self._finger.take,
            InputKind.TOUCH_CANCEL: self._finger.take,
            InputKind.TOUCH_CANCEL_ALL: self._finger.take,
            InputKind.TEXT: self._type,
        }.get(event.kind, self._no_such_device)
        return means(event)

    def _key_event(self, event: InputEvent) -> str | None:
        code = EVDEV_OF_VIRTUAL_KEY.get(event.code & 0xFF)
        if code is None:
            return "unknown_key"
        self._key(code, down=event.kind == InputKind.KEY_DOWN)
        return None

    def _button_event(self, event: InputEvent) -> str | None:
        code = EVDEV_OF_BUTTON.get(event.code)
        if code is None:
            return "unknown_button"
        self._button(code, down=event.kind == InputKind.BUTTON_DOWN)
        return None

    def _no_gamepad(self, _event: InputEvent) -> str | None:
        return "no_gamepad"

    def _no_such_device(self, _event: InputEvent) -> str | None:
        return "no_such_device"

    def _move_by(self, event: InputEvent) -> str | None:
        dx, dy = (max(-_MAX_MOVE, min(_MAX_MOVE, value)) for value in (event.x, event.y))
        self._pointer.motion(_milliseconds(), dx, dy)
        self._pointer.frame()
        return None

    def _move_to(self, event: InputEvent) -> str | None:
        if event.surface is None or event.surface.empty:
            return "no_area"
        width, height = event.surface.width, event.surface.height
        x, y = max(0, min(width, event.x)), max(0, min(height, event.y))
        self._pointer.motion_absolute(_milliseconds(), x, y, width, height)
        self._pointer.frame()
        return None

    def _scroll(self, event: InputEvent) -> str | None:
        if event.code not in {0, 1}:
            return "unknown_axis"
        axis = _AXIS_HORIZONTAL if event.code else _AXIS_VERTICAL
        limit = _MAX_NOTCHES * NOTCH
        distance = max(-limit, min(limit, event.x))
        if axis == _AXIS_VERTICAL:
            distance = -distance  # up is positive in an event, down is positive in Wayland
        notches, rest = divmod(abs(distance), NOTCH)
        value = distance * _NOTCH_LENGTH / NOTCH
        if rest:
            self._pointer.axis(_milliseconds(), axis, value)
            self._pointer.axis_source(_SOURCE_CONTINUOUS)
        elif notches:
            self._pointer.axis_discrete(_milliseconds(), axis, value, notches if distance > 0 else -notches)
            self._pointer.axis_source(_SOURCE_WHEEL)
        self._pointer.frame()
        return None

    def _press_left(self, down: bool) -> str | None:
        self._button(EVDEV_OF_BUTTON[1], down=down)
        return None

    def _type(self, event: InputEvent) -> str | None:
        """Type a character on a second keyboard, whose keymap is made for it; no modifiers are down there."""
        found = self._text.key_of(event.code)
        if found is None:
            return "no_character"
        key, keymap = found
        if self._text_keyboard is None:
            self._text_keyboard = self._make_text_keyboard()
        if keymap is not None:
            self._send_keymap(self._text_keyboard, keymap)
            self._text_keyboard.modifiers(0, 0, 0, 0)
        for state in (_DOWN, _UP):
            self._text_keyboard.key(_milliseconds(), key, state)
        return None

    def _key(self, code: int, *, down: bool) -> None:
        if down == (code in self._keys):
            return  # a repeat, which programs make themselves, or the release of a key that is up
        self._virtual_keyboard.key(_milliseconds(), code, _DOWN if down else _UP)
        if down:
            self._keys.add(code)
            changed = self._keyboard.press(code)
        else:
            self._keys.discard(code)
            changed = self._keyboard.release(code)
        if changed:
            self._send_modifiers()

    def _button(self, code: int, *, down: bool) -> None:
        if down == (code in self._buttons):
            return
        self._pointer.button(_milliseconds(), code, _DOWN if down else _UP)
        self._pointer.frame()
        if down:
            self._buttons.add(code)
        else:
            self._buttons.discard(code)

    def _send_keymap(self, device: Any, keymap: bytes) -> None:
        text = keymap + b"\0"
        descriptor = os.memfd_create("punktfunk-keymap", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, text)
            device.keymap(_KEYMAP_XKB_V1, descriptor, len(text))
            self._connection.flush()
        finally:
            os.close(descriptor)

    def _send_modifiers(self) -> None:
        now = self._keyboard.modifiers
        self._virtual_keyboard.modifiers(now.depressed, now.latched, now.locked, now.group)


def _milliseconds() -> int:
    """Return the time of an event as Wayland counts it: 32 bits of milliseconds with an undefined base."""
    return monotonic_ns() // 1_000_000 & 0xFFFFFFFF
