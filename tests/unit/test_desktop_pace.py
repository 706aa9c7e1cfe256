"""How many pictures of a fast compositor pass: the asked rate on average, and none lost after a stall."""

from __future__ import annotations

import pytest

from punktfunk.desktop.capture.frames import Pace
from punktfunk.desktop.vdisplay import output_hz
from punktfunk.units import Mode


def _admitted(hertz: int, times_ms: list[float]) -> int:
    pace = Pace(hertz)
    return sum(pace.admits(round(at * 1e6)) for at in times_ms)


def test_a_compositor_that_is_too_fast_is_brought_down_to_the_rate() -> None:
    every_7_ms = [n * 7.0 for n in range(1429)]  # ten seconds at 143 a second
    assert 600 <= _admitted(60, every_7_ms) <= 631


def test_a_compositor_at_or_below_the_rate_loses_nothing() -> None:
    assert _admitted(60, [n * 1000 / 60 for n in range(600)]) == 600
    assert _admitted(60, [n * 20.0 for n in range(500)]) == 500


def test_what_comes_in_a_burst_after_a_stall_passes() -> None:
    fast = [n * 1000 / 70 for n in range(700)]  # long enough to use up what was saved
    after_stall = [10_300.0 + n for n in range(15)]  # 18 are due for the 300 ms without any
    assert _admitted(60, fast + after_stall) - _admitted(60, fast) == 15


def test_a_clock_that_does_not_move_gives_no_pictures_for_ever() -> None:
    assert _admitted(60, [5.0] * 1000) == 30


@pytest.mark.parametrize(("hertz", "asked"), [(60, 75), (120, 150), (30, 38), (144, 180), (1, 2)])
def test_headless_outputs_are_asked_for_a_quarter_more(hertz: int, asked: int) -> None:
    assert output_hz(Mode(640, 480, hertz)) == asked


@pytest.mark.parametrize("hertz", [801, 1000])
def test_no_rate_rounds_the_timer_of_a_headless_output_down_to_nothing(hertz: int) -> None:
    assert 1000 // output_hz(Mode(640, 480, hertz)) == 1
