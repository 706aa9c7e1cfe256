"""Certificates that name a host and a client, and the fingerprints by which peers pin each other.

All are self-signed (punktfunk/1 section 1.2): the host's RSA-2048 with CN ``punktfunk`` and no extension,
the client's P-256 with SAN ``punktfunk-client``, that of a GameStream client RSA-2048 with the CN that all of its kind
have (gamestream section 3.1). A fingerprint is the SHA-256 of the DER of the leaf
certificate, written as 64 lowercase hex digits.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from punktfunk.errors import ConfigError
from punktfunk.trust.private_file import held_folder, read_private, write_private

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(2040, 1, 1, tzinfo=UTC)
_ANEW = "restore it from a backup, or move key and certificate aside: then peers have to trust a new identity"
_HEX_DIGITS = frozenset("0123456789abcdef")


class Role(Enum):
    """Whose identity it is; the values are the stems of the file names that the reference uses."""

    HOST = ""
    CLIENT = "client-"
    GAMESTREAM_CLIENT = "gamestream-client-"


_NAMES = {
    Role.HOST: "punktfunk",
    Role.CLIENT: "punktfunk-client",
    Role.GAMESTREAM_CLIENT: "NVIDIA GameStream Client",
}


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
        name = _NAMES[role]
        key: PrivateKey
        if role is Role.CLIENT:
            key = ec.generate_private_key(ec.SECP256R1())
        else:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
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
        """Read ``cert.pem`` and ``key.pem`` (with the role's stem before both), making them if both are absent.

        Raises ``ConfigError`` when the files cannot be used, or when one of them is missing: a new identity in place of
        a lost one would be refused by every peer that pinned it.
        """
        certificate_path, key_path = cls.paths(folder, role)
        try:
            certificate, key = _read_certificate(certificate_path), _read_key(key_path)
            if certificate is None:
                # Two programs that both make an identity would mix them, and one would be left with a lost one.
                with held_folder(folder, ConfigError):
                    certificate, key = _read_certificate(certificate_path), _read_key(key_path)
                    if certificate is None and key is None:
                        return cls._create(folder, role)
                    if certificate is None and key is not None:
                        certificate = _finish_creation(certificate_path, key)
        except OSError as error:
            raise ConfigError(
                f"the identity in {folder} cannot be used: {error.strerror}",
                "make the folder writable for this user or name another one",
            ) from error
        if certificate is None or key is None:
            here, gone = (key_path, certificate_path) if certificate is None else (certificate_path, key_path)
            raise ConfigError(
                f"{gone} is missing beside {here}",
                f"restore it from a backup, or move {here.name} aside as well: then a new identity is made, and peers "
                "have to trust it anew",
            )
        if key.public_key() != certificate.public_key():
            raise ConfigError(f"{key_path} does not belong to {certificate_path}", "move both aside")
        if isinstance(key, rsa.RSAPrivateKey) and not _signs(key):
            raise ConfigError(f"{key_path} is damaged", _ANEW)
        return cls(certificate, key)

    @classmethod
    def _create(cls, folder: Path, role: Role) -> Identity:
        """Make an identity and write it so that a crash at any time leaves none, or one that can be finished.

        The certificate is written beside its place, then the key, then the certificate is renamed into place.
        """
        certificate_path, key_path = cls.paths(folder, role)
        identity = cls.generate(role)
        pem = identity.certificate.public_bytes(serialization.Encoding.PEM)
        write_private(_unfinished(certificate_path), pem)
        write_private(key_path, identity._key_pem())
        _unfinished(certificate_path).replace(certificate_path)
        return identity

    def _key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def _read_certificate(path: Path) -> x509.Certificate | None:
    pem = read_private(path, what="the certificate", error=ConfigError)
    try:
        return None if pem is None else x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged", _ANEW) from error


def _read_key(path: Path) -> PrivateKey | None:
    pem = read_private(path, what="the private key", error=ConfigError, secret=True)
    if pem is None:
        return None
    try:
        # Whether the primes of an RSA key are primes takes 40 ms, of every start: see _signs.
        key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is damaged", _ANEW) from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} is neither an RSA nor an elliptic-curve key", "move it aside")
    return key


def _signs(key: rsa.RSAPrivateKey) -> bool:
    """Whether a key's halves belong together, by a signature: the file is private, and was made by this program."""
    scheme, message = padding.PKCS1v15(), b"punktfunk"
    try:
        key.public_key().verify(key.sign(message, scheme, hashes.SHA256()), message, scheme, hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def _unfinished(certificate_path: Path) -> Path:
    """Return where a certificate is kept until its key is on disk."""
    return certificate_path.with_name(f".{certificate_path.name}.new")


def _finish_creation(certificate_path: Path, key: PrivateKey) -> x509.Certificate | None:
    """Put the certificate of a key in place that a crash left beside it; ``None`` when there is none of this key."""
    beside = _unfinished(certificate_path)
    certificate = _read_certificate(beside)
    if certificate is None or certificate.public_key() != key.public_key():
        return None
    beside.replace(certificate_path)
    return certificate


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
