"""A frame marker is read right or not at all, whatever happens to the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from punktfunk.media import frame_marker, marker_layout
from punktfunk.media.frame_marker import MarkerReading

readings = st.builds(
    MarkerReading, st.integers(0, 2**32 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**16 - 1)
)
_PLACE = marker_layout.layout(1280, 64)


def _drawn(reading: MarkerReading) -> np.ndarray:
    luma = np.full((64, 1280), 90, np.uint8)
    frame_marker.draw(luma, frame=reading.frame, time_us=reading.time_us, tag=reading.tag)
    return luma


def _invert(luma: np.ndarray, cell: int) -> None:
    row, column = divmod(cell, marker_layout.COLUMNS)
    top, left = 16 * (row + 1), 16 * (column + 1)
    box = luma[top : top + 16, left : left + 16]
    box[...] = 251 - box  # 16 and 235 change places


@given(readings, st.sets(st.integers(0, marker_layout.CELLS - 1), min_size=1, max_size=3))
def test_up_to_three_wrong_cells_are_never_misread(reading: MarkerReading, wrong: set[int]) -> None:
    luma = _drawn(reading)
    for cell in wrong:
        _invert(luma, cell)
    assert frame_marker.read(luma) is None


@given(readings, st.integers(0, marker_layout.CELLS - 16), st.integers(1, 2**16 - 1))
def test_a_burst_within_sixteen_cells_is_never_misread(
    reading: MarkerReading, first: int, pattern: int
) -> None:
    luma = _drawn(reading)
    for offset in range(16):
        if pattern >> offset & 1:
            _invert(luma, first + offset)
    assert frame_marker.read(luma) is None


@given(readings, st.integers(0, 2**32 - 1), st.floats(0, 60))
def test_noise_of_any_strength_never_gives_a_wrong_reading(
    reading: MarkerReading, seed: int, deviation: float
) -> None:
    luma = _drawn(reading)
    noise = np.random.default_rng(seed).normal(0, deviation, luma.shape)
    noisy = np.clip(luma + noise, 0, 255).astype(np.uint8)
    # Up to this deviation the mean of 64 pixels stays 14 of its own deviations away from the threshold.
    assert frame_marker.read(noisy) == reading


@pytest.mark.parametrize("deviation", [80, 150, 400])
def test_noise_that_drowns_whole_cells_gives_the_truth_or_nothing(deviation: int) -> None:
    """Damage beyond what the CRC surely catches slips through once in 2^16: the seed is fixed, not drawn."""
    rng = np.random.default_rng([2004, deviation])
    area = (slice(16, 48), slice(16, 16 + 16 * marker_layout.COLUMNS))
    read = 0
    for _ in range(1000):
        reading = MarkerReading(*(int(rng.integers(limit)) for limit in (2**32, 2**48, 2**16)))
        luma = _drawn(reading)
        # One value a cell, so that whole cells flip, as concealment and starved blocks make them do.
        noise = rng.normal(0, deviation, (2, marker_layout.COLUMNS)).repeat(16, 0).repeat(16, 1)
        luma[area] = np.clip(luma[area] + noise, 0, 255).astype(np.uint8)
        result = frame_marker.read(luma)
        assert result in {None, reading}
        read += result is not None
    assert read < 1000  # or the noise drowned nothing and the test showed nothing


@given(st.integers(0, 2**32 - 1))
def test_a_picture_of_noise_carries_no_frame_marker(seed: int) -> None:
    luma = np.random.default_rng(seed).integers(0, 256, (64, 1280), dtype=np.uint8)
    assert frame_marker.read(luma) is None
