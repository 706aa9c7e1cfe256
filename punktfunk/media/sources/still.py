"""The last picture of a source that has gone, dark and with a line of text on it, until there is another source.

Whoever watches is told by the one thing that every client of every wire shows.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from punktfunk.clock import monotonic_ns
from punktfunk.errors import MediaError
from punktfunk.media.conversion import in_memory
from punktfunk.media.planes import plane_view
from punktfunk.media.types import PIXEL_FORMAT, RawFrame

WORDS: Final = "THE DESKTOP HAS GONE - WAITING FOR IT"
_PERIOD_S: Final = 0.1
"""Between two pictures: what keeps a stream alive on which nothing moves."""
_ROWS: Final = 7
_COLUMNS: Final = 5
_GLYPHS: Final = {
    " ": ".....|.....|.....|.....|.....|.....|.....",
    "-": ".....|.....|.....|#####|.....|.....|.....",
    "A": ".###.|#...#|#...#|#####|#...#|#...#|#...#",
    "D": "####.|#...#|#...#|#...#|#...#|#...#|####.",
    "E": "#####|#....|#....|####.|#....|#....|#####",
    "F": "#####|#....|#....|####.|#....|#....|#....",
    "G": ".###.|#...#|#....|#.###|#...#|#...#|.###.",
    "H": "#...#|#...#|#...#|#####|#...#|#...#|#...#",
    "I": ".###.|..#..|..#..|..#..|..#..|..#..|.###.",
    "K": "#...#|#..#.|#.#..|##...|#.#..|#..#.|#...#",
    "N": "#...#|##..#|#.#.#|#..##|#...#|#...#|#...#",
    "O": ".###.|#...#|#...#|#...#|#...#|#...#|.###.",
    "P": "####.|#...#|#...#|####.|#....|#....|#....",
    "R": "####.|#...#|#...#|####.|#.#..|#..#.|#...#",
    "S": ".####|#....|#....|.###.|....#|....#|####.",
    "T": "#####|..#..|..#..|..#..|..#..|..#..|..#..",
    "W": "#...#|#...#|#...#|#.#.#|#.#.#|##.##|#...#",
}
"""Capitals of 5 by 7 dots: those of :data:`WORDS`."""


class StillSource:
    """A :class:`~punktfunk.media.VideoSource` of one picture; ``last`` was the last one of the source before."""

    self_paced = True

    def __init__(self, last: RawFrame, words: str = WORDS) -> None:
        self._shown = 0
        self._picture = _copy(last)
        luma = plane_view(self._picture, 0)
        luma[:] = luma // 4 + 12
        if words:
            self._write(luma, words)

    @property
    def counters(self) -> Mapping[str, int]:
        """``still``: pictures that were shown in place of those that did not come."""
        return {"still": self._shown}

    def capture(self) -> RawFrame:
        """Wait a tenth of a second and return the picture, which has no frame marker to be read."""
        time.sleep(_PERIOD_S)
        self._shown += 1
        now_ns = monotonic_ns()
        return RawFrame(self._picture, -1, now_ns, now_ns)

    def close(self) -> None:
        """Do nothing: the picture is freed with this."""

    @staticmethod
    def _write(luma: NDArray[np.uint8], words: str) -> None:
        """Put the text in the middle, as large as fits in three quarters of the width; nothing where none does."""
        height, width = luma.shape
        text = _dots(words)
        scale = min(width * 3 // 4 // text.shape[1], height // 2 // _ROWS)
        if scale < 1:
            return
        large = np.kron(text, np.ones((scale, scale), np.bool_))
        top, left = (height - large.shape[0]) // 2, (width - large.shape[1]) // 2
        luma[top : top + large.shape[0], left : left + large.shape[1]][large] = 235


def _copy(last: RawFrame) -> av.VideoFrame:
    """Return a copy of a picture, a black one of its size where it lies in a DMA-BUF that cannot be read."""
    if last.dma_buf is not None:
        with contextlib.suppress(MediaError):
            return in_memory(last.dma_buf)
    copy = av.VideoFrame(last.content.width, last.content.height, PIXEL_FORMAT)
    for index in range(3):
        black = 128 if index else 16
        plane_view(copy, index)[:] = black if last.dma_buf is not None else plane_view(last.picture, index)
    return copy


def _dots(words: str) -> NDArray[np.bool_]:
    """Return the text as dots, a column between two letters."""
    dots = np.zeros((_ROWS, len(words) * (_COLUMNS + 1)), np.bool_)
    for at, letter in enumerate(words):
        for row, line in enumerate(_GLYPHS[letter].split("|")):
            begin = at * (_COLUMNS + 1)
            dots[row, begin : begin + _COLUMNS] = [dot == "#" for dot in line[:_COLUMNS]]
    return dots
