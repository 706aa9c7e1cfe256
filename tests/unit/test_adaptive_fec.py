"""FEC after loss reports: up at once, down by evidence, never below its floor nor outside the wire's limits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from punktfunk.host.config import HostConfig
from punktfunk.host.stream.adaptive_fec import (
    CALM_PACKETS,
    MAX_FEC_PERCENT,
    AdaptiveFec,
    FecChoice,
    percent_for_loss,
)


class Stream:
    """A stream of so many packets a report, and what its FEC makes of the reports."""

    def __init__(self, percent: int, floor: int, *, packets: int = CALM_PACKETS) -> None:
        self.fec = AdaptiveFec(percent, floor)
        self.sent = 0
        self._packets = packets

    def report(self, loss_ppm: int = 0) -> int:
        self.sent += self._packets
        return self.fec.follow(loss_ppm, self.sent)


@pytest.mark.parametrize(
    ("ppm", "percent"),
    [(0, 1), (1, 2), (10_000, 3), (50_000, 8), (100_000, 15), (350_000, 50), (1_000_000, 50)],
)
def test_reported_loss_maps_to_fec_as_ceil_of_1_4_times_plus_one(ppm: int, percent: int) -> None:
    assert percent_for_loss(ppm) == percent


def test_a_burst_is_answered_with_the_very_next_frame() -> None:
    assert Stream(1, 1).report(100_000) == 15  # 10 % × 1.4 + 1


def test_protection_outlasts_the_calm_between_two_bursts() -> None:
    stream = Stream(20, 1)
    assert stream.report() == 20  # evidence begins here
    assert [stream.report() for _ in range(4)] == [18, 16, 15, 13]


def test_a_path_that_stays_calm_ends_at_the_floor() -> None:
    stream = Stream(20, 3)
    seen = [stream.report() for _ in range(40)]  # half a minute
    assert seen[-1] == 3
    assert all(later <= earlier for earlier, later in pairwise(seen))


def test_without_a_floor_of_its_own_nothing_falls_below_what_was_asked_for() -> None:
    stream = Stream(20, 20)
    assert [stream.report() for _ in range(40)] == [20] * 40
    assert stream.report(300_000) == 43
    assert [stream.report() for _ in range(40)][-1] == 20


def test_time_alone_lowers_nothing() -> None:
    """A desktop at rest: four packets a report, and three minutes are no thousand."""
    idle = Stream(20, 1, packets=4)
    assert [idle.report() for _ in range(240)] == [20] * 240


@pytest.mark.parametrize(("packets", "percent"), [(CALM_PACKETS - 1, 20), (CALM_PACKETS, 18)])
def test_a_step_takes_a_thousand_packets_without_loss(packets: int, percent: int) -> None:
    fec = AdaptiveFec(20, 1)
    assert fec.follow(0, 5000) == 20
    assert fec.follow(0, 5000 + packets) == percent


def test_a_loss_begins_the_evidence_anew() -> None:
    fec = AdaptiveFec(20, 1)
    fec.follow(0, 0)
    assert fec.follow(1, CALM_PACKETS - 1) == 20
    assert fec.follow(0, 2 * CALM_PACKETS) == 20
    assert fec.follow(0, 3 * CALM_PACKETS - 1) == 20
    assert fec.follow(0, 3 * CALM_PACKETS) == 18


def test_one_report_lowers_one_step_however_much_was_sent() -> None:
    fec = AdaptiveFec(20, 1)
    fec.follow(0, 0)
    assert fec.follow(0, 100 * CALM_PACKETS) == 18


def test_steady_loss_keeps_what_there_is() -> None:
    stream = Stream(20, 1)
    assert {stream.report(50_000) for _ in range(60)} == {20}


def test_no_report_leads_beyond_the_cap() -> None:
    assert Stream(20, 20).report(2**32 - 1) == MAX_FEC_PERCENT


def test_a_floor_that_is_raised_holds_from_the_next_report_on() -> None:
    stream = Stream(20, 1)
    stream.fec.floor = 30
    assert stream.report() == 30


def test_fixed_fec_follows_no_report() -> None:
    fixed = FecChoice(20, None)
    assert fixed.reported(300_000, 5000) is None
    assert fixed.change(20, None) is None
    assert fixed.change(35, None) == 35


def test_following_ends_at_once_at_the_percentage_that_was_asked_for() -> None:
    choice = FecChoice(20, 20)
    assert choice.reported(300_000, 5000) == 43
    assert choice.change(20, None) == 20
    assert choice.reported(300_000, 6000) is None


def test_following_can_begin_in_a_running_stream() -> None:
    choice = FecChoice(20, None)
    assert choice.change(20, 20) is None
    assert choice.reported(300_000, 5000) == 43


def test_another_percentage_begins_anew_and_another_floor_does_not() -> None:
    choice = FecChoice(20, 20)
    assert choice.reported(300_000, 5000) == 43
    assert choice.change(20, 25) is None
    assert choice.reported(0, 5000) == 43
    assert choice.change(30, 30) == 30
    assert choice.reported(0, 5000) == 30


@pytest.mark.parametrize(
    ("fields", "floor"),
    [
        ({}, None),
        ({"fec_min_percent": 5}, None),
        ({"adaptive_fec": True}, 20),
        ({"adaptive_fec": True, "fec_percent": 35}, 35),
        ({"adaptive_fec": True, "fec_min_percent": 0}, 0),
        ({"adaptive_fec": True, "fec_percent": 35, "fec_min_percent": 5}, 5),
    ],
)
def test_the_floor_is_what_was_asked_for_unless_another_one_is_named(
    fields: dict[str, Any], floor: int | None
) -> None:
    assert HostConfig(**fields).fec_floor_percent == floor
