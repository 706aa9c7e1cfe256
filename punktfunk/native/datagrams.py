"""Input, audio and feedback channels: input, sound, microphone, rumble, HID output and pointer, a QUIC datagram each.

The first byte is a tag (punktfunk/1 section 3). Trailing bytes are ignored everywhere, for later releases
lengthen what is there. Input and what goes back to pads are the events of :mod:`punktfunk.input`, which become bytes
here and nowhere else. Decoders never raise: what cannot be used is an :class:`Ignored` with the name under
which it is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, get_args

from punktfunk.input import (
    EFFECT_BYTES,
    INPUT_NAMES,
    PAD_KINDS,
    WIRE_INPUT_KINDS,
    InputEvent,
    InputKind,
    Lightbar,
    Mic,
    Motion,
    PlayerLeds,
    RichInput,
    Rumble,
    SurfaceSize,
    Touchpad,
    TriggerEffect,
)

MAX_DATAGRAM_BYTES = 1100
"""Fits the smallest packet that QUIC guarantees (1200 bytes), with room for headers and the tag."""

_INPUT = struct.Struct("<BBIiiI")
_SOUND = struct.Struct("<BIQ")
_RUMBLE = struct.Struct("<BHHH")
_CURSOR = struct.Struct("<BIBii")
_TOUCHPAD = struct.Struct("<BBBBBHH")
_MOTION = struct.Struct("<BBB6h")
_MAX_SURFACE = 0xFFFF


class Tag(IntEnum):
    """First byte of a datagram."""

    INPUT = 0xC8
    AUDIO = 0xC9
    RUMBLE = 0xCA
    MIC = 0xCB
    RICH_INPUT = 0xCC
    HID_OUTPUT = 0xCD
    CURSOR = 0xD0


class CursorFlag(IntFlag):
    """What a cursor state says beside the place (section 3.8); other bits are left alone."""

    VISIBLE = 1
    RELATIVE_HINT = 2
    """A program at the host has captured the pointer."""


class _Rich(IntEnum):
    """Second byte of rich input (section 3.5)."""

    TOUCHPAD = 1
    MOTION = 2


class _Hid(IntEnum):
    """Second byte of HID output (section 3.6)."""

    LIGHTBAR = 1
    PLAYER_LEDS = 2
    TRIGGER_EFFECT = 3


_RICH_LAYOUTS: Final[dict[int, struct.Struct]] = {_Rich.TOUCHPAD: _TOUCHPAD, _Rich.MOTION: _MOTION}
_HID_BYTES: Final[dict[int, int]] = {_Hid.LIGHTBAR: 6, _Hid.PLAYER_LEDS: 4, _Hid.TRIGGER_EFFECT: 4}
"""The least that each kind is of; a trigger effect may be longer."""


@dataclass(frozen=True, slots=True)
class Audio:
    """Host to client: one Opus packet, 48 kHz stereo, 5 ms; ``pts_ns`` is the host's wall clock at encode.

    An empty packet is legal (DTX).
    """

    seq: int
    pts_ns: int
    opus: bytes


@dataclass(frozen=True, slots=True)
class CursorState:
    """Host to client: where the pointer is, in pixels of the picture, and which shape it has (v0.18.0, section 3.8)."""

    serial: int
    """Of the ``CursorShape`` message that told the shape."""
    flags: int
    """Bits of :class:`CursorFlag`."""
    x: int
    y: int

    @property
    def visible(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.flags & CursorFlag.VISIBLE)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A datagram that is dropped: ``empty``, ``unknown_tag``, ``unknown_kind`` or ``short``."""

    reason: str


