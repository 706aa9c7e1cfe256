"""What a host remembers of its sessions is bounded, and what it counts is not."""

from __future__ import annotations

import sys

from punktfunk.host.history import MAX_ENDED, SessionHistory
from punktfunk.host.session_report import SessionReport
from punktfunk.native.dialect import Dialect
from punktfunk.native.quic import Peer
from punktfunk.units import Mode

PEER = Peer(("192.0.2.1", 1000), Dialect.PKF1, None)


def begin(history: SessionHistory) -> SessionReport:
    report = SessionReport(history.next_number, PEER, Mode(1280, 720, 60), None)
    history.begin(report)
    return report


def end(history: SessionHistory, report: SessionReport, *, failed: bool = False) -> None:
    report.counters = {"frames_sent": 10, "packets_sent": 50, "fec_percent": 20, "slice_ns": 100_000}
    report.failed = failed
    history.end(report)


def numbers(reports: list[SessionReport]) -> list[int]:
    return [report.number for report in reports]


def test_a_thousand_sessions_leave_the_last_hundred_and_the_totals_of_all() -> None:
    history = SessionHistory()
    for number in range(1, 1001):
        end(history, begin(history), failed=number % 10 == 0)
    assert numbers(history.ended()) == list(range(1001 - MAX_ENDED, 1001))
    assert history.reports == history.ended()
    assert (history.begun, history.over, history.failed, history.next_number) == (1000, 1000, 100, 1001)
    assert history.ledger == {"frames_sent": 10_000, "packets_sent": 50_000}, "a percentage does not add up"


def test_a_session_that_runs_is_never_forgotten() -> None:
    history = SessionHistory(max_ended=2)
    first, second = begin(history), begin(history)
    for _ in range(10):
        end(history, begin(history))
    assert numbers(history.reports) == [1, 2, 11, 12]
    end(history, second)
    assert numbers(history.reports) == [1, 2, 12]
    assert numbers(history.ended()) == [12, 2], "as they ended"
    end(history, first)
    assert (history.begun, history.over) == (12, 12)


def test_who_follows_the_ends_is_told_each_once() -> None:
    history = SessionHistory(max_ended=3)
    assert history.ended(since=0) == []
    told = []
    seen = 0
    for burst in (1, 2, 0, 3, 1):
        for _ in range(burst):
            end(history, begin(history))
        told += numbers(history.ended(since=seen))
        seen = history.over
    assert told == [1, 2, 3, 4, 5, 6, 7]
    assert history.ended(since=seen) == []


def test_whoever_asks_too_late_is_told_what_is_left() -> None:
    history = SessionHistory(max_ended=3)
    for _ in range(10):
        end(history, begin(history))
    assert numbers(history.ended(since=1)) == [8, 9, 10]
    assert numbers(history.ended(since=9)) == [10]


def test_the_containers_do_not_grow_with_the_sessions() -> None:
    history = SessionHistory()

    def size() -> int:
        return sys.getsizeof(history._ended) + sys.getsizeof(history._running)

    for _ in range(MAX_ENDED):
        end(history, begin(history))
    before = size()
    for _ in range(10 * MAX_ENDED):
        end(history, begin(history))
    assert size() <= before
