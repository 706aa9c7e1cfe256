"""Who waits for a PIN at a GameStream host: places, whose PIN it is, one guess each, and what ends a pairing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from punktfunk.errors import ConfigError, StatusError, TrustStoreError
from punktfunk.gamestream.pairing import (
    BeginPairing,
    ChallengeAnswer,
    ClientChallenge,
    ClientSecret,
    State,
    parse_pair,
)
from punktfunk.host.gamestream.pairing import (
    COOL_DOWN_NS,
    PHASES_LIMIT_NS,
    WIRE,
    GameStreamPairing,
    HalfOpen,
    PairingKey,
)
from punktfunk.host.pending import PENDING_LIFE_NS, PendingClients
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.store import TrustStore
from tests.support.moonlight import ClientKeys, PairingClient, client_keys

S = 1_000_000_000
HOST = Identity.generate(Role.HOST)
KEYS = [client_keys() for _ in range(6)]
PHONE, TABLET = PairingKey("192.0.2.7", "0123456789ABCDEF"), PairingKey("192.0.2.8", "0123456789ABCDEF")


@pytest.fixture
def pairing(tmp_path: Path) -> GameStreamPairing:
    return GameStreamPairing(PendingClients(TrustStore(tmp_path / "trust.json")), HOST)


def begin(
    pairing: GameStreamPairing,
    key: PairingKey,
    keys: ClientKeys,
    *,
    pin: str = "1234",
    name: str = "roth",
    now_ns: int = 0,
) -> tuple[PairingClient, HalfOpen | None]:
    client = PairingClient(keys, pin)
    request = parse_pair(client.begin())
    assert isinstance(request, BeginPairing)
    return client, pairing.begin(key, name, request, now_ns)


def go_on(pairing: GameStreamPairing, key: PairingKey, client: PairingClient, now_ns: int = 0) -> bool:
    challenge = parse_pair(client.challenge())
    assert isinstance(challenge, ClientChallenge)
    answer = parse_pair(client.answer(pairing.challenge(key, challenge, now_ns)))
    assert isinstance(answer, ChallengeAnswer)
    pairing.answer(key, answer, now_ns)
    secret = parse_pair(client.secret())
    assert isinstance(secret, ClientSecret)
    return pairing.finish(key, secret, now_ns, 1_700_000_000)


def test_a_device_waits_for_its_pin_and_is_kept_with_its_certificate(
    pairing: GameStreamPairing, tmp_path: Path
) -> None:
    client, device = begin(pairing, PHONE, KEYS[0], name="phone\n")
    assert device is not None
    (waiting,) = pairing.waiting(0)
    assert (waiting.wire, waiting.name, waiting.source, waiting.needs_pin) == (
        WIRE,
        "phone",
        "192.0.2.7",
        True,
    )
    assert not device.decided.is_set()
    assert pairing.enter_pin("1234", KEYS[0].fingerprint.upper(), 1) == "taken"
    assert device.decided.is_set()
    assert device.pin_entered
    assert pairing.waiting(1) == ()
    assert go_on(pairing, PHONE, client, 2)
    assert len(pairing) == 0
    (kept,) = TrustStore(tmp_path / "trust.json").clients(WIRE)
    assert (kept.fingerprint, kept.name) == (KEYS[0].fingerprint, "phone")
    assert kept.certificate_pem.encode() == KEYS[0].pem


@pytest.mark.conformance(22)
def test_two_clients_of_one_subject_are_two_clients(pairing: GameStreamPairing) -> None:
    for key, keys in ((PHONE, KEYS[0]), (TABLET, KEYS[1])):
        client, _ = begin(pairing, key, keys)
        assert pairing.enter_pin("1234", None, 0) == "taken"
        assert go_on(pairing, key, client)
    assert {c.fingerprint for c in pairing.trust.clients(WIRE)} == {KEYS[0].fingerprint, KEYS[1].fingerprint}


def test_a_pin_is_for_the_device_that_was_chosen(pairing: GameStreamPairing) -> None:
    (phone, _), (tablet, _) = begin(pairing, PHONE, KEYS[0]), begin(pairing, TABLET, KEYS[1])
    assert pairing.enter_pin("1234", None, 0) == "several wait"
    assert pairing.enter_pin("1234", "ab" * 32, 0) == "nobody waits"
    assert pairing.enter_pin("1234", KEYS[1].fingerprint, 0, name="living room") == "taken"
    with pytest.raises(StatusError):
        go_on(pairing, PHONE, phone)
    assert go_on(pairing, TABLET, tablet)
    assert [c.name for c in pairing.trust.clients()] == ["living room"]


def test_nobody_is_paired_by_approval_alone(pairing: GameStreamPairing) -> None:
    begin(pairing, PHONE, KEYS[0])
    assert not pairing.pending.approve(KEYS[0].fingerprint, 0, 0)
    assert pairing.trust.clients() == ()
    assert len(pairing.waiting(0)) == 1


@pytest.mark.conformance(13)
def test_a_wrong_pin_is_one_guess_and_makes_the_address_wait(pairing: GameStreamPairing) -> None:
    now_ns = 0
    for n in range(4):
        client, _ = begin(pairing, PHONE, KEYS[0], now_ns=now_ns)
        pairing.enter_pin("1235", None, now_ns)
        assert not go_on(pairing, PHONE, client, now_ns)
        with pytest.raises(StatusError) as refused:
            begin(pairing, PHONE, KEYS[0], now_ns=now_ns + (COOL_DOWN_NS << n) - 1)
        assert refused.value.status == 503
        now_ns += COOL_DOWN_NS << n
    assert pairing.counters["wrong_pin"] == 4
    assert pairing.trust.clients() == ()
    begin(pairing, TABLET, KEYS[1], now_ns=now_ns - 1)
    client, _ = begin(pairing, PHONE, KEYS[0], now_ns=now_ns)
    pairing.enter_pin("1234", KEYS[0].fingerprint, now_ns)
    assert go_on(pairing, PHONE, client, now_ns)
    assert begin(pairing, PHONE, KEYS[0], now_ns=now_ns)[1] is not None


@pytest.mark.conformance(18)
def test_a_client_that_begins_again_replaces_its_pairing(pairing: GameStreamPairing) -> None:
    _, first = begin(pairing, PHONE, KEYS[0])
    client, second = begin(pairing, PHONE, KEYS[0], pin="4321")
    assert first is not None
    assert second is not None
    assert first.decided.is_set()
    assert not first.pin_entered
    assert len(pairing) == len(pairing.waiting(0)) == 1
    pairing.enter_pin("4321", None, 0)
    assert go_on(pairing, PHONE, client)


@pytest.mark.conformance(20)
def test_a_client_that_goes_takes_its_place_with_it(pairing: GameStreamPairing) -> None:
    _, device = begin(pairing, PHONE, KEYS[0])
    assert device is not None
    pairing.drop(device)
    pairing.drop(device)
    assert len(pairing) == len(pairing.waiting(0)) == 0
    assert pairing.enter_pin("1234", None, 0) == "nobody waits"
    assert pairing.counters["given_up"] == 1


def test_the_certificate_of_a_device_that_waits_takes_no_place_from_it(pairing: GameStreamPairing) -> None:
    _, device = begin(pairing, PHONE, KEYS[0])
    assert begin(pairing, TABLET, KEYS[0])[1] is None
    assert device is not None
    assert not device.decided.is_set()
    assert [d.source for d in pairing.waiting(0)] == ["192.0.2.7"]


def test_four_of_an_address_wait(pairing: GameStreamPairing) -> None:
    took = [begin(pairing, PairingKey("192.0.2.7", str(n)), keys)[1] for n, keys in enumerate(KEYS)]
    assert [device is not None for device in took] == [True] * 4 + [False] * 2
    assert len(pairing) == 4


def test_time_ends_a_pairing_before_and_after_its_pin(pairing: GameStreamPairing) -> None:
    _, waits = begin(pairing, PHONE, KEYS[0])
    client, entered = begin(pairing, TABLET, KEYS[1])
    assert waits is not None
    assert entered is not None
    pairing.enter_pin("1234", KEYS[1].fingerprint, 0)
    with pytest.raises(StatusError):
        go_on(pairing, TABLET, client, PHASES_LIMIT_NS)
    assert not waits.decided.is_set()
    assert pairing.waiting(PENDING_LIFE_NS) == ()
    assert waits.decided.is_set()
    assert waits.pairing.state is State.OVER
    assert len(pairing) == 0


def test_a_device_that_was_turned_away_is_told(pairing: GameStreamPairing) -> None:
    _, device = begin(pairing, PHONE, KEYS[0])
    assert device is not None
    assert pairing.pending.deny(KEYS[0].fingerprint, 0)
    assert device.decided.is_set()
    assert not device.pin_entered
    with pytest.raises(StatusError) as refused:
        begin(pairing, PHONE, KEYS[0])
    assert refused.value.status == 403


@pytest.mark.conformance(19)
@pytest.mark.parametrize(
    "early",
    [
        lambda p: p.challenge(PHONE, ClientChallenge(bytes(16)), 0),
        lambda p: p.answer(PHONE, ChallengeAnswer(bytes(32)), 0),
        lambda p: p.finish(PHONE, ClientSecret(bytes(16), bytes(256)), 0, 0),
    ],
)
def test_a_phase_before_the_pin_ends_the_pairing(
    pairing: GameStreamPairing, early: Callable[[GameStreamPairing], object]
) -> None:
    for _ in range(2):
        with pytest.raises(StatusError) as refused:
            early(pairing)
        assert refused.value.status == 400
        _, device = begin(pairing, PHONE, KEYS[0])
        assert device is not None
    with pytest.raises(StatusError):
        early(pairing)
    assert device.decided.is_set()
    assert len(pairing) == len(pairing.waiting(0)) == 0


@pytest.mark.conformance(26)
def test_a_client_that_is_paired_stays_so_when_anybody_cancels(pairing: GameStreamPairing) -> None:
    client, _ = begin(pairing, PHONE, KEYS[0])
    pairing.enter_pin("1234", None, 0)
    assert go_on(pairing, PHONE, client)
    _, other = begin(pairing, PHONE, KEYS[1])
    assert other is not None
    pairing.cancel(PHONE)
    pairing.cancel(TABLET)
    assert other.decided.is_set()
    assert pairing.trust.find(KEYS[0].fingerprint) is not None


def test_who_cannot_be_written_down_is_not_paired(pairing: GameStreamPairing, tmp_path: Path) -> None:
    client, _ = begin(pairing, PHONE, KEYS[0])
    pairing.enter_pin("1234", None, 0)
    tmp_path.rmdir()
    tmp_path.write_text("in the way")
    with pytest.raises(TrustStoreError):
        go_on(pairing, PHONE, client)
    assert pairing.trust.clients() == ()
    assert pairing.counters["store_failures"] == 1


def test_a_host_without_rsa_does_not_pair(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        GameStreamPairing(PendingClients(TrustStore(tmp_path / "trust.json")), Identity.generate(Role.CLIENT))


def test_a_client_says_who_it_is() -> None:
    assert PairingKey.of({"uniqueid": "a"}, "192.0.2.7") == PairingKey("192.0.2.7", "a")
    for query in ({}, {"uniqueid": ""}, {"uniqueid": "a" * 65}):
        with pytest.raises(StatusError):
            PairingKey.of(query, "192.0.2.7")
