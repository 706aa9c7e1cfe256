"""A stream's figures of a second are order statistics of what was recorded, and absent where nothing was."""

from __future__ import annotations

import numpy as np
import pytest

from punktfunk.core._core import FLAG_PROBE
from punktfunk.host.stream.telemetry import STAGES, TOTAL, Telemetry, percentile

STAMPS = [STAGES[0][1], *(end for _, _, end in STAGES)]
SECOND = 1_000_000_000


def records(rows: list[dict[str, int]]) -> dict[str, bytes]:
    names = ["bytes", "status", "flags", *STAMPS]
    return {
        name: np.array([row.get(name, -1 if name in STAMPS else 0) for row in rows], "<i8").tobytes()
        for name in names
    }


def frame(number: int, spans_us: list[int], **other: int) -> dict[str, int]:
    at = 10**12 + number * 16_666_667 + np.cumsum([0, *spans_us]) * 1000
    return {**dict(zip(STAMPS, (int(t) for t in at), strict=True)), "bytes": 1000, **other}


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([7], 50, 7), ([1, 2, 3], 50, 2), ([1, 2, 3, 4], 50, 2), (list(range(1, 101)), 95, 95), ([1, 9], 95, 9)],
)
def test_percentiles_are_values_that_were_observed(values: list[int], percent: int, expected: int) -> None:
    assert percentile(values, percent) == expected


def test_each_stage_has_its_percentiles_and_the_whole_bounds_them() -> None:
    rng = np.random.default_rng(20)
    rows = [frame(n, [int(us) for us in rng.integers(1, 4000, 6)]) for n in range(60)]
    figures = Telemetry(0).sample(records(rows), {"bytes_sent": 90_000}, SECOND)
    assert list(figures.stages) == [*(name for name, _, _ in STAGES), "total"]
    total = figures.stages["total"]
    for name, begin, end in STAGES:
        spans = sorted((row[end] - row[begin]) // 1000 for row in rows)
        assert figures.stages[name] == [spans[29], spans[56], spans[59]]
        assert all(one <= whole for one, whole in zip(figures.stages[name], total, strict=True))
    maxima = sum(figures.stages[name][2] for name, _, _ in STAGES)
    assert total[2] <= maxima + len(STAGES)
    assert figures.rates == {"fps": 60.0, "media_kbps": 480.0, "wire_kbps": 720.0}


def test_a_stage_that_nothing_was_measured_for_is_absent_and_never_zero() -> None:
    synthetic = [
        {**frame(n, [0, 0, 0, 500, 20, 30]), "converted_ns": -1, "encode_begin_ns": -1, "encode_end_ns": -1}
        for n in range(3)
    ]
    figures = Telemetry(0).sample(records(synthetic), {"bytes_sent": 1}, SECOND)
    assert set(figures.stages) == {"queue", "send", "total"}
    nothing = Telemetry(0).sample({}, {"bytes_sent": 0}, SECOND)
    assert nothing.stages == {}
    assert nothing.rates == {"fps": 0.0, "media_kbps": 0.0, "wire_kbps": 0.0}


def test_frames_that_never_left_count_in_no_figure() -> None:
    rows = [frame(0, [1, 1, 1, 1, 1, 1]), {**frame(1, [9999] * 6), "status": 1}]
    figures = Telemetry(0).sample(records(rows), {"bytes_sent": 0}, SECOND)
    assert figures.rates["fps"] == 1.0
    assert figures.stages[TOTAL[0]] == [6, 6, 6]


def test_filler_of_a_speed_test_counts_on_the_wire_only() -> None:
    filler = {
        "bytes": 500_000,
        "flags": FLAG_PROBE,
        "sealed_ns": 1,
        "sent_first_ns": 10**9,
        "sent_last_ns": 2 * 10**9,
    }
    figures = Telemetry(0).sample(records([filler]), {"bytes_sent": 500_000}, SECOND)
    assert figures.stages == {}
    assert figures.rates == {"fps": 0.0, "media_kbps": 0.0, "wire_kbps": 4000.0}


def test_rates_are_about_the_time_since_the_last_sample() -> None:
    telemetry = Telemetry(5 * SECOND)
    telemetry.sample({}, {"bytes_sent": 1000}, 6 * SECOND)
    assert telemetry.sample({}, {"bytes_sent": 3000}, 8 * SECOND).rates["wire_kbps"] == 8.0
