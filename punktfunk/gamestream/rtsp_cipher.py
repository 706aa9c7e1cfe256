"""Encrypted RTSP: one frame a connection and direction, sealed with the key of the session (gamestream section 5.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from punktfunk.errors import CryptoError, StatusError
from punktfunk.gamestream.rtsp import MAX_MESSAGE_BYTES

HEADER = struct.Struct(">II16s")
"""Length with the top bit set, sequence, tag."""
_ENCRYPTED = 0x8000_0000
MAX_MESSAGES = 256
"""That one end takes with one key: a client sends seven. More would only be there to fill the memory of replays."""

End = Literal["client", "host"]
_DIRECTION: dict[End, bytes] = {"client": b"C", "host": b"H"}
_OTHER: dict[End, End] = {"client": "host", "host": "client"}


@dataclass(frozen=True, slots=True)
class RtspFrame:
    """A message that is still sealed."""

    sequence: int
    tag: bytes
    ciphertext: bytes


class FrameReader:
    """Puts together one frame from pieces of any size."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._bytes = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> RtspFrame | None:
        """Take what came; return the frame once it is complete.

        Raises ``StatusError``: 400 for what is not encrypted or goes on behind its end, 413 for one that is too long.
        """
        self._bytes += data
        if self._bytes and not self._bytes[0] & 0x80:
            raise StatusError("an encrypted request was expected", status=400)
        if len(self._bytes) < HEADER.size:
            return None
        length, sequence, tag = HEADER.unpack_from(self._bytes)
        length ^= _ENCRYPTED
        if length > self._limit:
            raise StatusError("the encrypted message is too long", status=413)
        missing = HEADER.size + length - len(self._bytes)
        if missing > 0:
            return None
        if missing < 0:
            raise StatusError("the encrypted message goes on after its end", status=400)
        return RtspFrame(sequence, tag, bytes(self._bytes[HEADER.size :]))


class RtspCipher:
    """Seals what one end of a session says, from number 1 on, and opens what the other says, each number once.

    A key is for one session: every launch and resume brings a new one, and begins with new numbers.
    """

    def __init__(self, key: bytes, end: End) -> None:
        self._aead = AESGCM(key)
        self._end: End = end
        self._sent = 0
        self._seen: set[int] = set()

    def seal(self, message: bytes) -> bytes:
        """Return the frame of a message."""
        self._sent += 1
        sealed = self._aead.encrypt(_nonce(self._sent, self._end), message, None)
        ciphertext, tag = sealed[:-16], sealed[-16:]
        return HEADER.pack(_ENCRYPTED | len(message), self._sent, tag) + ciphertext

    def open(self, frame: RtspFrame) -> bytes:
        """Return the message; raise ``CryptoError`` for another key's, a changed one, or one that was there before."""
        try:
            message = self._aead.decrypt(
                _nonce(frame.sequence, _OTHER[self._end]), frame.ciphertext + frame.tag, None
            )
        except InvalidTag as error:
            raise CryptoError("the RTSP message is sealed with another key, or was changed") from error
        if frame.sequence in self._seen or len(self._seen) >= MAX_MESSAGES:
            raise CryptoError(f"the RTSP message {frame.sequence} was there before, or there are too many")
        self._seen.add(frame.sequence)
        return message


def _nonce(sequence: int, end: End) -> bytes:
    return struct.pack("<I6x1s1s", sequence, _DIRECTION[end], b"R")
