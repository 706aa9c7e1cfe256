"""The pointer where a producer tells it beside the picture: drawn into the frame, and taken out again when it moves.

So a pointer that moves over a screen that stands still costs neither the producer a picture nor us a conversion.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from punktfunk.desktop.pipewire.buffers import Cursor, CursorBitmap
from punktfunk.media.planes import Plane, plane_view
from punktfunk.media.types import BT709, Colours

_LUMA_SHARES: Final = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Of red and blue in luma (ITU-R BT.601, BT.709, BT.2020); green has the rest."""
_MAX_SIDE: Final = 1024
"""Pixels of the frame; a pointer is cut off there."""

Samples = NDArray[np.floating]


class _Shape(NamedTuple):
    """A bitmap as it is added to planes: alpha from 0 to 1, and what it adds where the plane shows through."""

    alpha: Samples
    planes: tuple[Samples, Samples, Samples]


class Pointer:
    """What the pointer looks like and where it is, in frames of one size that are made of ``source``'s."""

    def __init__(self, width: int, height: int, colours: Colours = BT709) -> None:
        self._size = width, height
        self._colours = colours
        self._source = width, height
        self._cursor = Cursor(visible=False)
        self._bitmap: CursorBitmap | None = None
        self._shape: _Shape | None = None
        self.is_painted = True
        """Off, it is left out of the frames: somebody else draws it."""
        self._beneath: list[tuple[int, tuple[slice, slice], Plane]] = []
        """Number of a plane, place in it, and what was there."""

    @property
    def is_shown(self) -> bool:
        """Whether there is something to draw."""
        there = self._cursor.visible and self._bitmap is not None and self._bitmap.pixels.size > 0
        return there and self.is_painted

    def update(self, cursor: Cursor) -> None:
        """Take note of what is new about it."""
        self._cursor = cursor
        if cursor.bitmap is not None:
            self._bitmap, self._shape = cursor.bitmap, None

    def scale(self, width: int, height: int) -> None:
        """Take note of the size of the pictures that frames are made of: positions are theirs."""
        if (width, height) != self._source:
            self._source, self._shape = (width, height), None

    def forget_frame(self) -> None:
        """Forget what is beneath it: there is a new frame, in which it is not drawn yet."""
        self._beneath.clear()

    def erase(self, frame: av.VideoFrame) -> None:
        """Put back what was there before it was drawn, into that frame or a copy of it."""
        for index, place, before in self._beneath:
            plane_view(frame, index)[place] = before
        self._beneath.clear()

    def draw(self, frame: av.VideoFrame) -> None:
        """Draw it into a frame of YUV 4:2:0 at its place, and take it away from where it was."""
        self.erase(frame)
        if not self.is_shown:
            return
        shape = self._shape = self._shape or self._make_shape()
        assert self._bitmap is not None
        x = (self._cursor.x - self._bitmap.hot_x) * self._size[0] // self._source[0]
        y = (self._cursor.y - self._bitmap.hot_y) * self._size[1] // self._source[1]
        self._blend(frame, 0, shape.planes[0], shape.alpha, x, y)
        # A sample of chroma is of two by two pixels, wherever in them the pointer begins.
        alpha = _halved(shape.alpha, x % 2, y % 2)
        for index in (1, 2):
            self._blend(frame, index, _halved(shape.planes[index], x % 2, y % 2), alpha, x // 2, y // 2)

    def _blend(  # noqa: PLR0917 - private, and called at one place
        self, frame: av.VideoFrame, index: int, added: Samples, alpha: Samples, x: int, y: int
    ) -> None:
        """Blend a shape into the part of a plane that it covers, and keep what was there."""
        plane = plane_view(frame, index)
        height, width = alpha.shape
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, plane.shape[1]), min(y + height, plane.shape[0])
        if left >= right or top >= bottom:
            return
        place = slice(top, bottom), slice(left, right)
        before = plane[place].copy()
        self._beneath.append((index, place, before))
        part = slice(top - y, bottom - y), slice(left - x, right - x)
        plane[place] = np.clip(before * (1 - alpha[part]) + added[part] + 0.5, 0, 255)

    def _make_shape(self) -> _Shape:
        assert self._bitmap is not None
        pixels: Samples = self._scaled(self._bitmap.pixels) / np.float32(255)
        red, green, blue, alpha = (pixels[..., index] for index in range(4))
        red_share, blue_share = _LUMA_SHARES[self._colours.space]
        luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
        black, span, chroma_span = (0, 255, 255) if self._colours.full_range else (16, 219, 224)
        return _Shape(
            alpha,
            (
                luma * span + black * alpha,
                (blue - luma) / (2 * (1 - blue_share)) * chroma_span + 128 * alpha,
                (red - luma) / (2 * (1 - red_share)) * chroma_span + 128 * alpha,
            ),
        )

    def _scaled(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        columns = sampled(width, self._size[0], self._source[0])
        rows = sampled(height, self._size[1], self._source[1])
        return pixels[rows][:, columns]


def sampled(length: int, target: int, source: int) -> NDArray[np.intp]:
    """Return which samples of ``length`` are shown where ``source`` pixels become ``target``."""
    shown = min(max(1, round(length * target / source)), _MAX_SIDE)
    return np.minimum(np.arange(shown) * source // target, length - 1)


def _halved(samples: Samples, odd_x: int, odd_y: int) -> Samples:
    """Return means of two by two, on a grid that begins before the samples where they begin at an odd place."""
    height, width = samples.shape
    even = np.zeros(((height + odd_y + 1) // 2 * 2, (width + odd_x + 1) // 2 * 2), np.float32)
    even[odd_y : odd_y + height, odd_x : odd_x + width] = samples
    means: Samples = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean(axis=(1, 3))
    return means
