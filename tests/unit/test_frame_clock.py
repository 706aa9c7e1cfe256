"""The frame clock and the coalescing of key frame requests, without waiting for anything."""

from __future__ import annotations

import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st

from punktfunk.clock import monotonic_ns
from punktfunk.host.stream.pace import FrameClock, sleep_until
from punktfunk.host.stream.recovery import KeyframeCoalescer

MS = 1_000_000
S = 1_000_000_000


def test_deadlines_do_not_accumulate_rounding_errors() -> None:
    clock = FrameClock(60, first_ns=0)
    deadlines = [clock.next_deadline(0) for _ in range(601)]
    assert deadlines[60] == S
    assert deadlines[600] == 10 * S
    assert {later - sooner for sooner, later in itertools.pairwise(deadlines)} == {
        16666666,
        16666667,
    }
    assert clock.skipped == 0


def test_a_frame_that_is_late_by_less_than_an_interval_is_made_at_once() -> None:
    clock = FrameClock(100, first_ns=0)
    assert clock.next_deadline(0) == 0
    assert clock.next_deadline(19 * MS) == 10 * MS
    assert clock.next_deadline(19 * MS) == 20 * MS
    assert clock.skipped == 0


def test_a_stall_costs_its_own_frames_and_no_burst_follows() -> None:
    clock = FrameClock(100, first_ns=0)
    clock.next_deadline(0)
    assert clock.next_deadline(57 * MS) == 50 * MS
    assert clock.skipped == 4
    assert clock.next_deadline(58 * MS) == 60 * MS


@given(st.integers(1, 1000), st.lists(st.integers(0, 200 * MS), min_size=1, max_size=50))
def test_frames_and_skipped_deadlines_add_up_to_the_time_that_passed(hertz: int, waits: list[int]) -> None:
    clock = FrameClock(hertz, first_ns=0)
    now = 0
    for made, wait in enumerate(waits):
        now += wait
        deadline = clock.next_deadline(now)
        assert deadline == (made + clock.skipped) * S // hertz
        assert now - deadline <= S // hertz + 1
        now = max(now, deadline)


def test_sleeping_ends_early_when_the_stream_is_stopped() -> None:
    stopping = threading.Event()
    stopping.set()
    begun = monotonic_ns()
    sleep_until(begun + 600 * S, stopping)
    assert monotonic_ns() - begun < 10 * S


def test_one_loss_that_is_reported_five_times_arms_one_key_frame() -> None:
    keyframes = KeyframeCoalescer(16 * MS)
    assert keyframes.request(0, 20 * MS)
    assert not keyframes.request(1 * MS, 20 * MS)
    assert not keyframes.dropped()
    keyframes.sent(True, 10 * MS)
    assert not keyframes.request(45 * MS, 20 * MS)
    assert (keyframes.requests, keyframes.coalesced) == (4, 3)


def test_a_request_from_after_the_key_frame_could_have_arrived_is_a_new_loss() -> None:
    keyframes = KeyframeCoalescer(16 * MS)
    assert keyframes.request(0, 20 * MS)
    keyframes.sent(True, 10 * MS)
    assert keyframes.request(10 * MS + 36 * MS, 20 * MS)


def test_delta_frames_do_not_answer_a_request() -> None:
    keyframes = KeyframeCoalescer(16 * MS)
    assert keyframes.request(0, 0)
    keyframes.sent(False, 1 * MS)
    assert not keyframes.request(500 * MS, 0)
    keyframes.sent(True, 501 * MS)
    assert keyframes.request(600 * MS, 0)


def test_a_frame_dropped_in_the_sender_right_after_a_key_frame_arms_another() -> None:
    keyframes = KeyframeCoalescer(16 * MS)
    keyframes.sent(True, 0)
    assert keyframes.dropped()
