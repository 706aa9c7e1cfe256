"""The wrapper of control messages: sealed with the key of the session, each taken once (gamestream section 10.3)."""

from __future__ import annotations

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from punktfunk.errors import CryptoError
from punktfunk.gamestream.rtsp_cipher import End

_WRAPPER = struct.Struct("<HHI16s")
"""Type, length of all that follows it, sequence, tag."""
_ENCRYPTED: Final = 0x0001
_TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = _WRAPPER.size
"""What sealing adds to a message."""
MAX_INNER_BYTES: Final = 32 << 10
"""Of a message; real ones have at most some 60 bytes. Bounds what is decrypted for one datagram."""
REPLAY_WINDOW: Final = 4096
"""How far a message may come behind the newest: channels and unreliable messages overtake each other. At a thousand
messages a second that is four seconds."""
_DIRECTION: Final[dict[End, bytes]] = {"client": b"C", "host": b"H"}
_OTHER: Final[dict[End, End]] = {"client": "host", "host": "client"}


class ReplayWindow:
    """Takes each number once, in any order, and none that is further behind the newest than REPLAY_WINDOW."""

    def __init__(self) -> None:
        self._newest = -1
        self._seen = 0

    def take(self, sequence: int) -> bool:
        """Return whether the number is new; it counts as seen from now on."""
        ahead = sequence - self._newest
        if ahead > 0:
            self._seen = (self._seen << min(ahead, REPLAY_WINDOW) | 1) & ((1 << REPLAY_WINDOW) - 1)
            self._newest = sequence
            return True
        if -ahead >= REPLAY_WINDOW or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True


class ControlCipher:
    """Seals what one end of a control connection says, from number 0 on, and opens what the other says.

    ``v2``: bit 0 of the announced ``encryptionEnabled``. The older form numbers its nonces by one byte and has them in
    common for both directions: who records messages can have them taken again, 256 numbers later. It is there for old
    clients.
    """

    def __init__(self, key: bytes, end: End, *, v2: bool) -> None:
        self._aead = AESGCM(key)
        self._end: End = end
        self._v2 = v2
        self._next = 0
        self._replays = ReplayWindow()

    def seal(self, inner: bytes) -> bytes:
        """Return the wire's bytes of a message; raise ``CryptoError`` when all 2^32 numbers are spent."""
        if self._next > 0xFFFF_FFFF:
            raise CryptoError("a control connection has spent its numbers", "start the stream again")
        sequence, self._next = self._next, self._next + 1
        sealed = self._aead.encrypt(self._nonce(sequence, self._end), inner, None)
        ciphertext, tag = sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
        return _WRAPPER.pack(_ENCRYPTED, 4 + _TAG_BYTES + len(inner), sequence, tag) + ciphertext

    def open(self, message: bytes) -> bytes:
        """Return what is inside.

        Raises ``CryptoError`` for what is not wrapped, is sealed with another key or was changed, and for what was
        there before. Nothing of it counts then.
        """
        if len(message) < OVERHEAD_BYTES:
            raise CryptoError("the control message is too short to be an encrypted one")
        kind, length, sequence, tag = _WRAPPER.unpack_from(message)
        if (
            kind != _ENCRYPTED
            or length != len(message) - 4
            or len(message) > OVERHEAD_BYTES + MAX_INNER_BYTES
        ):
            raise CryptoError("the control message is not an encrypted one")
        try:
            inner = self._aead.decrypt(
                self._nonce(sequence, _OTHER[self._end]), message[OVERHEAD_BYTES:] + tag, None
            )
        except InvalidTag as error:
            raise CryptoError("the control message is sealed with another key, or was changed") from error
        if not self._replays.take(sequence):
            raise CryptoError(f"the control message {sequence} was there before")
        return inner

    def _nonce(self, sequence: int, end: End) -> bytes:
        if self._v2:
            return struct.pack("<I6x1s1s", sequence, _DIRECTION[end], b"C")
        return bytes([sequence & 0xFF]) + bytes(15)
