"""The pointer of a capture for who draws it elsewhere: in pixels of the stream's picture, each shape told once.

What a producer tells is in pixels of its own picture and with premultiplied alpha (``pipewire/buffers.py``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from punktfunk.cursor import MAX_SIDE, CursorListener, CursorShape, CursorUpdate
from punktfunk.desktop.capture.pointer import sampled
from punktfunk.desktop.pipewire.buffers import Cursor, CursorBitmap


class CursorReporter:
    """Reports the pointer in frames of one size, while somebody listens. For one thread."""

    def __init__(self, width: int, height: int) -> None:
        self._size = self._source = width, height
        self._cursor: Cursor | None = None
        """As it was told last."""
        self._bitmap: CursorBitmap | None = None
        self._shape: CursorShape | None = None
        """What has been made of the bitmap."""
        self._told: CursorUpdate | None = None
        self._told_shape: CursorShape | None = None
        self._listener: CursorListener | None = None
        self.told = 0
        """Changes that the listener was told of."""

    def listen(self, listener: CursorListener | None) -> None:
        """Report to ``listener`` from now on, beginning with what is known; nobody for ``None``."""
        self._listener = listener
        self._told = self._told_shape = None
        self._tell()

    @property
    def is_told(self) -> bool:
        """Whether the listener draws the pointer: somebody listens, and it is not too large to be told."""
        return self._listener is not None and not self._is_too_large

    def update(self, cursor: Cursor) -> None:
        """Take note of what is new about it, and tell that."""
        self._cursor = cursor
        if cursor.bitmap is not None:
            self._bitmap, self._shape = cursor.bitmap, None
        self._tell()

    def scale(self, width: int, height: int) -> None:
        """Take note of the size of the pictures that frames are made of: what is told is in pixels of the frames."""
        if (width, height) != self._source:
            self._source, self._shape = (width, height), None
            self._tell()

    @property
    def _is_too_large(self) -> bool:
        return self._bitmap is not None and max(self._scaled_sides(self._bitmap)) > MAX_SIDE

    def _tell(self) -> None:
        if self._listener is None or self._cursor is None:
            return
        update = self._as_it_is(self._cursor)
        place, shape = replace(update, shape=None), update.shape
        if shape is not None and shape == self._told_shape:
            shape = None
        if place == self._told and shape is None:
            return
        self._told, self._told_shape = place, shape or self._told_shape
        self.told += 1
        self._listener(replace(place, shape=shape))

    def _as_it_is(self, cursor: Cursor) -> CursorUpdate:
        """Return the pointer in pixels of the frame, with its shape; one that is painted is not to be seen."""
        shown = cursor.visible and self._bitmap is not None and self._bitmap.pixels.size > 0
        if not shown or self._is_too_large:
            return CursorUpdate(visible=False)
        assert self._bitmap is not None
        self._shape = self._shape or self._made(self._bitmap)
        (width, height), (of_width, of_height) = self._size, self._source
        return CursorUpdate(True, cursor.x * width // of_width, cursor.y * height // of_height, self._shape)

    def _scaled_sides(self, bitmap: CursorBitmap) -> tuple[int, int]:
        height, width = bitmap.pixels.shape[:2]
        (to_width, to_height), (of_width, of_height) = self._size, self._source
        return max(1, round(width * to_width / of_width)), max(1, round(height * to_height / of_height))

    def _made(self, bitmap: CursorBitmap) -> CursorShape:
        height, width = bitmap.pixels.shape[:2]
        (to_width, to_height), (of_width, of_height) = self._size, self._source
        rows, columns = sampled(height, to_height, of_height), sampled(width, to_width, of_width)
        return CursorShape(
            len(columns),
            len(rows),
            min(max(bitmap.hot_x * to_width // of_width, 0), len(columns) - 1),
            min(max(bitmap.hot_y * to_height // of_height, 0), len(rows) - 1),
            straight(bitmap.pixels[rows][:, columns]).tobytes(),
        )


def straight(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pixels (height, width, RGBA) whose colours are not multiplied by their alpha any more, rounded."""
    alpha = pixels[..., 3:].astype(np.uint32)
    colours = (pixels[..., :3] * np.uint32(255) + alpha // 2) // np.maximum(alpha, 1)
    made = np.empty(pixels.shape, np.uint8)
    made[..., :3] = np.where(alpha, np.minimum(colours, 255), 0)
    made[..., 3:] = pixels[..., 3:]
    return made
