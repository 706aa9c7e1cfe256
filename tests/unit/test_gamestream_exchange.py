"""A client's pairing against the host's state machine: who knows the PIN, and who only says so."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk.client.gamestream.exchange import PairingExchange, new_pin
from punktfunk.client.gamestream.reply import Reply
from punktfunk.errors import PairingError
from punktfunk.gamestream import xml
from punktfunk.gamestream.certificate import ClientCertificate
from punktfunk.gamestream.pairing import (
    BeginPairing,
    ChallengeAnswer,
    ClientChallenge,
    ClientSecret,
    HostPairing,
    parse_pair,
)
from punktfunk.trust.identity import Identity, Role

Fields = dict[str, str]


@pytest.fixture(scope="module")
def client() -> Identity:
    return Identity.generate(Role.GAMESTREAM_CLIENT)


@pytest.fixture(scope="module")
def host() -> Identity:
    return Identity.generate(Role.HOST)


def answered(**fields: str) -> Reply:
    return Reply.decode(xml.reply((("paired", 1), *fields.items())))


class Host:
    """A host at which somebody has typed a PIN; ``shows`` is the certificate that it sends."""

    def __init__(self, identity: Identity, pin: str, shows: Identity | None = None) -> None:
        self._identity, self._pin = identity, pin
        self._shows = shows or identity
        self._pairing: HostPairing | None = None
        self.paired = False

    def answer(self, query: Fields) -> Reply:
        request = parse_pair(query)
        if isinstance(request, BeginPairing):
            certificate = ClientCertificate.parse(request.certificate)
            self._pairing = HostPairing(self._identity, request.salt, certificate)
            self._pairing.enter_pin(self._pin)
            return answered(plaincert=self._shows.certificate.public_bytes(Encoding.PEM).hex())
        assert self._pairing is not None
        match request:
            case ClientChallenge():
                return answered(challengeresponse=self._pairing.challenge(request).hex())
            case ChallengeAnswer():
                return answered(pairingsecret=self._pairing.answer(request).hex())
            case ClientSecret():
                self.paired = self._pairing.finish(request)
                return Reply.decode(xml.reply((("paired", int(self.paired)),)))
            case _:
                raise AssertionError(request)


def go_through(exchange: PairingExchange, answer: Callable[[Fields], Reply]) -> Fields:
    query = exchange.hello()
    for step in (exchange.challenge, exchange.response, exchange.secret, exchange.end):
        query = step(answer(query))
    return query


def test_both_sides_know_each_other_by_a_pin_with_zeros_in_front(client: Identity, host: Identity) -> None:
    other = Host(host, "0042")
    exchange = PairingExchange(client, "0042")
    assert go_through(exchange, other.answer) == {"phrase": "pairchallenge"}
    assert other.paired
    assert exchange.certificate_pem == host.certificate.public_bytes(Encoding.PEM).decode()


def test_a_host_at_which_another_pin_was_typed_is_seen_through_before_it_learns_the_secret(
    client: Identity, host: Identity
) -> None:
    asked: list[Fields] = []
    other = Host(host, "1111")

    def answer(query: Fields) -> Reply:
        asked.append(query)
        return other.answer(query)

    with pytest.raises(PairingError, match="another PIN"):
        go_through(PairingExchange(client, "2222"), answer)
    assert all("clientpairingsecret" not in query for query in asked)


def test_a_host_that_shows_a_certificate_of_somebody_elses_is_seen_through(
    client: Identity, host: Identity
) -> None:
    impostor = Host(Identity.generate(Role.HOST), "1234", shows=host)
    with pytest.raises(PairingError, match="does not hold the key"):
        go_through(PairingExchange(client, "1234"), impostor.answer)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply.decode(b'<root status_code="200"><paired>0</paired></root>'), "refused"),
        (Reply.decode(b'<root status_code="503"><paired>0</paired></root>'), "refused"),
        (answered(), "another device"),
        (answered(plaincert="xy"), "no hex"),
        (answered(plaincert="00" * 20_000), "too long"),
        (answered(plaincert=b"-----BEGIN".hex()), "cannot be read"),
    ],
)
def test_what_is_no_answer_to_the_first_phase_ends_the_pairing(
    client: Identity, reply: Reply, words: str
) -> None:
    exchange = PairingExchange(client, "1234")
    exchange.hello()
    with pytest.raises(PairingError, match=words):
        exchange.challenge(reply)


def test_a_certificate_of_a_version_that_nobody_knows_ends_the_pairing(
    client: Identity, host: Identity
) -> None:
    der = host.certificate.public_bytes(Encoding.DER)
    version = bytes.fromhex("a003020102")
    assert der.count(version) == 1
    pem = ssl.DER_cert_to_PEM_cert(der.replace(version, version[:-1] + b"+")).encode()
    exchange = PairingExchange(client, "1234")
    exchange.hello()
    with pytest.raises(PairingError, match="cannot be read"):
        exchange.challenge(answered(plaincert=pem.hex()))


def test_a_pin_is_four_digits() -> None:
    assert all(len(pin) == 4 and pin.isdecimal() for pin in (new_pin() for _ in range(50)))
