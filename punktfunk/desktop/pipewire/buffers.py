"""What comes along with each picture of a producer: looked at only within its bounds.

Everything here is the producer's word: chunks and metas lie in shared memory and may change while they are read. So
they are read once, and checked as copied. Not here: the memory of the pictures (``pictures``).
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from punktfunk.desktop.pipewire import library
from punktfunk.desktop.pipewire.formats import (
    BITMAP_BYTES,
    CURSOR_BYTES,
    FFMPEG_FORMATS,
    HEADER_BYTES,
    MAX_CURSOR_SIDE,
    META_CURSOR,
    META_HEADER,
    META_VIDEO_CROP,
    META_VIDEO_DAMAGE,
    REGION_BYTES,
    VideoFormat,
)
from punktfunk.media.planes import Pixels, packed_view

_MAX_METAS: Final = 32
_MAX_DAMAGE: Final = 64
_HEADER: Final = struct.Struct("=IIqqQ")
_REGION: Final = struct.Struct("=iiII")
_CURSOR: Final = struct.Struct("=IIiiiiI")
_BITMAP: Final = struct.Struct("=IIIiI")


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A part of a picture."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class CursorBitmap:
    """What a pointer looks like, with premultiplied alpha."""

    pixels: Pixels
    """Red, green, blue, alpha."""
    hot_x: int = 0
    """Which of them is at the pointer's place; said with the bitmap, and not again with each move."""
    hot_y: int = 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the pointer is; ``bitmap`` is what it looks like from now on, None: as before."""

    visible: bool
    x: int = 0
    y: int = 0
    bitmap: CursorBitmap | None = None

    def after(self, former: Cursor | None) -> Cursor:
        """Return the same with what was said before and has not been seen yet."""
        if self.bitmap is not None or former is None or former.bitmap is None:
            return self
        return replace(self, bitmap=former.bitmap)


@dataclass(frozen=True, slots=True)
class Companions:
    """What came along with a picture."""

    stamp_ns: int
    """When it was made (CLOCK_MONOTONIC); 0 where nothing is said of it."""
    sequence: int
    corrupted: bool
    crop: Rectangle | None
    """The part that is to be shown; None: all of it."""
    damage: tuple[Rectangle, ...] | None
    """What has changed since the picture before; None where nothing is said of it."""
    cursor: Cursor | None
    """None where nothing is said of it."""


def copied_chunks(buffer: library.SpaBuffer, count: int) -> list[library.Chunk]:
    """Return copies of the first chunks, which their producer cannot change any more; empty ones for want of any."""
    there = min(buffer.n_datas, count) if buffer.datas else 0
    return [_copied_chunk(buffer.datas[number]) for number in range(there)] + [library.Chunk()] * (
        count - there
    )


def _copied_chunk(data: library.Data) -> library.Chunk:
    return library.Chunk.from_buffer_copy(data.chunk.contents) if data.chunk else library.Chunk()


def companions(buffer: library.SpaBuffer, video: VideoFormat) -> Companions:
    """Return what came along with a picture of that size, as far as it makes sense."""
    metas = _metas(buffer)
    flags, stamp_ns, sequence = 0, 0, 0
    header = _part(metas.get(META_HEADER), 0, HEADER_BYTES)
    if header:
        flags, _, stamp_ns, _, sequence = _HEADER.unpack(header)
    crop = _part(metas.get(META_VIDEO_CROP), 0, REGION_BYTES)
    return Companions(
        max(0, stamp_ns),
        sequence,
        bool(flags & _HEADER_CORRUPTED),
        _crop(crop, video),
        _damage(metas.get(META_VIDEO_DAMAGE), video),
        _cursor(metas.get(META_CURSOR)),
    )


def _metas(buffer: library.SpaBuffer) -> dict[int, library.Meta]:
    if not buffer.metas:
        return {}
    found = (buffer.metas[number] for number in range(min(buffer.n_metas, _MAX_METAS)))
    return {meta.type: meta for meta in found if meta.data}


def _part(meta: library.Meta | None, offset: int, length: int) -> bytes:
    """Return a copy of a part of a meta; nothing where it does not lie wholly within."""
    if meta is None or offset + length > meta.size:
        return b""
    return ctypes.string_at(meta.data + offset, length)


def _inside(region: bytes, video: VideoFormat) -> Rectangle | None:
    """Return what of a region lies within the picture; None for nothing."""
    x, y, width, height = _REGION.unpack(region)
    left, top = min(max(x, 0), video.width), min(max(y, 0), video.height)
    right, bottom = min(max(x + width, left), video.width), min(max(y + height, top), video.height)
    if left == right or top == bottom:
        return None
    return Rectangle(left, top, right - left, bottom - top)


def _crop(region: bytes, video: VideoFormat) -> Rectangle | None:
    """Return the part of a picture that is to be shown; None for all of it."""
    part = _inside(region, video) if region else None
    return None if part == Rectangle(0, 0, video.width, video.height) else part


def _damage(meta: library.Meta | None, video: VideoFormat) -> tuple[Rectangle, ...] | None:
    """Return what has changed, None where that is not said; a list ends with an empty one, or with the meta."""
    if meta is None:
        return None
    count = min(meta.size // REGION_BYTES, _MAX_DAMAGE)
    listed = _part(meta, 0, count * REGION_BYTES)
    changed: list[Rectangle] = []
    for at in range(0, len(listed), REGION_BYTES):
        region = listed[at : at + REGION_BYTES]
        if not any(_REGION.unpack(region)[2:]):
            # Mutter says nothing of its virtual monitors by saying that nothing has changed.
            return tuple(changed) or None
        if (part := _inside(region, video)) is not None:
            changed.append(part)
    # There may be more than there was room for.
    return (Rectangle(0, 0, video.width, video.height),)


def _cursor(meta: library.Meta | None) -> Cursor | None:
    head = _part(meta, 0, CURSOR_BYTES)
    if not head:
        return None
    identity, _, x, y, hot_x, hot_y, offset = _CURSOR.unpack(head)
    if identity == 0:
        return Cursor(visible=False)
    return Cursor(True, x, y, _bitmap(meta, offset, (hot_x, hot_y)) if offset else None)


def _bitmap(meta: library.Meta | None, offset: int, hot: tuple[int, int]) -> CursorBitmap | None:
    """Return the bitmap at ``offset``; None where it is none that can be shown. An empty one hides the pointer."""
    head = _part(meta, offset, BITMAP_BYTES)
    if not head:
        return None
    kind, width, height, stride, start = _BITMAP.unpack(head)
    if width == 0 or height == 0:
        return CursorBitmap(np.zeros((0, 0, 4), np.uint8))
    stride = stride or width * 4
    name = FFMPEG_FORMATS.get(kind)
    if name is None or max(width, height) > MAX_CURSOR_SIDE or not width * 4 <= stride <= MAX_CURSOR_SIDE * 4:
        return None
    rows = _part(meta, offset + start, stride * (height - 1) + width * 4)
    if not rows:
        return None
    pixels = packed_view(rows, 0, width, height, stride)
    order = [2, 1, 0, 3] if name == "bgra" else [0, 1, 2, 3]
    return CursorBitmap(pixels[..., order], *hot)


_HEADER_CORRUPTED: Final = 1 << 1
