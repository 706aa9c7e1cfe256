"""A client's side of pairing, without I/O: what it sends in each phase, and how it judges the answer.

The host is known by nothing yet but its address. What proves it is that it knows the PIN, which a person typed there
(gamestream section 3.2).
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk.client.gamestream.known_hosts import MAX_CERTIFICATE
from punktfunk.client.gamestream.reply import Reply
from punktfunk.errors import PairingError
from punktfunk.gamestream.certificate import UNREADABLE
from punktfunk.gamestream.pairing import commit, decrypt, encrypt, pairing_key, signing_key
from punktfunk.trust.identity import Identity

BLOCK: Final = 16
DIGEST: Final = 32
MAX_SECRET_BYTES: Final = BLOCK + 1024
"""Of a host's answer in phase 3: a secret and a signature, whose key may have 8192 bits."""
_PAIR_HINT = "pair again, and type the PIN that is shown then"

Query = dict[str, str]


def new_pin() -> str:
    """Return four digits."""
    return f"{secrets.randbelow(10_000):04}"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a client draws for one pairing, 16 bytes each."""

    salt: bytes
    challenge: bytes
    secret: bytes

    def __repr__(self) -> str:
        return "Secrets()"

    @classmethod
    def draw(cls) -> Secrets:
        """Draw anew."""
        return cls(*(secrets.token_bytes(BLOCK) for _ in range(3)))


class PairingExchange:
    """One pairing; its methods go in this order, each with the host's answer to what the one before returned.

    Raises ``PairingError`` for a host that does not know the PIN, answers what is none, refuses, or pairs with somebody
    else.
    """

    def __init__(self, identity: Identity, pin: str, drawn: Secrets | None = None) -> None:
        self._identity = identity
        self._drawn = drawn or Secrets.draw()
        self._key = pairing_key(self._drawn.salt, pin)
        self._host: x509.Certificate | None = None
        self._host_key: object = None
        self._proof = b""

    @property
    def certificate_pem(self) -> str:
        """What the host has to show from now on; known behind :meth:`challenge`."""
        assert self._host is not None
        return self._host.public_bytes(Encoding.PEM).decode("ascii")

    def hello(self) -> Query:
        """Return phase 1, which the host answers when a person has typed the PIN there."""
        pem = self._identity.certificate.public_bytes(Encoding.PEM)
        return {"phrase": "getservercert", "salt": self._drawn.salt.hex(), "clientcert": pem.hex()}

    def challenge(self, reply: Reply) -> Query:
        """Take the host's certificate; return phase 2."""
        _require_paired(reply, "the host refused to pair")
        pem = _hex(reply, "plaincert", MAX_CERTIFICATE)
        if not pem:
            raise PairingError("the host is pairing with another device", "try again when it has done so")
        try:
            self._host = x509.load_pem_x509_certificate(pem)
            self._host_key = self._host.public_key()
        except UNREADABLE as error:
            raise PairingError("the certificate that the host sent cannot be read") from error
        if not isinstance(self._host_key, rsa.RSAPublicKey):
            raise PairingError("the certificate that the host sent has no RSA key")
        return {"clientchallenge": encrypt(self._key, self._drawn.challenge).hex()}

    def response(self, reply: Reply) -> Query:
        """Take the host's proof, to be judged when its secret is known, and its challenge; return phase 3."""
        _require_paired(reply, "the host gave up")
        answer = _hex(reply, "challengeresponse", DIGEST + BLOCK)
        if len(answer) != DIGEST + BLOCK:
            raise PairingError("the host's answer to the challenge has another length")
        opened = decrypt(self._key, answer)
        self._proof, challenge = opened[:DIGEST], opened[DIGEST:]
        ours = commit(challenge, self._identity.certificate.signature, self._drawn.secret)
        return {"serverchallengeresp": encrypt(self._key, ours).hex()}

    def secret(self, reply: Reply) -> Query:
        """Judge the host: whether it knows the PIN, and holds the key of its certificate; return phase 4."""
        assert self._host is not None
        _require_paired(reply, "the host gave up")
        answer = _hex(reply, "pairingsecret", MAX_SECRET_BYTES)
        secret, signature = answer[:BLOCK], answer[BLOCK:]
        assert isinstance(self._host_key, rsa.RSAPublicKey)
        try:
            self._host_key.verify(signature, secret, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise PairingError("the host does not hold the key of its certificate", _PAIR_HINT) from error
        expected = commit(self._drawn.challenge, self._host.signature, secret)
        if not hmac.compare_digest(expected, self._proof):
            raise PairingError("another PIN was typed at the host", _PAIR_HINT)
        signed = signing_key(self._identity).sign(self._drawn.secret, padding.PKCS1v15(), hashes.SHA256())
        return {"clientpairingsecret": (self._drawn.secret + signed).hex()}

    @staticmethod
    def end(reply: Reply) -> Query:
        """Take the host's word that it has kept this client; return phase 5, which goes by HTTPS."""
        _require_paired(reply, "the host did not take this device's proof")
        return {"phrase": "pairchallenge"}


def _require_paired(reply: Reply, what: str) -> None:
    if reply.status != 200 or not reply.said_yes("paired"):
        raise PairingError(what + (f": {reply.message}" if reply.message else ""), _PAIR_HINT)


def _hex(reply: Reply, name: str, limit: int) -> bytes:
    """Return the bytes of a field; raise ``PairingError`` for more than ``limit`` and for what is no hex."""
    text = reply.root.value(name)
    if len(text) > 2 * limit:
        raise PairingError(f"the host's {name} is too long")
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise PairingError(f"the host's {name} is no hex") from error
