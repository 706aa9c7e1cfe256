"""Input by the portal's own methods, where it knows no EIS: a D-Bus call an event.

A portal answers each call, and a slow one must not hold up whoever injects. So events wait in a short queue of this
object's own, whose thread makes the calls in their order; movements that still wait become one.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.keycodes import EVDEV_OF_BUTTON, EVDEV_OF_VIRTUAL_KEY
from punktfunk.desktop.portal.choice import Devices
from punktfunk.errors import DesktopError
from punktfunk.input import NOTCH, InputEvent, InputKind, Tool

Notify = Callable[..., None]
"""Takes the name of a method, the signature of its values and these; waits until the portal has answered."""

MAX_WAITING: Final = 256
"""Events that wait; at 2 ms a call that is half a second."""
MAX_FINGERS: Final = 10
_DRAIN_LIMIT_S: Final = 2.0
_UP, _DOWN = 0, 1
_VERTICAL, _HORIZONTAL = 0, 1
_AXIS_LENGTH: Final = 10.0
"""What a notch is worth in ``NotifyPointerAxis``; Mutter's figure, and close to that of others."""
_MAX_MOVE: Final = 1 << 20
_MAX_NOTCHES: Final = 1000
_MERGED: Final = frozenset({"NotifyPointerMotion", "NotifyPointerMotionAbsolute"})
_NAMED_KEYSYMS: Final = {0x08: 0xFF08, 0x09: 0xFF09, 0x0A: 0xFF0D, 0x0D: 0xFF0D, 0x1B: 0xFF1B, 0x7F: 0xFFFF}
"""Controls that are keys: BackSpace, Tab, Return, Escape and Delete of X's keysymdef.h."""
_UNICODE_KEYSYM: Final = 0x01000000
_SURROGATES: Final = range(0xD800, 0xE000)
_LIFTS: Final = frozenset({InputKind.TOUCH_UP, InputKind.TOUCH_CANCEL, InputKind.TOUCH_CANCEL_ALL})


@dataclass(frozen=True, slots=True)
class _Call:
    member: str
    signature: str
    values: tuple[int | float, ...]


