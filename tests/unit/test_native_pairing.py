"""Pairing: what a person's orders and a device's messages leave behind, and every refusal by its words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import spake2
from spake2 import SPAKE2_B

from punktfunk.errors import PairingError, PairingRefusedError, TrustStoreError, UsageError
from punktfunk.host.native.pairing import Attempt, NativePairing, PairingWindow
from punktfunk.host.pending import PendingClients
from punktfunk.native.messages import PairChallenge, PairProof, PairRequest, PairResult
from punktfunk.native.pairing import ClientCeremony, HostCeremony
from punktfunk.trust.store import PairedClient, TrustStore

S = 1_000_000_000
CLIENT_FP, HOST_FP = b"\x11" * 32, b"\x22" * 32
"""Those of the recorded pairing."""
PHONE_FP = hashlib.sha256(b"phone").digest()
PHONE, TABLET = "ab" * 32, "cd" * 32
"""Fingerprints that look different in capitals."""

VECTOR = Path(__file__).parents[1] / "golden" / "vectors" / "spake2_vector.txt"


def recorded(label: str) -> bytes:
    [found] = re.findall(rf"^{re.escape(label)} ([0-9a-f]+)$", VECTOR.read_text(), re.MULTILINE)
    return bytes.fromhex(found)


class RecordedPairing(NativePairing):
    """Draws the PIN of the recorded pairing, counts its changes, and sits in front of a store that can be broken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            PendingClients(TrustStore(folder / "state" / "trust.json")), HOST_FP, draw=lambda _: 4321
        )
        self.folder = folder
        self.changes = 0
        self.on_change = self.pending.on_change = self._changed

    def _changed(self) -> None:
        self.changes += 1

    def break_store(self) -> None:
        (self.folder / "state").write_text("in the way")

    def mend_store(self) -> None:
        (self.folder / "state").unlink()

    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.counters.items() if count}


@pytest.fixture
def native(tmp_path: Path) -> RecordedPairing:
    return RecordedPairing(tmp_path)


def ask(
    native: NativePairing, fingerprint: bytes = CLIENT_FP, source: str = "192.0.2.7", now: int = 0
) -> tuple[Attempt, PairProof]:
    """Arm, ask with the right PIN, and return the attempt with the proof that would finish it."""
    pin = native.arm(now).pin
    client = ClientCeremony(pin, fingerprint, HOST_FP, "laptop")
    attempt, challenge = native.begin(client.request(), fingerprint, source, now)
    return attempt, client.prove(challenge)


def refusal(native: NativePairing, fingerprint: bytes | None, source: str, now: int) -> PairingRefusedError:
    with pytest.raises(PairingRefusedError) as refused:
        native.admit(PairRequest("laptop", b""), fingerprint, source, now)
    return refused.value


def told(call: Callable[..., object], *arguments: object) -> tuple[str, str, str]:
    """Return code, cause and hint of the ``PairingError`` that a call ends in."""
    with pytest.raises(PairingError) as error:
        call(*arguments)
    assert type(error.value) is PairingError
    return error.value.code, error.value.cause, error.value.hint


# --- the window -------------------------------------------------------------------------------------------


def test_a_fresh_desk_is_empty(tmp_path: Path) -> None:
    native = NativePairing(PendingClients(TrustStore(tmp_path / "trust.json")), HOST_FP)
    assert native.window(0) is None
    assert native.pending.all(0) == ()
    assert native.next_expiry_ns(0) is None
    assert set(native.counters.values()) == {0}
    # Nobody has to listen.
    native.disarm()
    assert native.window(0) is None


@pytest.mark.parametrize(
    ("digits", "drawn", "pin"),
    [
        (4, 0, "0000"),
        (4, 42, "0042"),
        (4, 9_999, "9999"),
        (6, 0, "000000"),
        (6, 42, "000042"),
        (6, 999_999, "999999"),
    ],
)
def test_a_pin_is_one_of_all_numbers_of_its_digits(tmp_path: Path, digits: int, drawn: int, pin: str) -> None:
    asked: list[int] = []

    def draw(below: int) -> int:
        asked.append(below)
        return drawn

    native = NativePairing(
        PendingClients(TrustStore(tmp_path / "trust.json")), HOST_FP, pin_digits=digits, draw=draw
    )
    assert native.arm(0).pin == pin
    assert asked == [{4: 10_000, 6: 1_000_000}[digits]]


def test_a_pin_has_four_digits_until_six_are_asked_for(native: RecordedPairing) -> None:
    assert native.arm(0).pin == "4321"
    native.use_digits(6)
    assert native.arm(0).pin == "004321"
    native.use_digits(4)
    assert native.arm(0).pin == "4321"


