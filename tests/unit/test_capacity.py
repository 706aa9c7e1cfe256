"""Reservations, streams and workers in virtual time."""

from __future__ import annotations

import pytest

from punktfunk.errors import CapacityFullError
from punktfunk.host.capacity import (
    CLIENT_WORKER_NS,
    CLIENT_WORKERS_BURST,
    RESERVATION_NS,
    RESERVATIONS_KEPT,
    WORKER_NS,
    WORKERS_BURST,
    Capacity,
    Claimant,
    Expire,
    LaunchWorker,
    Supersede,
)

MS = 1_000_000


def certificate(name: str) -> Claimant:
    return Claimant(name, proven=True)


def doings(capacity: Capacity[str], now_ns: int) -> list[LaunchWorker[str] | Expire[str] | Supersede[str]]:
    found = []
    while (action := capacity.poll(now_ns)) is not None:
        found.append(action)
    return found


def a_stream(capacity: Capacity[str], name: str, now_ns: int = 0) -> None:
    capacity.reserve(name, certificate(name), now_ns)
    capacity.start(name)
    assert doings(capacity, now_ns) == [LaunchWorker(name)]


def test_a_reservation_has_no_worker_and_counts_for_no_stream() -> None:
    capacity: Capacity[str] = Capacity(1, 0)
    for name in ("a", "b", "c"):
        capacity.reserve(name, certificate(name), 0)
    assert doings(capacity, 0) == []
    assert (capacity.streams, capacity.workers_alive) == (0, 0)
    capacity.start("c")
    assert doings(capacity, 0) == [LaunchWorker("c")]
    assert (capacity.streams, capacity.workers_alive) == (1, 1)
    with pytest.raises(CapacityFullError):
        capacity.start("a")
    with pytest.raises(CapacityFullError):
        capacity.reserve("d", certificate("d"), 0)


def test_reservations_that_crowd_the_host_expire_after_three_seconds_oldest_first() -> None:
    capacity: Capacity[str] = Capacity(4, 0)
    a_stream(capacity, "busy")
    names = [f"idle {at}" for at in range(RESERVATIONS_KEPT + 2)]
    for at, name in enumerate(names):
        capacity.reserve(name, certificate(name), at)
    assert capacity.next_timeout() == RESERVATION_NS
    assert doings(capacity, RESERVATION_NS - 1) == []
    assert doings(capacity, RESERVATION_NS) == [Expire("idle 0")]
    assert capacity.next_timeout() == RESERVATION_NS + 1
    assert doings(capacity, 100 * RESERVATION_NS) == [Expire("idle 1")]
    assert capacity.next_timeout() is None
    with pytest.raises(CapacityFullError, match="is over"):
        capacity.start("idle 0")
    assert capacity.start("idle 2") == []
    assert capacity.counters["reservations_expired"] == 2


def test_a_client_with_a_certificate_has_one_reservation_and_its_new_stream_replaces_the_old_one() -> None:
    capacity: Capacity[str] = Capacity(1, 0)
    capacity.reserve("first", certificate("tv"), 0)
    capacity.reserve("second", certificate("tv"), 0)
    assert doings(capacity, 0) == [Supersede("first")]
    assert capacity.start("second") == []
    assert doings(capacity, 0) == [LaunchWorker("second")]
    capacity.reserve("third", certificate("tv"), 0)
    assert doings(capacity, 0) == []
    assert capacity.start("third") == ["second"]
    assert doings(capacity, 0) == [Supersede("second"), LaunchWorker("third")]
    assert (capacity.streams, capacity.workers_alive) == (1, 2)


def test_an_address_is_no_proof_that_it_is_the_same_client() -> None:
    capacity: Capacity[str] = Capacity(2, 0)
    behind_a_router = Claimant("192.0.2.7", proven=False)
    for name in ("a", "b"):
        capacity.reserve(name, behind_a_router, 0)
        capacity.start(name)
    assert doings(capacity, 0) == [LaunchWorker("a"), LaunchWorker("b")]
    with pytest.raises(CapacityFullError):
        capacity.reserve("c", behind_a_router, 0)


def test_workers_that_are_ending_count_until_they_are_gone() -> None:
    capacity: Capacity[str] = Capacity(1, 0)
    for name in ("a", "b", "c"):
        a_stream(capacity, name)
        capacity.leave(name)
    capacity.reserve("d", certificate("d"), 0)
    capacity.start("d")
    assert doings(capacity, 0) == []
    assert capacity.workers_alive == 3
    capacity.worker_gone()
    assert doings(capacity, 0) == [LaunchWorker("d")]


def test_one_client_is_given_workers_at_a_rate_and_does_not_hold_up_another() -> None:
    capacity: Capacity[str] = Capacity(8, 0)
    launches, now = 0, 0
    for at in range(100):
        now = at * 100 * MS
        capacity.reserve(f"{at}", certificate("restless"), now)
        capacity.start(f"{at}")
        for action in doings(capacity, now):
            if isinstance(action, LaunchWorker):
                launches += 1
                capacity.worker_gone()
    assert launches == CLIENT_WORKERS_BURST + now // CLIENT_WORKER_NS
    a_stream(capacity, "patient", now)


def test_all_clients_together_are_given_workers_at_a_rate() -> None:
    capacity: Capacity[str] = Capacity(8, 0)
    launches, now = 0, 0
    for at in range(200):
        now = at * 50 * MS
        name = f"stranger {at}"
        capacity.reserve(name, certificate(name), now)
        capacity.start(name)
        for action in doings(capacity, now):
            assert isinstance(action, LaunchWorker)
            launches += 1
            capacity.worker_gone()
        capacity.leave(name)
    assert launches == WORKERS_BURST + now // WORKER_NS
    assert capacity.clients_remembered < WORKERS_BURST + 4 * CLIENT_WORKER_NS // WORKER_NS


def test_a_stream_that_waits_for_its_worker_is_told_when_its_turn_comes() -> None:
    capacity: Capacity[str] = Capacity(16, 0)
    for at in range(WORKERS_BURST):
        a_stream(capacity, f"{at}")
    capacity.reserve("next", certificate("next"), 0)
    capacity.start("next")
    assert doings(capacity, 0) == []
    assert capacity.next_timeout() == WORKER_NS
    assert doings(capacity, WORKER_NS - 1) == []
    assert doings(capacity, WORKER_NS) == [LaunchWorker("next")]


def test_fewer_streams_may_be_allowed_while_more_run() -> None:
    capacity: Capacity[str] = Capacity(2, 0)
    a_stream(capacity, "a")
    a_stream(capacity, "b")
    capacity.max_streams = 1
    assert doings(capacity, 0) == []
    capacity.leave("a")
    with pytest.raises(CapacityFullError):
        capacity.reserve("c", certificate("c"), 0)
    capacity.leave("b")
    capacity.reserve("c", certificate("c"), 0)
