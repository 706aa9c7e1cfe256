"""Where the frame marker (:mod:`~punktfunk.media.frame_marker`) stands in a picture, and which have room for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from punktfunk.errors import MediaError

CELLS: Final = 112
ROWS: Final = 2
COLUMNS: Final = CELLS // ROWS
_CELL_SIZES: Final = (16, 8)


@dataclass(frozen=True, slots=True)
class MarkerLayout:
    """Where the frame marker stands in a picture. The outer box, quiet zone included, begins at (0, 0)."""

    cell: int
    """Side of a cell, pixels."""

    @property
    def width(self) -> int:
        """Width of the outer box, pixels."""
        return (COLUMNS + 2) * self.cell

    @property
    def height(self) -> int:
        """Height of the outer box, pixels."""
        return (ROWS + 2) * self.cell


@lru_cache(maxsize=8)
def layout(width: int, height: int) -> MarkerLayout:
    """Return the layout for a picture of that size: the largest cell that fits.

    Raises MediaError when even the smallest does not.
    """
    for cell in _CELL_SIZES:
        candidate = MarkerLayout(cell)
        if candidate.width <= width and candidate.height <= height:
            return candidate
    least = MarkerLayout(_CELL_SIZES[-1])
    raise MediaError(
        f"a picture of {width}x{height} has no room for the frame marker",
        f"use at least {least.width}x{least.height}, or a source without frame marker",
    )
