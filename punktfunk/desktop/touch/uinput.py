"""A touch screen and a pen by the kernel's uinput, through python-evdev (``punktfunk[gamepad]``).

Compositors that read the machine's input devices see both, and map them to an output; a compositor without a screen
reads none. Contacts are those of the multi-touch protocol, type B, each with its slot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from punktfunk.desktop.uinput import require_uinput
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.input import Contact, InputEvent, InputKind, SurfaceSize, Tool

if TYPE_CHECKING:
    import evdev

TOUCH_NAME: Final = "punktfunk touch screen"
PEN_NAME: Final = "punktfunk pen"
VENDOR, TOUCH_PRODUCT, PEN_PRODUCT = 0x7066, 1, 2
"""Of no USB vendor: with their names they are how a compositor tells these devices from the user's own."""
CONTACTS: Final = 16
"""Fingers at a time; further ones are dropped. Kernel drivers have ten."""
PLACES: Final = 0xFFFF
PRESSURES: Final = 4095
DISTANCES: Final = 255
_BUS_VIRTUAL: Final = 0x06
_PLACES_A_MM: Final = 200
"""Of a surface 33 cm either way: compositors take no pen that does not say how large it is."""
_TILT_A_RADIAN: Final = 57
"""Degrees, in the unit that the kernel counts angles by."""
_TRACKING_IDS: Final = 0x10000

_PEN_BUTTONS: Final = {1: "BTN_STYLUS", 2: "BTN_STYLUS2", 4: "BTN_STYLUS3"}
_TOOLS: Final = {Tool.PEN: "BTN_TOOL_PEN", Tool.ERASER: "BTN_TOOL_RUBBER"}
_FINGER_KINDS: Final = frozenset(
    {
        InputKind.TOUCH_DOWN,
        InputKind.TOUCH_MOVE,
        InputKind.TOUCH_UP,
        InputKind.TOUCH_CANCEL,
        InputKind.TOUCH_CANCEL_ALL,
    }
)
_TOUCH_KINDS: Final = _FINGER_KINDS | {
    InputKind.TOUCH_HOVER,
    InputKind.TOUCH_LEAVE,
    InputKind.TOUCH_BUTTONS,
}

OpenDevice = Callable[..., Any]
"""``evdev.UInput`` or what stands in for it."""


class UinputTouch:
    """Both devices; see :class:`punktfunk.desktop.touch.TouchInjector`.

    Raises CapabilityError where uinput is unavailable.
    """

    def __init__(self, *, open_device: OpenDevice | None = None) -> None:
        if open_device is None:
            require_uinput("touch and pens")
        import evdev

        try:
            self._fingers = _Fingers(open_device or evdev.UInput)
        except (OSError, evdev.UInputError) as error:
            raise _cannot(error) from error
        try:
            self._pen = _Pen(open_device or evdev.UInput)
        except (OSError, evdev.UInputError) as error:
            self._fingers.close()
            raise _cannot(error) from error
        self._closed = False

    def takes(self, event: InputEvent) -> bool:
        """Whether the event is of a finger that touches, or of a pen."""
        return event.kind in (_FINGER_KINDS if _of_finger(event) else _TOUCH_KINDS)

    def inject(self, event: InputEvent) -> str | None:
        """Put one event in; return why it means nothing."""
        if not self.takes(event):
            return "no_touch"
        try:
            if event.kind is InputKind.TOUCH_CANCEL_ALL:
                self._pen.leave()
                self._fingers.cancel_all()
                return None
            return self._fingers.take(event) if _of_finger(event) else self._pen.take(event)
        except OSError as error:
            raise DesktopError(f"the touch screen is gone: {error.strerror}") from error

    def release_all(self) -> None:
        """Lift every finger, and take the pen away; raise DesktopError when they are gone."""
        try:
            self._fingers.lift_all()
            self._pen.leave()
        except OSError as error:
            raise DesktopError(f"the touch screen is gone: {error.strerror}") from error

    def close(self) -> None:
        """Unplug both: the kernel lifts what still touches."""
        if not self._closed:
            self._closed = True
            self._fingers.close()
            self._pen.close()


class _Device:
    """One device, written a report at a time."""

    def __init__(
        self, open_device: OpenDevice, name: str, product: int, keys: list[str], axes: dict[str, Any]
    ) -> None:
        import evdev

        self._codes = evdev.ecodes
        of = evdev.ecodes.ecodes
        self._device: evdev.UInput = open_device(
            {
                evdev.ecodes.EV_KEY: [of[key] for key in keys],
                evdev.ecodes.EV_ABS: [(of[axis], evdev.AbsInfo(*info)) for axis, info in axes.items()],
            },
            name=name,
            vendor=VENDOR,
            product=product,
            version=1,
            bustype=_BUS_VIRTUAL,
            input_props=[evdev.ecodes.INPUT_PROP_DIRECT],
        )

    def key(self, name: str, *, down: bool) -> None:
        self._device.write(self._codes.EV_KEY, self._codes.ecodes[name], int(down))

    def axis(self, name: str, value: int) -> None:
        self._device.write(self._codes.EV_ABS, self._codes.ecodes[name], value)

    def report(self) -> None:
        self._device.syn()

    def close(self) -> None:
        self._device.close()


