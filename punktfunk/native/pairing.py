"""The pairing ceremony: SPAKE2 over a PIN, bound to both certificates (punktfunk/1 section 6).

Both ends are state machines without I/O: they take the peer's message and give the next one. The PIN proves that
the same person looks at both screens; the certificates' fingerprints are the identities of the exchange, so a
man in the middle, who has other certificates, ends up with another key even when he relays every byte.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING

from punktfunk.errors import PairingError
from punktfunk.native.messages import PairChallenge, PairProof, PairRequest, PairResult

if TYPE_CHECKING:
    # It computes its group when it is loaded: 15 ms, of each start of a program that may never pair.
    from spake2 import SPAKE2_A, SPAKE2_B

FINGERPRINT_BYTES = 32
SPAKE_BYTES = 33
"""Side byte and a compressed Ed25519 point (section 6.2)."""


def _mac(key: bytes, label: bytes, client_fp: bytes, host_fp: bytes) -> bytes:
    return hmac.new(key, label + client_fp + host_fp, sha256).digest()


def _check(pin: str, client_fp: bytes, host_fp: bytes) -> None:
    if not (pin.isascii() and pin.isdigit() and 1 <= len(pin) <= 16):
        raise PairingError("a PIN is made of 1 to 16 digits")
    if len(client_fp) != FINGERPRINT_BYTES or len(host_fp) != FINGERPRINT_BYTES:
        raise PairingError("a fingerprint is 32 bytes, the SHA-256 of a certificate's DER")


class HostCeremony:
    """The host's side, for one PairRequest. One SPAKE2 computation, one guess at the PIN."""

    def __init__(self, pin: str, client_fp: bytes, host_fp: bytes) -> None:
        from spake2 import SPAKE2_B

        _check(pin, client_fp, host_fp)
        self._spake = SPAKE2_B(pin.encode(), idA=client_fp, idB=host_fp)
        self._client_fp, self._host_fp = client_fp, host_fp
        self._key: bytes | None = None

    def challenge(self, request: PairRequest) -> PairChallenge:
        """Answer the request. From here on the PIN is spent, whatever the outcome.

        Raises :class:`~punktfunk.errors.PairingError` for a message that is no point of the group.
        """
        if len(request.spake) != SPAKE_BYTES:
            raise PairingError("the client's SPAKE2 message is not 33 bytes")
        own = self._spake.start()
        self._key = _finish(self._spake, request.spake)
        return PairChallenge(own, _mac(self._key, b"punktfunk-pair-host", self._client_fp, self._host_fp))

    def verify(self, proof: PairProof) -> PairResult:
        """Return whether the client knew the PIN; compares in constant time."""
        if self._key is None:
            raise PairingError("a proof came before the challenge")
        expected = _mac(self._key, b"punktfunk-pair-client", self._client_fp, self._host_fp)
        self._key = None
        return PairResult(int(hmac.compare_digest(expected, proof.mac)))


class ClientCeremony:
    """The client's side. ``host_fp`` is the fingerprint that the client observed in the handshake."""

    def __init__(self, pin: str, client_fp: bytes, host_fp: bytes, name: str) -> None:
        from spake2 import SPAKE2_A

        _check(pin, client_fp, host_fp)
        self._spake = SPAKE2_A(pin.encode(), idA=client_fp, idB=host_fp)
        self._client_fp, self._host_fp = client_fp, host_fp
        self._name = name

    def request(self) -> PairRequest:
        """Return the first message."""
        return PairRequest(self._name, self._spake.start())

    def prove(self, challenge: PairChallenge) -> PairProof:
        """Check the host's proof and give ours.

        Raises :class:`~punktfunk.errors.PairingError` when the host did not know the PIN or is not the host that
        the client sees: then nothing may be sent, or a man in the middle would get a guess for free.
        """
        if len(challenge.spake) != SPAKE_BYTES:
            raise PairingError("the host's SPAKE2 message is not 33 bytes")
        key = _finish(self._spake, challenge.spake)
        expected = _mac(key, b"punktfunk-pair-host", self._client_fp, self._host_fp)
        if not hmac.compare_digest(expected, challenge.mac):
            raise PairingError(
                "the host's proof does not match: wrong PIN, or somebody is between the two machines",
                "arm pairing again on the host and type the new PIN",
            )
        return PairProof(_mac(key, b"punktfunk-pair-client", self._client_fp, self._host_fp))


def _finish(spake: SPAKE2_A | SPAKE2_B, message: bytes) -> bytes:
    from spake2 import SPAKEError

    try:
        key: bytes = spake.finish(message)
    except (SPAKEError, ValueError, AssertionError) as error:
        # The library rejects a wrong side byte, a point off the curve and one outside the prime-order subgroup.
        raise PairingError("the peer's SPAKE2 message is not a valid point") from error
    return key
