"""The changed rows of a picture alone, converted into a frame that has the others from the picture before.

A desktop mostly changes a little: a letter, a clock, a film in its window. What a conversion costs is its area.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import av
from av.video.reformatter import Interpolation, VideoReformatter

from punktfunk.desktop.pipewire.buffers import Rectangle
from punktfunk.media.conversion import destination
from punktfunk.media.planes import Pixels, plane_view
from punktfunk.media.types import BT709, PIXEL_FORMAT, Colours

_STEP: Final = 64
"""Rows: bands of few heights, each of which has a conversion set up for it."""
_MARGIN: Final = 8
"""Rows that are converted on either side and left out: the conversion looks at neighbours."""
_REACH: Final = 2
"""Rows: a sample of chroma is made of rows above and below its own, too."""
_LARGEST_SHARE: Final = 0.5
"""Of the picture; a whole one is converted by two threads, and needs no copy of the one before."""


class Band(NamedTuple):
    """Rows of a picture from an even one to before an even one."""

    top: int
    bottom: int


class BandConverter:
    """Converts bands of pictures that are not scaled."""

    def __init__(self, colours: Colours = BT709) -> None:
        self._destination = destination(colours)
        self._reformatters: dict[int, VideoReformatter] = {}

    def convert(self, pixels: Pixels, name: str, band: Band, frame: av.VideoFrame) -> None:
        """Convert the rows of a picture in FFmpeg's format ``name`` into those of a frame of its size."""
        if band.top == band.bottom:
            return
        height, width = pixels.shape[:2]
        top, bottom = rows_of(band, height)
        view = av.VideoFrame.from_numpy_buffer(pixels[top:bottom], format=name)
        reformatter = self._reformatters.setdefault(bottom - top, VideoReformatter())
        converted = reformatter.reformat(
            view,
            width=width,
            height=bottom - top,
            format=PIXEL_FORMAT,
            **self._destination,
            interpolation=Interpolation.BILINEAR,
        )
        for index, step in enumerate((1, 2, 2)):
            rows = slice((band.top - top) // step, (band.bottom - top) // step)
            plane_view(frame, index)[band.top // step : band.bottom // step] = plane_view(converted, index)[
                rows
            ]


def rows_of(band: Band, height: int) -> Band:
    """Return the rows of a picture that are read for a conversion of some of them."""
    return Band(max(0, band.top - _MARGIN), min(height, band.bottom + _MARGIN))


def band_of(damage: Iterable[Rectangle] | None, height: int) -> Band | None:
    """Return the rows that have changed; None where so much has that the picture is better converted whole."""
    if damage is None or height % 2:
        return None
    listed = list(damage)
    if not listed:
        return Band(0, 0)
    first = min(each.y for each in listed) - _REACH
    end = max(each.y + each.height for each in listed) + _REACH
    top, bottom = max(0, first // _STEP * _STEP), min(height, -(-end // _STEP) * _STEP)
    return Band(top, bottom) if bottom - top <= height * _LARGEST_SHARE else None
