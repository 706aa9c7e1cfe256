"""Who has to go for a newcomer, and whom a listener spends a handshake on."""

from __future__ import annotations

import pytest

from punktfunk import link_quota
from punktfunk.link_quota import FairQuota, HandshakeGate, Verdict


def test_a_key_that_has_its_share_loses_its_own_oldest() -> None:
    quota: FairQuota[str] = FairQuota(limit=10, per_key=2)
    assert [quota.add(link, "a") for link in ("a1", "a2", "a3", "a4")] == [None, None, "a1", "a2"]
    assert quota.held("a") == 2
    assert len(quota) == 2


def test_whoever_holds_most_makes_room_and_a_single_link_stays() -> None:
    quota: FairQuota[str] = FairQuota(limit=5, per_key=4)
    for link in ("honest", "a1", "a2", "a3", "b1"):
        quota.add(link, link[0])
    assert quota.add("c1", "c") == "a1"
    # Attackers that renew their links lose them to each other.
    for number in range(100):
        for attacker in "abc":
            quota.add(f"{attacker}{number + 10}", attacker)
    assert "honest" in quota
    assert len(quota) == 5


def test_with_one_link_each_the_oldest_goes() -> None:
    quota: FairQuota[int] = FairQuota(limit=3, per_key=2)
    assert [quota.add(n, n) for n in range(5)] == [None, None, None, 0, 1]


def test_what_is_removed_counts_no_more() -> None:
    quota: FairQuota[str] = FairQuota(limit=2, per_key=1)
    quota.add("a1", "a")
    quota.remove("a1")
    quota.remove("a1")
    assert quota.held("a") == 0
    assert quota.add("a2", "a") is None
    assert "a1" not in quota


def test_a_quiet_listener_takes_an_initial_as_it_comes() -> None:
    gate = HandshakeGate(0.0)
    assert gate.judge("a", strangers=0, of_source=0, validated=False, now_s=0.0) is Verdict.ACCEPT


@pytest.mark.parametrize(
    ("strangers", "of_source"),
    [
        (link_quota.RETRY_FROM_STRANGERS, 0),
        (link_quota.MAX_STRANGERS_PER_SOURCE, link_quota.MAX_STRANGERS_PER_SOURCE),
    ],
)
def test_under_load_an_address_is_proven_before_anything_is_spent_on_it(
    strangers: int, of_source: int
) -> None:
    gate = HandshakeGate(0.0)
    ask = {"strangers": strangers, "of_source": of_source, "now_s": 0.0}
    for _ in range(1000):
        assert gate.judge("a", validated=False, **ask) is Verdict.RETRY
    assert gate.judge("a", validated=True, **ask) is Verdict.ACCEPT


def test_nobody_is_limited_for_what_others_send_in_its_name() -> None:
    gate = HandshakeGate(0.0)
    for _ in range(1000):
        gate.judge("victim", strangers=0, of_source=0, validated=False, now_s=0.0)
    # The spoofed ones have used up what the victim may have unproven; proven, there is half of all left for it.
    assert gate.judge("victim", strangers=0, of_source=0, validated=False, now_s=0.0) is Verdict.RETRY
    assert gate.judge("victim", strangers=0, of_source=0, validated=True, now_s=0.0) is Verdict.ACCEPT


def test_a_source_that_comes_rarely_is_served_beside_64_that_come_all_the_time() -> None:
    gate = HandshakeGate(0.0)
    accepted = 0
    for tick in range(10_000):
        now = tick / 100
        for attacker in range(0, 64, 2):
            source = f"attacker {(attacker + tick % 2)}"
            verdict = gate.judge(source, strangers=64, of_source=1, validated=True, now_s=now)
            accepted += verdict is Verdict.ACCEPT
        if tick % 500 == 499:
            assert (
                gate.judge("honest", strangers=64, of_source=0, validated=True, now_s=now) is Verdict.ACCEPT
            )
    assert accepted <= link_quota.HANDSHAKES_PER_S * 100 + link_quota.HANDSHAKE_BURST


@pytest.mark.parametrize("paired", [True, False])
def test_a_paired_client_stays_before_64_others_however_often_it_comes(paired: bool) -> None:
    gate = HandshakeGate(0.0)
    verdicts = []
    for tick in range(10_000):
        now = tick / 100
        for attacker in range(64):
            gate.judge(f"attacker {attacker}", strangers=64, of_source=1, validated=True, now_s=now)
        if tick % 25 == 24:
            verdicts.append(gate.judge("honest", strangers=64, of_source=0, validated=True, now_s=now))
            if paired:
                gate.repay("honest", now)
    refused = verdicts.count(Verdict.WAIT)
    assert (refused == 0) is paired
    assert set(verdicts) <= {Verdict.ACCEPT, Verdict.WAIT}


def test_a_paired_client_that_dials_without_a_pause_leaves_others_their_first_try() -> None:
    gate = HandshakeGate(0.0)
    newcomers = []
    for tick in range(20_000):
        now = tick / 200
        if gate.judge("paired", strangers=64, of_source=1, validated=True, now_s=now) is Verdict.ACCEPT:
            gate.repay("paired", now)
        # After the burst that it has at first, as anybody.
        if tick >= 1_000 and tick % 150 == 149:
            source = f"newcomer {tick}"
            newcomers.append(gate.judge(source, strangers=64, of_source=0, validated=True, now_s=now))
    assert len(newcomers) > 100
    assert set(newcomers) == {Verdict.ACCEPT}


def test_a_source_is_paid_back_what_it_had_and_no_more() -> None:
    gate = HandshakeGate(0.0)
    gate.repay("unknown", 0.0)
    assert not gate._sources
    ask = {"strangers": 0, "of_source": 0, "validated": False, "now_s": 0.0}
    assert gate.judge("a", **ask) is Verdict.ACCEPT
    for _ in range(3):
        gate.repay("a", 0.0)
    burst = int(link_quota.SOURCE_HANDSHAKE_BURST)
    verdicts = [gate.judge("a", **ask) for _ in range(burst + 1)]
    assert verdicts == [Verdict.ACCEPT] * burst + [Verdict.RETRY]


def test_sources_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_quota, "MAX_SOURCES", 8)
    gate = HandshakeGate(0.0)
    for source in range(1000):
        gate.judge(str(source), strangers=0, of_source=0, validated=True, now_s=source / 10)
    assert len(gate._sources) == 8
