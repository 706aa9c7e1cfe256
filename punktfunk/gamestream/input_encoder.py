"""Input as a client of GameStream sends it: events to messages (gamestream section 11), and on which channel."""

from __future__ import annotations

import struct
from typing import Final

from punktfunk.gamestream import input as wire
from punktfunk.gamestream.input import EnableHaptics, Magic
from punktfunk.input import (
    Contact,
    InputEvent,
    InputKind,
    PadArrival,
    PadBattery,
    PadButtons,
    PadInput,
    PadMotion,
    PadRemoval,
    PadReport,
    PadTouch,
    Tool,
)

KEYBOARD_CHANNEL, MOUSE_CHANNEL, PEN_CHANNEL, TOUCH_CHANNEL, TEXT_CHANNEL = 2, 3, 4, 5, 6
PAD_CHANNEL, MOTION_CHANNEL = 0x10, 0x20
"""Of pad 0; each pad has its own (section 10.2)."""
_NORMALISED: Final = 0x8000
"""What clients add to key codes."""
_BUTTON_WORDS: Final = 0x0014
_SIMPLE: Final = {
    InputKind.KEY_DOWN: Magic.KEY_DOWN,
    InputKind.KEY_UP: Magic.KEY_UP,
    InputKind.BUTTON_DOWN: Magic.BUTTON_DOWN,
    InputKind.BUTTON_UP: Magic.BUTTON_UP,
}
_UNRELIABLE_TOUCHES: Final = frozenset({InputKind.TOUCH_HOVER, InputKind.TOUCH_MOVE})


def encode(event: wire.Event, *, modifiers: int = 0, active_pads: int | None = None) -> bytes:
    """Return the message of an event.

    ``modifiers``: what a key goes with (section 11.2). ``active_pads``: the mask of all pads there are; None: this one.
    Raises ``ValueError`` for what this wire has no message for, such as a single button of a pad.
    """
    try:
        match event:
            case EnableHaptics():
                return _message(Magic.HAPTICS, struct.pack("<H", 1))
            case InputEvent():
                return _input(event, modifiers)
            case PadReport() | PadRemoval():
                return _message(Magic.PAD, _pad(event, active_pads))
            case _:
                return _message(*_rich(event))
    except struct.error as error:
        raise ValueError(f"{event} does not fit the wire: {error}") from error


def channel_of(event: wire.Event) -> int:
    """Return the channel on which clients send an event."""
    match event:
        case PadMotion(pad):
            return MOTION_CHANNEL + pad
        case EnableHaptics():
            return 0
        case InputEvent(kind, contact=contact):
            return _channel_of_input(kind, contact)
        case _:
            return PAD_CHANNEL + event.pad


def unreliable(event: wire.Event) -> bool:
    """Return whether clients send an event so that it may get lost (section 10.2)."""
    if isinstance(event, PadMotion):
        return bool(event.x or event.y or event.z)
    return isinstance(event, InputEvent | PadTouch) and event.kind in _UNRELIABLE_TOUCHES


def _channel_of_input(kind: InputKind, contact: Contact | None) -> int:
    if kind in {InputKind.KEY_DOWN, InputKind.KEY_UP}:
        return KEYBOARD_CHANNEL
    if kind is InputKind.TEXT:
        return TEXT_CHANNEL
    if kind in wire.TOUCH_KINDS:
        return PEN_CHANNEL if contact is not None and contact.tool is not Tool.FINGER else TOUCH_CHANNEL
    return MOUSE_CHANNEL


def _message(magic: Magic, body: bytes) -> bytes:
    return struct.pack(">I", 4 + len(body)) + struct.pack("<I", magic) + body


def _input(event: InputEvent, modifiers: int) -> bytes:
    match event.kind:
        case InputKind.KEY_DOWN | InputKind.KEY_UP:
            said = _SIMPLE[event.kind], wire.KEY.pack(0, event.code | _NORMALISED, modifiers, 0)
        case InputKind.BUTTON_DOWN | InputKind.BUTTON_UP:
            said = _SIMPLE[event.kind], bytes([event.code])
        case InputKind.MOUSE_MOVE:
            said = Magic.MOVE, wire.MOVE.pack(event.x, event.y)
        case InputKind.MOUSE_ABSOLUTE if event.surface is not None:
            said = (
                Magic.POSITION,
                wire.POSITION.pack(event.x, event.y, 0, event.surface.width, event.surface.height),
            )
        case InputKind.SCROLL if event.code == 0:
            said = Magic.SCROLL, struct.pack(">hhh", event.x, event.x, 0)
        case InputKind.SCROLL:
            said = Magic.HORIZONTAL_SCROLL, wire.SCROLL.pack(event.x)
        case InputKind.TEXT:
            said = Magic.TEXT, chr(event.code).encode()
        case kind if kind in wire.TOUCH_KINDS and event.surface is not None:
            said = _touch(event)
        case _:
            raise ValueError(f"GameStream has no message for {event}")
    return _message(*said)


def _touch(event: InputEvent) -> tuple[Magic, bytes]:
    assert event.surface is not None
    contact = event.contact or Contact()
    number = wire.TOUCH_KINDS.index(event.kind)
    x, y = event.x / event.surface.width, event.y / event.surface.height
    pressure = (contact.distance if event.kind is InputKind.TOUCH_HOVER else contact.pressure) or 0.0
    rotation = 0xFFFF if contact.rotation is None else contact.rotation
    if contact.tool is Tool.FINGER:
        return Magic.TOUCH, wire.TOUCH.pack(
            number, rotation, event.code, x, y, pressure, contact.major, contact.minor
        )
    tool, tilt = 2 if contact.tool is Tool.ERASER else 1, 0xFF if contact.tilt is None else contact.tilt
    return Magic.PEN, wire.PEN.pack(
        number, tool, contact.buttons, x, y, pressure, rotation, tilt, contact.major, contact.minor
    )


def _pad(event: PadReport | PadRemoval, active_pads: int | None) -> bytes:
    mask = 1 << event.pad if active_pads is None else active_pads
    if isinstance(event, PadRemoval):
        event, mask = PadReport(event.pad, PadButtons(0), (0, 0, 0, 0, 0, 0)), mask & ~(1 << event.pad)
    *sticks, left, right = event.axes
    low, high = event.buttons & 0xFFFF, event.buttons >> 16
    return wire.PAD.pack(0x1A, event.pad, mask, _BUTTON_WORDS, low, left, right, *sticks, 0x9C, high, 0x55)


def _rich(event: PadInput) -> tuple[Magic, bytes]:
    match event:
        case PadArrival(pad, model, capabilities, buttons):
            return Magic.PAD_ARRIVAL, wire.ARRIVAL.pack(pad, model, capabilities, buttons)
        case PadMotion(pad, sensor, x, y, z):
            return Magic.PAD_MOTION, wire.PAD_MOTION.pack(pad, sensor, x, y, z)
        case PadBattery(pad, state, percent):
            return Magic.PAD_BATTERY, wire.BATTERY.pack(pad, state, 0xFF if percent is None else percent)
        case PadTouch(pad, touchpad, finger, kind, x, y, pressure):
            number = wire.TOUCH_KINDS.index(kind)
            return Magic.PAD_TOUCH, wire.PAD_TOUCH.pack(pad, number, touchpad, finger, x, y, pressure)
        case _:
            raise ValueError(f"GameStream has no message for {event}")
