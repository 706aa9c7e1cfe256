"""A loop that stands still is told from one that is slow, stopped, or waits for a busy machine."""

from __future__ import annotations

from punktfunk.desktop.capture import pipewire, provoke
from punktfunk.process.stall_watch import LOOK_S, LOOKS, Stall

IDLE_NS = 50


def looks(*seen: tuple[int, int]) -> list[bool]:
    """Return what a watch of three looks makes of beats and CPU times."""
    stall = Stall(looks=3, idle_ns=IDLE_NS)
    return [stall.look(beat, cpu_ns) for beat, cpu_ns in seen]


def test_it_stands_still_after_so_many_looks_without_a_beat_and_without_work() -> None:
    assert looks((1, 0), (1, 0), (1, 49), (1, 98)) == [False, False, False, True]


def test_a_beat_begins_anew() -> None:
    assert looks((1, 0), (1, 0), (1, 0), (2, 0), (2, 0), (2, 0), (2, 0)) == [*[False] * 6, True]


def test_a_loop_that_never_began_stands_still_too() -> None:
    assert looks((0, 0), (0, 0), (0, 0), (0, 0)) == [False, False, False, True]


def test_a_process_that_computes_is_slow_and_does_not_stand_still() -> None:
    assert looks((1, 0), (1, 0), (1, 50), (1, 50), (1, 50), (1, 50)) == [*[False] * 5, True]


def test_no_wait_of_a_worker_that_has_a_limit_of_its_own_is_taken_for_a_stall() -> None:
    shown_s = len(pipewire._FIRST_LIMITS_S) * (provoke._SHOWN_S + 0.1)
    assert sum(pipewire._FIRST_LIMITS_S) + shown_s + 2 < LOOK_S * LOOKS
