"""Devices that await approval: caps, places, what an answer leaves behind, and one list for all wires."""

from __future__ import annotations

from pathlib import Path

import pytest

from punktfunk.errors import TrustStoreError
from punktfunk.host.pending import Pending, PendingClients
from punktfunk.trust.store import PairedClient, TrustStore

S = 1_000_000_000
PHONE, TABLET = "ab" * 32, "cd" * 32
"""Fingerprints that look different in capitals."""


class Waiting(PendingClients):
    """Counts its changes, and sits in front of a store that can be broken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(TrustStore(folder / "state" / "trust.json"))
        self.folder = folder
        self.changes = 0
        self.on_change = self._changed

    def _changed(self) -> None:
        self.changes += 1

    def break_store(self) -> None:
        (self.folder / "state").write_text("in the way")

    def mend_store(self) -> None:
        (self.folder / "state").unlink()


@pytest.fixture
def pending(tmp_path: Path) -> Waiting:
    return Waiting(tmp_path)


def test_a_device_that_asks_again_keeps_its_place_and_its_time(pending: Waiting) -> None:
    assert pending.ask("native", PHONE, "phone\n", "192.0.2.7", 1)
    assert pending.ask("native", TABLET, "", "192.0.2.8", 2)
    assert pending.ask("native", PHONE, "other", "192.0.2.9", 3)
    assert pending.changes == 2
    assert pending.all(3) == (
        Pending("native", PHONE, "phone", "192.0.2.7", 1),
        Pending("native", TABLET, "unnamed device", "192.0.2.8", 2),
    )


def test_thirty_two_devices_wait_and_four_of_an_address(pending: Waiting) -> None:
    took = [pending.ask("native", f"{n:064x}", "tv", f"192.0.2.{n // 5}", 0) for n in range(40)]
    assert took == [n % 5 < 4 for n in range(40)]
    assert len(pending.all(0)) == 32
    assert pending.changes == 32
    assert pending.overflow == 8


def test_a_device_is_seen_though_eight_addresses_have_taken_all_places(pending: Waiting) -> None:
    gone: list[int] = []
    for n in range(32):
        assert pending.ask(
            "native", f"{n:064x}", "x", f"192.0.2.{n // 4}", 0, on_gone=lambda n=n: gone.append(n)
        )
    assert pending.ask("native", PHONE, "phone", "192.0.2.100", 1)
    assert gone == [0], "the oldest of who holds most"
    for n in range(50):
        pending.ask("native", f"{n + 32:064x}", "x", f"192.0.2.{n % 8}", 2)
        pending.ask("native", f"{n + 96:064x}", "x", f"192.0.3.{n}", 2)
    waiting = pending.all(2)
    assert len(waiting) == 32
    assert PHONE in {device.fingerprint for device in waiting}, (
        "nobody has more than it, so nothing takes its place"
    )


def test_two_hundred_and_fifty_six_devices_stay_denied(pending: Waiting) -> None:
    for n in range(257):
        assert pending.ask("native", f"{n:064x}", "tv", "192.0.2.7", 0)
        assert pending.deny(f"{n:064x}", 0)
    assert not pending.ask("native", f"{1:064x}", "tv", "192.0.2.7", 0)
    assert pending.ask("native", f"{0:064x}", "tv", "192.0.2.7", 0)


def test_an_approved_device_is_on_disk_and_waits_no_more(pending: Waiting) -> None:
    pending.ask("native", PHONE, "phone", "192.0.2.7", 0)
    pending.ask("native", TABLET, "tablet", "192.0.2.8", 0)
    pending.changes = 0
    assert pending.approve(PHONE.upper(), 1, 1_700_000_009) is True
    assert pending.changes == 1
    paired = PairedClient(PHONE, "phone", "native", 1_700_000_009)
    assert TrustStore(pending.trust.path).clients() == (paired,)
    assert [device.fingerprint for device in pending.all(1)] == [TABLET]
    assert pending.approve(PHONE, 1, 9) is False
    assert pending.deny(PHONE, 1) is False
    assert pending.changes == 1
    assert pending.trust.clients() == (paired,)


def test_wires_share_one_list_with_its_caps_and_a_device_is_paired_by_the_one_that_it_asked_over(
    pending: Waiting,
) -> None:
    for n in range(4):
        assert pending.ask(("native", "echo")[n % 2], f"{n:064x}", "tv", "192.0.2.7", 0)
    assert not pending.ask("echo", TABLET, "tablet", "192.0.2.7", 0)
    assert pending.ask("native", f"{1:064x}", "tv", "192.0.2.7", 1), "it is known already"
    assert [device.wire for device in pending.all(1)] == ["native", "echo", "native", "echo"]
    assert pending.approve(f"{1:064x}", 1, 9)
    assert (
        pending.trust.clients()
        == pending.trust.clients("echo")
        == (PairedClient(f"{1:064x}", "tv", "echo", 9),)
    )
    assert pending.deny(f"{2:064x}", 1)
    assert not pending.ask("echo", f"{2:064x}", "tv", "192.0.2.9", 1), "denied over any wire"


def test_a_denied_device_is_unpaired_and_out_of_sight(pending: Waiting) -> None:
    pending.ask("native", PHONE, "phone", "192.0.2.7", 0)
    pending.ask("native", TABLET, "tablet", "192.0.2.8", 0)
    pending.changes = 0
    assert pending.deny(PHONE.upper(), 5) is True
    assert pending.changes == 1
    assert [device.fingerprint for device in pending.all(5)] == [TABLET]
    assert pending.approve(PHONE, 5, 9) is False
    assert pending.deny(PHONE, 5) is False
    assert pending.ask("native", PHONE, "phone", "192.0.2.9", 600 * S + 4) is False
    assert pending.changes == 1
    assert pending.trust.clients() == ()
    assert pending.overflow == 0
    assert pending.ask("native", PHONE, "phone", "192.0.2.9", 600 * S + 5) is True


def test_who_does_not_wait_can_be_neither_approved_nor_denied(pending: Waiting) -> None:
    assert pending.approve(PHONE, 0, 9) is False
    assert pending.deny(PHONE, 0) is False
    assert pending.changes == 0
    assert pending.ask("native", PHONE, "phone", "192.0.2.7", 0), "it was not turned away"
    assert pending.trust.clients() == ()


@pytest.mark.parametrize("approved", [True, False])
def test_a_device_can_be_answered_for_ten_minutes_and_no_longer(pending: Waiting, approved: bool) -> None:
    def answer(now: int) -> bool:
        return pending.approve(PHONE, now, 9) if approved else pending.deny(PHONE, now)

    pending.ask("native", PHONE, "phone", "192.0.2.7", 3)
    assert answer(3 + 600 * S) is False
    assert pending.trust.clients() == ()
    pending.ask("native", PHONE, "phone", "192.0.2.7", 3)
    assert answer(3 + 600 * S - 1) is True
    assert len(pending.trust.clients()) == approved


def test_an_approval_that_cannot_be_stored_is_an_error_and_the_device_waits_on(
    pending: Waiting,
) -> None:
    pending.ask("native", PHONE, "phone", "192.0.2.7", 0)
    pending.changes = 0
    pending.break_store()
    with pytest.raises(TrustStoreError, match="cannot write"):
        pending.approve(PHONE, 1, 9)
    assert pending.changes == 0
    pending.mend_store()
    assert pending.approve(PHONE, 1, 9)
