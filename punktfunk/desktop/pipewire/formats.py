"""What a consumer of video asks of a producer: format, size and rate, buffers, and what comes along with a picture.

The numbers are those of PipeWire's public headers (``spa/param/format.h``, ``video/raw.h``, ``buffers.h``,
``spa/buffer/meta.h``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from punktfunk.desktop.pipewire.pods import (
    Choice,
    ChoiceKind,
    PodObject,
    Rectangle,
    choice,
    fraction,
    identifier,
    integer,
    long,
    pod_object,
    rectangle,
)
from punktfunk.errors import MediaError
from punktfunk.media.dma_buf import ABGR8888, ARGB8888, LINEAR, NV12, PACKED, XBGR8888, XRGB8888
from punktfunk.media.handover import NO_DMA_BUFS, DmaBufOffers
from punktfunk.units import Mode

PARAM_ENUM_FORMAT: Final = 3
PARAM_FORMAT: Final = 4
PARAM_BUFFERS: Final = 5
PARAM_META: Final = 6

META_HEADER: Final = 1
META_VIDEO_CROP: Final = 2
META_VIDEO_DAMAGE: Final = 3
META_CURSOR: Final = 5

DATA_MEM_FD: Final = 2
DATA_DMA_BUF: Final = 3

DRM_FORMATS: Final[Mapping[int, int]] = {
    8: XRGB8888,
    7: XBGR8888,
    12: ARGB8888,
    11: ABGR8888,
    23: NV12,
}
"""BGRx, RGBx, BGRA, RGBA and NV12, as DRM calls them."""
FFMPEG_FORMATS: Final[Mapping[int, str]] = {
    number: PACKED[code] for number, code in DRM_FORMATS.items() if code in PACKED
}
"""FFmpeg's names of those that are taken in memory."""
MAX_SIDE: Final = 16384

_OBJECT_FORMAT, _OBJECT_BUFFERS, _OBJECT_META = 0x40003, 0x40004, 0x40005
_MEDIA_TYPE, _MEDIA_SUBTYPE, _VIDEO, _RAW = 1, 2, 2, 1
_FORMAT, _MODIFIER, _SIZE, _FRAMERATE, _MAX_FRAMERATE = 0x20001, 0x20002, 0x20003, 0x20004, 0x20005
_MANDATORY, _DO_NOT_FIXATE = 1 << 3, 1 << 4
_BUFFERS, _BLOCKS, _DATA_TYPE = 1, 2, 6
_META_TYPE, _META_SIZE = 1, 2
_MAX_RATE: Final = 1000

HEADER_BYTES: Final = 32
REGION_BYTES: Final = 16
CURSOR_BYTES: Final = 28
BITMAP_BYTES: Final = 20
MAX_CURSOR_SIDE: Final = 1024
"""Mutter attaches no cursor where less than 384 is offered."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a consumer would have: of a producer that takes it, exactly that; of others, whatever they have."""

    width: int
    height: int
    hz: int
    """The most pictures a second."""
    exact: bool
    dma_bufs: DmaBufOffers = NO_DMA_BUFS
    """Those that are taken beside pictures in memory."""

    @classmethod
    def of(
        cls, mode: Mode, *, exact: bool, hz: int | None = None, dma_bufs: DmaBufOffers = NO_DMA_BUFS
    ) -> Wish:
        """Return the wish for a mode, at another rate where ``hz`` says so."""
        return cls(mode.width, mode.height, hz or mode.refresh_hz, exact, dma_bufs)

    def is_asked_after(self, former: Wish) -> bool:
        """Return whether a producer that was asked for ``former`` is asked for this: one that gives what it has is not.

        Only what is imported has to have the size of the mode.
        """
        if self.exact or self.dma_bufs != former.dma_bufs:
            return self != former
        return bool(self.dma_bufs.imported) and (self.width, self.height) != (former.width, former.height)


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What both have agreed on."""

    fourcc: int
    """DRM's name of it."""
    width: int
    height: int
    modifier: int | None
    """How a DMA-BUF is laid out; None of a picture in memory."""


def format_offers(wish: Wish) -> list[bytes]:
    """Return what is offered, the preferred first: DMA-BUFs that are imported, memory, DMA-BUFs that are mapped.

    Size and rate of a producer that takes them are fixed values: Mutter 48 chose a size of its own out of a range. What
    is imported is not scaled here, and has the wished size in any case.
    """
    imported = [
        _format_offer(wish, [number], modifiers, sized=True)
        for code, modifiers in wish.dma_bufs.imported
        for number in _numbers([code])
    ]
    mapped = _numbers(wish.dma_bufs.mapped)
    return [
        *imported,
        _format_offer(wish, list(FFMPEG_FORMATS), sized=wish.exact),
        *([_format_offer(wish, mapped, [LINEAR], sized=wish.exact)] if mapped else []),
    ]