FromClient = InputEvent | Mic | RichInput
"""What a client of this wire sends of :data:`punktfunk.input.FromClient`."""
Feedback = Rumble | Lightbar | PlayerLeds | TriggerEffect
"""What a host of this wire sends of :data:`punktfunk.input.PadFeedback`."""
FromHost = Audio | Feedback | CursorState
Datagram = FromClient | FromHost
COUNTER_NAMES: Final[dict[type, str]] = {
    **{kind: INPUT_NAMES[kind] for kind in get_args(FromClient)},
    Audio: "audio",
    Rumble: "rumble",
    Lightbar: "lightbar",
    PlayerLeds: "playerleds",
    TriggerEffect: "triggereffect",
    CursorState: "cursor",
}
"""The names under which both ends count what passes."""
_EMPTY, _SHORT = Ignored("empty"), Ignored("short")
_UNKNOWN_TAG, _UNKNOWN_KIND = Ignored("unknown_tag"), Ignored("unknown_kind")


def decode_from_client(data: bytes) -> FromClient | Ignored:
    """Decode what a client sent; a tag that only hosts send is unknown here."""
    if not data:
        return _EMPTY
    decoder = _CLIENT_DECODERS.get(data[0])
    return _UNKNOWN_TAG if decoder is None else decoder(data)


def decode_from_host(data: bytes) -> FromHost | Ignored:
    """Decode what a host sent; a tag that only clients send is unknown here."""
    if not data:
        return _EMPTY
    decoder = _HOST_DECODERS.get(data[0])
    return _UNKNOWN_TAG if decoder is None else decoder(data)


def encode(datagram: Datagram) -> bytes:
    """Encode a datagram; raise ``ValueError`` when it does not fit a packet or a field its place."""
    try:
        data = _client_bytes(datagram) if isinstance(datagram, FromClient) else _host_bytes(datagram)
    except struct.error as error:
        raise ValueError(f"{type(datagram).__name__} does not fit the wire: {error}") from error
    if len(data) > MAX_DATAGRAM_BYTES:
        raise ValueError(f"{type(datagram).__name__} of {len(data)} bytes does not fit {MAX_DATAGRAM_BYTES}")
    return data


def _client_bytes(datagram: FromClient) -> bytes:
    match datagram:
        case InputEvent(kind, code, x, y):
            return _INPUT.pack(Tag.INPUT, kind, code, x, y, _flags_of(datagram))
        case Mic(seq, pts_ns, opus):
            return _SOUND.pack(Tag.MIC, seq, pts_ns) + opus
        case Touchpad(pad, finger, active, x, y):
            return _TOUCHPAD.pack(Tag.RICH_INPUT, _Rich.TOUCHPAD, pad, finger, active, x, y)
        case Motion(pad, gyro, accel):
            return _MOTION.pack(Tag.RICH_INPUT, _Rich.MOTION, pad, *gyro, *accel)


def _host_bytes(datagram: FromHost) -> bytes:
    match datagram:
        case Audio(seq, pts_ns, opus):
            return _SOUND.pack(Tag.AUDIO, seq, pts_ns) + opus
        case Rumble(pad, low, high):
            return _RUMBLE.pack(Tag.RUMBLE, pad, low, high)
        case Lightbar(pad, red, green, blue):
            return bytes([Tag.HID_OUTPUT, _Hid.LIGHTBAR, pad, red, green, blue])
        case PlayerLeds(pad, bits):
            return bytes([Tag.HID_OUTPUT, _Hid.PLAYER_LEDS, pad, bits & 0x1F])
        case TriggerEffect(pad, which, effect):
            return bytes([Tag.HID_OUTPUT, _Hid.TRIGGER_EFFECT, pad, which]) + effect[:EFFECT_BYTES]
        case CursorState(serial, flags, x, y):
            return _CURSOR.pack(Tag.CURSOR, serial, flags, x, y)