class NotifyInjector:
    """Fulfils :class:`punktfunk.desktop.inject.InputInjector`. ``node`` is the stream that positions count on."""

    def __init__(self, notify: Notify, devices: Devices, node: int) -> None:
        self._notify = notify
        self._devices = devices
        self._node = node
        self._size: tuple[float, float] | None = None
        self._counters: Counter[str] = Counter(injected=0)
        self._keys: set[int] = set()
        self._buttons: set[int] = set()
        self._slots: dict[int, int] = {}
        """Slot of each finger that is down, by the client's number."""
        self._finger: tuple[bool, int] | None = None
        """Which finger is the pointer: whether it is a finger, and its id."""
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._busy = self._closing = False
        self._failure: DesktopError | None = None
        self._thread = threading.Thread(target=self._send, name="portal-input", daemon=True)
        self._thread.start()

    @property
    def counters(self) -> dict[str, int]:
        """``injected``, and drops as ``dropped_<reason>``."""
        return dict(self._counters)

    def aim(self, *, mapping_id: str | None = None, region: Rect | None = None) -> None:
        """Take how large the stream's output is; where it lies only an EIS server has to be told."""
        del mapping_id
        self._size = None if region is None else (region.width, region.height)

    def inject(self, event: InputEvent) -> bool:
        """Put one event in; see :class:`punktfunk.desktop.inject.InputInjector`."""
        if self._failure is not None:
            raise self._failure
        reason = self._apply(event)
        self._counters["injected" if reason is None else f"dropped_{reason}"] += 1
        return reason is None

    def release_all(self) -> None:
        """Let go of everything that is down; the portal is told in its turn."""
        for code in sorted(self._keys):
            self._key(code, down=False)
        for code in sorted(self._buttons):
            self._button(code, down=False)
        for finger in list(self._slots):
            self._lift(finger)
        self._finger = None

    def close(self) -> None:
        """Release all and end. Closing twice is harmless."""
        if self._closing:
            return
        self._wait_until_told()  # so that there is room for what is let go of
        self.release_all()
        self._wait_until_told()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_DRAIN_LIMIT_S)

    def _wait_until_told(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy, _DRAIN_LIMIT_S)

    def _send(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                call, self._busy = self._waiting.popleft(), True
            try:
                self._notify(call.member, call.signature, *call.values)
            except BusError:
                self._counters["refused_by_portal"] += 1  # this one event, such as a place beside the stream
            except DesktopError as error:
                with self._changed:
                    self._failure = error
                    self._waiting.clear()
                    self._busy = False
                    self._changed.notify_all()
                return

    def _call(self, member: str, signature: str, *values: int | float) -> str | None:
        """Have a call made; return why it is not."""
        with self._changed:
            if self._failure is not None:
                return "portal_gone"
            if member in _MERGED and self._waiting and self._waiting[-1].member == member:
                last = self._waiting.pop()
                if member == "NotifyPointerMotion":
                    values = (last.values[0] + values[0], last.values[1] + values[1])
            if len(self._waiting) >= MAX_WAITING:
                return "portal_busy"
            self._waiting.append(_Call(member, signature, values))
            self._changed.notify_all()
        return None

    def _apply(self, event: InputEvent) -> str | None:
        means = {
            InputKind.KEY_DOWN: self._key_event,
            InputKind.KEY_UP: self._key_event,
            InputKind.TEXT: self._type,
            InputKind.MOUSE_MOVE: self._move_by,
            InputKind.MOUSE_ABSOLUTE: self._move_to,
            InputKind.BUTTON_DOWN: self._button_event,
            InputKind.BUTTON_UP: self._button_event,
            InputKind.SCROLL: self._scroll,
            InputKind.PAD_BUTTON: self._no_gamepad,
            InputKind.PAD_AXIS: self._no_gamepad,
            InputKind.TOUCH_DOWN: self._touch,
            InputKind.TOUCH_MOVE: self._touch,
            InputKind.TOUCH_UP: self._touch,
            InputKind.TOUCH_HOVER: self._touch,
            InputKind.TOUCH_CANCEL: self._touch,
            InputKind.TOUCH_CANCEL_ALL: self._touch,
        }.get(event.kind, self._no_such_device)
        return means(event)

    def _no_gamepad(self, _event: InputEvent) -> str | None:
        return "no_gamepad"

    def _no_such_device(self, _event: InputEvent) -> str | None:
        return "no_such_device"

    def _key_event(self, event: InputEvent) -> str | None:
        code = EVDEV_OF_VIRTUAL_KEY.get(event.code & 0xFF)
        if code is None:
            return "unknown_key"
        return self._key(code, down=event.kind == InputKind.KEY_DOWN)

    def _key(self, code: int, *, down: bool) -> str | None:
        if Devices.KEYBOARD not in self._devices:
            return "no_such_device"
        if down == (code in self._keys):
            return None  # a repeat, which programs make themselves, or the release of a key that is up
        return self._pressed("NotifyKeyboardKeycode", code, self._keys, down=down)

    def _type(self, event: InputEvent) -> str | None:
        if Devices.KEYBOARD not in self._devices:
            return "no_such_device"
        keysym = keysym_of(event.code)
        if keysym is None:
            return "no_character"
        return self._call("NotifyKeyboardKeysym", "iu", keysym, _DOWN) or self._call(
            "NotifyKeyboardKeysym", "iu", keysym, _UP
        )

    def _button_event(self, event: InputEvent) -> str | None:
        code = EVDEV_OF_BUTTON.get(event.code)
        if code is None:
            return "unknown_button"
        return self._button(code, down=event.kind == InputKind.BUTTON_DOWN)

    def _button(self, code: int, *, down: bool) -> str | None:
        if Devices.POINTER not in self._devices:
            return "no_such_device"
        if down == (code in self._buttons):
            return None
        return self._pressed("NotifyPointerButton", code, self._buttons, down=down)

    def _pressed(self, member: str, code: int, pressed: set[int], *, down: bool) -> str | None:
        """Press or release; what could not be told is still down, and released with the rest in the end."""
        reason = self._call(member, "iu", code, _DOWN if down else _UP)
        if reason is None:
            if down:
                pressed.add(code)
            else:
                pressed.discard(code)
        return reason

    def _move_by(self, event: InputEvent) -> str | None:
        if Devices.POINTER not in self._devices:
            return "no_such_device"
        dx, dy = (float(max(-_MAX_MOVE, min(_MAX_MOVE, value))) for value in (event.x, event.y))
        return self._call("NotifyPointerMotion", "dd", dx, dy)

    def _move_to(self, event: InputEvent) -> str | None:
        if Devices.POINTER not in self._devices:
            return "no_such_device"
        place = self._place(event)
        return (
            "no_area"
            if place is None
            else self._call("NotifyPointerMotionAbsolute", "udd", self._node, *place)
        )

    def _scroll(self, event: InputEvent) -> str | None:
        if Devices.POINTER not in self._devices:
            return "no_such_device"
        if event.code not in {0, 1}:
            return "unknown_axis"
        limit = _MAX_NOTCHES * NOTCH
        distance = max(-limit, min(limit, event.x))
        if not event.code:
            distance = -distance  # up is positive in an event, down is positive here
        notches, rest = divmod(abs(distance), NOTCH)
        if rest:
            length = distance * _AXIS_LENGTH / NOTCH
            return self._call("NotifyPointerAxis", "dd", *((length, 0.0) if event.code else (0.0, length)))
        axis = _HORIZONTAL if event.code else _VERTICAL
        steps = notches if distance > 0 else -notches
        return self._call("NotifyPointerAxisDiscrete", "ui", axis, steps) if steps else None

    def _touch(self, event: InputEvent) -> str | None:
        is_finger = event.contact is None or event.contact.tool is Tool.FINGER
        if not (Devices.TOUCH in self._devices and is_finger):
            return self._point_by((is_finger, event.code), event)
        if event.kind is InputKind.TOUCH_CANCEL_ALL:
            for finger in list(self._slots):
                self._lift(finger)
            return None
        if event.kind is InputKind.TOUCH_HOVER:
            return "no_such_device"
        if event.kind in _LIFTS:
            return self._lift(event.code)
        return self._put_down(event)

    def _put_down(self, event: InputEvent) -> str | None:
        """Put a finger down, or move it."""
        place = self._place(event)
        if place is None:
            return "no_area"
        known = self._slots.get(event.code)
        if known is None and event.kind is InputKind.TOUCH_MOVE:
            return "unknown_finger"
        free = set(range(MAX_FINGERS)) - set(self._slots.values())
        if known is None and not free:
            return "further_finger"
        slot = min(free) if known is None else known
        member = "NotifyTouchDown" if known is None else "NotifyTouchMotion"
        reason = self._call(member, "uudd", self._node, slot, *place)
        if reason is None:
            self._slots[event.code] = slot
        return reason

    def _lift(self, finger: int) -> str | None:
        slot = self._slots.get(finger)
        if slot is None:
            return "unknown_finger"
        reason = self._call("NotifyTouchUp", "u", slot)
        if reason is None:
            del self._slots[finger]
        return reason

    def _point_by(self, finger: tuple[bool, int], event: InputEvent) -> str | None:
        """Let the first finger, or the pen, be the pointer with its left button down."""
        if event.kind is InputKind.TOUCH_CANCEL_ALL:
            finger = self._finger or finger
        if self._finger not in {None, finger}:
            return "further_finger"
        if event.kind in _LIFTS:
            self._finger = None
            return self._button(EVDEV_OF_BUTTON[1], down=False)
        reason = self._move_to(event)
        if reason is None and event.kind is InputKind.TOUCH_DOWN:
            self._finger = finger
            reason = self._button(EVDEV_OF_BUTTON[1], down=True)
        return reason

    def _place(self, event: InputEvent) -> tuple[float, float] | None:
        """Return where a position lies on the stream's output, whose last pixel is the farthest."""
        if event.surface is None or event.surface.empty or self._size is None:
            return None
        (width, height), surface = self._size, event.surface
        x = max(0, min(surface.width, event.x)) * width / surface.width
        y = max(0, min(surface.height, event.y)) * height / surface.height
        return min(x, width - 1.0), min(y, height - 1.0)


def keysym_of(code_point: int) -> int | None:
    """Return X's number of a character's symbol; None for what is no character."""
    if code_point in _NAMED_KEYSYMS:
        return _NAMED_KEYSYMS[code_point]
    if code_point < 0x20 or 0x7F <= code_point < 0xA0 or code_point in _SURROGATES or code_point > 0x10FFFF:
        return None
    return code_point if code_point <= 0xFF else _UNICODE_KEYSYM + code_point