@pytest.mark.parametrize("digits", [-4, 0, 1, 3, 5, 7, 8, 64])
def test_a_pin_of_other_than_four_or_six_digits_is_not_offered(
    native: RecordedPairing, tmp_path: Path, digits: int
) -> None:
    native.use_digits(6)
    for order in (
        lambda: native.use_digits(digits),
        lambda: NativePairing(
            PendingClients(TrustStore(tmp_path / "other.json")), HOST_FP, pin_digits=digits
        ),
    ):
        with pytest.raises(UsageError) as error:
            order()
        assert error.value.cause == f"a PIN of {digits} digits is not offered"
        assert error.value.hint == "choose 4 (every client) or 6"
    assert native.arm(0).pin == "004321", "the number that was chosen before stays"


def test_a_window_is_two_minutes_long_for_any_device_unless_ordered_otherwise(
    native: RecordedPairing,
) -> None:
    assert native.arm(7) == PairingWindow("4321", 7 + 120 * S, None)
    assert native.arm(7, 14) == PairingWindow("4321", 7 + 15 * S, None)
    assert native.arm(7, 601, bound_to=PHONE.upper()) == PairingWindow("4321", 7 + 600 * S, PHONE)


def test_a_window_that_runs_out_does_not_come_back(native: RecordedPairing) -> None:
    native.arm(0, 15)
    assert native.window(15 * S) is None
    assert native.window(0) is None


def test_the_device_that_a_window_is_bound_to_gets_in(native: RecordedPairing) -> None:
    native.arm(0, bound_to=PHONE_FP.hex().upper())
    attempt = native.admit(PairRequest("phone", b""), PHONE_FP, "192.0.2.7", 0)
    assert (attempt.fingerprint, attempt.name, attempt.source) == (PHONE_FP.hex(), "phone", "192.0.2.7")


def test_a_window_bound_to_an_empty_name_lets_nobody_in(native: RecordedPairing) -> None:
    native.arm(0, bound_to="")
    assert refusal(native, CLIENT_FP, "192.0.2.7", 0).close_code == 0x61


def test_a_disarmed_desk_admits_nobody_but_finishes_what_was_challenged(native: RecordedPairing) -> None:
    attempt, proof = ask(native)
    native.arm(1)
    native.disarm()
    assert native.window(1) is None
    assert refusal(native, PHONE_FP, "192.0.2.8", 60 * S - 1).close_code == 0x60
    assert native.finish(attempt, proof, 60 * S - 1, 9) == PairResult(1)


def test_each_refusal_has_its_close_code_and_words_and_spends_nothing(native: RecordedPairing) -> None:
    def words(error: PairingRefusedError) -> tuple[str, str, int]:
        assert type(error.close_code) is int, "it goes into a frame as a plain number"
        return error.cause, error.hint, error.close_code

    unarmed = refusal(native, CLIENT_FP, "192.0.2.7", 0)
    assert words(unarmed) == ("the host is not armed for pairing", "", 0x60)
    window = native.arm(0)
    nobody = refusal(native, None, "192.0.2.7", 0)
    assert words(nobody) == ("the host wants a client certificate and got none", "", 0x63)
    assert native.window(0) == window
    window = native.arm(0, bound_to=PHONE)
    other = refusal(native, CLIENT_FP, "192.0.2.7", 0)
    assert words(other) == ("the pairing window belongs to another device", "", 0x61)
    assert native.window(0) == window
    native.arm(0)
    native.admit(PairRequest("laptop", b""), CLIENT_FP, "192.0.2.7", 0)
    window = native.arm(0)
    soon = refusal(native, PHONE_FP, "192.0.2.8", 2 * S - 1)
    assert words(soon) == ("too many attempts, the host is cooling down", "", 0x62)
    again = refusal(native, CLIENT_FP, "192.0.2.7", 10 * S - 1)
    assert words(again) == ("too many attempts, the host is cooling down", "", 0x62)
    assert native.window(0) == window
    assert native.counted() == {"refused": 5, "challenges": 1}


def test_an_address_waits_ten_seconds_and_twice_as_long_each_time_up_to_five_minutes(
    native: RecordedPairing,
) -> None:
    now = 0
    for wait in (10, 20, 40, 80, 160, 300, 300):
        native.arm(now)
        native.admit(PairRequest("laptop", b""), CLIENT_FP, "192.0.2.7", now)
        native.arm(now + wait * S - 1)
        assert refusal(native, CLIENT_FP, "192.0.2.7", now + wait * S - 1).close_code == 0x62
        now += wait * S


