"""The frame marker: what is drawn is read, and nothing else is."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from punktfunk.errors import MediaError
from punktfunk.media import frame_marker, marker_layout
from punktfunk.media.frame_marker import MarkerReading


def _plane(width: int = 1280, height: int = 720, level: int = 90) -> np.ndarray:
    return np.full((height, width), level, np.uint8)


@pytest.mark.parametrize("size", [(1280, 720), (928, 64), (926, 720), (640, 360), (464, 32), (3840, 2160)])
def test_what_is_drawn_is_read_at_every_size(size: tuple[int, int]) -> None:
    luma = _plane(*size)
    for reading in (
        MarkerReading(0, 0, 0),
        MarkerReading(2**32 - 1, 2**48 - 1, 2**16 - 1),
        MarkerReading(123_456, 98_765_432_109, 0xBEEF),
    ):
        frame_marker.draw(luma, frame=reading.frame, time_us=reading.time_us, tag=reading.tag)
        assert frame_marker.read(luma) == reading


def test_values_wrap_at_their_widths() -> None:
    luma = _plane()
    frame_marker.draw(luma, frame=2**32 + 5, time_us=2**48 + 6, tag=2**16 + 7)
    assert frame_marker.read(luma) == MarkerReading(5, 6, 7)


def test_drawing_touches_its_box_only() -> None:
    luma = _plane(level=201)
    frame_marker.draw(luma, frame=2**32 - 1, time_us=2**48 - 1, tag=2**16 - 1)
    place = marker_layout.layout(1280, 720)
    assert (place.cell, place.width, place.height) == (16, 928, 64)
    assert (luma[place.height :] == 201).all()
    assert (luma[:, place.width :] == 201).all()
    assert set(np.unique(luma[: place.height, : place.width])) == {frame_marker.BLACK, frame_marker.WHITE}


def test_the_strip_lies_in_the_pixels_as_documented() -> None:
    """Hold the format of docs/explanation/test-card.md: bit order, rows, CRC and the margin of a cell."""
    luma = _plane()
    frame_marker.draw(luma, frame=0x80000001, time_us=0x123456789ABC, tag=0xF00D)
    expected = bytes.fromhex("80000001123456789abcf00d")
    expected += _crc16(expected).to_bytes(2, "big")
    bits = [byte >> shift & 1 for byte in expected for shift in range(7, -1, -1)]
    for number, bit in enumerate(bits):
        row, column = divmod(number, 56)
        cell = luma[16 + 16 * row : 32 + 16 * row, 16 + 16 * column : 32 + 16 * column]
        assert (cell[2:14, 2:14] == (235 if bit else 16)).all(), f"cell {number}"
        assert cell.sum() == cell[2:14, 2:14].sum() + 16 * (256 - 144), f"margin of cell {number}"


def _crc16(data: bytes) -> int:
    """Compute CRC-16/IBM-3740 bit by bit, independently of the implementation."""
    register = 0xFFFF
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1 ^ 0x1021 if register & 0x8000 else register << 1) & 0xFFFF
    return register


def test_the_crc_is_the_catalogued_one() -> None:
    assert _crc16(b"123456789") == 0x29B1  # check value of CRC-16/IBM-3740


@pytest.mark.parametrize("level", [0, 16, 126, 127, 235, 255])
def test_a_plain_picture_carries_no_frame_marker(level: int) -> None:
    assert frame_marker.read(_plane(level=level)) is None


def test_a_bright_quiet_zone_is_no_frame_marker() -> None:
    luma = _plane()
    frame_marker.draw(luma, frame=1, time_us=2)
    luma[0:16, 400:416] = 235
    assert frame_marker.read(luma) is None


def test_two_frames_spliced_between_the_rows_are_not_read() -> None:
    old, new = _plane(), _plane()
    frame_marker.draw(old, frame=41, time_us=1_000_000)
    frame_marker.draw(new, frame=42, time_us=1_016_667)
    new[32:48] = old[32:48]
    assert frame_marker.read(new) is None


def test_a_picture_too_small_for_the_strip_is_refused_with_the_least_size() -> None:
    with pytest.raises(MediaError) as raised:
        frame_marker.draw(_plane(400, 300), frame=0, time_us=0)
    assert "464x32" in raised.value.hint
    assert frame_marker.read(_plane(400, 300)) is None


def test_a_strided_view_is_drawn_and_read_in_place() -> None:
    padded = np.zeros((720, 1344), np.uint8)
    view = padded[:, :1280]
    frame_marker.draw(view, frame=77, time_us=88, tag=99)
    assert frame_marker.read(view) == MarkerReading(77, 88, 99)
    assert (padded[:, 1280:] == 0).all()


def test_a_stream_that_changes_its_size_with_every_picture_is_not_remembered() -> None:
    """Sizes are the peer's to choose: what is kept of them has a bound."""
    tracemalloc.start()
    try:
        for width in range(464, 664):
            marker_layout.layout(width, 64)
        before, _ = tracemalloc.get_traced_memory()
        for width in range(664, 4664):
            marker_layout.layout(width, 64)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4000