def _axis(low: int, high: int, resolution: int = 0) -> tuple[int, int, int, int, int, int]:
    """Return value, least, most, fuzz, flat and units a mm (or radian) of an axis."""
    return (0, low, high, 0, 0, resolution)


class _Fingers:
    """The touch screen: which finger has which slot."""

    def __init__(self, open_device: OpenDevice) -> None:
        place = _axis(0, PLACES, _PLACES_A_MM)
        self._device = _Device(
            open_device,
            TOUCH_NAME,
            TOUCH_PRODUCT,
            ["BTN_TOUCH"],
            {
                "ABS_X": place,
                "ABS_Y": place,
                "ABS_MT_SLOT": _axis(0, CONTACTS - 1),
                "ABS_MT_TRACKING_ID": _axis(0, _TRACKING_IDS - 1),
                "ABS_MT_POSITION_X": place,
                "ABS_MT_POSITION_Y": place,
                "ABS_MT_TOUCH_MAJOR": place,
                "ABS_MT_TOUCH_MINOR": place,
                "ABS_MT_PRESSURE": _axis(0, PRESSURES),
                "ABS_MT_TOOL_TYPE": _axis(0, 2),
            },
        )
        self._slots: dict[int, int] = {}
        """By finger; never more than :data:`CONTACTS`."""
        self._next_id = 0

    def take(self, event: InputEvent) -> str | None:
        match event.kind:
            case InputKind.TOUCH_DOWN if event.code not in self._slots:
                return self._put_down(event)
            case InputKind.TOUCH_DOWN | InputKind.TOUCH_MOVE:
                return self._move(event)
            case InputKind.TOUCH_UP | InputKind.TOUCH_CANCEL:
                return self._lift(event)
        return "no_touch"

    def cancel_all(self) -> None:
        for slot in self._slots.values():
            self._select(slot)
            self._device.axis("ABS_MT_TOOL_TYPE", _PALM)
        if self._slots:
            self._device.report()
        self.lift_all()

    def lift_all(self) -> None:
        for slot in self._slots.values():
            self._free(slot)
        if self._slots:
            self._slots.clear()
            self._device.key("BTN_TOUCH", down=False)
            self._device.report()

    def close(self) -> None:
        self._device.close()

    def _put_down(self, event: InputEvent) -> str | None:
        place = _place(event)
        if place is None:
            return "no_area"
        free = set(range(CONTACTS)).difference(self._slots.values())
        if not free:
            return "further_finger"
        slot = self._slots[event.code] = min(free)
        self._select(slot)
        self._device.axis("ABS_MT_TRACKING_ID", self._next_id)
        self._next_id = (self._next_id + 1) % _TRACKING_IDS
        self._device.axis("ABS_MT_TOOL_TYPE", _FINGER)
        self._put(event, place)
        if len(self._slots) == 1:
            self._device.key("BTN_TOUCH", down=True)
        self._device.report()
        return None

    def _move(self, event: InputEvent) -> str | None:
        slot, place = self._slots.get(event.code), _place(event)
        if slot is None:
            return "not_down"
        if place is None:
            return "no_area"
        self._select(slot)
        self._put(event, place)
        self._device.report()
        return None

    def _lift(self, event: InputEvent) -> str | None:
        slot = self._slots.pop(event.code, None)
        if slot is None:
            return "not_down"
        if event.kind is InputKind.TOUCH_CANCEL:
            # Compositors take back what a palm has done.
            self._select(slot)
            self._device.axis("ABS_MT_TOOL_TYPE", _PALM)
            self._device.report()
        self._free(slot)
        if not self._slots:
            self._device.key("BTN_TOUCH", down=False)
        self._device.report()
        return None

    def _put(self, event: InputEvent, place: tuple[int, int]) -> None:
        x, y = place
        contact = event.contact or Contact()
        self._device.axis("ABS_MT_POSITION_X", x)
        self._device.axis("ABS_MT_POSITION_Y", y)
        self._device.axis("ABS_MT_TOUCH_MAJOR", _part_of(contact.major, PLACES))
        self._device.axis("ABS_MT_TOUCH_MINOR", _part_of(contact.minor, PLACES))
        # A finger of which nothing is known presses as fingers do.
        pressure = 0.5 if contact.pressure is None else contact.pressure
        self._device.axis("ABS_MT_PRESSURE", max(1, _part_of(pressure, PRESSURES)))
        if next(iter(self._slots)) == event.code:
            # The oldest finger is the one of programs that know but one.
            self._device.axis("ABS_X", x)
            self._device.axis("ABS_Y", y)

    def _select(self, slot: int) -> None:
        self._device.axis("ABS_MT_SLOT", slot)

    def _free(self, slot: int) -> None:
        self._select(slot)
        self._device.axis("ABS_MT_TRACKING_ID", -1)


