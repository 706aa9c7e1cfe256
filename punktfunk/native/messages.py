"""Typed control messages (magic ``PKFc``, type byte at offset 4): bytes to frozen dataclasses and back.

Layouts are those of punktfunk/1 sections 2.1 to 2.5 and 3.8. :func:`decode` never fails on an unknown type (it
returns :class:`Unknown`, which sessions count and ignore) and raises
:class:`~punktfunk.errors.ProtocolError` on a known type of the wrong length. The positional Hello, Welcome
and Start live in :mod:`punktfunk.native.handshake`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Self

from punktfunk import cursor
from punktfunk.errors import ProtocolError
from punktfunk.native.handshake import MAX_NAME_BYTES, WireMode
from punktfunk.units import Mode

MAGIC = b"PKFc"
MAC_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A message whose body is one ``struct`` of integers, in the order of its fields."""

    TYPE: ClassVar[int]
    BODY: ClassVar[struct.Struct]

    def _values(self) -> tuple[int, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def encode(self) -> bytes:
        return MAGIC + bytes([self.TYPE]) + self.BODY.pack(*self._values())

    @classmethod
    def decode_body(cls, body: bytes) -> Self:
        if len(body) != cls.BODY.size:
            raise ProtocolError(f"{cls.__name__} takes {cls.BODY.size + 5} bytes, got {len(body) + 5}")
        return cls(*cls.BODY.unpack(body))


@dataclass(frozen=True, slots=True)
class Reconfigure(_Fixed):
    """Client asks for another mode in mid-stream."""

    TYPE: ClassVar[int] = 0x01
    BODY: ClassVar[struct.Struct] = struct.Struct("<III")
    width: int
    height: int
    refresh_hz: int

    @property
    def mode(self) -> WireMode:
        return WireMode(self.width, self.height, self.refresh_hz)


@dataclass(frozen=True, slots=True)
class Reconfigured(_Fixed):
    """Host's answer: the requested mode if accepted, else the one that is still active."""

    TYPE: ClassVar[int] = 0x02
    BODY: ClassVar[struct.Struct] = struct.Struct("<BIII")
    accepted: int
    width: int
    height: int
    refresh_hz: int

    @property
    def mode(self) -> WireMode:
        return WireMode(self.width, self.height, self.refresh_hz)

    @classmethod
    def of(cls, accepted: bool, mode: Mode | WireMode) -> Reconfigured:
        return cls(int(accepted), mode.width, mode.height, mode.refresh_hz)


@dataclass(frozen=True, slots=True)
class RequestKeyframe(_Fixed):
    """Client cannot decode on: the next frame has to stand on its own (v0.1.1)."""

    TYPE: ClassVar[int] = 0x03
    BODY: ClassVar[struct.Struct] = struct.Struct("<")


@dataclass(frozen=True, slots=True)
class LossReport(_Fixed):
    """Loss over the last 750 ms in parts per million (v0.2.0)."""

    TYPE: ClassVar[int] = 0x04
    BODY: ClassVar[struct.Struct] = struct.Struct("<I")
    loss_ppm: int


@dataclass(frozen=True, slots=True)
class SetBitrate(_Fixed):
    """Client asks for another video bitrate (v0.9.0)."""

    TYPE: ClassVar[int] = 0x05
    BODY: ClassVar[struct.Struct] = struct.Struct("<I")
    kbps: int


@dataclass(frozen=True, slots=True)
class BitrateChanged(_Fixed):
    """Host tells the bitrate that now applies (v0.9.0)."""

    TYPE: ClassVar[int] = 0x06
    BODY: ClassVar[struct.Struct] = struct.Struct("<I")
    kbps: int


@dataclass(frozen=True, slots=True)
class ProbeRequest(_Fixed):
    """Client asks for a bandwidth probe (v0.1.0); the host clamps it to 10 Gbit/s and 5000 ms."""

    TYPE: ClassVar[int] = 0x20
    BODY: ClassVar[struct.Struct] = struct.Struct("<II")
    target_kbps: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Result of a bandwidth probe; the two packet counts exist since v0.2.0."""

    TYPE: ClassVar[int] = 0x21
    BODY: ClassVar[struct.Struct] = struct.Struct("<QII")
    LONG: ClassVar[struct.Struct] = struct.Struct("<QIIII")
    goodput_bytes: int
    access_units: int
    duration_ms: int
    packets_sent: int | None = None
    send_drops: int | None = None

    def encode(self) -> bytes:
        head = MAGIC + bytes([self.TYPE])
        base = (self.goodput_bytes, self.access_units, self.duration_ms)
        if self.packets_sent is None:
            return head + self.BODY.pack(*base)
        return head + self.LONG.pack(*base, self.packets_sent, self.send_drops or 0)

    @classmethod
    def decode_body(cls, body: bytes) -> ProbeResult:
        """Take 16 bytes and more; the counts are read when all eight of their bytes are there."""
        if len(body) < cls.BODY.size:
            raise ProtocolError(f"ProbeResult takes at least 21 bytes, got {len(body) + 5}")
        layout = cls.LONG if len(body) >= cls.LONG.size else cls.BODY
        return cls(*layout.unpack_from(body))


@dataclass(frozen=True, slots=True)
class ClockProbe(_Fixed):
    """Client's clock reading ``t1`` in ns since 1970 (v0.1.0)."""

    TYPE: ClassVar[int] = 0x30
    BODY: ClassVar[struct.Struct] = struct.Struct("<Q")
    t1_ns: int


@dataclass(frozen=True, slots=True)
class ClockEcho(_Fixed):
    """Host's answer: ``t1`` back, its own clock at receipt and at sending, ns since 1970."""

    TYPE: ClassVar[int] = 0x31
    BODY: ClassVar[struct.Struct] = struct.Struct("<QQQ")
    t1_ns: int
    t2_ns: int
    t3_ns: int


@dataclass(frozen=True, slots=True)
class PairRequest:
    """First message of a pairing: the device's name and its SPAKE2 message (section 6)."""

    TYPE: ClassVar[int] = 0x10
    name: str
    spake: bytes

    def encode(self) -> bytes:
        raw = self.name.encode()[:MAX_NAME_BYTES].decode(errors="ignore").encode()
        head = MAGIC + bytes([self.TYPE, len(raw)]) + raw
        return head + struct.pack("<H", len(self.spake)) + self.spake

    @classmethod
    def decode_body(cls, body: bytes) -> PairRequest:
        """Replace broken UTF-8 in the name; refuse a name over 64 bytes and trailing bytes."""
        if not body or body[0] > MAX_NAME_BYTES or len(body) < 3 + body[0]:
            raise ProtocolError("PairRequest has no name of at most 64 bytes")
        end = 1 + body[0]
        return cls(body[1:end].decode(errors="replace"), _sized(body[end:], 0, "PairRequest"))


@dataclass(frozen=True, slots=True)
class PairChallenge:
    """Host's SPAKE2 message and its proof of the PIN."""

    TYPE: ClassVar[int] = 0x11
    spake: bytes
    mac: bytes

    def encode(self) -> bytes:
        return MAGIC + bytes([self.TYPE]) + struct.pack("<H", len(self.spake)) + self.spake + self.mac

    @classmethod
    def decode_body(cls, body: bytes) -> PairChallenge:
        return cls(_sized(body, MAC_BYTES, "PairChallenge"), body[-MAC_BYTES:])


@dataclass(frozen=True, slots=True)
class PairProof:
    """Client's proof of the PIN."""

    TYPE: ClassVar[int] = 0x12
    mac: bytes

    def encode(self) -> bytes:
        return MAGIC + bytes([self.TYPE]) + self.mac

    @classmethod
    def decode_body(cls, body: bytes) -> PairProof:
        if len(body) != MAC_BYTES:
            raise ProtocolError(f"PairProof takes {MAC_BYTES + 5} bytes, got {len(body) + 5}")
        return cls(body)


@dataclass(frozen=True, slots=True)
class PairResult(_Fixed):
    """Whether the host stored the client."""

    TYPE: ClassVar[int] = 0x13
    BODY: ClassVar[struct.Struct] = struct.Struct("<B")
    ok: int


@dataclass(frozen=True, slots=True)
class CursorShape:
    """Host tells a pointer's bitmap (v0.18.0, section 3.8); ``serial`` is what cursor states name it by."""

    TYPE: ClassVar[int] = 0x50
    HEAD: ClassVar[struct.Struct] = struct.Struct("<IHHHH")
    serial: int
    shape: cursor.CursorShape

    def encode(self) -> bytes:
        """Encode; raise ``ValueError`` for a shape that does not fit the wire."""
        shape = self.shape
        if not shape.fits:
            raise ValueError(f"a pointer of {shape.width}x{shape.height} does not fit the wire")
        head = self.HEAD.pack(self.serial, shape.width, shape.height, shape.hot_x, shape.hot_y)
        return MAGIC + bytes([self.TYPE]) + head + shape.rgba

    @classmethod
    def decode_body(cls, body: bytes) -> Self:
        """Decode; raise ``ProtocolError`` where sides and pixels are not those of a shape."""
        if len(body) < cls.HEAD.size:
            raise ProtocolError(f"CursorShape takes at least {cls.HEAD.size + 5} bytes, got {len(body) + 5}")
        serial, width, height, hot_x, hot_y = cls.HEAD.unpack_from(body)
        shape = cursor.CursorShape(width, height, hot_x, hot_y, body[cls.HEAD.size :])
        if not shape.fits:
            raise ProtocolError(f"CursorShape of {width}x{height} has {len(shape.rgba)} bytes of pixels")
        return cls(serial, shape)


@dataclass(frozen=True, slots=True)
class CursorRenderMode(_Fixed):
    """Client tells who draws the pointer: itself (as from the start, where that was agreed on), or the host."""

    TYPE: ClassVar[int] = 0x51
    BODY: ClassVar[struct.Struct] = struct.Struct("<B")
    client_draws: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A typed message that this release does not know; ignored and counted, never an error."""

    type: int
    size: int


TypedMessage = (
    Reconfigure
    | Reconfigured
    | RequestKeyframe
    | LossReport
    | SetBitrate
    | BitrateChanged
    | ProbeRequest
    | ProbeResult
    | ClockProbe
    | ClockEcho
    | PairRequest
    | PairChallenge
    | PairProof
    | PairResult
    | CursorShape
    | CursorRenderMode
    | Unknown
)

_DECODERS: dict[int, Callable[[bytes], TypedMessage]] = {
    kind.TYPE: kind.decode_body
    for kind in (
        Reconfigure,
        Reconfigured,
        RequestKeyframe,
        LossReport,
        SetBitrate,
        BitrateChanged,
        ProbeRequest,
        ProbeResult,
        ClockProbe,
        ClockEcho,
        PairRequest,
        PairChallenge,
        PairProof,
        PairResult,
        CursorShape,
        CursorRenderMode,
    )
}


def is_typed(payload: bytes) -> bool:
    """Return whether a message is typed, not positional, by its magic."""
    return payload[:4] == MAGIC


def decode(payload: bytes) -> TypedMessage:
    """Decode one typed message.

    Raises ``ProtocolError`` when the magic or the type byte is missing or a known type has a wrong length.
    """
    if len(payload) < 5 or not is_typed(payload):
        raise ProtocolError("not a typed control message")
    decoder = _DECODERS.get(payload[4])
    return decoder(payload[5:]) if decoder else Unknown(payload[4], len(payload))


def _sized(raw: bytes, after: int, what: str) -> bytes:
    """Return the u16le-sized field at the start of ``raw`` when exactly ``after`` bytes follow it."""
    if len(raw) < 2:
        raise ProtocolError(f"{what} ends before its SPAKE2 message")
    (size,) = struct.unpack_from("<H", raw)
    if len(raw) != 2 + size + after:
        raise ProtocolError(f"{what} has a wrong length")
    return raw[2 : 2 + size]
