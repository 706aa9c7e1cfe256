"""The frames in a QUIC packet that was opened (RFC 9000 section 19, RFC 9221 for datagrams)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # from an extension without types

PADDING, CRYPTO, NEW_TOKEN, NEW_CONNECTION_ID = 0x00, 0x06, 0x07, 0x18
STREAM_FIRST, STREAM_LAST = 0x08, 0x0F
CLOSES: Final = (0x1C, 0x1D)
DATAGRAMS: Final = (0x30, 0x31)
_ACKS: Final = (0x02, 0x03)
_PATHS: Final = {0x1A: "PATH_CHALLENGE", 0x1B: "PATH_RESPONSE"}
_INTEGERS: Final = {
    0x01: ("PING", 0),
    0x04: ("RESET_STREAM", 3),
    0x05: ("STOP_SENDING", 2),
    0x10: ("MAX_DATA", 1),
    0x11: ("MAX_STREAM_DATA", 2),
    0x12: ("MAX_STREAMS", 1),
    0x13: ("MAX_STREAMS", 1),
    0x14: ("DATA_BLOCKED", 1),
    0x15: ("STREAM_DATA_BLOCKED", 2),
    0x16: ("STREAMS_BLOCKED", 1),
    0x17: ("STREAMS_BLOCKED", 1),
    0x19: ("RETIRE_CONNECTION_ID", 1),
    0x1E: ("HANDSHAKE_DONE", 0),
}
"""Frames that are a type and so many variable-length integers."""


@dataclass(frozen=True, slots=True)
class QuicFrame:
    """One frame."""

    kind: int
    name: str
    data: bytes = b""
    """What CRYPTO, STREAM and DATAGRAM carry, and the reason of a close."""
    offset: int = 0
    number: int = 0
    """Of a stream, or the code of a close."""


def frames(payload: bytes) -> Iterator[QuicFrame]:
    """Yield the frames of a packet, padding left out; the first of an unknown type is the last.

    Raises ``ValueError`` (``BufferReadError`` is one) where a frame is cut off.
    """
    buffer = Buffer(data=payload)
    while not buffer.eof():
        kind = buffer.pull_uint_var()
        if kind == PADDING:
            continue
        frame = _frame(kind, buffer)
        yield frame
        if frame.name.startswith("0x"):
            return


def _frame(kind: int, buffer: Any) -> QuicFrame:
    if kind in _INTEGERS:
        name, count = _INTEGERS[kind]
        _pass(buffer, count)
        return QuicFrame(kind, name)
    if kind in _ACKS:
        _pass(buffer, 2)
        ranges = buffer.pull_uint_var()
        _pass(buffer, 1 + 2 * ranges + (3 if kind == 0x03 else 0))
        return QuicFrame(kind, "ACK")
    if STREAM_FIRST <= kind <= STREAM_LAST:
        number = buffer.pull_uint_var()
        offset = buffer.pull_uint_var() if kind & 4 else 0
        return QuicFrame(kind, f"STREAM {number}", _data(buffer, sized=bool(kind & 2)), offset, number)
    if kind == CRYPTO:
        offset = buffer.pull_uint_var()
        return QuicFrame(kind, "CRYPTO", _data(buffer, sized=True), offset)
    return _rare(kind, buffer)


def _rare(kind: int, buffer: Any) -> QuicFrame:
    if kind in DATAGRAMS:
        return QuicFrame(kind, "DATAGRAM", _data(buffer, sized=kind == 0x31))
    if kind in CLOSES:
        code = buffer.pull_uint_var()
        _pass(buffer, 1 if kind == 0x1C else 0)
        return QuicFrame(kind, "CONNECTION_CLOSE", _data(buffer, sized=True), number=code)
    if kind == NEW_TOKEN:
        _data(buffer, sized=True)
        return QuicFrame(kind, "NEW_TOKEN")
    if kind == NEW_CONNECTION_ID:
        _pass(buffer, 2)
        buffer.pull_bytes(buffer.pull_uint8() + 16)
        return QuicFrame(kind, "NEW_CONNECTION_ID")
    if kind in _PATHS:
        buffer.pull_bytes(8)
        return QuicFrame(kind, _PATHS[kind])
    return QuicFrame(kind, f"{kind:#x}")


def _data(buffer: Any, *, sized: bool) -> bytes:
    count = buffer.pull_uint_var() if sized else buffer.capacity - buffer.tell()
    return bytes(buffer.pull_bytes(count))


def _pass(buffer: Any, count: int) -> None:
    # A hostile count is larger than the packet: the buffer ends before it does.
    for _ in range(count):
        buffer.pull_uint_var()