_FINGER, _PALM = 0, 2
"""``MT_TOOL_FINGER`` and ``MT_TOOL_PALM`` of linux/input.h."""


class _Pen:
    """The pen: which of its ends is near, whether it touches, which of its buttons are down."""

    def __init__(self, open_device: OpenDevice) -> None:
        place = _axis(0, PLACES, _PLACES_A_MM)
        tilt = _axis(-90, 90, _TILT_A_RADIAN)
        self._device = _Device(
            open_device,
            PEN_NAME,
            PEN_PRODUCT,
            [*_TOOLS.values(), "BTN_TOUCH", *_PEN_BUTTONS.values()],
            {
                "ABS_X": place,
                "ABS_Y": place,
                "ABS_PRESSURE": _axis(0, PRESSURES),
                "ABS_DISTANCE": _axis(0, DISTANCES),
                "ABS_TILT_X": tilt,
                "ABS_TILT_Y": tilt,
            },
        )
        self._near: Tool | None = None
        self._touches = False
        self._buttons = 0

    def take(self, event: InputEvent) -> str | None:
        contact = event.contact or Contact(Tool.PEN)
        match event.kind:
            case InputKind.TOUCH_HOVER:
                return self._put(event, contact, touches=False)
            case InputKind.TOUCH_DOWN:
                return self._put(event, contact, touches=True)
            case InputKind.TOUCH_MOVE if self._touches:
                return self._put(event, contact, touches=True)
            case InputKind.TOUCH_BUTTONS if self._near is not None:
                self._press(contact.buttons)
                self._device.report()
                return None
            case InputKind.TOUCH_UP | InputKind.TOUCH_CANCEL | InputKind.TOUCH_LEAVE if (
                self._near is not None
            ):
                # A client whose pen is still near says so by hovering; one that cannot hover says no more.
                self.leave()
                return None
        return "not_down"

    def leave(self) -> None:
        if self._near is None:
            return
        if self._touches:
            self._device.axis("ABS_PRESSURE", 0)
            self._device.key("BTN_TOUCH", down=False)
        self._press(0)
        self._device.key(_TOOLS[self._near], down=False)
        self._device.report()
        self._near, self._touches = None, False

    def close(self) -> None:
        self._device.close()

    def _put(self, event: InputEvent, contact: Contact, *, touches: bool) -> str | None:
        place = _place(event)
        if place is None:
            return "no_area"
        tool = contact.tool
        if self._near not in {None, tool}:
            self.leave()  # one end after the other
        if self._near is None:
            self._device.key(_TOOLS[tool], down=True)
            self._near = tool
        self._device.axis("ABS_X", place[0])
        self._device.axis("ABS_Y", place[1])
        pressure = 0.5 if contact.pressure is None else contact.pressure
        self._device.axis("ABS_PRESSURE", max(1, _part_of(pressure, PRESSURES)) if touches else 0)
        distance = 1.0 if contact.distance is None else contact.distance
        self._device.axis("ABS_DISTANCE", 0 if touches else max(1, _part_of(distance, DISTANCES)))
        tilt_x, tilt_y = tilt_of(contact)
        self._device.axis("ABS_TILT_X", tilt_x)
        self._device.axis("ABS_TILT_Y", tilt_y)
        if touches != self._touches:
            self._touches = touches
            self._device.key("BTN_TOUCH", down=touches)
        self._press(contact.buttons)
        self._device.report()
        return None

    def _press(self, buttons: int) -> None:
        for bit, name in _PEN_BUTTONS.items():
            if (buttons ^ self._buttons) & bit:
                self._device.key(name, down=bool(buttons & bit))
        self._buttons = buttons


def tilt_of(contact: Contact) -> tuple[int, int]:
    """Return how far a pen leans right and down, degrees from upright, -90 to 90; upright where that is not known.

    Its rotation is taken to be where its upper end points, clockwise from the top: the wires do not say.
    """
    if contact.tilt is None or contact.rotation is None:
        return 0, 0
    towards, lean = math.radians(contact.rotation), math.sin(math.radians(min(90, contact.tilt)))
    upright = math.cos(math.radians(min(90, contact.tilt)))
    x, y = lean * math.sin(towards), -lean * math.cos(towards)
    return round(math.degrees(math.atan2(x, upright))), round(math.degrees(math.atan2(y, upright)))


def _of_finger(event: InputEvent) -> bool:
    return event.contact is None or event.contact.tool is Tool.FINGER


def _place(event: InputEvent) -> tuple[int, int] | None:
    surface: SurfaceSize | None = event.surface
    if surface is None or surface.empty:
        return None
    return (
        _part_of(event.x / surface.width, PLACES),
        _part_of(event.y / surface.height, PLACES),
    )


def _part_of(part: float, whole: int) -> int:
    return round(max(0.0, min(1.0, part)) * whole)


def _cannot(error: Exception) -> CapabilityError:
    return CapabilityError(f"no touch screen can be made: {error}", "see punktfunk doctor")
