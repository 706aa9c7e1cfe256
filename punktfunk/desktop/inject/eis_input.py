"""What an input event means to the devices of an EIS server; no thread, no socket, no library of input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.eis_devices import (
    Capability,
    EisDevice,
    EisDevices,
    EisEvent,
    Happening,
    LockedModifiers,
)
from punktfunk.desktop.inject.key_finder import KeyFinder, Stroke
from punktfunk.desktop.inject.keycodes import EVDEV_NUM_LOCK, EVDEV_OF_BUTTON, EVDEV_OF_VIRTUAL_KEY
from punktfunk.desktop.inject.pointer_finger import PointerFinger, of_finger
from punktfunk.input import NOTCH, InputEvent, InputKind

NO_KEY: Final = "no_key_for_character"
"""The reason of a character that the keymap lacks."""
CONTACTS: Final = 10
"""Fingers at a time; further ones are dropped."""
_MAX_MOVE: Final = 1 << 20
_MAX_NOTCHES: Final = 1000
"""Farther movements, pixels, and longer turns are cut."""
_MODIFIER_KEYS: Final = frozenset({42, 54, 29, 97, 56, 100, 125, 126})
"""Shift, control, alt and logo, left and right."""
_KEYPAD_DIGITS: Final = frozenset(range(0x60, 0x6A)) | {0x6E}
"""Virtual keys of 0 to 9 and the separator, which clients send where their own num lock is on."""
_FINGERS: Final = frozenset(
    {
        InputKind.TOUCH_DOWN,
        InputKind.TOUCH_MOVE,
        InputKind.TOUCH_UP,
        InputKind.TOUCH_CANCEL,
        InputKind.TOUCH_CANCEL_ALL,
    }
)


class EisInput:
    """The devices of a server with all that is down on them. Not safe for use by two threads at once."""

    def __init__(self, keymap: KeyFinder | None = None, *, notch: float | None = None) -> None:
        """``keymap`` is what text is typed by on a server that tells none.

        ``notch`` is the length, logical pixels, that the server makes of a notch, for one that loses what is less
        when it is told in parts of a notch: it is told lengths then.
        """
        self._notch = notch
        self._devices = EisDevices()
        self._fallback = keymap
        self._finders: dict[EisDevice, KeyFinder] = {}
        self._locked: dict[EisDevice, LockedModifiers] = {}
        """By keyboard, as far as the server has told."""
        self._emulating: list[EisDevice] = []
        self._keys: dict[int, EisDevice] = {}
        self._buttons: dict[int, EisDevice] = {}
        self._fingers: dict[int, EisDevice] = {}
        """What is down, and on which device."""
        self._pointer: EisDevice | None = None
        """Which moved the pointer last: its buttons and wheel are taken where it has some."""
        self._finger = PointerFinger(self._move_to, lambda down: self._button(EVDEV_OF_BUTTON[1], down=down))

    @property
    def ready(self) -> Capability:
        """All that can be done now."""
        return self._devices.ready

    @property
    def offered(self) -> Capability:
        """All that devices can do, whether they may be used now or not."""
        return self._devices.offered

    @property
    def takes_touch(self) -> bool:
        """Whether fingers arrive as what they are."""
        return Capability.TOUCH in self._devices.offered

    def aim(self, mapping_id: str | None, region: Rect | None) -> None:
        """Set where positions and fingers land; see :meth:`EisDevices.aim`."""
        self._devices.aim(mapping_id, region)

    def happened(self, event: EisEvent, finder: KeyFinder | None = None) -> None:
        """Note what the server told; ``finder`` reads the keymap of a device that comes."""
        device = event.device
        match event.what:
            case Happening.ADDED:
                if self._devices.add(device) and finder is not None:
                    self._finders[device] = finder
                elif finder is not None:
                    finder.close()
            case Happening.RESUMED:
                self._devices.resume(device)
            case Happening.PAUSED:
                self._forget(device)
                self._devices.pause(device)
            case Happening.REMOVED:
                self._forget(device)
                self._devices.remove(device)
                self._locked.pop(device, None)
                if (known := self._finders.pop(device, None)) is not None:
                    known.close()
            case Happening.MODIFIERS if event.modifiers is not None:
                self._locked[device] = event.modifiers

    def apply(self, event: InputEvent) -> str | None:
        """Send what ``event`` means, or return why it means nothing."""
        if event.kind in _FINGERS and of_finger(event) and self.takes_touch:
            return self._touch(event)
        means: dict[InputKind, Callable[[InputEvent], str | None]] = {
            InputKind.KEY_DOWN: self._key_event,
            InputKind.KEY_UP: self._key_event,
            InputKind.MOUSE_MOVE: self._move_by,
            InputKind.MOUSE_ABSOLUTE: self._move_to,
            InputKind.BUTTON_DOWN: self._button_event,
            InputKind.BUTTON_UP: self._button_event,
            InputKind.SCROLL: self._scroll,
            InputKind.PAD_BUTTON: _no_gamepad,
            InputKind.PAD_AXIS: _no_gamepad,
            InputKind.TOUCH_DOWN: self._finger.take,
            InputKind.TOUCH_MOVE: self._finger.take,
            InputKind.TOUCH_UP: self._finger.take,
            InputKind.TOUCH_HOVER: self._finger.take,
            InputKind.TOUCH_CANCEL: self._finger.take,
            InputKind.TOUCH_CANCEL_ALL: self._finger.take,
            InputKind.TEXT: self._type,
        }
        return means.get(event.kind, _no_such_device)(event)

    def release_all(self) -> None:
        """Let go of every key, button and finger, and say that no more input follows for now."""
        for code in sorted(self._keys):
            self._key(code, down=False)
        for code in sorted(self._buttons):
            self._button(code, down=False)
        self._lift_all(cancel=True)
        self._finger.forget()
        for device in self._emulating:
            device.stop()
        self._emulating.clear()

    def close(self) -> None:
        """Free the keymaps."""
        for finder in self._finders.values():
            finder.close()
        self._finders.clear()
        if self._fallback is not None:
            self._fallback.close()
            self._fallback = None

    def _use(self, device: EisDevice) -> EisDevice:
        if device not in self._emulating:
            device.start()
            self._emulating.append(device)
        return device

    def _forget(self, device: EisDevice) -> None:
        """Forget what is down on a device that the server has taken, and with it all that was down there."""
        if device in self._emulating:
            self._emulating.remove(device)
        if self._pointer is device:
            self._pointer = None
        if (finder := self._finders.get(device)) is not None:
            for code in [code for code, on in self._keys.items() if on is device]:
                finder.note(code, down=False)
        for down in (self._keys, self._buttons, self._fingers):
            for code in [code for code, on in down.items() if on is device]:
                del down[code]

    def _key_event(self, event: InputEvent) -> str | None:
        code = EVDEV_OF_VIRTUAL_KEY.get(event.code & 0xFF)
        if code is None:
            return "unknown_key"
        down = event.kind == InputKind.KEY_DOWN
        if down and event.code & 0xFF in _KEYPAD_DIGITS:
            self._lock_numbers(code)
        return self._key(code, down=down)

    def _key(self, code: int, *, down: bool) -> str | None:
        if down == (code in self._keys):
            return None  # a repeat, which programs make themselves, or the release of a key that is up
        device = self._keys.pop(code, None) or self._devices.having(Capability.KEYBOARD)
        if device is None:
            return "no_keyboard"
        self._tell_key(self._use(device), code, down=down)
        if down:
            self._keys[code] = device
        return None

    def _tell_key(self, device: EisDevice, code: int, *, down: bool) -> None:
        device.key(code, down=down)
        if (finder := self._finders.get(device, self._fallback)) is not None:
            finder.note(code, down=down)

    def _lock_numbers(self, code: int) -> None:
        """Press num lock where a key of the keypad would move a cursor.

        A server that does not tell of its locks is left alone, as one that has not told of the last change yet.
        """
        device = self._devices.having(Capability.KEYBOARD)
        if device is None or device not in self._locked or device not in self._finders:
            return
        locked = self._locked[device]
        if self._finders[device].character_of(code, locked=locked.locked, group=locked.group):
            return
        del self._locked[device]
        for down in (True, False):
            self._tell_key(self._use(device), EVDEV_NUM_LOCK, down=down)

    def _button_event(self, event: InputEvent) -> str | None:
        code = EVDEV_OF_BUTTON.get(event.code)
        if code is None:
            return "unknown_button"
        return self._button(code, down=event.kind == InputKind.BUTTON_DOWN)

    def _button(self, code: int, *, down: bool) -> str | None:
        if down == (code in self._buttons):
            return None
        device = self._buttons.pop(code, None) or self._devices.having(Capability.BUTTON, self._pointer)
        if device is None:
            return "no_pointer"
        self._use(device).button(code, down=down)
        if down:
            self._buttons[code] = device
        return None

    def _move_by(self, event: InputEvent) -> str | None:
        device = self._devices.having(Capability.POINTER)
        if device is None:
            return "no_pointer"
        dx, dy = (max(-_MAX_MOVE, min(_MAX_MOVE, value)) for value in (event.x, event.y))
        self._use(device).move_by(dx, dy)
        self._pointer = device
        return None

    def _move_to(self, event: InputEvent) -> str | None:
        place = self._place(Capability.ABSOLUTE, event)
        if isinstance(place, str):
            return place
        device, x, y = place
        self._use(device).move_to(x, y)
        self._pointer = device
        return None

    def _scroll(self, event: InputEvent) -> str | None:
        if event.code not in {0, 1}:
            return "unknown_axis"
        device = self._devices.having(Capability.SCROLL, self._pointer)
        if device is None:
            return "no_pointer"
        limit = _MAX_NOTCHES * NOTCH
        distance = max(-limit, min(limit, event.x))
        # Up is positive in an event, down is positive there.
        dx, dy = (distance, 0) if event.code == 1 else (0, -distance)
        if self._notch is None or distance % NOTCH == 0:
            self._use(device).scroll(dx, dy)
        else:
            self._use(device).scroll_smoothly(dx * self._notch / NOTCH, dy * self._notch / NOTCH)
        return None

    def _touch(self, event: InputEvent) -> str | None:
        match event.kind:
            case InputKind.TOUCH_CANCEL_ALL:
                self._lift_all(cancel=True)
                return self._finger.take(event) if self._finger.down else None
            case InputKind.TOUCH_DOWN if event.code not in self._fingers:
                return self._put_down(event)
            case InputKind.TOUCH_DOWN | InputKind.TOUCH_MOVE:
                return self._drag(event)
        return self._lift(event)

    def _put_down(self, event: InputEvent) -> str | None:
        if len(self._fingers) >= CONTACTS:
            return "further_finger"
        place = self._place(Capability.TOUCH, event)
        if isinstance(place, str):
            return place
        device, x, y = place
        self._use(device).touch_down(event.code, x, y)
        self._fingers[event.code] = device
        return None

    def _drag(self, event: InputEvent) -> str | None:
        down = self._fingers.get(event.code)
        if down is None:
            return "not_down"
        place = self._place(Capability.TOUCH, event)
        if isinstance(place, str):
            return place
        device, x, y = place
        if device is not down:
            return "no_output"  # another than when the finger came down
        device.touch_move(event.code, x, y)
        return None

    def _lift(self, event: InputEvent) -> str | None:
        device = self._fingers.pop(event.code, None)
        if device is None:
            return "not_down"
        device.touch_up(event.code, cancel=event.kind is InputKind.TOUCH_CANCEL)
        return None

    def _place(self, capability: Capability, event: InputEvent) -> tuple[EisDevice, float, float] | str:
        """Return the device and the place on it of an event, or why it has none."""
        if event.surface is None or event.surface.empty:
            return "no_area"
        return self._devices.place(capability, event.surface, event.x, event.y) or "no_output"

    def _lift_all(self, *, cancel: bool) -> None:
        for finger, device in self._fingers.items():
            device.touch_up(finger, cancel=cancel)
        self._fingers.clear()

    def _type(self, event: InputEvent) -> str | None:
        """Type a character: as such where the server takes text, else by the keys that make it on its keymap."""
        if not 0 < event.code <= 0x10FFFF or 0xD800 <= event.code < 0xE000:
            return "no_character"
        typist = self._devices.having(Capability.TEXT)
        if typist is not None and event.code >= 0x20 and not 0x7F <= event.code < 0xA0:
            self._use(typist).type(chr(event.code))
            return None
        device = self._devices.having(Capability.KEYBOARD)
        if device is None:
            return "no_keyboard"
        finder = self._finders.get(device, self._fallback)
        if finder is None:
            return "no_keymap"
        # A server that does not tell of its locks is taken to have had none: what clients lock since is known.
        told = self._locked.get(device) or LockedModifiers(*finder.locked)
        strokes = finder.strokes_of(event.code, locked=told.locked, group=told.group)
        if strokes is None:
            return NO_KEY
        with self._modifiers_up():
            for stroke in strokes:
                self._strike(self._use(device), stroke)
        return None

    def _strike(self, device: EisDevice, stroke: Stroke) -> None:
        self._key(stroke.key, down=False)  # where the client holds it, too
        for code in (*stroke.held, stroke.key):
            self._tell_key(device, code, down=True)
        for code in (stroke.key, *reversed(stroke.held)):
            self._tell_key(device, code, down=False)

    @contextmanager
    def _modifiers_up(self) -> Iterator[None]:
        """Let go of the modifiers that the client holds: a held Control does not make a command of a character."""
        held = {code: device for code, device in self._keys.items() if code in _MODIFIER_KEYS}
        for code, device in held.items():
            self._tell_key(device, code, down=False)
        yield
        for code, device in held.items():
            self._tell_key(device, code, down=True)


def _no_gamepad(_event: InputEvent) -> str | None:
    return "no_gamepad"


def _no_such_device(_event: InputEvent) -> str | None:
    return "no_such_device"