@pytest.mark.parametrize(("others", "wait"), [(255, 20), (256, 10)])
def test_the_failure_of_an_address_is_remembered_until_256_others_have_failed(
    native: RecordedPairing, others: int, wait: int
) -> None:
    def fail(source: str, now: int) -> None:
        native.arm(now)
        native.admit(PairRequest("laptop", b""), CLIENT_FP, source, now)

    fail("192.0.2.7", 0)
    for n in range(1, others + 1):
        fail(f"10.0.{n // 250}.{n % 250}", 2 * n * S)
    again = 2 * (others + 1) * S
    fail("192.0.2.7", again)
    native.arm(again)
    assert refusal(native, CLIENT_FP, "192.0.2.7", again + wait * S - 1).close_code == 0x62
    fail("192.0.2.7", again + wait * S)


# --- the ceremony at the host -------------------------------------------------------------------------------


def test_the_desk_speaks_the_recorded_pairing(
    native: RecordedPairing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        spake2, "SPAKE2_B", lambda *a, **k: SPAKE2_B(*a, **k, entropy_f=lambda count: b"\x02" * count)
    )
    native.arm(0)
    request = PairRequest("  lap\x1b[2Jtop ", recorded("msgA"))
    attempt, challenge = native.begin(request, CLIENT_FP, "192.0.2.7", 0)
    assert challenge == PairChallenge(recorded("msgB"), recorded("punktfunk-pair-host"))
    assert native.finish(
        attempt, PairProof(recorded("punktfunk-pair-client")), 1, 1_700_000_009
    ) == PairResult(1)
    stored = PairedClient("11" * 32, "lap[2Jtop", "native", 1_700_000_009)
    assert native.trust.clients() == TrustStore(native.trust.path).clients() == (stored,)


def test_a_proof_may_take_a_minute_from_the_request_and_no_longer(native: RecordedPairing) -> None:
    for late, start in enumerate((5, 10 * S, 30 * S), 1):
        attempt, proof = ask(native, source=f"192.0.2.{late}", now=start)
        assert native.finish(attempt, proof, start + 60 * S, 9) == PairResult(0)
        assert native.counters["proofs_late"] == late
    assert native.trust.clients() == ()
    assert native.finish(attempt, proof, start + 60 * S - 1, 9) == PairResult(1)
    assert native.counted() == {"challenges": 3, "proofs_late": 3, "paired": 1}


def test_a_wrong_proof_is_counted_and_leaves_everything_as_it_was(native: RecordedPairing) -> None:
    native.pending.ask("native", CLIENT_FP.hex(), "laptop", "192.0.2.7", 0)
    for wrong in (1, 2, 3):
        now = (wrong - 1) * 40 * S
        attempt, proof = ask(native, now=now)
        native.changes = 0
        assert native.finish(
            attempt, PairProof(proof.mac[:-1] + bytes([proof.mac[-1] ^ 1])), now, 9
        ) == PairResult(0)
        assert native.counters["wrong_pin"] == wrong
        assert native.changes == 0
    assert native.trust.clients() == ()
    assert [device.fingerprint for device in native.pending.all(0)] == [CLIENT_FP.hex()]
    assert native.counted() == {"challenges": 3, "wrong_pin": 3}
    # The address goes on waiting: for 40 s, after 10 and 20.
    native.arm(120 * S - 1)
    assert refusal(native, CLIENT_FP, "192.0.2.7", 120 * S - 1).close_code == 0x62


def test_a_proof_is_judged_once(native: RecordedPairing) -> None:
    attempt, proof = ask(native)
    assert native.finish(attempt, PairProof(bytes(32)), 0, 9) == PairResult(0)
    with pytest.raises(PairingError, match="a proof came before the challenge"):
        native.finish(attempt, proof, 0, 9)
    assert native.trust.clients() == ()


def test_a_device_that_pairs_by_pin_waits_no_more_and_its_address_neither(native: RecordedPairing) -> None:
    native.pending.ask("native", PHONE, "phone", "192.0.2.7", 0)
    native.pending.ask("native", CLIENT_FP.hex(), "laptop", "192.0.2.7", 0)
    attempt, proof = ask(native)
    native.changes = 0
    assert native.finish(attempt, proof, 1, 9) == PairResult(1)
    assert native.changes == 1
    assert [device.fingerprint for device in native.pending.all(1)] == [PHONE]
    assert native.counted() == {"challenges": 1, "paired": 1}
    # Two seconds are for everybody; a failure now is the first one again.
    native.arm(2 * S)
    native.admit(PairRequest("laptop", b""), CLIENT_FP, "192.0.2.7", 2 * S)
    native.arm(12 * S)
    native.admit(PairRequest("laptop", b""), CLIENT_FP, "192.0.2.7", 12 * S)


