"""When a stream follows a client to another port: never while the port that is streamed to punches."""

from __future__ import annotations

from punktfunk.native.data_port import MOVE_SILENCE_NS, MOVE_SPAN_NS, MoveWatch

S = 1_000_000_000
OLD, NEW, OTHER = ("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.1", 3)


def test_a_client_that_punches_from_a_new_port_alone_is_followed_after_the_silence() -> None:
    watch = MoveWatch(0)
    watch.current(10 * S)
    moved = [watch.other(NEW, 12 * S), watch.other(NEW, 14 * S)]
    assert moved == [False, False]
    assert not watch.other(NEW, 10 * S + MOVE_SILENCE_NS - 1)
    assert watch.other(NEW, 10 * S + MOVE_SILENCE_NS)


def test_whoever_sends_from_the_clients_address_draws_nothing_away_while_the_client_punches() -> None:
    watch = MoveWatch(0)
    for now in range(0, 600 * S, S // 10):
        if now % (2 * S) == 0:
            watch.current(now)
        assert not watch.other(NEW, now)


def test_a_single_late_punch_moves_nothing_however_long_the_silence_was() -> None:
    watch = MoveWatch(0)
    assert not watch.other(NEW, 100 * S)
    assert not watch.other(NEW, 100 * S + MOVE_SPAN_NS - 1)
    assert watch.other(NEW, 100 * S + MOVE_SPAN_NS)


def test_punches_of_several_ports_do_not_add_up() -> None:
    watch = MoveWatch(0)
    for turn in range(20):
        source = NEW if turn % 2 else OTHER
        assert not watch.other(source, 100 * S + turn * MOVE_SPAN_NS)


def test_after_a_move_the_new_port_is_the_one_that_has_to_be_silent() -> None:
    watch = MoveWatch(0)
    watch.other(NEW, 9 * S)
    assert watch.other(NEW, 10 * S)
    for now in range(10 * S, 10 * S + MOVE_SILENCE_NS, S // 2):
        assert not watch.other(OLD, now)
    assert watch.other(OLD, 10 * S + MOVE_SILENCE_NS)


def test_a_punch_of_the_old_port_begins_the_count_of_the_new_one_anew() -> None:
    watch = MoveWatch(0)
    watch.other(NEW, 4 * S)
    watch.current(4 * S + 1)
    assert not watch.other(NEW, 9 * S + 1), "its first punch since"
    assert watch.other(NEW, 10 * S + 1)
