"""Who is let in: by certificate first, and under open trust by where the *peer* comes from (promise P5)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.errors import PairingError, PairingRefusedError
from punktfunk.host.native import admission as admission_module
from punktfunk.host.native.admission import HostAdmission, OpenAttempt
from punktfunk.host.native.pairing import COOL_DOWN_NS, SECOND_NS, SOURCE_COOL_DOWN_NS, Attempt, NativePairing
from punktfunk.host.pending import PendingClients
from punktfunk.log_ring import LogRing
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.messages import PairChallenge, PairProof, PairRequest, PairResult
from punktfunk.native.pairing import ClientCeremony
from punktfunk.native.quic import Peer
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.trust.store import PairedClient, TrustStore

PAIRED, NAMED, STRANGER = "1" * 64, "2" * 64, "3" * 64
PUBLIC = ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "100.64.0.1", "172.32.0.1"]
PRIVATE = [
    "192.168.1.5",
    "10.0.0.1",
    "172.31.255.255",
    "169.254.3.4",
    "fe80::1%eth0",
    "fd00::1",
    "::ffff:10.0.0.1",
]
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]


@pytest.fixture
def pairing(tmp_path: Path) -> NativePairing:
    store = TrustStore(tmp_path / "trust.json")
    store.add(PairedClient(PAIRED, "paired", "native", 10))
    return NativePairing(PendingClients(store), bytes(32))


def peer(address: str, fingerprint: str | None) -> Peer:
    return Peer((address, 50_000), Dialect.PKF1, fingerprint)


@pytest.mark.parametrize("trust", OpenTrust)
@pytest.mark.parametrize("address", [*LOOPBACK, *PRIVATE, *PUBLIC])
def test_a_known_certificate_is_let_in_from_anywhere(
    trust: OpenTrust, address: str, pairing: NativePairing
) -> None:
    admission = HostAdmission([NAMED], trust, pairing)
    assert admission.refusal(peer(address, PAIRED)) is None
    assert admission.refusal(peer(address, NAMED)) is None
    assert (
        admission.known(PAIRED),
        admission.known(NAMED),
        admission.known(STRANGER),
        admission.known(None),
    ) == (
        True,
        True,
        False,
        False,
    )


@pytest.mark.parametrize("fingerprint", [STRANGER, None])
@pytest.mark.parametrize(
    ("trust", "let_in", "refused"),
    [(OpenTrust.LOOPBACK, LOOPBACK, [*PRIVATE, *PUBLIC]), (OpenTrust.PRIVATE, [*LOOPBACK, *PRIVATE], PUBLIC)],
)
def test_open_trust_looks_at_the_address_of_the_peer_and_not_at_the_one_that_is_bound(
    trust: OpenTrust, let_in: list[str], refused: list[str], fingerprint: str | None, pairing: NativePairing
) -> None:
    admission = HostAdmission([], trust, pairing)
    assert {address: admission.refusal(peer(address, fingerprint)) for address in let_in} == dict.fromkeys(
        let_in
    )
    answers = {address: admission.refusal(peer(address, fingerprint)) for address in refused}
    assert answers == dict.fromkeys(refused, CloseCode.DENIED)


@pytest.mark.parametrize("address", [*LOOPBACK, *PRIVATE, *PUBLIC])
def test_without_open_trust_a_stranger_is_denied_and_one_without_a_certificate_is_told_so(
    address: str, pairing: NativePairing
) -> None:
    admission = HostAdmission([], OpenTrust.NONE, pairing)
    assert admission.refusal(peer(address, STRANGER)) is CloseCode.DENIED
    assert admission.refusal(peer(address, None)) is CloseCode.NO_IDENTITY


def test_a_client_that_asks_to_pair_is_remembered_and_one_without_a_certificate_cannot_be(
    pairing: NativePairing,
) -> None:
    admission = HostAdmission([], OpenTrust.NONE, pairing)
    admission.request_pairing(peer("192.0.2.1", None), "nobody")
    assert pairing.pending.all(monotonic_ns()) == ()
    admission.request_pairing(peer("192.0.2.1", STRANGER), "\x1b[2Jliving\u202e room")
    [device] = pairing.pending.all(monotonic_ns())
    assert (device.fingerprint, device.name, device.source) == (STRANGER, "[2Jliving room", "192.0.2.1")


def test_without_pairing_nobody_is_remembered_and_only_named_certificates_are_known() -> None:
    admission = HostAdmission([NAMED], OpenTrust.NONE, None)
    admission.request_pairing(peer("192.0.2.1", STRANGER), "x")
    assert admission.known(NAMED)
    assert not admission.known(PAIRED)


HOST_FP = hashlib.sha256(b"host").digest()
CLIENT_FP = hashlib.sha256(b"client").digest()
WRONG_PROOF = PairProof(bytes(32))


@dataclass
class Times:
    """Both clocks of admission, moved by hand."""

    monotonic_ns: int = 5000 * SECOND_NS
    realtime_ns: int = 1_700_000_000 * SECOND_NS + 999_999_999


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    moved = Times()
    monkeypatch.setattr(admission_module, "monotonic_ns", lambda: moved.monotonic_ns)
    monkeypatch.setattr(admission_module, "realtime_ns", lambda: moved.realtime_ns)
    return moved


@pytest.fixture
def host(tmp_path: Path, times: Times) -> HostAdmission:
    pairing = NativePairing(PendingClients(TrustStore(tmp_path / "trust.json")), HOST_FP)
    return HostAdmission([], OpenTrust.NONE, pairing)


def armed(host: HostAdmission, times: Times) -> str:
    assert host.pairing is not None
    return host.pairing.arm(times.monotonic_ns).pin


def ceremony(pin: str) -> tuple[ClientCeremony, PairRequest]:
    client = ClientCeremony(pin, CLIENT_FP, HOST_FP, "laptop\x1b[31m")
    return client, client.request()


def begun(
    host: HostAdmission,
    request: PairRequest,
    address: str = "192.0.2.7",
    fingerprint: str | None = CLIENT_FP.hex(),
) -> tuple[OpenAttempt, PairChallenge]:
    return asyncio.run(host.begin_pairing(peer(address, fingerprint), request))


def refusal_to_begin(host: HostAdmission, address: str, fingerprint: str | None) -> tuple[str, int] | None:
    try:
        begun(host, ceremony("4321")[1], address, fingerprint)
    except PairingRefusedError as refused:
        return refused.cause, refused.close_code
    return None


def finished(host: HostAdmission, times: Times, *, knows_the_pin: bool) -> PairResult:
    """Go through one ceremony, long enough after the last one."""
    times.monotonic_ns += 3600 * SECOND_NS
    client, request = ceremony(armed(host, times))
    attempt, challenge = begun(host, request)
    return attempt.finish(client.prove(challenge) if knows_the_pin else WRONG_PROOF)


def lines(ring: LogRing) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [(entry.concern, entry.level, entry.event, entry.fields) for entry in ring.entries()]


FAILED = ("host.admission", "warning", "pairing failed", {"fingerprint": CLIENT_FP.hex()})
SUCCEEDED = (
    "host.admission",
    "info",
    "paired",
    {"fingerprint": CLIENT_FP.hex(), "name": "laptop[31m"},
)


def test_a_client_that_knows_the_pin_is_on_disk_with_the_date_and_the_operator_reads_who_it_is(
    host: HostAdmission, times: Times, ring: LogRing
) -> None:
    assert host.pairing is not None
    assert finished(host, times, knows_the_pin=True) == PairResult(1)
    [stored] = TrustStore(host.pairing.trust.path).clients()
    assert stored == PairedClient(CLIENT_FP.hex(), "laptop[31m", "native", 1_700_000_000)
    assert isinstance(stored.paired_unix_s, int)
    assert '"paired_unix_s": 1700000000,' in host.pairing.trust.path.read_text(), "whole seconds"
    assert host.refusal(peer("192.0.2.7", CLIENT_FP.hex())) is None
    assert lines(ring) == [SUCCEEDED]


def test_a_client_that_guesses_is_not_paired_and_the_operator_reads_who_failed(
    host: HostAdmission, times: Times, ring: LogRing
) -> None:
    assert host.pairing is not None
    assert finished(host, times, knows_the_pin=False) == PairResult(0)
    assert host.pairing.trust.clients() == ()
    assert host.pairing.counters["wrong_pin"] == 1
    assert host.refusal(peer("192.0.2.7", CLIENT_FP.hex())) is CloseCode.DENIED
    assert lines(ring) == [FAILED]


@pytest.mark.parametrize(("wait_ns", "ok"), [(60 * SECOND_NS - 1, 1), (60 * SECOND_NS, 0)])
def test_a_right_proof_counts_for_a_minute_from_the_request_on(
    host: HostAdmission, times: Times, wait_ns: int, ok: int
) -> None:
    client, request = ceremony(armed(host, times))
    attempt, challenge = begun(host, request)
    times.monotonic_ns += wait_ns
    assert attempt.finish(client.prove(challenge)).ok == ok
    assert host.known(CLIENT_FP.hex()) is bool(ok)


def test_a_store_that_fails_is_told_the_operator_each_time_it_fails_and_no_more(
    host: HostAdmission, times: Times, ring: LogRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.pairing is not None

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    unstored = (
        "host.admission",
        "error",
        "pairing not stored",
        {
            "cause": f"cannot write {host.pairing.trust.path}: No space left on device",
            "hint": "free some space or fix the mode of its folder; nothing was changed",
        },
    )
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        for _ in range(2):
            assert finished(host, times, knows_the_pin=True) == PairResult(0)
    assert lines(ring) == [unstored, FAILED, unstored, FAILED]
    assert not host.known(CLIENT_FP.hex())
    # A wrong PIN afterwards, and then a right one, are told as what they are.
    assert finished(host, times, knows_the_pin=False) == PairResult(0)
    assert finished(host, times, knows_the_pin=True) == PairResult(1)
    assert lines(ring)[4:] == [FAILED, SUCCEEDED]


def test_without_a_pairing_desk_a_request_is_answered_as_by_one_that_is_not_armed(
    host: HostAdmission,
) -> None:
    not_armed = ("the host is not armed for pairing", 0x60)
    without = HostAdmission([], OpenTrust.NONE, None)
    assert refusal_to_begin(without, "192.0.2.7", CLIENT_FP.hex()) == not_armed
    assert refusal_to_begin(host, "192.0.2.7", CLIENT_FP.hex()) == not_armed


def test_a_request_without_a_certificate_is_refused_and_leaves_the_pin_to_others(
    host: HostAdmission, times: Times
) -> None:
    armed(host, times)
    no_identity = ("the host wants a client certificate and got none", 0x63)
    assert refusal_to_begin(host, "192.0.2.7", None) == no_identity
    assert refusal_to_begin(host, "192.0.2.7", CLIENT_FP.hex()) is None


def test_an_address_that_has_tried_cools_down_whatever_its_certificate_and_another_does_not(
    host: HostAdmission, times: Times
) -> None:
    cooling_down = ("too many attempts, the host is cooling down", 0x62)
    armed(host, times)
    assert refusal_to_begin(host, "192.0.2.7", CLIENT_FP.hex()) is None
    times.monotonic_ns += COOL_DOWN_NS
    armed(host, times)
    assert refusal_to_begin(host, "192.0.2.7", STRANGER) == cooling_down
    assert refusal_to_begin(host, "192.0.2.8", CLIENT_FP.hex()) is None
    times.monotonic_ns += SOURCE_COOL_DOWN_NS - COOL_DOWN_NS
    armed(host, times)
    assert refusal_to_begin(host, "192.0.2.7", STRANGER) is None


def test_a_message_that_is_no_point_spends_the_pin(host: HostAdmission, times: Times) -> None:
    armed(host, times)
    with pytest.raises(PairingError, match="33 bytes"):
        begun(host, PairRequest("x", bytes(32)))
    assert host.pairing is not None
    assert host.pairing.window(times.monotonic_ns) is None


def test_the_pin_is_spent_at_once_and_only_the_computation_leaves_the_loops_thread(
    host: HostAdmission, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.pairing is not None
    threads: dict[str, int] = {}
    admit, challenge = host.pairing.admit, Attempt.challenge

    def seen_admit(*arguments: Any) -> Attempt:
        threads["admit"] = threading.get_ident()
        return admit(*arguments)

    def seen_challenge(attempt: Attempt, request: PairRequest) -> PairChallenge:
        threads["challenge"] = threading.get_ident()
        return challenge(attempt, request)

    monkeypatch.setattr(host.pairing, "admit", seen_admit)
    monkeypatch.setattr(Attempt, "challenge", seen_challenge)
    begun(host, ceremony(armed(host, times))[1])
    assert threads["admit"] == threading.get_ident() != threads["challenge"]
