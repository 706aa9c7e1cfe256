"""Calibration on one stream: few alarms on equals, planted changes caught, short streams said to be short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.analysis import calibrate, records
from tests.support.noise import remembering


def noisy(one_stream: Any, frames: int) -> records.Records:
    """A stream whose encoder is slowed by autocorrelated load and slow drift, all later stamps moved along."""
    table = one_stream(5, frames=frames, decoded=True).table
    rng = np.random.default_rng(3)
    load = np.exp(0.02 * remembering(rng.normal(size=frames), 0.98) + np.linspace(0, 0.2, frames))
    slower = ((table["encode_end_ns"] - table["encode_begin_ns"]) * (load - 1)).astype(np.int64)
    for name in records.STAMPS[records.STAMPS.index("encode_end_ns") :]:
        table[name] = np.where(table[name] != -1, table[name] + slower, -1)
    return table


def test_the_gate_is_quiet_on_equals_and_names_what_was_planted(one_stream: Any) -> None:
    found = calibrate.calibrate(noisy(one_stream, 60 * 120), comparisons=20)
    assert found.pairs == 60
    assert found.false_alarms <= 1
    assert set(found.caught) >= {"encode", "network", "decode"}
    assert found.caught["network"] == 1.0
    for name, share in found.caught.items():
        if found.detectable[name] <= 0.05:
            assert share >= 0.8, name
    assert "of 20 comparisons of equals were flagged" in calibrate.text(found, 0.05)


def test_a_short_stream_sees_nothing_and_says_how_much_would_do(one_stream: Any) -> None:
    found = calibrate.calibrate(noisy(one_stream, 600), comparisons=5)
    assert found.false_alarms == 0
    assert all(share == 0.0 for share in found.caught.values())
    assert all(np.isinf(smallest) for smallest in found.detectable.values())
    assert min(found.pairs_needed.values()) > 5
    assert "nothing" in calibrate.text(found, 0.05)


def test_segments_are_shared_by_all_stages_and_lost_frames_leave_gaps_in_their_own_stage_only(
    one_stream: Any,
) -> None:
    table = one_stream(1, frames=600, decoded=True).table
    for name in ("complete_ns", "released_ns", "decode_end_ns"):
        table[name][120:180] = -1
    medians = calibrate.segment_medians(table)
    assert {column.size for column in medians.values()} == {10}
    assert np.flatnonzero(np.isnan(medians["decode"])).tolist() == [2]
    assert not np.isnan(medians["encode"]).any()
    assert len(calibrate.relabelled(medians, 1)["decode"]) == 4
    assert len(calibrate.relabelled(medians, 1)["encode"]) == 5


def test_planting_slows_b_and_only_b(one_stream: Any) -> None:
    medians = calibrate.segment_medians(one_stream(1, frames=1200, decoded=True).table)
    plain, slowed = calibrate.relabelled(medians, 7), calibrate.relabelled(medians, 7, {"decode": 1.05})
    assert plain["encode"] == slowed["encode"]
    for (a, b), (same, more) in zip(plain["decode"], slowed["decode"], strict=True):
        assert a == same
        assert more == pytest.approx(b * 1.05)
    assert calibrate.relabelled({}, 1) == {}
