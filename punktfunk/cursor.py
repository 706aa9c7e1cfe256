"""The pointer beside the picture: what it looks like and where it is, for whoever draws it where the stream is shown.

A capture tells a :class:`CursorUpdate` in pixels of the stream's picture. Wires encode it at their edge
(``native/messages.py``, ``native/datagrams.py``); processes pass shapes on as :class:`PackedShape`.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MAX_SIDE: Final = 120
"""Pixels of a shape's side (punktfunk/1 section 3.8): what a control message of 65535 bytes has room for. Larger ones
are painted into the picture."""


@dataclass(frozen=True, slots=True)
class CursorShape:
    """What a pointer looks like: ``rgba`` is ``width`` × ``height`` pixels, row by row, alpha not premultiplied.

    The pixel ``hot_x``, ``hot_y`` is at the pointer's place.
    """

    width: int
    height: int
    hot_x: int
    hot_y: int
    rgba: bytes = field(repr=False)

    @property
    def fits(self) -> bool:
        """Whether it may be told: at least a pixel, at most ``MAX_SIDE`` a side, and all of its pixels there."""
        sides = 1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE
        return sides and len(self.rgba) == self.width * self.height * 4


@dataclass(frozen=True, slots=True)
class CursorUpdate:
    """Where the pointer is, in pixels of the picture and perhaps beyond it; without a ``shape`` it looks as before."""

    visible: bool
    x: int = 0
    y: int = 0
    shape: CursorShape | None = None


CursorListener = Callable[[CursorUpdate], None]
"""Is told of each change, in the thread that captures."""


@dataclass(frozen=True, slots=True)
class PackedShape:
    """A shape as text, for the channel between two processes of this program."""

    width: int
    height: int
    hot_x: int
    hot_y: int
    packed: str = field(repr=False)

    @classmethod
    def of(cls, shape: CursorShape) -> PackedShape:
        """Pack a shape; its pixels are mostly alike and become a tenth."""
        text = base64.b64encode(zlib.compress(shape.rgba, 1)).decode()
        return cls(shape.width, shape.height, shape.hot_x, shape.hot_y, text)

    @property
    def shape(self) -> CursorShape:
        """The shape again."""
        rgba = zlib.decompress(base64.b64decode(self.packed))
        return CursorShape(self.width, self.height, self.hot_x, self.hot_y, rgba)
