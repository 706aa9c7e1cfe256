"""HEVC by x265, for clients that name no codec: of the software encoders the one that is too slow soonest.

There is no preset faster than ultrafast, and what else could be left out (rd=1, early skip, one merge candidate, ...)
saved a sixth of its 34 ms of CPU a picture of 1280x720. A stream therefore follows its speed: see
``host/stream/attainable.py``.
"""

from __future__ import annotations

from typing import ClassVar

from punktfunk.media.encoders.base import EncoderConfig, EncoderName
from punktfunk.media.encoders.ffmpeg import FfmpegEncoder
from punktfunk.media.types import Codec


class X265Encoder(FfmpegEncoder):
    """x265 with the presets ultrafast and zerolatency. A new bit rate re-opens it: FFmpeg passes none on."""

    name: ClassVar[EncoderName] = EncoderName.X265
    codec: ClassVar[Codec] = Codec.HEVC
    ffmpeg_name: ClassVar[str] = "libx265"

    def options(self, config: EncoderConfig) -> dict[str, str]:
        """Return FFmpeg's options for libx265."""
        kbps = max(1, config.bitrate.kbps)
        buffer_kbit = max(1, round(kbps * config.vbv_frames / config.mode.refresh_hz))
        parameters = [
            f"keyint={config.key_interval or -1}",
            "scenecut=0",
            "open-gop=0",  # a forced key frame would be a CRA picture, not an IDR
            f"vbv-maxrate={kbps}",
            f"vbv-bufsize={buffer_kbit}",
            "repeat-headers=1",
            # Its name, 2.4 kB before every IDR picture: Moonlight looks for its start in the first packet.
            "info=0",
            "frame-threads=1",
            "info=0",  # 2.3 kB of its own settings with every key frame
            f"pools={config.thread_count}",
            "log-level=none",
        ]
        return {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "forced-idr": "1",  # without it a forced key frame is a plain intra picture
            "x265-params": ":".join(parameters),
        }
