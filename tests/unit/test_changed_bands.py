"""Rows that have changed are converted alone, and the frame is what a conversion of the whole picture would give."""

from __future__ import annotations

import av
import numpy as np
import pytest

from punktfunk.desktop.capture.bands import Band, BandConverter, band_of
from punktfunk.desktop.capture.frames import FrameMaker, copied
from punktfunk.desktop.pipewire.buffers import Rectangle
from punktfunk.media.planes import plane_view
from punktfunk.media.types import Colours
from punktfunk.units import Mode

MODE = Mode(320, 200, 60)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (MODE.height, MODE.width, 4), np.uint8)


def converted(pixels: np.ndarray, colours: Colours) -> av.VideoFrame:
    view = av.VideoFrame.from_numpy_buffer(pixels, format="bgra")
    return FrameMaker(MODE, colours).make(view, 0).picture


@pytest.mark.parametrize("colours", [Colours(), Colours("bt601", full_range=True)])
@pytest.mark.parametrize(("top", "bottom"), [(0, 64), (64, 128), (128, 200), (0, 200)])
def test_a_band_is_what_it_would_be_in_the_whole_picture(top: int, bottom: int, colours: Colours) -> None:
    before, after = noise(1), noise(1)
    reached = slice(top and top + 2, bottom if bottom == MODE.height else bottom - 2)
    after[reached] = noise(2)[reached]
    frame = copied(converted(before, colours))
    BandConverter(colours).convert(after, "bgra", Band(top, bottom), frame)
    whole = converted(after, colours)
    for index in range(3):
        assert (plane_view(frame, index) == plane_view(whole, index)).all()


@pytest.mark.parametrize(
    ("damage", "height", "band"),
    [
        (None, 1080, None),
        ([], 1080, Band(0, 0)),
        ([Rectangle(5, 70, 10, 10)], 1080, Band(64, 128)),
        ([Rectangle(0, 0, 1, 1), Rectangle(9, 300, 9, 30)], 1080, Band(0, 384)),
        ([Rectangle(0, 0, 1, 1), Rectangle(9, 700, 9, 30)], 1080, None),
        ([Rectangle(0, 1079, 1, 1)], 1080, Band(1024, 1080)),
        ([Rectangle(0, 65, 1, 61)], 1080, Band(0, 128)),
        ([Rectangle(0, 66, 1, 61)], 1080, Band(64, 192)),
        ([Rectangle(0, 0, 1, 1)], 1081, None),
    ],
)
def test_rows_are_taken_together_and_a_large_part_is_no_part(
    damage: list[Rectangle] | None, height: int, band: Band | None
) -> None:
    assert band_of(damage, height) == band


def test_nothing_that_has_changed_changes_nothing() -> None:
    frame = copied(converted(noise(1), Colours()))
    before = plane_view(frame, 0).copy()
    BandConverter().convert(noise(2), "bgra", Band(0, 0), frame)
    assert (plane_view(frame, 0) == before).all()
