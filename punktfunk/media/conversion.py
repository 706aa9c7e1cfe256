"""What FFmpeg's scaler is told to make pictures of certain colours."""

from __future__ import annotations

from typing import Final, TypedDict

import av
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from punktfunk.errors import LayoutError
from punktfunk.media.dma_buf import LINEAR, PACKED, DmaBuf, format_words
from punktfunk.media.planes import PIXEL_BYTES, packed_bytes, packed_view
from punktfunk.media.shared_memory import Scratch, open_memory
from punktfunk.media.types import BT709, PIXEL_FORMAT, Colours

_SPACES: Final = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}


class Destination(TypedDict):
    """Arguments of ``VideoReformatter.reformat``."""

    dst_colorspace: Colorspace
    dst_color_range: ColorRange


def destination(colours: Colours) -> Destination:
    """Return the arguments that ask for these colours."""
    return {
        "dst_colorspace": _SPACES[colours.space],
        "dst_color_range": ColorRange.JPEG if colours.full_range else ColorRange.MPEG,
    }


def in_memory(picture: DmaBuf, colours: Colours = BT709) -> av.VideoFrame:
    """Return a picture in a DMA-BUF as one in memory, yuv420p and of the same size.

    Raises LayoutError where a processor cannot read it, DmaBufError where its source has given it up or its device
    refuses, and MediaError where it does not lie within its memory.
    """
    name = PACKED.get(picture.fourcc)
    if picture.modifier != LINEAR or name is None:
        raise LayoutError(f"a processor cannot read {format_words(picture.fourcc, picture.modifier)}")
    picture.memory.hold()
    try:
        plane, width, height = picture.planes[0], picture.width, picture.height
        length = packed_bytes(width, height, plane.stride)
        if plane.stride < width * PIXEL_BYTES:
            raise LayoutError(f"rows of {width} pixels do not fit into {plane.stride} bytes")
        memory = open_memory(plane.descriptor, plane.offset, length, dma_buf=True)
        with memory.reading(0, length, Scratch()) as (buffer, start):
            pixels = packed_view(buffer, start, width, height, plane.stride)
            view = av.VideoFrame.from_numpy_buffer(pixels, format=name)
            return VideoReformatter().reformat(view, format=PIXEL_FORMAT, **destination(colours))
    finally:
        picture.memory.let_go()
