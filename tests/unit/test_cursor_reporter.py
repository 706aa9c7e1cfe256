"""The pointer as a capture tells it: in pixels of the frame, alpha straight, each shape once, none too large."""

from __future__ import annotations

import numpy as np
import pytest

from punktfunk.cursor import MAX_SIDE, CursorUpdate
from punktfunk.desktop.capture.cursor_reporter import CursorReporter, straight
from punktfunk.desktop.pipewire.buffers import Cursor, CursorBitmap


def bitmap(width: int = 6, height: int = 4, hot: tuple[int, int] = (2, 1), value: int = 255) -> CursorBitmap:
    return CursorBitmap(np.full((height, width, 4), value, np.uint8), *hot)


def told_by(reporter: CursorReporter) -> list[CursorUpdate]:
    told: list[CursorUpdate] = []
    reporter.listen(told.append)
    return told


def test_a_shape_is_told_once_and_moves_without_it() -> None:
    reporter = CursorReporter(320, 180)
    told = told_by(reporter)
    assert not told, "nothing is known"
    reporter.update(Cursor(True, 30, 20, bitmap()))
    reporter.update(Cursor(True, 31, 20))
    reporter.update(Cursor(True, 31, 20))
    reporter.update(Cursor(True, 31, 20, bitmap()))
    reporter.update(Cursor(visible=False))
    reporter.update(Cursor(True, 31, 20))
    [first, *rest] = told
    assert first.shape is not None
    shape = first.shape
    assert (shape.width, shape.height, shape.hot_x, shape.hot_y) == (6, 4, 2, 1)
    assert shape.rgba == b"\xff" * 6 * 4 * 4
    assert (first.visible, first.x, first.y) == (True, 30, 20)
    at = CursorUpdate(True, 31, 20)
    assert rest == [at, CursorUpdate(visible=False), at], "what looks and is as before is not told"
    assert reporter.told == 4


def test_who_begins_to_listen_is_told_all_that_is_known() -> None:
    reporter = CursorReporter(320, 180)
    reporter.update(Cursor(True, 30, 20, bitmap()))
    assert not reporter.is_told
    for _ in range(2):
        [known] = told_by(reporter)
        assert (known.x, known.y) == (30, 20)
        assert known.shape is not None
        assert reporter.is_told
    reporter.listen(None)
    assert not reporter.is_told


def test_places_and_shapes_are_in_pixels_of_the_frame_where_the_picture_has_others() -> None:
    reporter = CursorReporter(640, 180)
    told = told_by(reporter)
    reporter.scale(320, 360)
    half = bitmap(8, 8, (7, 7))
    half.pixels[:, 4:] = 0
    reporter.update(Cursor(True, 50, 301, half))
    [update] = told
    shape = update.shape
    assert shape is not None
    assert (update.x, update.y) == (100, 150)
    assert (shape.width, shape.height, shape.hot_x, shape.hot_y) == (16, 4, 14, 3)
    rows = np.frombuffer(shape.rgba, np.uint8).reshape(4, 16, 4)
    assert (rows[:, :8] == 255).all()
    assert not rows[:, 8:].any()
    reporter.scale(640, 180)
    assert told[1].shape is not None
    assert (told[1].x, told[1].y, told[1].shape.width) == (50, 301, 8)


@pytest.mark.parametrize(
    ("width", "height", "too_large"),
    [(MAX_SIDE, MAX_SIDE, False), (MAX_SIDE + 1, 1, True), (1, MAX_SIDE + 1, True)],
)
def test_one_that_is_too_large_is_not_to_be_seen_and_is_painted(
    width: int, height: int, too_large: bool
) -> None:
    reporter = CursorReporter(320, 180)
    told = told_by(reporter)
    reporter.update(Cursor(True, 1, 1, bitmap(2, 2)))
    reporter.update(Cursor(True, 1, 1, bitmap(width, height)))
    assert reporter.is_told is not too_large
    assert told[-1].visible is not too_large
    if too_large:
        assert told[-1] == CursorUpdate(visible=False)
        reporter.update(Cursor(True, 1, 1, bitmap(2, 2)))
        assert reporter.is_told
        assert told[-1] == CursorUpdate(True, 1, 1), "and looks as before"


def test_an_empty_bitmap_hides_it() -> None:
    reporter = CursorReporter(320, 180)
    told = told_by(reporter)
    reporter.update(Cursor(True, 1, 1, CursorBitmap(np.zeros((0, 0, 4), np.uint8))))
    assert told == [CursorUpdate(visible=False)]


def test_colours_are_divided_by_their_alpha_and_nothing_is_left_of_those_without() -> None:
    pixels = np.array([[[64, 32, 0, 128], [10, 20, 30, 255], [9, 9, 9, 0], [200, 0, 1, 100]]], np.uint8)
    assert straight(pixels).tolist() == [
        [[128, 64, 0, 128], [10, 20, 30, 255], [0, 0, 0, 0], [255, 0, 3, 100]]
    ]


@pytest.mark.parametrize(("hot", "kept"), [((-3, 9), (0, 3)), ((2**31 - 1, -(2**31)), (5, 0))])
def test_a_hot_spot_beside_the_shape_is_put_into_it(hot: tuple[int, int], kept: tuple[int, int]) -> None:
    reporter = CursorReporter(320, 180)
    told = told_by(reporter)
    reporter.update(Cursor(True, 0, 0, bitmap(hot=hot)))
    shape = told[0].shape
    assert shape is not None
    assert (shape.hot_x, shape.hot_y) == kept
