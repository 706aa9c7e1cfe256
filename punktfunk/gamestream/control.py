"""Control messages, both ways: what is inside their wrapper (gamestream sections 8 and 10.4).

Decoders never raise: what cannot be used is an :class:`Ignored` with the name under which it is counted. Input is taken
apart in ``input.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Final, TypeVar

from punktfunk.input import (
    EFFECT_BYTES,
    Lightbar,
    MotionWanted,
    PadFeedback,
    PadSensor,
    PlayerLeds,
    Rumble,
    TriggerEffect,
    TriggerRumble,
)

GRACEFUL: Final = 0x8003_0023
"""Code of a termination after which the client's window closes quietly (section 10.5)."""

M = TypeVar("M")

_HEADER = struct.Struct("<HH")
_RANGE = struct.Struct("<III12x")
_FEC_STATUS = struct.Struct(">IHHHHHHHBBB")
_LONG_TERM = struct.Struct("<II")
_LOSS_STATS = struct.Struct("<IIIQIII")
_RUMBLE = struct.Struct("<4xHHH")
_TRIGGERS = struct.Struct("<HHH")
_MOTION = struct.Struct("<HHB")
_LED = struct.Struct("<HBBB")
_ADAPTIVE = struct.Struct("<HBBB10s10s")
_HDR = struct.Struct("<B13H")
_RIGHT_VALID, _LEFT_VALID = 0x04, 0x08


class Type(IntEnum):
    """The types; 0x5502 has a meaning of its own each way."""

    IDR_REQUEST = 0x0302
    START_B = 0x0307
    PING = 0x0200
    INPUT = 0x0206
    INVALIDATE = 0x0301
    FEC_STATUS = 0x5502
    LONG_TERM_ACK = 0x0350
    LOSS_STATS = 0x0201
    FRAME_STATS = 0x0204
    SERVER_COMMAND = 0x3000
    CLIPBOARD = 0x3001
    FILE_NONCE = 0x3002
    RUMBLE = 0x010B
    TERMINATION = 0x0109
    HDR_MODE = 0x010E
    TRIGGER_RUMBLE = 0x5500
    MOTION_WANTED = 0x5501
    LED = 0x5502
    ADAPTIVE_TRIGGERS = 0x5503


@dataclass(frozen=True, slots=True)
class IdrRequest:
    """Client to host: the next frame is to be a key frame. The first one also starts the stream ("Start A")."""


@dataclass(frozen=True, slots=True)
class StartB:
    """Client to host: the second of the two start messages."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Client to host, every 100 ms: it is there."""


@dataclass(frozen=True, slots=True)
class Input:
    """Client to host: one input message, for ``input.py``."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Invalidate:
    """Client to host: frames ``first`` to ``last`` are not to be referred to."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class FecStatus:
    """Client to host: what came of a block that was damaged (section 8.3)."""

    frame: int
    highest_sequence: int
    next_sequence: int
    missing: int
    data: int
    parity: int
    data_received: int
    parity_received: int
    fec_percent: int
    block: int
    blocks: int


@dataclass(frozen=True, slots=True)
class LongTermAck:
    """Client to host: a frame that was marked as long-term reference is there."""

    frame: int


@dataclass(frozen=True, slots=True)
class LossStats:
    """Client to host, every 50 ms in place of :class:`Ping`, where that is older than 7.1.415: the last whole frame.

    It says nothing of loss beyond that (appendix C), and this project's client streams from no such host.
    """

    last_good_frame: int


@dataclass(frozen=True, slots=True)
class Termination:
    """Host to client: the stream ends, and why."""

    code: int = GRACEFUL


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """What is known of a display: chromaticities in 1/50000, luminances in nit, the least in 1/10000; 0: unknown."""

    red: tuple[int, int] = (0, 0)
    green: tuple[int, int] = (0, 0)
    blue: tuple[int, int] = (0, 0)
    white: tuple[int, int] = (0, 0)
    max_luminance: int = 0
    min_luminance: int = 0
    max_content_light: int = 0
    max_frame_average: int = 0
    max_full_frame: int = 0


