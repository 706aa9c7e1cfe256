"""The pointer that is drawn into frames: its colours, its place, its edges, and that nothing of it stays."""

from __future__ import annotations

import av
import numpy as np
import pytest

from punktfunk.desktop.capture.frames import FrameMaker
from punktfunk.desktop.capture.pointer import Pointer
from punktfunk.desktop.pipewire.buffers import Cursor, CursorBitmap
from punktfunk.media.planes import plane_view
from punktfunk.media.types import Colours
from punktfunk.units import Mode

MODE = Mode(64, 48, 60)


def frame_of(colour: tuple[int, int, int], colours: Colours, mode: Mode = MODE) -> av.VideoFrame:
    pixels = np.zeros((mode.height, mode.width, 4), np.uint8)
    pixels[..., :3] = colour
    view = av.VideoFrame.from_numpy_buffer(pixels, format="rgba")
    return FrameMaker(mode, colours).make(view, 0).picture


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    return [plane_view(frame, index).copy() for index in range(3)]


def bitmap(red: int, green: int, blue: int, alpha: int, *, width: int = 6, height: int = 4) -> CursorBitmap:
    return CursorBitmap(np.full((height, width, 4), (red, green, blue, alpha), np.uint8))


@pytest.mark.parametrize("space", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_its_colours_are_those_that_the_picture_around_it_would_have(space: str, full_range: bool) -> None:
    colours = Colours(space, full_range)  # type: ignore[arg-type]
    frame, expected = frame_of((10, 20, 200), colours), frame_of((250, 90, 30), colours)
    pointer = Pointer(MODE.width, MODE.height, colours)
    pointer.update(Cursor(True, 10, 8, bitmap(250, 90, 30, 255)))
    before = planes(frame)
    pointer.draw(frame)
    for now, then, wanted, step in zip(planes(frame), before, planes(expected), (1, 2, 2), strict=True):
        place = slice(8 // step, 12 // step), slice(10 // step, 16 // step)
        assert np.abs(now[place].astype(int) - wanted[place]).max() <= 2
        now[place] = then[place]
        assert (now == then).all(), "and nothing beside it is touched"


def test_half_of_what_is_beneath_shines_through_where_alpha_says_so() -> None:
    frame = frame_of((0, 0, 0), Colours())
    pointer = Pointer(MODE.width, MODE.height)
    pointer.update(Cursor(True, 0, 0, bitmap(128, 128, 128, 128)))
    pointer.draw(frame)
    assert plane_view(frame, 0)[0, 0] == pytest.approx(16 + 110, abs=1)
    assert plane_view(frame, 1)[0, 0] == 128


@pytest.mark.parametrize(
    ("x", "y"), [(-3, -2), (61, 46), (11, 9), (63, 47), (64, 0), (-6, 0), (2**31 - 1, -(2**31)), (-5, 47)]
)
def test_it_is_cut_off_at_the_edges_and_leaves_nothing_when_it_moves_away(x: int, y: int) -> None:
    frame = frame_of((40, 50, 60), Colours())
    before = planes(frame)
    pointer = Pointer(MODE.width, MODE.height)
    pointer.update(Cursor(True, x, y, bitmap(255, 255, 255, 255)))
    pointer.draw(frame)
    seen = int((plane_view(frame, 0) == 235).sum())
    assert seen == max(0, min(x + 6, 64) - max(x, 0)) * max(0, min(y + 4, 48) - max(y, 0))
    pointer.update(Cursor(True, 20, 20))
    pointer.draw(frame)
    assert int((plane_view(frame, 0) == 235).sum()) == 24
    pointer.update(Cursor(visible=False))
    pointer.draw(frame)
    assert all((now == then).all() for now, then in zip(planes(frame), before, strict=True))


def test_in_a_scaled_picture_its_size_and_place_are_scaled_too() -> None:
    frame = frame_of((0, 0, 0), Colours())
    pointer = Pointer(MODE.width, MODE.height)
    pointer.scale(MODE.width * 2, MODE.height * 2)
    pointer.update(Cursor(True, 20, 16, bitmap(255, 255, 255, 255)))
    pointer.draw(frame)
    shown = np.argwhere(plane_view(frame, 0) == 235)
    assert (shown.min(axis=0).tolist(), shown.max(axis=0).tolist()) == ([8, 10], [9, 12])
    tiny = Pointer(MODE.width, MODE.height)
    tiny.scale(1, 1)
    tiny.update(Cursor(True, 0, 0, bitmap(255, 255, 255, 255, width=1024, height=1024)))
    tiny.draw(frame)
    assert (plane_view(frame, 0) == 235).all(), "and grows no further than a frame may be"


def test_its_hot_spot_is_that_of_its_bitmap() -> None:
    frame = frame_of((0, 0, 0), Colours())
    pointer = Pointer(MODE.width, MODE.height)
    pixels = np.full((4, 6, 4), 255, np.uint8)
    pointer.update(Cursor(True, 20, 10, CursorBitmap(pixels, 4, 2)))
    pointer.update(Cursor(True, 30, 20))
    pointer.draw(frame)
    shown = np.argwhere(plane_view(frame, 0) == 235)
    assert (shown.min(axis=0).tolist(), shown.max(axis=0).tolist()) == ([18, 26], [21, 31])


def test_an_empty_bitmap_hides_it() -> None:
    pointer = Pointer(MODE.width, MODE.height)
    pointer.update(Cursor(True, 1, 1, bitmap(1, 1, 1, 1)))
    assert pointer.is_shown
    pointer.update(Cursor(True, 1, 1, CursorBitmap(np.zeros((0, 0, 4), np.uint8))))
    assert not pointer.is_shown
    pointer.draw(frame_of((0, 0, 0), Colours()))
