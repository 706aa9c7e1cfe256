"""Identities: what the certificates hold, how they are kept, what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from punktfunk.errors import ConfigError
from punktfunk.trust.identity import Identity, Role, parse_fingerprint

CLIENT = Identity.generate(Role.CLIENT)


def test_the_host_certificate_is_what_the_reference_expects_of_one() -> None:
    certificate = Identity.generate(Role.HOST).certificate
    assert certificate.version is x509.Version.v3
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == "CN=punktfunk"
    assert list(certificate.extensions) == []
    assert 0 < certificate.serial_number < 1 << 159
    assert (certificate.not_valid_before_utc.year, certificate.not_valid_after_utc.year) == (2020, 2040)
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048


def test_the_client_certificate_is_p256_with_its_dns_name() -> None:
    key = CLIENT.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    names = CLIENT.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["punktfunk-client"]


def test_the_certificate_of_a_gamestream_client_is_what_its_hosts_know() -> None:
    certificate = Identity.generate(Role.GAMESTREAM_CLIENT).certificate
    assert certificate.subject.rfc4514_string() == "CN=NVIDIA GameStream Client"
    assert certificate.version is x509.Version.v3
    assert list(certificate.extensions) == []
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048


def test_the_fingerprint_is_sha256_of_the_der() -> None:
    der = CLIENT.certificate.public_bytes(serialization.Encoding.DER)
    assert CLIENT.fingerprint == hashlib.sha256(der).hexdigest()


def test_an_identity_survives_a_restart_and_its_key_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    made = Identity.load_or_create(folder, Role.CLIENT)
    assert Identity.load_or_create(folder, Role.CLIENT).fingerprint == made.fingerprint
    assert {path.name for path in folder.iterdir()} == {"client-cert.pem", "client-key.pem"}
    assert (folder / "client-key.pem").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_damaged_or_foreign_key_is_an_error_and_never_replaced(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path, Role.CLIENT)
    key = tmp_path / "client-key.pem"
    key.write_bytes(b"not a key")
    with pytest.raises(ConfigError, match="damaged"):
        Identity.load_or_create(tmp_path, Role.CLIENT)
    assert key.read_bytes() == b"not a key"
    key.write_bytes(CLIENT._key_pem())
    with pytest.raises(ConfigError, match="does not belong"):
        Identity.load_or_create(tmp_path, Role.CLIENT)


def test_an_rsa_key_whose_halves_do_not_belong_together_is_damaged(tmp_path: Path) -> None:
    made = Identity.load_or_create(tmp_path, Role.HOST)
    assert isinstance(made.key, rsa.RSAPrivateKey)
    right = made.key.private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        right.p, right.q, right.d ^ 2, right.dmp1 ^ 2, right.dmq1 ^ 2, right.iqmp, right.public_numbers
    )
    (tmp_path / "key.pem").write_bytes(
        Identity(made.certificate, wrong.private_key(unsafe_skip_rsa_key_validation=True))._key_pem()
    )
    with pytest.raises(ConfigError, match="damaged"):
        Identity.load_or_create(tmp_path, Role.HOST)


def test_a_certificate_without_its_key_says_so_and_is_not_replaced(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path, Role.HOST)
    (tmp_path / "key.pem").unlink()
    with pytest.raises(ConfigError, match="missing") as caught:
        Identity.load_or_create(tmp_path, Role.HOST)
    assert "move cert.pem aside as well" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["cert.pem"]


def test_a_key_that_others_can_use_is_no_identity(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path, Role.HOST)
    for mode in (0o640, 0o604, 0o620):
        (tmp_path / "key.pem").chmod(mode)
        with pytest.raises(ConfigError, match="used by others"):
            Identity.load_or_create(tmp_path, Role.HOST)


def test_a_folder_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        Identity.load_or_create(tmp_path / "file" / "below", Role.HOST)


def test_an_identity_does_not_show_its_key() -> None:
    assert "PRIVATE" not in repr(CLIENT)
    assert repr(CLIENT) == f"Identity(fingerprint='{CLIENT.fingerprint}')"


@pytest.mark.parametrize("text", ["", "ab" * 31, "zz" * 32, "ab" * 33])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_fingerprint(text)


def test_a_fingerprint_may_be_written_with_colons_and_capitals() -> None:
    assert parse_fingerprint(":".join(["AB"] * 32) + "\n") == "ab" * 32
