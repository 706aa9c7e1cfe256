"""Pictures of a producer where they lie: the buffers of a stream, whose they are, and what is read of them.

Descriptors, offsets and sizes are the producer's word, and are checked against the memory that the kernel knows of: at
once what lies where, and what a buffer is when it is made. PipeWire closes its descriptors when it takes a buffer away,
whoever reads then; so a buffer has its own, until the last reader lets go.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from punktfunk.desktop.pipewire import library
from punktfunk.desktop.pipewire.buffers import Cursor, Rectangle
from punktfunk.desktop.pipewire.formats import DATA_DMA_BUF, DATA_MEM_FD, VideoFormat
from punktfunk.errors import DmaBufError, MediaError
from punktfunk.media.dma_buf import LINEAR, MAX_PLANES, PACKED, Descriptors, DmaBuf, DmaBufPlane
from punktfunk.media.planes import PIXEL_BYTES, Pixels, packed_bytes, packed_view
from punktfunk.media.shared_memory import MAX_BYTES, Scratch, SharedMemory, open_memory

MAX_RECTANGLES: Final = 256
"""Kept of what has changed in pictures that nobody took; of more, the rectangle around all of them is."""
_ALL_ROWS: Final = slice(None)


class Place(NamedTuple):
    """Where a plane of one picture begins in its memory, and the bytes from one row to the next."""

    offset: int
    stride: int


class PictureBuffer:
    """One buffer of a stream. Its maker is the first holder; views of what was read in it stay valid in any case."""

    def __init__(self, buffer: library.SpaBuffer, video: VideoFormat) -> None:
        """Take the memory of a buffer for pictures of that format; raise MediaError where it has none that can be."""
        if buffer.n_datas < 1 or not buffer.datas:
            raise MediaError("PipeWire gave a buffer without memory")
        self.video = video
        data = buffer.datas[0]
        self.is_dma_buf = data.type == DATA_DMA_BUF
        self._memory: SharedMemory | None = None
        self._sizes: tuple[int, ...] = ()
        self._offsets: tuple[int, ...] = ()
        self._descriptors: Descriptors | None = None
        if self.is_dma_buf:
            self._take_planes([buffer.datas[number] for number in range(min(buffer.n_datas, MAX_PLANES + 1))])
        elif data.type == DATA_MEM_FD:
            self._take_memory(data)
        else:
            raise MediaError(f"PipeWire gave a buffer in memory of the unknown kind {data.type}")

    @property
    def is_copied(self) -> bool:
        """Whether its pictures are read out, as their producer could shorten the memory."""
        return self._memory is not None and self._memory.is_copied

    @property
    def count(self) -> int:
        """How many planes its pictures have."""
        return max(1, len(self._sizes))

    def hold(self) -> None:
        """Keep what is read open until :meth:`let_go`; raise DmaBufError where the buffer has gone."""
        if self._descriptors is not None:
            self._descriptors.hold()

    def let_go(self) -> None:
        """Close what is read unless another holder is left; each calls it once."""
        if self._descriptors is not None:
            self._descriptors.let_go()

    def places(self, chunks: Sequence[library.Chunk]) -> tuple[Place, ...] | None:
        """Return where the picture is that those (copied) chunks speak of; None where it is not all there."""
        if not self.is_dma_buf:
            return self._in_memory(chunks[0])
        row = self.video.width * PIXEL_BYTES
        places = []
        for chunk, before, size in zip(chunks, self._offsets, self._sizes, strict=True):
            place = Place(before + chunk.offset, chunk.stride)
            if place.stride <= 0 or place.offset >= size:
                return None
            if self._is_linear and (
                place.stride < row
                or place.offset + packed_bytes(self.video.width, self.video.height, place.stride) > size
            ):
                return None
            places.append(place)
        return tuple(places)

    def dma_buf(self, places: Sequence[Place]) -> DmaBuf:
        """Return one of its pictures for an importer; the buffer is held meanwhile."""
        assert self._descriptors is not None
        assert self.video.modifier is not None
        described = zip(self._descriptors.numbers, places, self._sizes, strict=True)
        return DmaBuf(
            self.video.width,
            self.video.height,
            self.video.fourcc,
            self.video.modifier,
            tuple(DmaBufPlane(number, *place, size) for number, place, size in described),
            self._descriptors,
        )

    @contextlib.contextmanager
    def reading(
        self, place: Place, scratch: Scratch, *, crop: Rectangle | None = None, rows: slice = _ALL_ROWS
    ) -> Iterator[Pixels]:
        """Give access to the pixels of a picture, of which ``rows`` are wanted: others may be anything.

        With ``crop`` that part alone, all of it. Raises MediaError where the memory has become shorter, and DmaBufError
        where a DMA-BUF cannot be read.
        """
        width, height, stride = self.video.width, self.video.height, place.stride
        if crop is not None:
            rows = slice(crop.y, crop.y + crop.height)
        first, end, _ = rows.indices(height)
        wanted = slice(first * stride, packed_bytes(width, end, stride))
        memory = self._memory or self._mapped()
        length = packed_bytes(width, height, stride)
        with memory.reading(place.offset, length, scratch, wanted) as (buffer, start):
            pixels = packed_view(buffer, start, width, height, stride)
            yield pixels if crop is None else pixels[rows, crop.x : crop.x + crop.width]

    @property
    def _is_linear(self) -> bool:
        return self.video.modifier == LINEAR and self.video.fourcc in PACKED

    def _in_memory(self, chunk: library.Chunk) -> tuple[Place, ...] | None:
        assert self._memory is not None
        row = self.video.width * PIXEL_BYTES
        stride = chunk.stride or row
        needed = packed_bytes(self.video.width, self.video.height, stride)
        if stride < row or chunk.size < needed or chunk.offset + needed > self._memory.size:
            return None
        return (Place(chunk.offset, stride),)

    def _take_memory(self, data: library.Data) -> None:
        if self.video.modifier not in {None, LINEAR}:
            raise MediaError("PipeWire gave pictures in memory where a DMA-BUF was agreed on")
        self._memory = open_memory(data.fd, data.mapoffset, data.maxsize)
        if self._memory.is_copied:
            # It is read by its descriptor each time, which has to be our own.
            with _closed_on_error(Descriptors([data.fd])) as kept:
                self._memory = open_memory(kept.numbers[0], data.mapoffset, data.maxsize)
            self._descriptors = kept

    def _take_planes(self, datas: Sequence[library.Data]) -> None:
        if self.video.modifier is None:
            raise DmaBufError(
                "the desktop gives its pictures as DMA-BUFs, which were not agreed on",
                "let it copy them into memory, or capture it in another way",
            )
        if len(datas) > MAX_PLANES or any(data.type != DATA_DMA_BUF for data in datas):
            raise DmaBufError("PipeWire gave a DMA-BUF with planes that no picture has")
        with _closed_on_error(Descriptors(data.fd for data in datas)) as kept:
            self._sizes = tuple(min(os.fstat(number).st_size, MAX_BYTES) for number in kept.numbers)
        self._offsets = tuple(data.mapoffset for data in datas)
        self._descriptors = kept

    def _mapped(self) -> SharedMemory:
        """Map a DMA-BUF, once: importers do without."""
        assert self._descriptors is not None
        number, size = self._descriptors.numbers[0], self._sizes[0]
        memory = self._memory = open_memory(number, 0, size, dma_buf=True)
        return memory


@contextlib.contextmanager
def _closed_on_error(descriptors: Descriptors) -> Iterator[Descriptors]:
    try:
        yield descriptors
    except BaseException:
        descriptors.let_go()
        raise


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the producer where it lies, valid until it is given back."""

    buffer: PictureBuffer = field(repr=False)
    places: tuple[Place, ...]
    crop: Rectangle | None
    """The part that is to be shown; None: all of it."""
    stamp_ns: int
    """When it was made (CLOCK_MONOTONIC), or when it came, where its producer does not say."""
    sequence: int
    damage: tuple[Rectangle, ...] | None
    """What has changed since the picture that was taken before; None: perhaps all of it."""
    handle: int

    @property
    def format(self) -> str:
        """FFmpeg's name of its format, of one that can be read."""
        return PACKED[self.buffer.video.fourcc]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the part that is to be shown."""
        shown = self.buffer.video if self.crop is None else self.crop
        return shown.width, shown.height

    def reading(self, scratch: Scratch, rows: slice = _ALL_ROWS) -> contextlib.AbstractContextManager[Pixels]:
        """Give access to the pixels that are to be shown, of which ``rows`` are wanted; see :class:`PictureBuffer`."""
        return self.buffer.reading(self.places[0], scratch, crop=self.crop, rows=rows)

    def dma_buf(self) -> DmaBuf:
        """Return it for an importer, which does without crop."""
        return self.buffer.dma_buf(self.places)


@dataclass(frozen=True, slots=True)
class Update:
    """What is new: a picture, the pointer, or both."""

    picture: Picture | None
    cursor: Cursor | None


def united(
    first: tuple[Rectangle, ...] | None, second: tuple[Rectangle, ...] | None
) -> tuple[Rectangle, ...] | None:
    """Return all that has changed; ``None`` where that may be anything."""
    if first is None or second is None:
        return None
    together = first + second
    if len(together) <= MAX_RECTANGLES:
        return together
    left, top = min(each.x for each in together), min(each.y for each in together)
    right = max(each.x + each.width for each in together)
    bottom = max(each.y + each.height for each in together)
    return (Rectangle(left, top, right - left, bottom - top),)
