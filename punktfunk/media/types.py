"""What passes between the stages of a stream: raw pictures, access units, decoded pictures, and their stamps.

Times are CLOCK_MONOTONIC in nanoseconds; -1 means that the stage does not exist or has not been reached,
as in the frame records. What only passes these on loads no codec and no NumPy for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from punktfunk.errors import DmaBufError
from punktfunk.media.dma_buf import DmaBuf

if TYPE_CHECKING:
    import av

    from punktfunk.media.planes import Plane

PIXEL_FORMAT = "yuv420p"
"""The one raw format between sources, encoders and decoders: planar 4:2:0, 8 bit."""

_EIGHT_BIT_LUMA = {"yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "gray"}


class Codec(StrEnum):
    """A video coding format, under the name that it has in FFmpeg and in the control protocols."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


@dataclass(frozen=True, slots=True)
class Colours:
    """How a picture's numbers are meant: ITU-R BT.601, BT.709 or BT.2020, limited range or full."""

    space: Literal["bt601", "bt709", "bt2020"] = "bt709"
    full_range: bool = False


BT709 = Colours()
"""Those of a desktop, of punktfunk/1, and of nearly everything else."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """When one frame passed each stage of the host's media path (CLOCK_MONOTONIC, ns, -1 = absent)."""

    captured_ns: int = -1
    """The picture's content was fixed: capture returned it, or drawing of it began."""
    converted_ns: int = -1
    """The picture is in the encoder's pixel format, frame marker included."""
    encode_begin_ns: int = -1
    encode_end_ns: int = -1


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A picture on its way into an encoder: in memory, or in a DMA-BUF where the encoder imports that.

    One in memory is yuv420p and belongs to its source, which may draw into it again two captures later. One in a
    DMA-BUF is whatever its source made, and its source's until the next capture. An encoder is done with either when
    ``encode`` returns. ``frame`` counts from 0 without gaps within one source, or is the number in the frame marker of
    a picture that another program drew (-1: none to be read).
    """

    content: av.VideoFrame | DmaBuf
    frame: int
    captured_ns: int
    converted_ns: int = -1

    @property
    def picture(self) -> av.VideoFrame:
        """The picture in memory; raises DmaBufError where it lies in a DMA-BUF."""
        if isinstance(self.content, DmaBuf):
            raise DmaBufError(f"frame {self.frame} is in a DMA-BUF, where it cannot be read")
        return self.content

    @property
    def dma_buf(self) -> DmaBuf | None:
        """The DMA-BUF that it lies in; None for a picture in memory."""
        return self.content if isinstance(self.content, DmaBuf) else None

    @property
    def luma(self) -> Plane:
        """The Y plane, shape (height, width), a view without copy."""
        from punktfunk.media.planes import plane_view

        return plane_view(self.picture, 0)


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture: what the core packetizes. ``data`` is Annex B (h264, hevc) or OBUs (av1).

    ``key``: decoding can start here (IDR with its parameter sets in band, or an AV1 key frame).
    ``frame`` is the source's frame number, the one in the frame marker. ``pts_ns`` is the capture time on
    CLOCK_MONOTONIC; ``punktfunk.clock.SessionClock.to_wire`` turns it into the pts on the wire.
    """

    data: bytes
    key: bool
    frame: int
    pts_ns: int
    stamps: Stamps


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded picture. ``concealed``: the decoder says that it filled in for damaged or missing data."""

    picture: av.VideoFrame
    decode_begin_ns: int
    decode_end_ns: int
    concealed: bool

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.picture.width

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.picture.height

    @property
    def luma(self) -> Plane:
        """The Y plane, shape (height, width), 8 bit: a view where the picture has one, else converted."""
        from punktfunk.media.planes import plane_view

        if self.picture.format.name not in _EIGHT_BIT_LUMA:
            return plane_view(self.picture.reformat(format=PIXEL_FORMAT), 0)
        return plane_view(self.picture, 0)