def test_pairing_from_one_address_does_not_free_another(native: RecordedPairing) -> None:
    native.arm(0)
    native.admit(PairRequest("phone", b""), PHONE_FP, "192.0.2.8", 0)
    attempt, proof = ask(native, now=2 * S)
    assert native.finish(attempt, proof, 3 * S, 9) == PairResult(1)
    native.arm(4 * S)
    assert refusal(native, PHONE_FP, "192.0.2.8", 10 * S - 1).close_code == 0x62


def test_two_devices_of_one_network_may_both_be_between_challenge_and_proof(native: RecordedPairing) -> None:
    first = ask(native, CLIENT_FP, "2001:db8::1", 0)
    second = ask(native, PHONE_FP, "2001:db8::2", 10 * S)
    assert native.finish(*first, 11 * S, 5) == PairResult(1)
    assert native.finish(*second, 12 * S, 6) == PairResult(1)
    assert native.trust.clients() == (
        PairedClient(CLIENT_FP.hex(), "laptop", "native", 5),
        PairedClient(PHONE_FP.hex(), "laptop", "native", 6),
    )
    assert native.counted() == {"challenges": 2, "paired": 2}
    native.arm(12 * S)
    native.admit(PairRequest("phone", b""), PHONE_FP, "2001:db8::3", 12 * S)


def test_a_pairing_that_cannot_be_stored_is_none_and_the_reason_is_raised(native: RecordedPairing) -> None:
    native.pending.ask("native", CLIENT_FP.hex(), "laptop", "192.0.2.7", 0)
    native.break_store()
    for failure in (1, 2, 3):
        now = (failure - 1) * 40 * S
        attempt, proof = ask(native, now=now)
        native.changes = 0
        with pytest.raises(TrustStoreError, match=re.escape(f"cannot write {native.trust.path}")):
            native.finish(attempt, proof, now, 9)
        assert native.counters["store_failures"] == failure
        assert native.changes == 0
        assert native.trust.clients() == ()
    assert [device.fingerprint for device in native.pending.all(0)] == [CLIENT_FP.hex()]
    native.mend_store()
    attempt, proof = ask(native, now=120 * S)
    assert native.finish(attempt, proof, 120 * S, 9) == PairResult(1)
    assert native.counted() == {"challenges": 4, "store_failures": 3, "paired": 1}


# --- what a person is shown --------------------------------------------------------------------------------


def test_whoever_looks_at_the_desk_is_told_of_each_change(native: RecordedPairing) -> None:
    changes = []
    for order in (
        lambda: native.arm(0),
        lambda: native.arm(0),
        native.disarm,
        lambda: native.arm(0),
        lambda: native.admit(PairRequest("laptop", b""), CLIENT_FP, "192.0.2.7", 0),
    ):
        order()
        changes.append(native.changes)
    assert changes == [1, 2, 3, 4, 5]


def test_the_next_expiry_is_the_earliest_of_the_window_and_all_that_wait(native: RecordedPairing) -> None:
    native.arm(7, 15)
    assert native.next_expiry_ns(7) == 7 + 15 * S
    native.pending.ask("native", PHONE, "phone", "192.0.2.7", 8)
    native.pending.ask("native", TABLET, "tablet", "192.0.2.8", 9)
    assert native.next_expiry_ns(9) == 7 + 15 * S
    assert native.next_expiry_ns(7 + 15 * S) == 8 + 600 * S
    native.arm(10 * S, 600)
    assert native.next_expiry_ns(10 * S) == 8 + 600 * S
    assert native.next_expiry_ns(8 + 600 * S) == 9 + 600 * S
    assert native.next_expiry_ns(9 + 600 * S) == 610 * S
    assert native.next_expiry_ns(610 * S) is None


# --- the two sides of the ceremony ------------------------------------------------------------------------

SIDES: list[Callable[[str, bytes, bytes], object]] = [
    HostCeremony,
    lambda pin, client_fp, host_fp: ClientCeremony(pin, client_fp, host_fp, "laptop"),
]


@pytest.mark.parametrize("side", SIDES, ids=["host", "client"])
@pytest.mark.parametrize("pin", ["0", "4321", "1234567890123456"])
def test_a_pin_of_one_to_sixteen_digits_will_do(
    side: Callable[[str, bytes, bytes], object], pin: str
) -> None:
    side(pin, CLIENT_FP, HOST_FP)


