"""Certificates that name a host and a client, and the fingerprints by which peers pin each other.

Both are self-signed (punktfunk/1 section 1.2): the host's RSA-2048 with CN ``punktfunk`` and no extension,
the client's P-256 with SAN ``punktfunk-client``. A fingerprint is the SHA-256 of the DER of the leaf
certificate, written as 64 lowercase hex digits.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from punktfunk.errors import ConfigError
from punktfunk.native.private_file import write_private

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(2040, 1, 1, tzinfo=UTC)
_HEX_DIGITS = frozenset("0123456789abcdef")


class Role(Enum):
    """Whose identity it is; the values are the stems of the file names that the reference uses."""

    HOST = ""
    CLIENT = "client-"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key. The key never appears in ``repr``."""

    certificate: x509.Certificate
    key: PrivateKey

    def __repr__(self) -> str:
        return f"Identity(fingerprint={self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate's DER, 64 lowercase hex digits."""
        return fingerprint_of(self.certificate)

    @classmethod
    def generate(cls, role: Role) -> Identity:
        """Make a fresh identity of the kind that ``role`` shows."""
        key: PrivateKey
        if role is Role.HOST:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            name = "punktfunk"
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            name = "punktfunk-client"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            # Positive and at most 20 octets, or the reference's parser refuses the certificate.
            .serial_number(secrets.randbits(158) + 1)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
        )
        if role is Role.CLIENT:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @staticmethod
    def paths(folder: Path, role: Role) -> tuple[Path, Path]:
        """Return where the certificate and the key of a role are kept, both PEM."""
        return folder / f"{role.value}cert.pem", folder / f"{role.value}key.pem"

    @classmethod
    def load_or_create(cls, folder: Path, role: Role) -> Identity:
        """Read ``cert.pem`` and ``key.pem`` (``client-`` before both for a client), making them if absent.

        The key is written 0600 and renamed into place, the certificate after it, so that a crash leaves
        either no identity or a whole one. Raises ``ConfigError`` when the files cannot be used.
        """
        certificate_path, key_path = cls.paths(folder, role)
        try:
            if certificate_path.exists():
                return cls._load(certificate_path, key_path)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            identity = cls.generate(role)
            write_private(key_path, identity._key_pem())
            write_private(certificate_path, identity.certificate.public_bytes(serialization.Encoding.PEM))
        except OSError as error:
            raise ConfigError(
                f"the identity in {folder} cannot be used: {error.strerror}",
                "make the folder writable for this user or name another one",
            ) from error
        return identity

    @classmethod
    def _load(cls, certificate_path: Path, key_path: Path) -> Identity:
        try:
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            with key_path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                key = serialization.load_pem_private_key(file.read(), password=None)
        except (ValueError, TypeError, FileNotFoundError) as error:
            raise ConfigError(
                f"{certificate_path} or {key_path} is damaged or missing",
                "move both aside; a new identity is made, and peers have to trust it anew",
            ) from error
        if mode & 0o077:
            raise ConfigError(
                f"{key_path} can be used by others (mode {mode:04o})",
                f"if nobody has copied it: chmod 600 {key_path}; else move it and {certificate_path.name} aside",
            )
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{key_path} is neither an RSA nor an elliptic-curve key", "move it aside")
        if key.public_key() != certificate.public_key():
            raise ConfigError(f"{key_path} does not belong to {certificate_path}", "move both aside")
        return cls(certificate, key)

    def _key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return SHA-256 over the certificate's DER as 64 lowercase hex digits."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint in its canonical form; colons and capitals are accepted.

    Raises ``ConfigError`` unless 64 hex digits are left.
    """
    digits = text.strip().replace(":", "").lower()
    if len(digits) != 64 or not _HEX_DIGITS.issuperset(digits):
        raise ConfigError(f"{text!r} is not a fingerprint", "it is 64 hex digits, as the host prints them")
    return digits