@dataclass(frozen=True, slots=True)
class HdrMode:
    """Host to client: whether the stream is HDR from now on."""

    on: bool
    metadata: HdrMetadata = HdrMetadata()


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is dropped: ``unknown_type``, ``unused_type`` or ``short``."""

    reason: str


ClientMessage = IdrRequest | StartB | Ping | Input | Invalidate | FecStatus | LongTermAck | LossStats
"""What a client says."""
HostMessage = PadFeedback | Termination | HdrMode
"""What a host says. There is no message for a pad's player lights."""

_SHORT, _UNKNOWN, _UNUSED = Ignored("short"), Ignored("unknown_type"), Ignored("unused_type")
_UNUSED_TYPES: Final = frozenset({Type.FRAME_STATS, Type.SERVER_COMMAND, Type.CLIPBOARD, Type.FILE_NONCE})
"""Known from clients, and nothing that this host does anything about."""


def decode_from_client(inner: bytes) -> ClientMessage | Ignored:
    """Decode what a client said; bodies longer than they have to be are fine."""
    return _decode(inner, _CLIENT_DECODERS)


def decode_from_host(inner: bytes) -> HostMessage | tuple[HostMessage, ...] | Ignored:
    """Decode what a host said; adaptive triggers become one event a trigger."""
    return _decode(inner, _HOST_DECODERS)


def encode_from_client(message: ClientMessage) -> bytes:
    """Return the inner bytes of what a client says."""
    match message:
        case IdrRequest():
            said = Type.IDR_REQUEST, bytes(2)
        case StartB():
            said = Type.START_B, bytes(1)
        case Ping():
            said = Type.PING, struct.pack("<HIH", 4, 0, 0)
        case Input(payload):
            said = Type.INPUT, payload
        case Invalidate(first, last):
            said = Type.INVALIDATE, _RANGE.pack(first, 0, last)
        case FecStatus():
            said = Type.FEC_STATUS, _FEC_STATUS.pack(*astuple(message))
        case LongTermAck(frame):
            said = Type.LONG_TERM_ACK, _LONG_TERM.pack(frame, 0)
        case LossStats(frame):
            said = Type.LOSS_STATS, _LOSS_STATS.pack(0, 50, 1000, frame, 0, 0, 0x14)
    return _message(*said)


def encode_from_host(message: HostMessage) -> bytes | None:
    """Return the inner bytes of what a host says; ``None`` for what this wire has no message for."""
    match message:
        case PlayerLeds():
            return None
        case Rumble(pad, low, high):
            said = Type.RUMBLE, _RUMBLE.pack(pad, low, high)
        case TriggerRumble(pad, left, right):
            said = Type.TRIGGER_RUMBLE, _TRIGGERS.pack(pad, left, right)
        case MotionWanted(pad, sensor, rate_hz):
            said = Type.MOTION_WANTED, _MOTION.pack(pad, rate_hz, sensor)
        case Lightbar(pad, red, green, blue):
            said = Type.LED, _LED.pack(pad, red, green, blue)
        case TriggerEffect():
            said = Type.ADAPTIVE_TRIGGERS, _adaptive_bytes(message)
        case Termination(code):
            said = Type.TERMINATION, struct.pack(">I", code)
        case HdrMode(on, metadata):
            said = Type.HDR_MODE, _HDR.pack(on, *_hdr_fields(metadata))
    return _message(*said)


def _message(kind: Type, payload: bytes) -> bytes:
    return _HEADER.pack(kind, len(payload)) + payload


def _decode(inner: bytes, decoders: Mapping[int, Callable[[bytes], M]]) -> M | Ignored:
    if len(inner) < _HEADER.size:
        return _SHORT
    kind, length = _HEADER.unpack_from(inner)
    payload = inner[_HEADER.size : _HEADER.size + length]
    if len(payload) < length:
        return _SHORT
    decoder = decoders.get(kind)
    if decoder is None:
        return _UNUSED if kind in _UNUSED_TYPES else _UNKNOWN
    try:
        return decoder(payload)
    except struct.error:  # shorter than its type has it
        return _SHORT


