"""AV1 by SVT-AV1 in its real-time mode.

Its constant-rate control aims at a mean over some tens of frames and has no frame-sized buffer: single
frames, the first above all, can be many times the mean. Prefer x264 for measurements of the link.
"""

from __future__ import annotations

import os
from typing import ClassVar

from av.video.codeccontext import VideoCodecContext

from punktfunk.media.encoders.base import EncoderConfig, EncoderName
from punktfunk.media.encoders.ffmpeg import FfmpegEncoder
from punktfunk.media.scheduling import scheduling_kept
from punktfunk.media.types import Codec

_PRESET = 12
_BUFFER_MS = (100, 50, 60)
"""Size, starting level and aim of the rate buffer; SVT-AV1 refuses a starting level under 20 ms."""


class SvtAv1Encoder(FfmpegEncoder):
    """SVT-AV1, one picture in, one temporal unit out. A new bit rate re-opens it: FFmpeg passes none on."""

    name: ClassVar[EncoderName] = EncoderName.SVT_AV1
    codec: ClassVar[Codec] = Codec.AV1
    ffmpeg_name: ClassVar[str] = "libsvtav1"

    def options(self, config: EncoderConfig) -> dict[str, str]:
        """Return FFmpeg's options for libsvtav1."""
        size, start, aim = _BUFFER_MS
        parameters = [
            "rtc=1",
            "pred-struct=1",  # low delay
            "hierarchical-levels=0",
            "lookahead=0",
            "rc=2",  # constant rate
            f"buf-sz={size}",
            f"buf-initial-sz={start}",
            f"buf-optimal-sz={aim}",
            "undershoot-pct=100",
            "overshoot-pct=100",
            f"keyint={config.key_interval or -1}",
            f"lp={config.thread_count}",
        ]
        return {"preset": str(_PRESET), "svtav1-params": ":".join(parameters)}

    def _open(self, config: EncoderConfig) -> VideoCodecContext:
        # The library prints its banner to standard error unless its environment variable says errors only.
        os.environ.setdefault("SVT_LOG", "1")
        with scheduling_kept():
            return super()._open(config)
