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


@pytest.mark.parametrize(
    ("hertz", "asked"), [(60, 75), (120, 150), (30, 38), (144, 180), (1, 2), (900, 1000)]
)
def test_an_old_sway_is_asked_for_a_quarter_more(hertz: int, asked: int) -> None:
    assert output_hz(Mode(640, 480, hertz), steady=False) == asked


@pytest.mark.parametrize(
    ("mode", "period_ms"),
    [
        ("1280x720@60", 16), ("1920x1080@60", 16), ("2560x1440@60", 15), ("3840x2160@60", 14),
        ("1280x720@120", 8), ("1920x1080@120", 7), ("1280x720@30", 33), ("640x480@3", 338), ("640x480@1000", 1),
    ],
)  # fmt: skip
def test_a_newer_one_is_asked_for_the_longest_period_that_reaches_the_rate(mode: str, period_ms: int) -> None:
    wanted = Mode.parse(mode)
    asked = output_hz(wanted)
    assert 1_000_000 // round(asked * 1000) == period_ms, "as wlroots counts, from thousandths of a hertz"
    composited_ms = 0.12 + 0.3 * wanted.width * wanted.height / 1e6
    if period_ms > 1:
        assert 1000 / (period_ms + composited_ms) > 0.984 * wanted.refresh_hz


@pytest.mark.parametrize("hertz", [801, 1000])
@pytest.mark.parametrize("steady", [True, False])
def test_no_rate_rounds_the_timer_of_a_headless_output_down_to_nothing(hertz: int, *, steady: bool) -> None:
    assert 1000 // output_hz(Mode(640, 480, hertz), steady=steady) == 1
