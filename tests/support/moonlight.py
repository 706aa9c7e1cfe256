"""What a Moonlight client does to pair, written from the description alone, and the certificates that clients have."""

from __future__ import annotations

import hashlib
import secrets
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID

from punktfunk.gamestream.certificate import signature_of

SUBJECT = "NVIDIA GameStream Client"
FIRST_FIELDS = bytes.fromhex("a003020102020101")
RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")


class ClientKeys:
    """A client's certificate, as PEM and as DER, and its key: what ``make`` returns, called when they are first used.

    An RSA key takes 30 ms of CPU, and every process of the suite imports the modules that name clients.
    """

    def __init__(self, make: Callable[[], tuple[bytes, rsa.RSAPrivateKey]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> tuple[bytes, rsa.RSAPrivateKey]:
        return self._make()

    @property
    def der(self) -> bytes:
        return self._made[0]

    @property
    def pem(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(self.der).encode()

    @property
    def key(self) -> rsa.RSAPrivateKey:
        return self._made[1]

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.der).hexdigest()


def client_keys(
    serial: int = 0, *, begins: timedelta = timedelta(days=-1), ends: timedelta = timedelta(days=3650)
) -> ClientKeys:
    """Return the certificate of a client and its key: every one has this subject, and serial number 0."""
    return ClientKeys(lambda: _certificate_and_key(serial, begins, ends))


def _certificate_and_key(serial: int, begins: timedelta, ends: timedelta) -> tuple[bytes, rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SUBJECT)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now + begins, now + ends)
    signed = builder.sign(key, hashes.SHA256()).tbs_certificate_bytes
    # The builder makes no serial number 0; version 3 and serial number 1 stand here.
    assert signed.count(FIRST_FIELDS) == 1
    signed = signed.replace(FIRST_FIELDS, FIRST_FIELDS[:-1] + bytes([serial]))
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return _der(0x30, signed + RSA_SHA256 + _der(0x03, b"\0" + signature)), key


def _der(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content


class PairingClient:
    """A client between its phases. It checks nothing of the host but what :attr:`host_knows_pin` says."""

    def __init__(self, keys: ClientKeys, pin: str) -> None:
        self.keys, self.pin = keys, pin
        self.salt = secrets.token_bytes(16)
        self._secret, self._challenge = secrets.token_bytes(16), secrets.token_bytes(16)
        self._cipher = Cipher(
            algorithms.AES(hashlib.sha256(self.salt + pin.encode()).digest()[:16]), modes.ECB()
        )
        self._commitment = b""

    def begin(self) -> dict[str, str]:
        return {"phrase": "getservercert", "salt": self.salt.hex(), "clientcert": self.keys.pem.hex()}

    def challenge(self) -> dict[str, str]:
        return {"clientchallenge": self._cipher.encryptor().update(self._challenge).hex()}

    def answer(self, challengeresponse: bytes) -> dict[str, str]:
        plain = self._cipher.decryptor().update(challengeresponse)
        self._commitment, challenge = plain[:32], plain[32:]
        mine = hashlib.sha256(challenge + signature_of(self.keys.der) + self._secret).digest()
        return {"serverchallengeresp": self._cipher.encryptor().update(mine).hex()}

    def host_knows_pin(self, pairingsecret: bytes, host_signature: bytes) -> bool:
        return (
            hashlib.sha256(self._challenge + host_signature + pairingsecret[:16]).digest() == self._commitment
        )

    def secret(self) -> dict[str, str]:
        signed = self.keys.key.sign(self._secret, padding.PKCS1v15(), hashes.SHA256())
        return {"clientpairingsecret": (self._secret + signed).hex()}
