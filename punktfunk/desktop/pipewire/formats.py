"""What a consumer of video asks of a producer: format, size and rate, buffers, and what comes along with a picture.

The numbers are those of PipeWire's public headers (``spa/param/format.h``, ``video/raw.h``, ``buffers.h``,
``spa/buffer/meta.h``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from punktfunk.desktop.pipewire.pods import (
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

FFMPEG_FORMATS: Final[Mapping[int, str]] = {8: "bgra", 7: "rgba", 12: "bgra", 11: "rgba"}
"""BGRx, RGBx, BGRA and RGBA; the conversion leaves the fourth byte out, whatever it is."""
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

    @classmethod
    def of(cls, mode: Mode, *, exact: bool, hz: int | None = None) -> Wish:
        """Return the wish for a mode, at another rate where ``hz`` says so."""
        return cls(mode.width, mode.height, hz or mode.refresh_hz, exact)


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What both have agreed on."""

    name: str
    """FFmpeg's name of it."""
    width: int
    height: int
    modifier: int | None
    """How a DMA-BUF is laid out; None of a picture in memory."""


def format_offers(wish: Wish, modifiers: Sequence[int] = ()) -> list[bytes]:
    """Return what is offered, the preferred first: DMA-BUFs of those modifiers where there are any, then memory.

    Size and rate of a producer that takes them are fixed values: Mutter 48 chose a size of its own out of a range.
    """
    offers = [_format_offer(wish, ())]
    return [_format_offer(wish, modifiers), *offers] if modifiers else offers


def read_format(parameters: PodObject) -> VideoFormat:
    """Return the format that was agreed on; raise MediaError where it is none of those that are offered."""
    video_format, size = parameters.fixed(_FORMAT), parameters.fixed(_SIZE)
    if (parameters.fixed(_MEDIA_TYPE), parameters.fixed(_MEDIA_SUBTYPE)) != (_VIDEO, _RAW):
        raise MediaError("PipeWire agreed on something that is no raw video")
    if not isinstance(video_format, int) or video_format not in FFMPEG_FORMATS:
        raise MediaError(f"PipeWire agreed on pictures in the unknown format {video_format!r}")
    if not isinstance(size, Rectangle) or not (0 < size.width <= MAX_SIDE and 0 < size.height <= MAX_SIDE):
        raise MediaError(f"PipeWire agreed on pictures of an impossible size ({size!r})")
    modifier = parameters.fixed(_MODIFIER)
    return VideoFormat(
        FFMPEG_FORMATS[video_format], size.width, size.height, modifier if isinstance(modifier, int) else None
    )


def buffer_wishes(*, cursor: bool, dma_buf: bool = False) -> list[bytes]:
    """Return what is asked for once a format is agreed on: buffers, and what comes along with each picture."""
    # One that the producer fills, one under way, the newest that waits here, and one that is being converted.
    count = choice(ChoiceKind.RANGE, integer(6), integer(2), integer(16))
    kinds = 1 << (DATA_DMA_BUF if dma_buf else DATA_MEM_FD)
    wishes = [
        pod_object(
            _OBJECT_BUFFERS,
            PARAM_BUFFERS,
            {
                _BUFFERS: count,
                _BLOCKS: integer(1),
                _DATA_TYPE: choice(ChoiceKind.FLAGS, integer(kinds)),
            },
        ),
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


def _format_offer(wish: Wish, modifiers: Sequence[int]) -> bytes:
    formats = [identifier(each) for each in FFMPEG_FORMATS]
    properties: dict[int, bytes | tuple[int, bytes]] = {
        _MEDIA_TYPE: identifier(_VIDEO),
        _MEDIA_SUBTYPE: identifier(_RAW),
        _FORMAT: choice(ChoiceKind.ENUM, formats[0], *formats),
    }
    if modifiers:
        longs = [long(each) for each in modifiers]
        properties[_MODIFIER] = (_MANDATORY | _DO_NOT_FIXATE, choice(ChoiceKind.ENUM, longs[0], *longs))
    variable, fastest = fraction(0), fraction(_MAX_RATE)
    if wish.exact:
        properties[_SIZE] = rectangle(wish.width, wish.height)
        properties[_FRAMERATE] = choice(ChoiceKind.RANGE, variable, variable, fastest)
        properties[_MAX_FRAMERATE] = fraction(wish.hz)
    else:
        properties[_SIZE] = choice(
            ChoiceKind.RANGE,
            rectangle(wish.width, wish.height),
            rectangle(1, 1),
            rectangle(MAX_SIDE, MAX_SIDE),
        )
        properties[_FRAMERATE] = choice(ChoiceKind.RANGE, fraction(wish.hz), variable, fastest)
    return pod_object(_OBJECT_FORMAT, PARAM_ENUM_FORMAT, properties)


def _meta(kind: int, size: int, least: int = 0, greatest: int = 0) -> bytes:
    wanted = integer(size)
    if least:
        wanted = choice(ChoiceKind.RANGE, wanted, integer(least), integer(greatest))
    return pod_object(_OBJECT_META, PARAM_META, {_META_TYPE: identifier(kind), _META_SIZE: wanted})
