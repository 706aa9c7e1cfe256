"""H.264, HEVC and AV1 by the encoder of an AMD or Intel GPU: FFmpeg's VA-API encoders, through PyAV.

A picture is made NV12 and copied to a surface of the GPU by PyAV; a picture that is such a surface already it hands on.
"""

from __future__ import annotations

from typing import ClassVar

import av
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext

from punktfunk.media.encoders.base import EncoderConfig, EncoderName
from punktfunk.media.encoders.ffmpeg import FfmpegEncoder
from punktfunk.media.encoders.vaapi import FFMPEG_NAMES, examine, options
from punktfunk.media.types import Codec


class VaapiEncoder(FfmpegEncoder):
    """An encoder of the GPU. A new bit rate re-opens it: FFmpeg passes none on."""

    input_format: ClassVar[str] = "nv12"
    open_hint: ClassVar[str] = "vainfo says what the driver takes; use another mode, or --encoder x264"

    def __init__(self, config: EncoderConfig) -> None:
        """Open the encoder; raise as :func:`~punktfunk.media.encoders.vaapi.examine` does, and where it is refused."""
        self._node, self._point = examine(self.codec)
        super().__init__(config)

    def options(self, config: EncoderConfig) -> dict[str, str]:
        """Return FFmpeg's options for this GPU."""
        return options(config, self._point)

    def create(self) -> VideoCodecContext:
        """Return a context that gives pictures to the GPU."""
        context = av.CodecContext.create(self.ffmpeg_name, "w", hwaccel=HWAccel("vaapi", str(self._node)))
        assert isinstance(context, VideoCodecContext)
        # Making NV12 of three planes is a copy: to hand it to threads costs more than it saves.
        context.thread_count = 1
        return context


class VaapiH264Encoder(VaapiEncoder):
    """H.264."""

    name: ClassVar[EncoderName] = EncoderName.VAAPI_H264
    codec: ClassVar[Codec] = Codec.H264
    ffmpeg_name: ClassVar[str] = FFMPEG_NAMES[Codec.H264]


class VaapiHevcEncoder(VaapiEncoder):
    """HEVC."""

    name: ClassVar[EncoderName] = EncoderName.VAAPI_HEVC
    codec: ClassVar[Codec] = Codec.HEVC
    ffmpeg_name: ClassVar[str] = FFMPEG_NAMES[Codec.HEVC]


class VaapiAv1Encoder(VaapiEncoder):
    """AV1."""

    name: ClassVar[EncoderName] = EncoderName.VAAPI_AV1
    codec: ClassVar[Codec] = Codec.AV1
    ffmpeg_name: ClassVar[str] = FFMPEG_NAMES[Codec.AV1]
