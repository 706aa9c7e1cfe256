"""Strangers cannot fill a log: a few lines of each event a minute, and one that counts the rest. In virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from punktfunk import log
from punktfunk.log_limit import LINES_OF_A_SOURCE, LINES_OF_AN_EVENT, MAX_SOURCES, WINDOW_S, StrangerLog
from punktfunk.log_ring import MAX_ENTRIES, LogRing

S = 1_000_000_000


class Clockwork:
    """A clock that is moved by hand, and the calls that are due at times of it."""

    def __init__(self) -> None:
        self.now_ns = 1000 * S
        self.due: list[tuple[int, Callable[[], None]]] = []

    def later(self, delay_s: float, call: Callable[[], None]) -> Any:
        entry = (self.now_ns + round(delay_s * S), call)
        self.due.append(entry)

        class Handle:
            def cancel(_self) -> None:  # noqa: N805 - `self` is the clockwork's
                if entry in self.due:
                    self.due.remove(entry)

        return Handle()

    def run(self, seconds: float) -> None:
        until = self.now_ns + round(seconds * S)
        while self.due and min(at for at, _ in self.due) <= until:
            entry = min(self.due, key=lambda one: one[0])
            self.due.remove(entry)
            self.now_ns = max(self.now_ns, entry[0])
            entry[1]()
        self.now_ns = until


@pytest.fixture
def clock() -> Clockwork:
    return Clockwork()


@pytest.fixture
def strangers(ring: LogRing, clock: Clockwork) -> StrangerLog:
    return StrangerLog(log.get("host"), clock=lambda: clock.now_ns, later=clock.later)


def lines(ring: LogRing) -> list[tuple[str, str]]:
    return [(entry.level, entry.event) for entry in ring.entries()]


def test_the_first_lines_of_a_source_are_written_whole(ring: LogRing, strangers: StrangerLog) -> None:
    source = strangers.of("192.0.2.1").bind(peer="192.0.2.1:1000").bind(dialect="pkf1")
    for _ in range(LINES_OF_A_SOURCE):
        source.warning("client refused", cause="no Hello within 10 s")
    assert lines(ring) == [("warning", "client refused")] * LINES_OF_A_SOURCE
    entry = ring.entries()[0]
    assert entry.concern == "host"
    assert entry.fields == {"peer": "192.0.2.1:1000", "dialect": "pkf1", "cause": "no Hello within 10 s"}
    assert strangers.left_out == 0


def test_the_rest_is_counted_in_one_line_when_the_minute_is_over(
    ring: LogRing, strangers: StrangerLog, clock: Clockwork
) -> None:
    source = strangers.of("192.0.2.1")
    for _ in range(580):
        source.warning("client refused")
        clock.run(8 / 580)
    assert len(ring.entries()) == LINES_OF_A_SOURCE
    clock.run(WINDOW_S)
    left_out = 580 - LINES_OF_A_SOURCE
    assert lines(ring)[LINES_OF_A_SOURCE:] == [("warning", f"client refused ({left_out} times more in 60 s)")]
    assert ring.entries()[-1].fields == {"times": left_out, "sources": 1}
    assert not clock.due, "nothing is due while nothing happens"


def test_one_source_takes_no_lines_from_another_nor_one_event_from_another(
    ring: LogRing, strangers: StrangerLog
) -> None:
    for _ in range(100):
        strangers.of("192.0.2.1").info("client connected")
    strangers.of("192.0.2.2").info("client connected")
    strangers.of("192.0.2.1").info("session over")
    assert lines(ring)[LINES_OF_A_SOURCE:] == [("info", "client connected"), ("info", "session over")]


def test_many_sources_together_are_limited_too(
    ring: LogRing, strangers: StrangerLog, clock: Clockwork
) -> None:
    for number in range(10_000):
        strangers.of(f"192.0.{number // 250}.{number % 250}").info("client connected")
    assert len(ring.entries()) == LINES_OF_AN_EVENT
    clock.run(WINDOW_S)
    assert ring.entries()[-1].fields == {"times": 10_000 - LINES_OF_AN_EVENT, "sources": MAX_SOURCES}


def test_the_next_minute_has_lines_again(ring: LogRing, strangers: StrangerLog, clock: Clockwork) -> None:
    source = strangers.of("192.0.2.1")
    for _ in range(2):
        for _ in range(LINES_OF_A_SOURCE + 1):
            source.info("client connected")
        clock.run(WINDOW_S)
    expected = [("info", "client connected")] * LINES_OF_A_SOURCE
    expected.append(("info", "client connected (1 times more in 60 s)"))
    assert lines(ring) == expected * 2


def test_twenty_five_minutes_of_attack_from_everywhere_do_not_turn_the_ring_over(
    ring: LogRing, strangers: StrangerLog, clock: Clockwork
) -> None:
    log.get("host").info("listening")
    for minute in range(25):
        for number in range(200):
            for event in ("client connected", "client refused", "session over"):
                strangers.of(f"192.0.2.{(minute + number) % 250}").info(event)
        clock.run(WINDOW_S)
    assert ring.entries()[0].event == "listening"
    assert len(ring.entries()) < MAX_ENTRIES


def test_events_end_their_minutes_apart(ring: LogRing, strangers: StrangerLog, clock: Clockwork) -> None:
    source = strangers.of("192.0.2.1")
    for event, wait_s in (("client connected", 20.0), ("session over", 0.0)):
        for _ in range(LINES_OF_A_SOURCE + 2):
            source.info(event)
        clock.run(wait_s)
    clock.run(40)
    assert lines(ring)[-1] == ("info", "client connected (2 times more in 60 s)")
    clock.run(20)
    assert lines(ring)[-1] == ("info", "session over (2 times more in 60 s)")


def test_what_was_left_out_is_told_at_the_end(
    ring: LogRing, strangers: StrangerLog, clock: Clockwork
) -> None:
    for _ in range(LINES_OF_A_SOURCE + 3):
        strangers.of("192.0.2.1").error("stream failed")
    strangers.close()
    assert lines(ring)[-1] == ("error", "stream failed (3 times more in 60 s)")
    assert not clock.due
    strangers.close()
    assert len(ring.entries()) == LINES_OF_A_SOURCE + 1


def test_without_lines_left_out_no_timer_runs(strangers: StrangerLog, clock: Clockwork) -> None:
    strangers.of("192.0.2.1").debug("client connected")
    assert not clock.due
