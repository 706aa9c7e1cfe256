"""Copies of a compositor's pictures: what a buffer lacks of earlier ones, and layouts that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pywayland", reason="pip install 'punktfunk[desktop]'")
from punktfunk.desktop.capture.copies import CopyBuffers, Geometry
from punktfunk.desktop.capture.image_copy import Box
from punktfunk.errors import MediaError

_XRGB = 1


def test_what_a_buffer_lacks_is_the_box_around_all_that_changed() -> None:
    box = Box()
    assert box.within(1280, 720) is None
    box.add(10, 20, 0, 5)
    assert box.within(1280, 720) is None, "nothing has changed"
    box.add(10, 20, 30, 40)
    assert box.within(1280, 720) == (10, 20, 30, 40)
    box.add(0, 700, 5, 100)
    assert box.within(1280, 720) == (0, 20, 40, 700), "and what lies outside of the picture is not asked for"
    assert box.within(1280, 10) is None


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        Geometry(0x20203852, 640, 480, 640),  # "R8  ", one byte a pixel
        Geometry(_XRGB, 0, 480, 0),
        Geometry(_XRGB, 640, 100_000, 2560),
        Geometry(_XRGB, 640, 480, 2556),  # rows that overlap
        Geometry(_XRGB, 640, 480, 2**31),
    ],
)
def test_pictures_that_cannot_lie_in_memory_like_this_are_refused(geometry: Any) -> None:
    buffers = CopyBuffers(None)  # type: ignore[arg-type]  # it is not asked for anything
    with pytest.raises(MediaError):
        buffers.next(geometry)
