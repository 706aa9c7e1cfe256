"""Find the secrets of a QUIC connection whose handshake is not in the capture, by trying those of a key log.

A key log names a secret by the client's random number, which the handshake alone says. But a 1-RTT packet opens with
one secret only, so that the one which opens it is its own. Connection IDs are taken to be as long as ours
(:data:`CID_BYTES`), packet numbers to be below :data:`NUMBERS`. How much is tried is bounded: a capture and a key log
may be anybody's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aioquic._crypto import CryptoError
from aioquic.quic.crypto import CryptoContext
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

from harness.dissect.datagrams import Endpoint
from harness.dissect.keys import TRAFFIC, Keys

CID_BYTES: Final = 8
"""Of a connection ID as aioquic makes it."""
NUMBERS: Final = 4 << 16
"""Packet numbers are sent in part, mostly their last 16 bits: what is above is tried up to here."""
MAX_HANDSHAKES: Final = 64
"""Handshakes of the key log that are tried, the newest ones."""
MAX_PACKETS: Final = 8
"""Packets between two ends that are tried."""
MAX_TRIES: Final = 32_768
"""Of secrets on packets, in a capture: some seconds."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What is known of a connection whose beginning is not: by a packet that opened."""

    random: bytes
    """Of its handshake."""
    suite: CipherSuite
    from_host: bool
    """Whether the host sent the packet."""
    number: int
    """Of the packet."""


class Search:
    """Tries the secrets of a key log on 1-RTT packets."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._packets: Counter[frozenset[Endpoint]] = Counter()
        self._left = MAX_TRIES

    def find(self, ends: frozenset[Endpoint], packet: bytes) -> Begun | None:
        """Return what the packet between two ends opens with; None where nothing that was tried opens it."""
        if not self._keys.has_secrets or self._left <= 0 or self._packets[ends] >= MAX_PACKETS:
            return None
        self._packets[ends] += 1
        for random in self._keys.handshakes(MAX_HANDSHAKES):
            for from_host, label in zip((False, True), TRAFFIC, strict=True):
                secret = self._keys.secret(random, label)
                if secret is None:
                    continue
                for suite in suites(secret):
                    if self._left <= 0:
                        return None
                    self._left -= 1
                    crypto = CryptoContext()
                    crypto.setup(cipher_suite=suite, secret=secret, version=QuicProtocolVersion.VERSION_1)
                    number = number_of(crypto, packet, 1 + CID_BYTES)
                    if number is not None:
                        return Begun(random, suite, from_host, number)
        return None


def suites(secret: bytes) -> Iterator[CipherSuite]:
    """Yield the cipher suites that a secret may be of: its length tells."""
    if len(secret) == 48:
        yield CipherSuite.AES_256_GCM_SHA384
    elif len(secret) == 32:
        yield CipherSuite.AES_128_GCM_SHA256
        yield CipherSuite.CHACHA20_POLY1305_SHA256


def number_of(crypto: CryptoContext, packet: bytes, encrypted_at: int) -> int | None:
    """Return the number of the first 1-RTT packet that is seen of a side; None where its secret does not open it."""
    for above in range(0, NUMBERS, 1 << 16):
        try:
            _header, _payload, number, _phase = crypto.decrypt_packet(
                packet, encrypted_at, above + (1 << 15) - 1
            )
        except CryptoError:
            continue
        return number
    return None
