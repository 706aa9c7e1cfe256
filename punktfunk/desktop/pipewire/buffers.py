"""The memory that a producer's pictures lie in, and what comes along with each: looked at only within its bounds.

Everything here is the producer's word: descriptor, offsets and sizes when a buffer is made, and the chunk and the metas
each time, which lie in shared memory and may change while they are read. So they are read once, and checked as copied.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from punktfunk.desktop.pipewire import library
from punktfunk.desktop.pipewire.formats import (
    BITMAP_BYTES,
    CURSOR_BYTES,
    DATA_DMA_BUF,
    DATA_MEM_FD,
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
from punktfunk.errors import MediaError

Pixels = NDArray[np.uint8]
"""A picture of packed four-byte pixels, shape (height, width, 4)."""

_MAX_BYTES: Final = 1 << 30
"""Of one picture: 16384 × 16384."""
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


class MappedBuffer:
    """One buffer of a stream, its memory mapped for reading; views of it stay valid when it has been closed."""

    def __init__(self, buffer: library.SpaBuffer) -> None:
        """Map the memory; raise MediaError where it is none that can be mapped whole."""
        if buffer.n_datas < 1 or not buffer.datas:
            raise MediaError("PipeWire gave a buffer without memory")
        data = buffer.datas[0]
        if data.type == DATA_DMA_BUF:
            raise MediaError(
                "the desktop gives its pictures as DMA-BUFs only, which nothing here can import",
                "let it copy them into memory, or capture it in another way",
            )
        if data.type != DATA_MEM_FD:
            raise MediaError(f"PipeWire gave a buffer in memory of the unknown kind {data.type}")
        size, offset = data.maxsize, data.mapoffset
        if not 0 < size <= _MAX_BYTES:
            raise MediaError(f"PipeWire gave a buffer of {size} bytes")
        before = offset % mmap.ALLOCATIONGRANULARITY
        try:
            if os.fstat(data.fd).st_size < offset + size:
                raise MediaError("PipeWire gave a buffer that is larger than the memory behind it")
            self._memory = mmap.mmap(
                data.fd, before + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset - before
            )
        except (OSError, ValueError, OverflowError) as error:
            raise MediaError(f"a buffer of PipeWire cannot be mapped: {error}") from error
        self._before, self._size = before, size

    def pixels(self, chunk: library.Chunk, video: VideoFormat) -> Pixels | None:
        """Return the picture that a chunk says is there, a view; None where it is not all there."""
        offset, size, stride = chunk.offset, chunk.size, chunk.stride or video.width * 4
        row = video.width * 4
        needed = stride * (video.height - 1) + row
        if stride < row or size < needed or offset + needed > self._size:
            return None
        shape, start = (video.height, video.width, 4), self._before + offset
        return np.ndarray(shape, np.uint8, self._memory, start, (stride, 4, 1))


def copied_chunk(buffer: library.SpaBuffer) -> library.Chunk:
    """Return a copy of the first chunk, which its producer cannot change any more; an empty one where there is none."""
    if buffer.n_datas < 1 or not buffer.datas or not buffer.datas[0].chunk:
        return library.Chunk()
    return library.Chunk.from_buffer_copy(buffer.datas[0].chunk.contents)


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
    pixels: Pixels = np.ndarray((height, width, 4), np.uint8, rows, 0, (stride, 4, 1))
    order = [2, 1, 0, 3] if name == "bgra" else [0, 1, 2, 3]
    return CursorBitmap(pixels[..., order], *hot)


_HEADER_CORRUPTED: Final = 1 << 1
