"""A client whose data port refuses and whose control connection is silent is gone; no other is. In virtual time."""

from __future__ import annotations

import pytest

from punktfunk.native.refusals import (
    MIN_REFUSALS,
    MIN_SILENCE_NS,
    MIN_SPAN_NS,
    Advice,
    RefusalWatch,
)

MS = 1_000_000
START = 10_000 * MS
FRAME = 16 * MS


class Peer:
    """A client at the other end of a virtual link, and the host that streams to its closed port."""

    def __init__(self, *, rtt_ms: int = 1, acknowledges: bool = True) -> None:
        self.watch = RefusalWatch()
        self.heard_ns = START - 1
        self.asked: list[int] = []
        self._rtt_ns = rtt_ms * MS
        self._acknowledges = acknowledges
        self._answers: list[int] = []

    def refuses(self, at_ns: int, count: int = 1, first_ns: int | None = None) -> Advice:
        while self._answers and self._answers[0] <= at_ns:
            self.heard_ns = self._answers.pop(0)
        advice = self.watch.refused(
            count,
            at_ns if first_ns is None else first_ns,
            at_ns,
            heard_ns=self.heard_ns,
            rtt_ns=self._rtt_ns,
            now_ns=at_ns + MS,
        )
        if advice is Advice.ASK:
            self.asked.append(at_ns)
            if self._acknowledges:
                self._answers.append(at_ns + MS + self._rtt_ns)
        return advice

    def refuses_for(self, duration_ms: int, every_ns: int = FRAME) -> int | None:
        """Refuse from START on; return after how many milliseconds the host gave up."""
        for at in range(START, START + duration_ms * MS, every_ns):
            if self.refuses(at) is Advice.GIVE_UP:
                return (at - START) // MS
        return None


def test_a_client_that_is_gone_is_given_up_within_a_second_of_its_first_refusal() -> None:
    gone = Peer(acknowledges=False)
    after_ms = gone.refuses_for(2000)
    assert after_ms is not None
    assert MIN_SILENCE_NS // MS <= after_ms < 1000
    assert gone.asked == [START]


@pytest.mark.parametrize("rtt_ms", [0, 1, 50, 300, 2000])
def test_a_client_that_acknowledges_is_kept_however_long_its_port_is_closed(rtt_ms: int) -> None:
    late = Peer(rtt_ms=rtt_ms)
    assert late.refuses_for(60_000) is None


def test_a_single_refusal_ends_nothing() -> None:
    peer = Peer(acknowledges=False)
    assert peer.refuses(START) is Advice.ASK
    assert peer.watch.count == 1


def test_too_few_refusals_end_nothing_however_long_they_take() -> None:
    peer = Peer(acknowledges=False)
    advices = [peer.refuses(START + number * 1000 * MS) for number in range(MIN_REFUSALS)]
    assert advices == [Advice.ASK, *[Advice.NOTHING] * (MIN_REFUSALS - 2), Advice.GIVE_UP]


def test_refusals_within_too_short_a_time_end_nothing_however_many_they_are() -> None:
    """Of one train, sent into a port that was bound right behind it; the host looked again much later."""
    peer = Peer(acknowledges=False)
    peer.refuses(START)
    last = START + MIN_SPAN_NS - 1
    stale = peer.watch.refused(1000, last, last, heard_ns=0, rtt_ns=0, now_ns=START + 10 * MIN_SILENCE_NS)
    assert stale is Advice.NOTHING
    assert peer.refuses(last + 1 + MIN_SILENCE_NS) is Advice.GIVE_UP


def test_the_span_is_reached_at_three_hundred_milliseconds() -> None:
    peer = Peer(acknowledges=False)
    peer.refuses(START)
    at = START + MIN_SPAN_NS
    advice = peer.watch.refused(
        MIN_REFUSALS - 1, at, at, heard_ns=0, rtt_ns=0, now_ns=START + MS + MIN_SILENCE_NS
    )
    assert advice is Advice.GIVE_UP


def test_the_client_has_time_to_acknowledge_the_ping_that_asks_it() -> None:
    """The refusals of a whole second are told at once, after a stall of the worker: nobody had asked before."""
    peer = Peer(acknowledges=False)
    assert peer.refuses(START + 1000 * MS, count=500, first_ns=START) is Advice.ASK
    assert peer.refuses(START + 1100 * MS, count=50, first_ns=START + 1001 * MS) is Advice.NOTHING
    assert peer.refuses(START + 1600 * MS, count=50, first_ns=START + 1101 * MS) is Advice.GIVE_UP


def test_on_a_long_path_it_has_four_round_trips() -> None:
    assert Peer(acknowledges=False, rtt_ms=500).refuses_for(1900) is None
    assert Peer(acknowledges=False, rtt_ms=500).refuses_for(2500) is not None


def test_whatever_control_brings_begins_the_case_anew() -> None:
    peer = Peer(acknowledges=False)
    assert peer.refuses_for(400) is None
    peer.heard_ns = START + 400 * MS
    assert peer.refuses(START + 401 * MS) is Advice.ASK
    assert peer.watch.count == 1
    for at in range(START + 402 * MS, START + 402 * MS + MIN_SILENCE_NS - 5 * MS, FRAME):
        assert peer.refuses(at) is Advice.NOTHING


def test_of_refusals_around_a_sign_of_life_only_the_last_counts() -> None:
    peer = Peer(acknowledges=False)
    peer.heard_ns = START + 50 * MS
    peer.refuses(START + 100 * MS, count=400, first_ns=START)
    assert (peer.watch.count, peer.watch.span_ns) == (1, 0)


def test_refusals_before_a_sign_of_life_count_nothing() -> None:
    peer = Peer(acknowledges=False)
    peer.heard_ns = START + 200 * MS
    assert peer.refuses(START + 200 * MS, count=400, first_ns=START) is Advice.NOTHING
    assert peer.watch.count == 0


def test_a_sign_of_life_after_the_verdict_takes_it_back() -> None:
    peer = Peer(acknowledges=False)
    assert peer.refuses_for(2000) is not None
    assert peer.watch.silent_since(START - 1)
    assert not peer.watch.silent_since(START)