@pytest.mark.parametrize("side", SIDES, ids=["host", "client"])
@pytest.mark.parametrize(
    "pin", ["", "12345678901234567", "43 1", "432a", "+432", "\u0664\u0663\u0662\u0661", "¹"]
)
def test_no_other_pin_will_do(side: Callable[[str, bytes, bytes], object], pin: str) -> None:
    cause = "a PIN is made of 1 to 16 digits"
    assert told(lambda: side(pin, CLIENT_FP, HOST_FP)) == ("PF440", cause, "")


@pytest.mark.parametrize("side", SIDES, ids=["host", "client"])
@pytest.mark.parametrize(
    ("client_fp", "host_fp"),
    [
        (CLIENT_FP[1:], HOST_FP),
        (CLIENT_FP, HOST_FP[1:]),
        (CLIENT_FP + b"x", HOST_FP),
        (CLIENT_FP, HOST_FP + b"x"),
    ],
)
def test_a_fingerprint_of_another_length_is_refused_whose_ever_it_is(
    side: Callable[[str, bytes, bytes], object], client_fp: bytes, host_fp: bytes
) -> None:
    cause = "a fingerprint is 32 bytes, the SHA-256 of a certificate's DER"
    assert told(lambda: side("4321", client_fp, host_fp)) == ("PF440", cause, "")


@pytest.mark.parametrize("size", [0, 32, 34])
def test_a_spake2_message_of_another_length_is_refused_by_either_side(size: int) -> None:
    message = (b"A" + recorded("msgA")[1:] + b"x")[:size]
    host = HostCeremony("4321", CLIENT_FP, HOST_FP)
    assert told(lambda: host.challenge(PairRequest("laptop", message))) == (
        "PF440",
        "the client's SPAKE2 message is not 33 bytes",
        "",
    )
    client = ClientCeremony("4321", CLIENT_FP, HOST_FP, "laptop")
    client.request()
    assert told(lambda: client.prove(PairChallenge(message, bytes(32)))) == (
        "PF440",
        "the host's SPAKE2 message is not 33 bytes",
        "",
    )


def test_what_is_no_point_or_of_the_own_side_is_refused_by_either_side() -> None:
    cause = "the peer's SPAKE2 message is not a valid point"
    for message in (b"A" + b"\xff" * 32, b"A" + bytes(32), recorded("msgB")):
        host = HostCeremony("4321", CLIENT_FP, HOST_FP)
        assert told(host.challenge, PairRequest("laptop", message)) == ("PF440", cause, "")
        # Nothing that failed may be proven afterwards.
        assert told(host.verify, PairProof(bytes(32)))[1] == "a proof came before the challenge"
    for message in (b"B" + b"\xff" * 32, b"B" + bytes(32), recorded("msgA")):
        client = ClientCeremony("4321", CLIENT_FP, HOST_FP, "laptop")
        client.request()
        challenge = PairChallenge(message, bytes(32))
        assert told(client.prove, challenge) == ("PF440", cause, "")


def test_a_proof_needs_a_challenge_of_its_own() -> None:
    early = ("PF440", "a proof came before the challenge", "")
    client = ClientCeremony("4321", CLIENT_FP, HOST_FP, "laptop")
    host = HostCeremony("4321", CLIENT_FP, HOST_FP)
    assert told(lambda: host.verify(PairProof(bytes(32)))) == early
    proof = client.prove(host.challenge(client.request()))
    assert host.verify(proof) == PairResult(1)
    assert told(lambda: host.verify(proof)) == early


@pytest.mark.parametrize("place", [0, 31])
def test_a_client_proves_nothing_to_a_host_whose_proof_is_wrong_in_one_bit(place: int) -> None:
    client = ClientCeremony("4321", CLIENT_FP, HOST_FP, "laptop")
    challenge = HostCeremony("4321", CLIENT_FP, HOST_FP).challenge(client.request())
    mac = bytearray(challenge.mac)
    mac[place] ^= 0x80
    assert told(lambda: client.prove(PairChallenge(challenge.spake, bytes(mac)))) == (
        "PF440",
        "the host's proof does not match: wrong PIN, or somebody is between the two machines",
        "arm pairing again on the host and type the new PIN",
    )


def test_the_request_carries_the_name_and_a_fresh_message() -> None:
    one, two = (ClientCeremony("4321", CLIENT_FP, HOST_FP, "laptop").request() for _ in range(2))
    assert one.name == "laptop"
    assert len(one.spake) == 33
    assert one.spake[:1] == b"A"
    assert one.spake != two.spake
