"""A picture that is like the last frame makes none, where that is asked for, and takes no frame from who has one."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import pytest

from punktfunk.desktop.capture.frames import FrameMaker
from punktfunk.errors import MediaError
from punktfunk.media.planes import plane_view
from punktfunk.units import Mode

MODE = Mode(64, 32, 60)


def picture(level: int) -> av.VideoFrame:
    return av.VideoFrame.from_numpy_buffer(np.full((32, 64, 4), level, np.uint8), format="bgra")


def dotted(plane: int, value: int, x: int = 3, y: int = 7) -> Callable[[av.VideoFrame], None]:
    def draw(frame: av.VideoFrame) -> None:
        plane_view(frame, plane)[y, x] = value

    return draw


def nothing(_frame: av.VideoFrame) -> None: ...


def test_a_picture_like_the_last_frame_makes_none_and_another_does() -> None:
    frames = FrameMaker(MODE)
    assert frames.make_if_other(picture(9), 1) is not None, "there was none"
    assert frames.make_if_other(picture(9), 2) is None
    other = frames.make_if_other(picture(99), 3)
    assert other is not None
    assert other.frame == 1, "what makes no frame has no number"
    assert frames.counters["captured"] == 2


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_one_pixel_of_any_plane_is_a_change(plane: int) -> None:
    frames = FrameMaker(MODE)
    frames.make(picture(0), 1)
    assert frames.change_if_other(nothing, 2) is None
    assert frames.change_if_other(dotted(plane, 77), 3) is not None
    assert frames.change_if_other(dotted(plane, 77), 4) is None
    assert frames.change_if_other(dotted(plane, 78), 5) is not None


def test_frames_stay_as_they_were_given_for_two_more_however_many_make_none() -> None:
    frames = FrameMaker(MODE)
    frames.make(picture(0), 1)
    first = frames.change(dotted(0, 100), 2)
    for _ in range(7):
        assert frames.change_if_other(nothing, 3) is None
    second = frames.change(dotted(0, 101), 4)
    for _ in range(7):
        assert frames.change_if_other(nothing, 5) is None
    third = frames.change(dotted(0, 102), 6)
    assert [int(given.luma[7, 3]) for given in (first, second, third)] == [100, 101, 102]


def test_without_a_picture_there_is_nothing_to_change() -> None:
    with pytest.raises(MediaError):
        FrameMaker(MODE).change_if_other(nothing, 1)