def _invalidate(payload: bytes) -> Invalidate:
    first, _, last = _RANGE.unpack_from(payload)
    return Invalidate(first, last)


def _adaptive_bytes(event: TriggerEffect) -> bytes:
    block, nothing = event.effect.ljust(EFFECT_BYTES, b"\0")[:EFFECT_BYTES], bytes(EFFECT_BYTES)
    left, right = (nothing, block) if event.which else (block, nothing)
    valid = _RIGHT_VALID if event.which else _LEFT_VALID
    return _ADAPTIVE.pack(event.pad, valid, left[0], right[0], left[1:], right[1:])


def _adaptive(payload: bytes) -> tuple[TriggerEffect, ...]:
    pad, valid, left_mode, right_mode, left, right = _ADAPTIVE.unpack_from(payload)
    effects = ((0, _LEFT_VALID, left_mode, left), (1, _RIGHT_VALID, right_mode, right))
    return tuple(
        TriggerEffect(pad, which, bytes([mode]) + block) for which, bit, mode, block in effects if valid & bit
    )


def _motion_wanted(payload: bytes) -> MotionWanted | Ignored:
    pad, rate_hz, sensor = _MOTION.unpack_from(payload)
    if sensor not in set(PadSensor):
        return _UNKNOWN
    return MotionWanted(pad, PadSensor(sensor), rate_hz)


def _hdr_fields(metadata: HdrMetadata) -> tuple[int, ...]:
    return (
        *metadata.red,
        *metadata.green,
        *metadata.blue,
        *metadata.white,
        metadata.max_luminance,
        metadata.min_luminance,
        metadata.max_content_light,
        metadata.max_frame_average,
        metadata.max_full_frame,
    )


def _hdr(payload: bytes) -> HdrMode:
    if len(payload) < _HDR.size:  # a client takes the switch alone as well
        return HdrMode(payload[:1] not in {b"", b"\0"})
    on, rx, ry, gx, gy, bx, by, wx, wy, *luminances = _HDR.unpack_from(payload)
    return HdrMode(on != 0, HdrMetadata((rx, ry), (gx, gy), (bx, by), (wx, wy), *luminances))


_CLIENT_DECODERS: Final[dict[int, Callable[[bytes], ClientMessage]]] = {
    Type.IDR_REQUEST: lambda _payload: IdrRequest(),
    Type.START_B: lambda _payload: StartB(),
    Type.PING: lambda _payload: Ping(),
    Type.INPUT: Input,
    Type.INVALIDATE: _invalidate,
    Type.FEC_STATUS: lambda payload: FecStatus(*_FEC_STATUS.unpack_from(payload)),
    Type.LONG_TERM_ACK: lambda payload: LongTermAck(_LONG_TERM.unpack_from(payload)[0]),
    Type.LOSS_STATS: lambda payload: LossStats(_LOSS_STATS.unpack_from(payload)[3]),
}
_HOST_DECODERS: Final[dict[int, Callable[[bytes], HostMessage | tuple[HostMessage, ...] | Ignored]]] = {
    Type.RUMBLE: lambda payload: Rumble(*_RUMBLE.unpack_from(payload)),
    Type.TRIGGER_RUMBLE: lambda payload: TriggerRumble(*_TRIGGERS.unpack_from(payload)),
    Type.MOTION_WANTED: _motion_wanted,
    Type.LED: lambda payload: Lightbar(*_LED.unpack_from(payload)),
    Type.ADAPTIVE_TRIGGERS: _adaptive,
    Type.TERMINATION: lambda payload: Termination(*struct.unpack_from(">I", payload)),
    Type.HDR_MODE: _hdr,
}
