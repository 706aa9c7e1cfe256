"""Promises P5, P6, P8: pairing follows its phases, one guess per PIN, bounded cost for strangers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from punktfunk.attempts import MAX_SOURCES
from punktfunk.errors import PairingError, PairingRefusedError, TrustStoreError
from punktfunk.host.native.pairing import (
    COOL_DOWN_NS,
    MAX_SOURCE_COOL_DOWN_NS,
    SECOND_NS,
    SOURCE_COOL_DOWN_NS,
    NativePairing,
)
from punktfunk.host.pending import (
    MAX_DENIED,
    MAX_PENDING,
    MAX_PENDING_PER_SOURCE,
    PENDING_LIFE_NS,
    PendingClients,
)
from punktfunk.native.dialect import CloseCode
from punktfunk.native.messages import PairProof, PairRequest
from punktfunk.native.pairing import ClientCeremony, HostCeremony
from punktfunk.trust.store import TrustStore

HOST_FP = hashlib.sha256(b"host").digest()
CLIENT_FP = hashlib.sha256(b"client").digest()


@pytest.fixture
def pairing(tmp_path: Path) -> NativePairing:
    return NativePairing(PendingClients(TrustStore(tmp_path / "trust.json")), HOST_FP)


def _request(pin: str, fp: bytes = CLIENT_FP) -> tuple[ClientCeremony, PairRequest]:
    client = ClientCeremony(pin, fp, HOST_FP, "laptop")
    return client, client.request()


def test_the_right_pin_pairs_and_is_on_disk_before_the_client_hears_of_it(pairing: NativePairing) -> None:
    window = pairing.arm(0)
    client, request = _request(window.pin)
    attempt, challenge = pairing.begin(request, CLIENT_FP, "127.0.0.1", 0)
    result = pairing.finish(attempt, client.prove(challenge), SECOND_NS, 1_700_000_000)
    assert result.ok == 1
    (stored,) = TrustStore(pairing.trust.path).clients("native")
    assert (stored.fingerprint, stored.name) == (CLIENT_FP.hex(), "laptop")


def test_a_wrong_pin_is_noticed_by_the_client_and_spends_the_pin(pairing: NativePairing) -> None:
    window = pairing.arm(0)
    client, request = _request("0000" if window.pin != "0000" else "1111")
    _, challenge = pairing.begin(request, CLIENT_FP, "127.0.0.1", 0)
    with pytest.raises(PairingError, match="wrong PIN"):
        client.prove(challenge)
    assert pairing.window(0) is None
    assert pairing.trust.clients() == ()


def test_a_guessed_proof_stores_nothing(pairing: NativePairing) -> None:
    window = pairing.arm(0)
    _, request = _request(window.pin)
    attempt, _ = pairing.begin(request, CLIENT_FP, "127.0.0.1", 0)
    assert pairing.finish(attempt, PairProof(bytes(32)), SECOND_NS, 0).ok == 0
    assert pairing.trust.clients() == ()


def test_the_ceremony_fails_when_a_man_in_the_middle_relays_it() -> None:
    middle_fp = hashlib.sha256(b"middle").digest()
    client = ClientCeremony("4321", CLIENT_FP, middle_fp, "laptop")  # what the client sees
    host = HostCeremony("4321", middle_fp, HOST_FP)  # what the host sees
    with pytest.raises(PairingError, match="does not match"):
        client.prove(host.challenge(client.request()))


def test_ten_thousand_guesses_from_many_addresses_get_one_guess_per_window(pairing: NativePairing) -> None:
    window = pairing.arm(0, 600)
    wrong = "0000" if window.pin != "0000" else "1111"
    refused = 0
    for n in range(10_000):
        fp = hashlib.sha256(n.to_bytes(4, "big")).digest()
        try:
            pairing.begin(_cheap_request(wrong, fp), fp, f"10.0.{n // 250}.{n % 250}", n * 1_000_000)
        except PairingRefusedError as error:
            refused += error.close_code == CloseCode.PAIRING_NOT_ARMED
    assert pairing.counters["challenges"] == 1
    assert refused == 9_999


def _guess(pairing: NativePairing, source: str, now: int) -> CloseCode | None:
    """Arm and take the PIN for one request, without the computation; return why that was refused."""
    pairing.arm(now)
    try:
        pairing.admit(_cheap_request("0000", CLIENT_FP), CLIENT_FP, source, now)
    except PairingRefusedError as error:
        return CloseCode(error.close_code)
    return None


def test_guesses_against_windows_armed_again_and_again_cost_one_computation_in_two_seconds(
    pairing: NativePairing,
) -> None:
    refusals = [_guess(pairing, f"10.1.{n // 250}.{n % 250}", n * SECOND_NS // 1000) for n in range(10_000)]
    admitted = [n for n, refusal in enumerate(refusals) if refusal is None]
    assert admitted == [0, 2000, 4000, 6000, 8000]
    assert set(refusals) == {None, CloseCode.RATE_LIMITED}
    assert pairing.counters["challenges"] == 5
    assert pairing.counters["refused"] == 9995


def test_of_ten_thousand_addresses_that_guess_as_fast_as_they_may_the_last_ones_are_remembered(
    pairing: NativePairing,
) -> None:
    addresses = [f"10.1.{n // 250}.{n % 250}" for n in range(MAX_SOURCES + 200)]
    for n, address in enumerate(addresses):
        now = n * COOL_DOWN_NS
        assert _guess(pairing, address, now) is None
        assert len(pairing.failures) == min(n + 1, MAX_SOURCES)
    # The last one waits 10 s from its own guess on, its failure being remembered; the first one's is forgotten.
    assert _guess(pairing, addresses[-1], now + COOL_DOWN_NS) is CloseCode.RATE_LIMITED
    assert _guess(pairing, addresses[0], now + COOL_DOWN_NS) is None
    assert _guess(pairing, addresses[0], now + 2 * COOL_DOWN_NS) is CloseCode.RATE_LIMITED


def test_an_address_that_guesses_on_is_remembered_longer_than_quieter_ones(pairing: NativePairing) -> None:
    now = 0
    for n in range(3 * MAX_SOURCES):
        # Five minutes is the longest that it has to wait.
        if n % (MAX_SOURCES // 2) == 0:
            now += 300 * SECOND_NS
            guessed = now
            assert _guess(pairing, "192.0.2.1", guessed) is None
        now += COOL_DOWN_NS
        assert _guess(pairing, f"10.1.{n // 250}.{n % 250}", now) is None
    # 10, 20, 40, 80 and 160 s were its waits before; one that was forgotten in between begins at 10 s again.
    assert pairing.failures.wait_ns("192.0.2.1", guessed) == MAX_SOURCE_COOL_DOWN_NS


def test_an_ipv6_network_of_64_bits_is_one_address(pairing: NativePairing) -> None:
    assert _guess(pairing, "2001:db8::1", 0) is None
    assert _guess(pairing, "2001:db8::ffff", COOL_DOWN_NS) is CloseCode.RATE_LIMITED
    assert _guess(pairing, "2001:db8:0:1::1", COOL_DOWN_NS) is None
    for n in range(MAX_PENDING_PER_SOURCE + 1):
        waits = pairing.pending.ask("native", f"{n:064x}", "tv", f"2001:db8::{n:x}", 0)
        assert waits is (n < MAX_PENDING_PER_SOURCE)
    assert pairing.pending.ask("native", f"{99:064x}", "tv", "2001:db8:0:1::1", 0)
    assert pairing.pending.all(0)[0].source == "2001:db8::0", "a person is shown the address itself"


def test_the_cool_down_of_an_address_ends_on_time(pairing: NativePairing) -> None:
    assert _guess(pairing, "192.0.2.1", 0) is None
    assert _guess(pairing, "192.0.2.1", SOURCE_COOL_DOWN_NS - 1) is CloseCode.RATE_LIMITED
    assert _guess(pairing, "192.0.2.1", SOURCE_COOL_DOWN_NS) is None
    now = SOURCE_COOL_DOWN_NS
    assert _guess(pairing, "192.0.2.2", now + COOL_DOWN_NS - 1) is CloseCode.RATE_LIMITED
    assert _guess(pairing, "192.0.2.2", now + COOL_DOWN_NS) is None


def test_an_address_waits_five_minutes_at_most(pairing: NativePairing) -> None:
    now = 0
    for _ in range(12):
        assert _guess(pairing, "192.0.2.1", now) is None
        now += MAX_SOURCE_COOL_DOWN_NS
    assert _guess(pairing, "192.0.2.1", now - 1) is CloseCode.RATE_LIMITED
    assert _guess(pairing, "192.0.2.1", now) is None


@pytest.mark.parametrize(
    ("asked", "given"), [(-1, 15), (14, 15), (15, 15), (600, 600), (601, 600), (86_400, 600)]
)
def test_no_window_is_open_longer_than_ten_minutes(pairing: NativePairing, asked: int, given: int) -> None:
    window = pairing.arm(7, asked)
    assert window.until_ns == 7 + given * SECOND_NS
    assert pairing.window(6 + given * SECOND_NS) == window
    assert pairing.window(7 + given * SECOND_NS) is None


_CACHE: dict[str, PairRequest] = {}


def _cheap_request(pin: str, fp: bytes) -> PairRequest:
    """A valid first message; the point does not depend on the identities, so one will do for all."""
    if pin not in _CACHE:
        _CACHE[pin] = _request(pin, fp)[1]
    return _CACHE[pin]


def test_an_address_that_guessed_wrong_waits_longer_each_time(pairing: NativePairing) -> None:
    waits = []
    now = 0
    for _ in range(3):
        pairing.arm(now)
        pairing.begin(_cheap_request("0000", CLIENT_FP), CLIENT_FP, "192.0.2.1", now)
        start = now
        while True:
            now += SECOND_NS
            pairing.arm(now)
            try:
                pairing._admit(CLIENT_FP, "192.0.2.1", now)
            except PairingRefusedError:
                continue
            break
        waits.append((now - start) // SECOND_NS)
    assert waits == [10, 20, 40]


def test_a_window_bound_to_a_device_refuses_the_others_and_stays_armed(pairing: NativePairing) -> None:
    window = pairing.arm(0, bound_to=CLIENT_FP.hex().upper())
    stranger = hashlib.sha256(b"stranger").digest()
    with pytest.raises(PairingRefusedError) as refused:
        pairing.begin(_cheap_request("0000", stranger), stranger, "192.0.2.9", 0)
    assert refused.value.close_code == CloseCode.WINDOW_BOUND
    assert pairing.window(0) == window


def test_a_client_without_a_certificate_is_refused_and_spends_nothing(pairing: NativePairing) -> None:
    window = pairing.arm(0)
    with pytest.raises(PairingRefusedError) as refused:
        pairing.begin(_cheap_request("0000", CLIENT_FP), None, "192.0.2.9", 0)
    assert refused.value.close_code == CloseCode.NO_IDENTITY
    assert pairing.window(0) == window


def test_a_window_closes_on_time_and_a_proof_after_a_minute_is_late(pairing: NativePairing) -> None:
    window = pairing.arm(0, 15)
    assert pairing.window(15 * SECOND_NS - 1) == window
    client, request = _request(window.pin)
    attempt, challenge = pairing.begin(request, CLIENT_FP, "127.0.0.1", 1)
    assert pairing.finish(attempt, client.prove(challenge), 61 * SECOND_NS, 0).ok == 0
    assert pairing.counters["proofs_late"] == 1
    pairing.arm(0, 15)
    assert pairing.window(15 * SECOND_NS) is None


@pytest.mark.parametrize(
    "message", [b"", b"\x41" + b"\xff" * 32, b"\x42" + bytes(32), b"\x41" + bytes(32), bytes(64)]
)
def test_a_message_that_is_no_point_is_refused(pairing: NativePairing, message: bytes) -> None:
    pairing.arm(0)
    with pytest.raises(PairingError):
        pairing.begin(PairRequest("x", message), CLIENT_FP, "127.0.0.1", 0)
    assert pairing.trust.clients() == ()


def test_waiting_devices_are_scrubbed_and_expire(pairing: NativePairing) -> None:
    for n in range(100):
        pairing.pending.ask("native", f"{n:064x}", "\x1b[31mred\u202edeb\n" * 20, f"10.0.0.{n % 20}", 0)
    waiting = pairing.pending.all(0)
    assert all(p.name.isprintable() and len(p.name) <= 64 and "\u202e" not in p.name for p in waiting)
    assert pairing.pending.all(PENDING_LIFE_NS - 1) == waiting
    assert pairing.pending.all(PENDING_LIFE_NS) == ()


def test_waiting_devices_are_capped_in_all_and_of_each_address(pairing: NativePairing) -> None:
    took = [
        pairing.pending.ask("native", f"{n:064x}", "tv", "10.0.0.1", 0)
        for n in range(MAX_PENDING_PER_SOURCE + 1)
    ]
    assert took == [True] * MAX_PENDING_PER_SOURCE + [False]
    assert pairing.pending.overflow == 1
    others = [pairing.pending.ask("native", f"{n:064x}", "tv", f"10.0.1.{n}", 0) for n in range(100, 1100)]
    # All but the last of the first address give way, each to one of another.
    gave_way = MAX_PENDING_PER_SOURCE - 1
    assert others.count(True) == MAX_PENDING - 1
    assert len(pairing.pending.all(0)) == MAX_PENDING
    assert pairing.pending.overflow == 1 + gave_way + others.count(False)
    # Who waits already is no newcomer, and a place that is given back can be had again.
    assert pairing.pending.ask("native", f"{gave_way:064x}", "tv", "10.0.0.1", 0)
    assert pairing.pending.deny(f"{gave_way:064x}", 0)
    assert pairing.pending.ask("native", f"{2000:064x}", "tv", "10.0.2.1", 0)
    assert not pairing.pending.ask("native", f"{2001:064x}", "tv", "10.0.2.1", 0)


def test_the_devices_denied_last_are_remembered(pairing: NativePairing) -> None:
    devices = [f"{n:064x}" for n in range(MAX_DENIED + 50)]
    for n, device in enumerate(devices):
        assert pairing.pending.ask("native", device, "tv", f"10.0.{n // 250}.{n % 250}", n)
        assert pairing.pending.deny(device, n)
        assert pairing.pending.denied == min(n + 1, MAX_DENIED)
    now = len(devices)
    assert not pairing.pending.ask("native", devices[-1], "tv", "10.0.0.1", now)
    assert not pairing.pending.ask("native", devices[50], "tv", "10.0.0.1", now)
    assert pairing.pending.ask("native", devices[49], "tv", "10.0.0.1", now)


def test_a_denied_device_stays_away_for_ten_minutes(pairing: NativePairing) -> None:
    device = f"{1:064x}"
    pairing.pending.ask("native", device, "tv", "10.0.0.1", 0)
    assert pairing.pending.deny(device, 5)
    assert not pairing.pending.ask("native", device, "tv", "10.0.0.1", 4 + PENDING_LIFE_NS)
    assert pairing.pending.ask("native", device, "tv", "10.0.0.1", 5 + PENDING_LIFE_NS)


def test_an_approved_device_is_paired_and_a_denied_one_does_not_come_back_at_once(
    pairing: NativePairing,
) -> None:
    one, two = f"{1:064x}", f"{2:064x}"
    pairing.pending.ask("native", one, "one", "10.0.0.1", 0)
    pairing.pending.ask("native", two, "two", "10.0.0.2", 0)
    assert pairing.pending.approve(one.upper(), 1, 7)
    assert pairing.pending.deny(two, 1)
    assert not pairing.pending.ask("native", two, "two", "10.0.0.3", 2)
    assert [c.fingerprint for c in pairing.trust.clients()] == [one]
    assert pairing.pending.ask("native", two, "two", "10.0.0.3", PENDING_LIFE_NS + 1)


def test_a_store_that_cannot_be_written_is_a_failed_pairing(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    pairing = NativePairing(PendingClients(TrustStore(folder / "trust.json")), HOST_FP)
    folder.write_text("in the way")
    window = pairing.arm(0)
    client, request = _request(window.pin)
    attempt, challenge = pairing.begin(request, CLIENT_FP, "127.0.0.1", 0)
    with pytest.raises(TrustStoreError):
        pairing.finish(attempt, client.prove(challenge), SECOND_NS, 0)
    assert pairing.trust.clients() == ()