def _numbers(codes: Iterable[int]) -> list[int]:
    wanted = set(codes)
    return [number for number, code in DRM_FORMATS.items() if code in wanted]


def read_format(parameters: PodObject) -> VideoFormat | None:
    """Return the format that was agreed on; None while its producer has yet to choose a modifier.

    Raises MediaError where it is none of those that are offered.
    """
    video_format, size = parameters.fixed(_FORMAT), parameters.fixed(_SIZE)
    if (parameters.fixed(_MEDIA_TYPE), parameters.fixed(_MEDIA_SUBTYPE)) != (_VIDEO, _RAW):
        raise MediaError("PipeWire agreed on something that is no raw video")
    modifiers = parameters.properties.get(_MODIFIER)
    if isinstance(modifiers, Choice) and len(set(modifiers.values)) > 1:
        return None
    modifier = parameters.fixed(_MODIFIER)
    known = FFMPEG_FORMATS if modifier is None else DRM_FORMATS
    if not isinstance(video_format, int) or video_format not in known:
        raise MediaError(f"PipeWire agreed on pictures in the unknown format {video_format!r}")
    if not isinstance(size, Rectangle) or not (0 < size.width <= MAX_SIDE and 0 < size.height <= MAX_SIDE):
        raise MediaError(f"PipeWire agreed on pictures of an impossible size ({size!r})")
    if modifier is not None:
        if not isinstance(modifier, int):
            raise MediaError(f"PipeWire agreed on pictures with the impossible modifier {modifier!r}")
        modifier %= 1 << 64
    return VideoFormat(DRM_FORMATS[video_format], size.width, size.height, modifier)


def buffer_wishes(*, cursor: bool, dma_buf: bool = False) -> list[bytes]:
    """Return what is asked for once a format is agreed on: buffers, and what comes along with each picture."""
    # One that the producer fills, one under way, the newest that waits here, and one that is being converted.
    count = choice(ChoiceKind.RANGE, integer(6), integer(2), integer(16))
    kinds = 1 << (DATA_DMA_BUF if dma_buf else DATA_MEM_FD)
    buffers = {_BUFFERS: count, _DATA_TYPE: choice(ChoiceKind.FLAGS, integer(kinds))}
    if not dma_buf:
        # Of a DMA-BUF as many planes as its modifier has, which its producer knows.
        buffers[_BLOCKS] = integer(1)
    wishes = [
        pod_object(_OBJECT_BUFFERS, PARAM_BUFFERS, buffers),
        _meta(META_HEADER, HEADER_BYTES),
        _meta(META_VIDEO_CROP, REGION_BYTES),
        _meta(META_VIDEO_DAMAGE, REGION_BYTES * 16, REGION_BYTES, REGION_BYTES * 64),
    ]
    if cursor:
        wishes.append(
            _meta(META_CURSOR, cursor_bytes(384), cursor_bytes(1), cursor_bytes(MAX_CURSOR_SIDE)),
        )
    return wishes


def cursor_bytes(side: int) -> int:
    """Return how much room a square cursor takes."""
    return CURSOR_BYTES + BITMAP_BYTES + side * side * 4


def _format_offer(wish: Wish, numbers: Sequence[int], modifiers: Sequence[int] = (), *, sized: bool) -> bytes:
    formats = [identifier(each) for each in numbers]
    properties: dict[int, bytes | tuple[int, bytes]] = {
        _MEDIA_TYPE: identifier(_VIDEO),
        _MEDIA_SUBTYPE: identifier(_RAW),
        _FORMAT: choice(ChoiceKind.ENUM, formats[0], *formats),
    }
    if modifiers:
        longs = [long(each) for each in modifiers]
        properties[_MODIFIER] = (_MANDATORY | _DO_NOT_FIXATE, choice(ChoiceKind.ENUM, longs[0], *longs))
    variable, fastest = fraction(0), fraction(_MAX_RATE)
    size = rectangle(wish.width, wish.height)
    if not sized:
        size = choice(ChoiceKind.RANGE, size, rectangle(1, 1), rectangle(MAX_SIDE, MAX_SIDE))
    properties[_SIZE] = size
    if wish.exact:
        properties[_FRAMERATE] = choice(ChoiceKind.RANGE, variable, variable, fastest)
        properties[_MAX_FRAMERATE] = fraction(wish.hz)
    else:
        properties[_FRAMERATE] = choice(ChoiceKind.RANGE, fraction(wish.hz), variable, fastest)
    return pod_object(_OBJECT_FORMAT, PARAM_ENUM_FORMAT, properties)


def _meta(kind: int, size: int, least: int = 0, greatest: int = 0) -> bytes:
    wanted = integer(size)
    if least:
        wanted = choice(ChoiceKind.RANGE, wanted, integer(least), integer(greatest))
    return pod_object(_OBJECT_META, PARAM_META, {_META_TYPE: identifier(kind), _META_SIZE: wanted})
