"""FEC after loss reports: up at once, down slowly, never outside the wire's limits."""

from __future__ import annotations

from itertools import pairwise

from punktfunk.host.adaptive_fec import AdaptiveFec
from punktfunk.native.control import MAX_FEC_PERCENT


def test_a_burst_is_answered_with_the_very_next_frame() -> None:
    fec = AdaptiveFec(1)
    assert fec.follow(100_000) == 15  # 10 % × 1.4 + 1


def test_protection_outlasts_the_calm_between_two_bursts() -> None:
    fec = AdaptiveFec(20)
    assert fec.follow(0) == 18
    calm = [fec.follow(0) for _ in range(3)]  # three seconds
    assert calm == [16, 15, 13]


def test_a_path_that_stays_calm_ends_at_one_percent() -> None:
    fec = AdaptiveFec(20)
    seen = [fec.follow(0) for _ in range(40)]  # half a minute
    assert seen[-1] == 1
    assert all(later <= earlier for earlier, later in pairwise(seen))


def test_steady_loss_holds_what_the_wire_s_formula_asks_for() -> None:
    fec = AdaptiveFec(20)
    for _ in range(60):
        percent = fec.follow(50_000)
    assert percent == 8  # 5 % × 1.4 + 1


def test_no_report_leads_beyond_the_cap() -> None:
    fec = AdaptiveFec(20)
    assert fec.follow(2**32 - 1) == MAX_FEC_PERCENT
