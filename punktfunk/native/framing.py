"""Length framing of the control stream (punktfunk/1 section 1.5)."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 65535
"""The u16 length prefix cannot say more."""


def frame(payload: bytes) -> bytes:
    """Prefix a payload with its u16le length, which excludes the prefix itself.

    Raises ``ValueError`` for more than 65535 bytes: the caller built something that the wire cannot carry.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a control message of {len(payload)} bytes does not fit a u16 length")
    return len(payload).to_bytes(2, "little") + payload


class FrameReader:
    """Cut a byte stream into message payloads.

    Holds at most one unfinished message, so never more than 65537 bytes whatever the peer sends.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they come and return the payloads that are now whole, in order."""
        self._buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= 2:
            length = int.from_bytes(self._buffer[start : start + 2], "little")
            end = start + 2 + length
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[start + 2 : end]))
            start = end
        del self._buffer[:start]
        return payloads

    @property
    def pending(self) -> int:
        """Bytes of an unfinished message."""
        return len(self._buffer)
