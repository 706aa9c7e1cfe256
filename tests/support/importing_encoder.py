"""An encoder that imports DMA-BUFs, as one of a graphics card does: by descriptor, and without anybody's mapping.

It reads the memory behind the descriptors itself, knows a layout that is not linear, and encodes what it sees by x264.
"""

from __future__ import annotations

import os
from typing import Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from punktfunk.errors import ImportRefusedError
from punktfunk.media import AccessUnit, Codec, EncoderConfig, EncoderName, RateChange, RawFrame, open_encoder
from punktfunk.media.conversion import destination
from punktfunk.media.dma_buf import LINEAR, PACKED, XRGB8888, Descriptors, DmaBuf, DmaBufImports
from punktfunk.media.planes import PIXEL_BYTES
from punktfunk.units import Bitrate

UPSIDE_DOWN: Final = (1 << 56) + 2
"""A modifier of the tests: the last row comes first."""
BOTH: Final = DmaBufImports({XRGB8888: (UPSIDE_DOWN, LINEAR)})


class ImportingEncoder:
    """See :class:`punktfunk.media.encoders.base.Encoder`. Refuses to import what has a modifier in ``refuses``."""

    def __init__(self, config: EncoderConfig, imports: DmaBufImports | None = BOTH) -> None:
        self._config = config
        self._encoder = open_encoder(config)
        self.imports = imports
        self.refuses: set[int] = set()
        self.frames: list[RawFrame] = []
        """What it was given, those that it refused included."""
        self.seen: dict[Descriptors, int] = {}
        """How often it was given each buffer."""

    @property
    def name(self) -> EncoderName:
        return self._encoder.name

    @property
    def codec(self) -> Codec:
        return self._encoder.codec

    @property
    def bitrate(self) -> Bitrate:
        return self._encoder.bitrate

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        self.frames.append(frame)
        if frame.dma_buf is None:
            return self._encoder.encode(frame, key=key)
        if frame.dma_buf.modifier in self.refuses:
            raise ImportRefusedError("out of surfaces")
        picture = self._imported(frame.dma_buf)
        return self._encoder.encode(RawFrame(picture, frame.frame, frame.captured_ns), key=key)

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        return self._encoder.set_bitrate(bitrate)

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        return self._encoder.set_frame_rate(refresh_hz)

    def close(self) -> None:
        self._encoder.close()

    def _imported(self, buffer: DmaBuf) -> av.VideoFrame:
        assert self.imports is not None
        assert self.imports.takes(buffer.fourcc, buffer.modifier), f"{buffer} was never offered"
        mode = self._config.mode
        assert (buffer.width, buffer.height) == (mode.width, mode.height)
        self.seen[buffer.memory] = self.seen.get(buffer.memory, 0) + 1
        [plane] = buffer.planes
        length = plane.stride * buffer.height
        content = os.pread(plane.descriptor, length, plane.offset)
        rows = np.frombuffer(content, np.uint8).reshape(buffer.height, plane.stride)
        pixels = rows[:, : buffer.width * PIXEL_BYTES].reshape(buffer.height, buffer.width, PIXEL_BYTES)
        if buffer.modifier == UPSIDE_DOWN:
            pixels = pixels[::-1]
        view = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(pixels), format=PACKED[buffer.fourcc])
        return VideoReformatter().reformat(view, format="yuv420p", **destination(self._config.colours))
