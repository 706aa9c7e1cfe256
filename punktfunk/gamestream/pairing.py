"""The five phases of pairing (gamestream section 3.2), the host's side: a state machine without I/O.

``WAIT_PIN ─pin─► CERT_SENT ─2─► CHALLENGED ─3─► SECRET_SENT ─4─► OVER``. A phase out of order, twice or malformed ends
it. The PIN is checked once, in phase 4, and both sides have committed themselves before either shows its secret: a
client gets one guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from punktfunk.errors import ConfigError, StatusError
from punktfunk.gamestream.certificate import MAX_PEM_BYTES, ClientCertificate
from punktfunk.gamestream.query import hex_field
from punktfunk.trust.identity import Identity

SALT_BYTES = SECRET_BYTES = CHALLENGE_BYTES = 16
HASH_BYTES = 32
MAX_SALT_BYTES = 64
MAX_SIGNATURE_BYTES = 512
"""Of an RSA key of 4096 bits."""


@dataclass(frozen=True, slots=True)
class BeginPairing:
    """Phase 1: a client shows its certificate, and waits until a person has entered its PIN at the host."""

    salt: bytes
    certificate: bytes
    """PEM text."""


@dataclass(frozen=True, slots=True)
class ClientChallenge:
    """Phase 2."""

    encrypted: bytes


@dataclass(frozen=True, slots=True)
class ChallengeAnswer:
    """Phase 3: the client's commitment."""

    encrypted: bytes


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """Phase 4: what the client has committed itself to, and its key's signature over it."""

    secret: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class PairCheck:
    """Phase 5, by HTTPS: the client sees that its certificate is known."""


PairRequest = BeginPairing | ClientChallenge | ChallengeAnswer | ClientSecret | PairCheck


def parse_pair(query: Mapping[str, str]) -> PairRequest:
    """Read what phase a request to ``/pair`` is, and its fields.

    Raises :class:`~punktfunk.errors.StatusError`: 400 for malformed fields, 404 when it is no phase, 503 for a PIN that
    a host would have to have announced before, which this one does not (section 3.4).
    """
    if query.get("phrase") == "getservercert":
        if "otpauth" in query:
            raise StatusError("this host has no one-time PIN", status=503)
        salt = hex_field(query, "salt", least=SALT_BYTES, most=MAX_SALT_BYTES)[:SALT_BYTES]
        return BeginPairing(salt, hex_field(query, "clientcert", least=1, most=MAX_PEM_BYTES))
    if query.get("phrase") == "pairchallenge":
        return PairCheck()
    if "clientchallenge" in query:
        return ClientChallenge(_exactly(query, "clientchallenge", CHALLENGE_BYTES))
    if "serverchallengeresp" in query:
        return ChallengeAnswer(_exactly(query, "serverchallengeresp", HASH_BYTES))
    if "clientpairingsecret" in query:
        both = hex_field(
            query, "clientpairingsecret", least=SECRET_BYTES + 1, most=SECRET_BYTES + MAX_SIGNATURE_BYTES
        )
        return ClientSecret(both[:SECRET_BYTES], both[SECRET_BYTES:])
    raise StatusError("this is no phase of pairing", status=404)


class State(Enum):
    """How far a pairing is."""

    WAIT_PIN = auto()
    CERT_SENT = auto()
    CHALLENGED = auto()
    SECRET_SENT = auto()
    OVER = auto()


class HostPairing:
    """One pairing, of the client that has this certificate. ``draw`` gives random bytes."""

    def __init__(
        self,
        identity: Identity,
        salt: bytes,
        client: ClientCertificate,
        *,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.client = client
        self.state = State.WAIT_PIN
        self._identity, self._key_of_host = identity, signing_key(identity)
        self._salt = salt
        self._draw = draw
        self._key = self._secret = self._challenge = self._commitment = b""

    def enter_pin(self, pin: str) -> None:
        """Take the PIN that a person has read from the client; its certificate may be answered then."""
        self._require(State.WAIT_PIN)
        self._key = pairing_key(self._salt, pin)
        self.state = State.CERT_SENT

    def challenge(self, request: ClientChallenge) -> bytes:
        """Return what phase 2 is answered with: the host's commitment and its own challenge, encrypted."""
        self._require(State.CERT_SENT)
        challenge = decrypt(self._key, request.encrypted)
        self._secret, self._challenge = self._draw(SECRET_BYTES), self._draw(CHALLENGE_BYTES)
        commitment = commit(challenge, self._identity.certificate.signature, self._secret)
        self.state = State.CHALLENGED
        return encrypt(self._key, commitment + self._challenge)

    def answer(self, request: ChallengeAnswer) -> bytes:
        """Keep the client's commitment; return what phase 3 is answered with: the host's secret, signed."""
        self._require(State.CHALLENGED)
        self._commitment = decrypt(self._key, request.encrypted)
        signature = self._key_of_host.sign(self._secret, padding.PKCS1v15(), hashes.SHA256())
        self.state = State.SECRET_SENT
        return self._secret + signature

    def finish(self, request: ClientSecret) -> bool:
        """Return whether the client knows the PIN and holds the key of its certificate; the pairing is over."""
        self._require(State.SECRET_SENT)
        self.state = State.OVER
        expected = commit(self._challenge, self.client.signature, request.secret)
        # Both always, so that how long it takes says nothing of which was wrong.
        knows_pin = hmac.compare_digest(expected, self._commitment)
        holds_key = self.client.has_signed(request.secret, request.signature)
        return knows_pin and holds_key

    def end(self) -> None:
        """Give the pairing up."""
        self.state = State.OVER

    def _require(self, state: State) -> None:
        if self.state is not state:
            self.end()
            raise StatusError("this phase of pairing is out of order", status=400)


def signing_key(identity: Identity) -> rsa.RSAPrivateKey:
    """Return the key of a host that can pair. Raises ``ConfigError`` for one that is no RSA: clients know no other."""
    if not isinstance(identity.key, rsa.RSAPrivateKey):
        raise ConfigError(
            "GameStream needs an RSA key, and this host's identity has another",
            "move cert.pem and key.pem of the state folder aside: then a new identity is made, and peers have to "
            "trust it anew",
        )
    return identity.key


def pairing_key(salt: bytes, pin: str) -> bytes:
    """Return the AES-128 key of a pairing; ``pin`` as it was typed, zeros in front included."""
    return hashlib.sha256(salt + pin.encode()).digest()[:16]


def commit(challenge: bytes, signature: bytes, secret: bytes) -> bytes:
    """Return the hash by which one side commits itself to ``secret``: H1 of the host, H2 of the client.

    ``challenge`` is the other side's, ``signature`` that of one's own certificate.
    """
    return hashlib.sha256(challenge + signature + secret).digest()


def encrypt(key: bytes, blocks: bytes) -> bytes:
    """Return whole blocks encrypted, each for itself (AES-128-ECB, as the wire demands)."""
    encryptor = _cipher(key).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def decrypt(key: bytes, blocks: bytes) -> bytes:
    """Return whole blocks decrypted."""
    decryptor = _cipher(key).decryptor()
    return decryptor.update(blocks) + decryptor.finalize()


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - section 3.2


def _exactly(query: Mapping[str, str], name: str, size: int) -> bytes:
    return hex_field(query, name, least=size, most=size)
