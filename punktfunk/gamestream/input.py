"""Input messages of GameStream and the neutral events that they are (gamestream section 11).

A decoder belongs to one session: it keeps which modifier keys and which pads its client has. It never raises; what
cannot be used is an :class:`~punktfunk.gamestream.control.Ignored` with the name under which it is counted.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from punktfunk.gamestream.control import Ignored
from punktfunk.gamestream.modifiers import ModifierKeys
from punktfunk.input import (
    MAX_PADS,
    BatteryState,
    Contact,
    InputEvent,
    InputKind,
    PadArrival,
    PadBattery,
    PadButtons,
    PadCapability,
    PadInput,
    PadModel,
    PadMotion,
    PadRemoval,
    PadReport,
    PadSensor,
    PadTouch,
    SurfaceSize,
    Tool,
)

PLACES: Final = 0xFFFF
"""Touch positions, 0 to 1 on the wire, are counted on a surface of this many steps either way."""
MAX_TEXT_BYTES: Final = 64
"""Of one text message. Clients send one code point, 4 bytes at most."""

_FRAME = struct.Struct(">I")
_MAGIC = struct.Struct("<I")
KEY = struct.Struct("<BHBH")
MOVE = struct.Struct(">hh")
POSITION = struct.Struct(">hhhhh")
SCROLL = struct.Struct(">h")
PAD = struct.Struct("<HHHHHBBhhhhHHH")
ARRIVAL = struct.Struct("<BBHI")
TOUCH = struct.Struct("<BxHIfffff")
PEN = struct.Struct("<BBBxfffHBxff")
PAD_TOUCH = struct.Struct("<BBxBIfff")
PAD_MOTION = struct.Struct("<BBxxfff")
BATTERY = struct.Struct("<BBBx")
_UNKNOWN_ROTATION, _UNKNOWN_TILT, _UNKNOWN_PERCENT = 0xFFFF, 0xFF, 0xFF
_ALL_BUTTONS: Final = PadButtons(int(sum(PadButtons)))
_ALL_CAPABILITIES: Final = PadCapability(int(sum(PadCapability)))
TOUCH_KINDS: Final = (
    InputKind.TOUCH_HOVER,
    InputKind.TOUCH_DOWN,
    InputKind.TOUCH_UP,
    InputKind.TOUCH_MOVE,
    InputKind.TOUCH_CANCEL,
    InputKind.TOUCH_BUTTONS,
    InputKind.TOUCH_LEAVE,
    InputKind.TOUCH_CANCEL_ALL,
)
"""By their numbers on the wire (section 11.6)."""
_TOOLS: Final = (Tool.PEN, Tool.PEN, Tool.ERASER)
"""By their numbers on the wire (section 11.7); an unknown one writes."""


class Magic(IntEnum):
    """What a message is."""

    KEY_DOWN = 0x03
    KEY_UP = 0x04
    POSITION = 0x05
    MOVE = 0x07
    BUTTON_DOWN = 0x08
    BUTTON_UP = 0x09
    SCROLL = 0x0A
    PAD = 0x0C
    HAPTICS = 0x0D
    TEXT = 0x17
    HORIZONTAL_SCROLL = 0x5500_0001
    TOUCH = 0x5500_0002
    PEN = 0x5500_0003
    PAD_ARRIVAL = 0x5500_0004
    PAD_TOUCH = 0x5500_0005
    PAD_MOTION = 0x5500_0006
    PAD_BATTERY = 0x5500_0007


@dataclass(frozen=True, slots=True)
class EnableHaptics:
    """The client takes rumble from now on; before it, there is to be none (section 10.4)."""


Event = InputEvent | PadInput | EnableHaptics
Events = tuple[Event, ...]
_SHORT, _UNKNOWN, _MEANINGLESS = Ignored("short"), Ignored("unknown_input"), Ignored("meaningless_input")


class InputDecoder:
    """Reads the input of one client."""

    def __init__(self) -> None:
        self._modifiers = ModifierKeys()
        self._pads: dict[int, PadModel] = {}
        self._decoders: dict[int, Callable[[bytes], Events | Ignored]] = {
            Magic.KEY_DOWN: lambda body: self._key(InputKind.KEY_DOWN, body),
            Magic.KEY_UP: lambda body: self._key(InputKind.KEY_UP, body),
            Magic.POSITION: _position,
            Magic.MOVE: _move,
            Magic.BUTTON_DOWN: lambda body: (InputEvent(InputKind.BUTTON_DOWN, body[0]),),
            Magic.BUTTON_UP: lambda body: (InputEvent(InputKind.BUTTON_UP, body[0]),),
            Magic.SCROLL: lambda body: _scroll(0, body),
            Magic.HORIZONTAL_SCROLL: lambda body: _scroll(1, body),
            Magic.HAPTICS: lambda _body: (EnableHaptics(),),
            Magic.TEXT: _text,
            Magic.PAD: self._pad,
            Magic.PAD_ARRIVAL: self._arrival,
            Magic.TOUCH: _touch,
            Magic.PEN: _pen,
            Magic.PAD_TOUCH: _pad_touch,
            Magic.PAD_MOTION: _pad_motion,
            Magic.PAD_BATTERY: _pad_battery,
        }

    def decode(self, payload: bytes) -> Events | Ignored:
        """Return what a message means: one event, or more where modifiers or a new pad go with it, or none."""
        if len(payload) < _FRAME.size + _MAGIC.size:
            return _SHORT
        (size,) = _FRAME.unpack_from(payload)
        message = payload[_FRAME.size : _FRAME.size + size]
        if len(message) < max(size, _MAGIC.size):
            return _SHORT
        (magic,) = _MAGIC.unpack_from(message)
        decoder = self._decoders.get(magic)
        if decoder is None:
            return _UNKNOWN
        try:
            return decoder(message[_MAGIC.size :])
        except (struct.error, IndexError):  # a body that is shorter than its kind has it
            return _SHORT

    def _key(self, kind: InputKind, body: bytes) -> Events:
        _flags, code, modifiers, _ = KEY.unpack_from(body)
        if kind is InputKind.KEY_DOWN:
            return self._modifiers.press(code & 0xFF, modifiers)
        return self._modifiers.release(code & 0xFF)

    def _pad(self, body: bytes) -> Events | Ignored:
        _, pad, mask, _, low, left, right, lx, ly, rx, ry, _, high, _ = PAD.unpack_from(body)
        if pad >= MAX_PADS:
            return _MEANINGLESS
        if not mask >> pad & 1:
            return (PadRemoval(pad),) if self._pads.pop(pad, None) is not None else ()
        if high == 0xFFFF and low & PadButtons.Y:
            high = 0  # older Android clients extend the sign of the low half
        buttons = PadButtons((high << 16 | low) & _ALL_BUTTONS)
        report = PadReport(pad, buttons, (lx, ly, rx, ry, left, right))
        if pad in self._pads:
            return (report,)
        self._pads[pad] = PadModel.UNKNOWN
        return (PadArrival(pad, PadModel.UNKNOWN, PadCapability(0), PadButtons(0)), report)

    def _arrival(self, body: bytes) -> Events | Ignored:
        pad, number, capabilities, buttons = ARRIVAL.unpack_from(body)
        if pad >= MAX_PADS:
            return _MEANINGLESS
        model = PadModel(number) if number in set(PadModel) else PadModel.UNKNOWN
        before = self._pads.get(pad)
        if before is model:
            return ()
        self._pads[pad] = model
        arrival = PadArrival(
            pad, model, PadCapability(capabilities & _ALL_CAPABILITIES), PadButtons(buttons & _ALL_BUTTONS)
        )
        return (arrival,) if before is None else (PadRemoval(pad), arrival)


def _move(body: bytes) -> Events:
    dx, dy = MOVE.unpack_from(body)
    return (InputEvent(InputKind.MOUSE_MOVE, x=dx, y=dy),)


def _position(body: bytes) -> Events | Ignored:
    x, y, _, width, height = POSITION.unpack_from(body)
    surface = SurfaceSize(width, height)
    if surface.empty:
        return _MEANINGLESS
    return (InputEvent(InputKind.MOUSE_ABSOLUTE, 0, max(0, min(width, x)), max(0, min(height, y)), surface),)


def _scroll(axis: int, body: bytes) -> Events:
    return (InputEvent(InputKind.SCROLL, axis, SCROLL.unpack_from(body)[0]),)


def _text(body: bytes) -> Events | Ignored:
    if len(body) > MAX_TEXT_BYTES:
        return _MEANINGLESS
    try:
        text = body.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return _MEANINGLESS
    return tuple(InputEvent(InputKind.TEXT, ord(character)) for character in text) or _SHORT


def _touch(body: bytes) -> Events | Ignored:
    number, rotation, pointer, x, y, pressure, major, minor = TOUCH.unpack_from(body)
    if number >= len(TOUCH_KINDS) or not _finite(x, y, pressure, major, minor):
        return _MEANINGLESS
    kind = TOUCH_KINDS[number]
    contact = Contact(Tool.FINGER, *_pressed(kind, pressure), _part(major), _part(minor), _rotation(rotation))
    return (_touched(kind, pointer, x, y, contact),)


def _pen(body: bytes) -> Events | Ignored:
    number, tool, buttons, x, y, pressure, rotation, tilt, major, minor = PEN.unpack_from(body)
    if number >= len(TOUCH_KINDS) or not _finite(x, y, pressure, major, minor):
        return _MEANINGLESS
    kind = TOUCH_KINDS[number]
    contact = Contact(
        _TOOLS[tool] if tool < len(_TOOLS) else Tool.PEN,
        *_pressed(kind, pressure),
        _part(major),
        _part(minor),
        _rotation(rotation),
        None if tilt == _UNKNOWN_TILT else tilt,
        buttons,
    )
    return (_touched(kind, 0, x, y, contact),)


def _touched(kind: InputKind, pointer: int, x: float, y: float, contact: Contact) -> InputEvent:
    return InputEvent(kind, pointer, _place(x), _place(y), SurfaceSize(PLACES, PLACES), contact=contact)


def _pad_touch(body: bytes) -> Events | Ignored:
    pad, number, touchpad, finger, x, y, pressure = PAD_TOUCH.unpack_from(body)
    if pad >= MAX_PADS or number >= len(TOUCH_KINDS) or not _finite(x, y, pressure):
        return _MEANINGLESS
    return (PadTouch(pad, touchpad, finger, TOUCH_KINDS[number], _part(x), _part(y), _part(pressure)),)


def _pad_motion(body: bytes) -> Events | Ignored:
    pad, sensor, x, y, z = PAD_MOTION.unpack_from(body)
    if pad >= MAX_PADS or sensor not in set(PadSensor) or not _finite(x, y, z):
        return _MEANINGLESS
    return (PadMotion(pad, PadSensor(sensor), x, y, z),)


def _pad_battery(body: bytes) -> Events | Ignored:
    pad, state, percent = BATTERY.unpack_from(body)
    if pad >= MAX_PADS:
        return _MEANINGLESS
    known = BatteryState(state) if state in set(BatteryState) else BatteryState.UNKNOWN
    return (PadBattery(pad, known, None if percent == _UNKNOWN_PERCENT else min(100, percent)),)


def _pressed(kind: InputKind, value: float) -> tuple[float | None, float | None]:
    """Return the pressure and the distance that one field has, by what a pointer does."""
    if kind is InputKind.TOUCH_HOVER:
        return None, _part(value)
    return (_part(value) or None), None


def _rotation(degrees: int) -> int | None:
    return None if degrees == _UNKNOWN_ROTATION else degrees


def _finite(*numbers: float) -> bool:
    return all(map(math.isfinite, numbers))


def _part(value: float) -> float:
    return max(0.0, min(1.0, value))


def _place(value: float) -> int:
    return round(_part(value) * PLACES)
