"""The five phases of pairing: vectors of the description, PINs, certificates as they are, order, malformed fields."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk.errors import ConfigError, StatusError
from punktfunk.gamestream.certificate import ClientCertificate, signature_of
from punktfunk.gamestream.pairing import (
    BeginPairing,
    ChallengeAnswer,
    ClientChallenge,
    ClientSecret,
    HostPairing,
    PairCheck,
    State,
    commit,
    decrypt,
    encrypt,
    pairing_key,
    parse_pair,
    signing_key,
)
from punktfunk.trust.identity import Identity, Role
from tests.support.moonlight import ClientKeys, PairingClient, client_keys

PHASE = {"uniqueid": "0123456789ABCDEF", "devicename": "roth", "updateState": "1"}


@pytest.fixture(scope="module")
def host() -> Identity:
    return Identity.generate(Role.HOST)


@pytest.fixture(scope="module")
def keys() -> ClientKeys:
    return client_keys()


def begun(host: Identity, client: PairingClient) -> HostPairing:
    request = parse_pair(PHASE | client.begin())
    assert isinstance(request, BeginPairing)
    return HostPairing(host, request.salt, ClientCertificate.parse(request.certificate))


def paired(host: Identity, client: PairingClient, pin: str) -> bool:
    """Go through phases 1 to 4, with the PIN that somebody types at the host."""
    pairing = begun(host, client)
    pairing.enter_pin(pin)
    request = parse_pair(PHASE | client.challenge())
    assert isinstance(request, ClientChallenge)
    answer = parse_pair(PHASE | client.answer(pairing.challenge(request)))
    assert isinstance(answer, ChallengeAnswer)
    secret_of_host = pairing.answer(answer)
    host.certificate.public_key().verify(  # type: ignore[union-attr, call-arg]
        secret_of_host[16:], secret_of_host[:16], padding.PKCS1v15(), hashes.SHA256()
    )
    last = parse_pair(PHASE | client.secret())
    assert isinstance(last, ClientSecret)
    done = pairing.finish(last)
    assert pairing.state is State.OVER
    assert client.host_knows_pin(secret_of_host, host.certificate.signature) is (pin == client.pin)
    return done


@pytest.mark.conformance(15)
def test_key_challenge_and_commitments_are_those_of_the_vectors() -> None:
    key = pairing_key(bytes(range(16)), "1234")
    assert key.hex() == "bad0b4f7cae08eb7c1b5acc763a8ed25"
    challenge = bytes(range(0x10, 0x20))
    assert encrypt(key, challenge).hex() == "5febcdc985b2baddd65925da162380eb"
    assert decrypt(key, encrypt(key, challenge)) == challenge
    host_secret, host_challenge = bytes(range(0x20, 0x30)), bytes(range(0x30, 0x40))
    h1 = commit(challenge, bytes(range(256)), host_secret)
    assert h1.hex() == "640f81e6099bb076b3b3f317b3662dce6bd7b5bbb81b77649e1269a8ff441110"
    assert encrypt(key, h1 + host_challenge).hex() == (
        "efcb94d6a587f0ceebb9b3d4fca6c37c8505f87c521bcec09c3369d7b025833758f1c991a85a76c2526eb7cf9453b7e7"
    )
    h2 = commit(host_challenge, bytes(range(255, -1, -1)), bytes(range(0x40, 0x50)))
    assert h2.hex() == "d2751fb0a8ee058701d4c6f0a5a1427d31cb5321b25a157be5a59d1320b6f01c"
    assert encrypt(key, h2).hex() == "be16b48a273260d616a4ef44874acd4be2dc7ebadcb8ffab14bab095373e1c7a"


@pytest.mark.conformance(14)
@pytest.mark.parametrize("pin", ["1234", "0042", "0000"])
def test_a_client_whose_pin_was_typed_pairs(host: Identity, keys: ClientKeys, pin: str) -> None:
    assert paired(host, PairingClient(keys, pin), pin)


@pytest.mark.conformance(13)
@pytest.mark.parametrize("typed", ["1235", "42", " 0042", ""])
def test_another_pin_does_not_pair(host: Identity, keys: ClientKeys, typed: str) -> None:
    assert not paired(host, PairingClient(keys, "0042"), typed)


def test_a_client_without_the_key_of_its_certificate_does_not_pair(host: Identity, keys: ClientKeys) -> None:
    stolen = ClientKeys(lambda: (keys.der, rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    assert not paired(host, PairingClient(stolen, "1234"), "1234")


@pytest.mark.conformance(17)
def test_hex_of_either_case_is_read(host: Identity, keys: ClientKeys) -> None:
    client = PairingClient(keys, "1234")
    fields = PHASE | client.begin()
    upper = fields | {name: fields[name].upper() for name in ("salt", "clientcert")}
    assert parse_pair(upper) == parse_pair(fields)
    assert parse_pair({"clientchallenge": "AB" * 16}) == parse_pair({"clientchallenge": "ab" * 16})


@pytest.mark.conformance(21)
@pytest.mark.parametrize(
    ("begins", "ends"),
    [(-4000, -1), (1, 4000)],
    ids=["expired", "not yet valid"],
)
def test_certificates_whose_dates_are_past_or_to_come_pair(host: Identity, begins: int, ends: int) -> None:
    keys = client_keys(begins=timedelta(days=begins), ends=timedelta(days=ends))
    assert paired(host, PairingClient(keys, "1234"), "1234")


@pytest.mark.conformance(21)
def test_a_certificate_is_read_with_the_serial_number_that_every_client_has(keys: ClientKeys) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a library that reads it today, and says that it will not tomorrow
        read = ClientCertificate.parse(keys.pem)
    assert read.der == keys.der
    assert read.fingerprint == keys.fingerprint
    assert read.subject == "CN=NVIDIA GameStream Client"
    assert ClientCertificate.parse(read.pem.encode()) == read
    assert read.not_after_unix - read.not_before_unix == 3651 * 86400


def test_the_signature_of_a_certificate_is_what_the_library_says(host: Identity) -> None:
    assert signature_of(host.certificate.public_bytes(Encoding.DER)) == host.certificate.signature


@pytest.mark.conformance(19)
def test_a_phase_out_of_order_ends_the_pairing(host: Identity, keys: ClientKeys) -> None:
    challenge, answer, secret = (
        ClientChallenge(bytes(16)),
        ChallengeAnswer(bytes(32)),
        ClientSecret(bytes(16), bytes(256)),
    )
    for steps in (
        lambda p: p.challenge(challenge),
        lambda p: p.answer(answer),
        lambda p: p.finish(secret),
        lambda p: (p.enter_pin("1"), p.enter_pin("2")),
        lambda p: (p.enter_pin("1"), p.answer(answer)),
        lambda p: (p.enter_pin("1"), p.challenge(challenge), p.challenge(challenge)),
        lambda p: (p.enter_pin("1"), p.challenge(challenge), p.finish(secret)),
        lambda p: (p.enter_pin("1"), p.challenge(challenge), p.answer(answer), p.answer(answer)),
        lambda p: (p.end(), p.enter_pin("1")),
    ):
        pairing = begun(host, PairingClient(keys, "1234"))
        with pytest.raises(StatusError) as refused:
            steps(pairing)
        assert refused.value.status == 400
        assert pairing.state is State.OVER


@pytest.mark.conformance(19)
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"salt": "00" * 15}, 400),
        ({"salt": ""}, 400),
        ({"salt": "0" * 33}, 400),
        ({"salt": "00 " * 11 + "0"}, 400),
        ({"clientcert": "00"[:1]}, 400),
        ({"clientcert": "zz" * 40}, 400),
        ({"clientcert": "00" * 9000}, 400),
        ({"otpauth": "AB" * 32}, 503),
        ({"phrase": "getservercertificate"}, 404),
    ],
)
def test_a_malformed_first_phase_is_refused(keys: ClientKeys, change: Mapping[str, str], status: int) -> None:
    with pytest.raises(StatusError) as refused:
        parse_pair(PHASE | PairingClient(keys, "1").begin() | change)
    assert refused.value.status == status


@pytest.mark.conformance(19)
def test_malformed_later_phases_are_refused() -> None:
    for fields in (
        {"clientchallenge": "00" * 15},
        {"clientchallenge": "00" * 32},
        {"serverchallengeresp": "00" * 31},
        {"clientpairingsecret": "00" * 16},
        {"clientpairingsecret": "00" * 600},
        {"clientpairingsecret": "é" * 100},
    ):
        with pytest.raises(StatusError) as refused:
            parse_pair(PHASE | fields)
        assert refused.value.status == 400
    with pytest.raises(StatusError) as unknown:
        parse_pair(PHASE)
    assert unknown.value.status == 404
    assert isinstance(parse_pair(PHASE | {"phrase": "pairchallenge"}), PairCheck)


@pytest.mark.conformance(19)
@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a certificate",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"\xff" * 64,
    ],
)
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(StatusError) as refused:
        ClientCertificate.parse(pem)
    assert refused.value.status == 400


def test_a_key_that_is_no_rsa_is_refused_on_either_side() -> None:
    client = Identity.generate(Role.CLIENT)
    with pytest.raises(StatusError):
        ClientCertificate.parse(client.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigError):
        signing_key(client)
