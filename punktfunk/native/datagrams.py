"""Side planes: input, audio, rumble, microphone, rich input and HID output, one QUIC datagram each.

The first byte is a tag (punktfunk/1 section 3). Trailing bytes are ignored everywhere, for later releases
lengthen what is there. Decoders never raise: what cannot be used is an :class:`Ignored` with the name under
which it is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

MAX_DATAGRAM_BYTES = 1100
"""Fits the smallest packet that QUIC guarantees (1200 bytes), with room for headers and the tag."""
EFFECT_BYTES = 11
"""Length of a DualSense trigger block (section 3.6)."""

_INPUT = struct.Struct("<BBIiiI")
_SOUND = struct.Struct("<BIQ")
_RUMBLE = struct.Struct("<BHHH")
_TOUCHPAD = struct.Struct("<BBBBBHH")
_MOTION = struct.Struct("<BBB6h")


class Tag(IntEnum):
    """First byte of a datagram."""

    INPUT = 0xC8
    AUDIO = 0xC9
    RUMBLE = 0xCA
    MIC = 0xCB
    RICH_INPUT = 0xCC
    HID_OUTPUT = 0xCD


class InputKind(IntEnum):
    """What an input event is about (section 3.1)."""

    KEY_DOWN = 0
    KEY_UP = 1
    MOUSE_MOVE = 2
    MOUSE_ABSOLUTE = 3
    BUTTON_DOWN = 4
    BUTTON_UP = 5
    SCROLL = 6
    PAD_BUTTON = 7
    PAD_AXIS = 8
    TOUCH_DOWN = 9
    TOUCH_MOVE = 10
    TOUCH_UP = 11


@dataclass(frozen=True, slots=True)
class Input:
    """One input event.

    ``code``: Windows virtual key, button 1..5, scroll axis, pad button bit or axis, touch id. ``x``, ``y``:
    pixels, in ``x`` also a scroll distance in 1/120 notch or a pad value. ``flags``: (width << 16) | height of
    the surface that a position counts in, or the pad's index.
    """

    kind: InputKind
    code: int = 0
    x: int = 0
    y: int = 0
    flags: int = 0

    def encode(self) -> bytes:
        """Encode in 18 bytes."""
        return _INPUT.pack(Tag.INPUT, self.kind, self.code, self.x, self.y, self.flags)


@dataclass(frozen=True, slots=True)
class Audio:
    """Host to client: one Opus packet, 48 kHz stereo, 5 ms; ``pts_ns`` is the host's wall clock at encode."""

    seq: int
    pts_ns: int
    opus: bytes

    def encode(self) -> bytes:
        """Encode; an empty packet is legal (DTX)."""
        return _SOUND.pack(Tag.AUDIO, self.seq, self.pts_ns) + self.opus


@dataclass(frozen=True, slots=True)
class Mic:
    """Client to host: one Opus packet, 48 kHz stereo."""

    seq: int
    pts_ns: int
    opus: bytes

    def encode(self) -> bytes:
        """Encode."""
        return _SOUND.pack(Tag.MIC, self.seq, self.pts_ns) + self.opus


@dataclass(frozen=True, slots=True)
class Rumble:
    """Host to client: the state of a pad's two motors, 0..65535 each; 0 and 0 stop."""

    pad: int
    low: int
    high: int

    def encode(self) -> bytes:
        """Encode in 7 bytes."""
        return _RUMBLE.pack(Tag.RUMBLE, self.pad, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Touchpad:
    """Client to host: a finger on a pad's touchpad, 0..65535 of its width and height from the top left."""

    pad: int
    finger: int
    active: bool
    x: int
    y: int

    def encode(self) -> bytes:
        """Encode in 9 bytes."""
        return _TOUCHPAD.pack(Tag.RICH_INPUT, 1, self.pad, self.finger, self.active, self.x, self.y)


@dataclass(frozen=True, slots=True)
class Motion:
    """Client to host: gyroscope (pitch, yaw, roll) and accelerometer (x, y, z) in raw DualSense units."""

    pad: int
    gyro: tuple[int, int, int]
    accel: tuple[int, int, int]

    def encode(self) -> bytes:
        """Encode in 15 bytes."""
        return _MOTION.pack(Tag.RICH_INPUT, 2, self.pad, *self.gyro, *self.accel)


@dataclass(frozen=True, slots=True)
class Lightbar:
    """Host to client: the colour of a pad's light."""

    pad: int
    red: int
    green: int
    blue: int

    def encode(self) -> bytes:
        """Encode in 6 bytes."""
        return bytes([Tag.HID_OUTPUT, 1, self.pad, self.red, self.green, self.blue])


@dataclass(frozen=True, slots=True)
class PlayerLeds:
    """Host to client: a pad's player lights, the low five bits."""

    pad: int
    bits: int

    def encode(self) -> bytes:
        """Encode in 4 bytes."""
        return bytes([Tag.HID_OUTPUT, 2, self.pad, self.bits & 0x1F])


@dataclass(frozen=True, slots=True)
class TriggerEffect:
    """Host to client: the resistance of a trigger; ``which`` is 0 for L2 and 1 for R2."""

    pad: int
    which: int
    effect: bytes

    def encode(self) -> bytes:
        """Encode; the effect is a DualSense block of 11 bytes, less for an effect that needs less."""
        return bytes([Tag.HID_OUTPUT, 3, self.pad, self.which]) + self.effect[:EFFECT_BYTES]


@dataclass(frozen=True, slots=True)
class Ignored:
    """A datagram that is dropped: ``empty``, ``unknown_tag``, ``unknown_kind`` or ``short``."""

    reason: str


FromClient = Input | Mic | Touchpad | Motion
FromHost = Audio | Rumble | Lightbar | PlayerLeds | TriggerEffect
Datagram = FromClient | FromHost
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
        data = datagram.encode()
    except struct.error as error:
        raise ValueError(f"{type(datagram).__name__} does not fit the wire: {error}") from error
    if len(data) > MAX_DATAGRAM_BYTES:
        raise ValueError(f"{type(datagram).__name__} of {len(data)} bytes does not fit {MAX_DATAGRAM_BYTES}")
    return data


def _input(data: bytes) -> Input | Ignored:
    if len(data) < _INPUT.size:
        return _SHORT
    _, kind, code, x, y, flags = _INPUT.unpack_from(data)
    try:
        known = InputKind(kind)
    except ValueError:
        return _UNKNOWN_KIND
    return Input(known, code, x, y, flags)


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


def _rich(data: bytes) -> Touchpad | Motion | Ignored:
    if len(data) < 2:
        return _SHORT
    layout = {1: _TOUCHPAD, 2: _MOTION}.get(data[1])
    if layout is None:
        return _UNKNOWN_KIND
    if len(data) < layout.size:
        return _SHORT
    _, kind, pad, *rest = layout.unpack_from(data)
    if kind == 1:
        finger, active, x, y = rest
        return Touchpad(pad, finger, active != 0, x, y)
    return Motion(pad, (rest[0], rest[1], rest[2]), (rest[3], rest[4], rest[5]))


def _hid(data: bytes) -> Lightbar | PlayerLeds | TriggerEffect | Ignored:
    if len(data) < 2:
        return _SHORT
    needed = {1: 6, 2: 4, 3: 4}.get(data[1])
    if needed is None:
        return _UNKNOWN_KIND
    if len(data) < needed:
        return _SHORT
    if data[1] == 1:
        return Lightbar(data[2], data[3], data[4], data[5])
    if data[1] == 2:
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
}
