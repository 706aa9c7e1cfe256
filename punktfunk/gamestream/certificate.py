"""A client's certificate, read as leniently as clients need (gamestream section 3.1).

Serial number 0, dates that are over or to come, and the same subject as every other client's are all usual. Nothing of
it is believed: a client is its certificate's DER, and proves that it holds the key.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from punktfunk.errors import StatusError
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

MAX_PEM_BYTES = 8192
"""Of one certificate; clients' take some 1200."""
MIN_KEY_BITS, MAX_KEY_BITS = 1024, 4096
"""Of its RSA key: clients have 2048, and what is checked with a longer one costs the host."""

UNREADABLE = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What the library raises for a certificate, its key or its dates that it cannot make sense of."""

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_SEQUENCE, _INTEGER, _BIT_STRING, _VERSION = 0x30, 0x02, 0x03, 0xA0


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate that pairs or has been paired."""

    der: bytes
    key: rsa.RSAPublicKey
    subject: str
    not_before_unix: int
    not_after_unix: int

    @classmethod
    def parse(cls, pem: bytes) -> ClientCertificate:
        """Read the first certificate of a PEM text.

        Raises :class:`~punktfunk.errors.StatusError` with status 400 for what is none, or has no RSA key.
        """
        if len(pem) > MAX_PEM_BYTES:
            raise StatusError("the client's certificate is too long", status=400)
        block = _PEM.search(pem)
        try:
            der = base64.b64decode(block[1] if block else b"")
            found = x509.load_der_x509_certificate(_with_positive_serial(der))
            key = found.public_key()
            subject = found.subject.rfc4514_string()
            dates = (
                int(found.not_valid_before_utc.timestamp()),
                int(found.not_valid_after_utc.timestamp()),
            )
            signature_of(der)
        except UNREADABLE as error:
            raise StatusError("the client's certificate cannot be read", status=400) from error
        if not isinstance(key, rsa.RSAPublicKey) or not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
            raise StatusError("the client's certificate has no RSA key of a usual length", status=400)
        return cls(der, key, printable(subject, MAX_PEER_CHARACTERS), *dates)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, 64 lowercase hex digits."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def pem(self) -> str:
        """The certificate as text, written anew."""
        body = base64.encodebytes(self.der).decode("ascii").replace("\n", "")
        lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
        return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"

    @property
    def signature(self) -> bytes:
        """What its issuer signed it with: content of the outer signature's bit string."""
        return signature_of(self.der)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is one of its key over ``message`` (PKCS #1 v1.5, SHA-256)."""
        try:
            self.key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def signature_of(der: bytes) -> bytes:
    """Return the raw signature of a certificate, without the octet of unused bits.

    Raises ``ValueError`` for what is no certificate.
    """
    at, _ = _element(der, 0, _SEQUENCE)
    _, at = _element(der, at, _SEQUENCE)  # what is signed
    _, at = _element(der, at, _SEQUENCE)  # the algorithm
    begin, end = _element(der, at, _BIT_STRING)
    if begin == end:
        raise ValueError("an empty signature")
    return der[begin + 1 : end]


def _with_positive_serial(der: bytes) -> bytes:
    """Return the certificate with another serial number, where it has one that the library does not read: 0, or less.

    What depends on the bytes of a certificate is taken from the original.
    """
    at, _ = _element(der, 0, _SEQUENCE)
    at, _ = _element(der, at, _SEQUENCE)
    if der[at : at + 1] == bytes([_VERSION]):
        _, at = _element(der, at, _VERSION)
    begin, end = _element(der, at, _INTEGER)
    if int.from_bytes(der[begin:end], "big", signed=True) > 0:
        return der
    return der[:begin] + b"\1" * (end - begin) + der[end:]


def _element(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element at ``at`` begins and ends."""
    if len(der) < at + 2 or der[at] != tag:
        raise ValueError("not the element that a certificate has here")
    length, begin = der[at + 1], at + 2
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 3:
            raise ValueError("a length that no certificate has")
        length, begin = int.from_bytes(der[begin : begin + octets], "big"), begin + octets
    if begin + length > len(der):
        raise ValueError("cut off")
    return begin, begin + length