def _flags_of(event: InputEvent) -> int:
    """Return the one field that holds a pad's index for pads and the surface for all else (section 3.1)."""
    if event.kind not in WIRE_INPUT_KINDS or event.contact is not None:
        raise ValueError(
            f"{event.kind.name} with {event.contact} does not fit the wire: it has no place there"
        )
    if event.kind in PAD_KINDS:
        if event.surface is not None:
            raise ValueError(f"{event.kind.name} does not fit the wire with a surface: there its pad stands")
        return event.pad
    if event.pad:
        raise ValueError(f"{event.kind.name} does not fit the wire with a pad: there its surface stands")
    if event.surface is None:
        return 0
    width, height = event.surface.width, event.surface.height
    if not (0 <= width <= _MAX_SURFACE and 0 <= height <= _MAX_SURFACE):
        raise ValueError(f"a surface of {width}x{height} does not fit the wire: {_MAX_SURFACE} is the most")
    return width << 16 | height


def _input(data: bytes) -> InputEvent | Ignored:
    if len(data) < _INPUT.size:
        return _SHORT
    _, number, code, x, y, flags = _INPUT.unpack_from(data)
    if number not in WIRE_INPUT_KINDS:
        return _UNKNOWN_KIND
    kind = InputKind(number)
    if kind in PAD_KINDS:
        return InputEvent(kind, code, x, y, pad=flags)
    # Where there is no position either, a client may send what means nothing: whoever applies the event ignores it.
    return InputEvent(kind, code, x, y, SurfaceSize(flags >> 16, flags & _MAX_SURFACE) if flags else None)


def _mic(data: bytes) -> Mic | Ignored:
    if len(data) < _SOUND.size:
        return _SHORT
    _, seq, pts_ns = _SOUND.unpack_from(data)
    return Mic(seq, pts_ns, data[_SOUND.size :])


def _audio(data: bytes) -> Audio | Ignored:
    if len(data) < _SOUND.size:
        return _SHORT
    _, seq, pts_ns = _SOUND.unpack_from(data)
    return Audio(seq, pts_ns, data[_SOUND.size :])


def _rumble(data: bytes) -> Rumble | Ignored:
    if len(data) < _RUMBLE.size:
        return _SHORT
    return Rumble(*_RUMBLE.unpack_from(data)[1:])


def _cursor(data: bytes) -> CursorState | Ignored:
    if len(data) < _CURSOR.size:
        return _SHORT
    return CursorState(*_CURSOR.unpack_from(data)[1:])


def _rich(data: bytes) -> Touchpad | Motion | Ignored:
    if len(data) < 2:
        return _SHORT
    layout = _RICH_LAYOUTS.get(data[1])
    if layout is None:
        return _UNKNOWN_KIND
    if len(data) < layout.size:
        return _SHORT
    _, kind, pad, *rest = layout.unpack_from(data)
    if kind == _Rich.TOUCHPAD:
        finger, active, x, y = rest
        return Touchpad(pad, finger, active != 0, x, y)
    return Motion(pad, (rest[0], rest[1], rest[2]), (rest[3], rest[4], rest[5]))


def _hid(data: bytes) -> Lightbar | PlayerLeds | TriggerEffect | Ignored:
    if len(data) < 2:
        return _SHORT
    needed = _HID_BYTES.get(data[1])
    if needed is None:
        return _UNKNOWN_KIND
    if len(data) < needed:
        return _SHORT
    if data[1] == _Hid.LIGHTBAR:
        return Lightbar(data[2], data[3], data[4], data[5])
    if data[1] == _Hid.PLAYER_LEDS:
        return PlayerLeds(data[2], data[3] & 0x1F)
    return TriggerEffect(data[2], data[3], data[4 : 4 + EFFECT_BYTES])


_CLIENT_DECODERS: dict[int, Callable[[bytes], FromClient | Ignored]] = {
    Tag.INPUT: _input,
    Tag.MIC: _mic,
    Tag.RICH_INPUT: _rich,
}
_HOST_DECODERS: dict[int, Callable[[bytes], FromHost | Ignored]] = {
    Tag.AUDIO: _audio,
    Tag.RUMBLE: _rumble,
    Tag.HID_OUTPUT: _hid,
    Tag.CURSOR: _cursor,
}
