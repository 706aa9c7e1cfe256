"""H.264 by x264: the encoder that any machine can run, and the fastest of the software ones.

Sliced threads spread one picture over the cores, so that threading adds no delay. The rate is held by a
buffer of one or two frame intervals with the peak rate equal to the mean: the only arrangement in which x264
under FFmpeg follows a rate that is changed while it runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from punktfunk.media import bitstream
from punktfunk.media.encoders.base import EncoderConfig, EncoderName
from punktfunk.media.encoders.ffmpeg import FfmpegEncoder
from punktfunk.media.types import AccessUnit, Codec, RawFrame

_MAX_BUFFER_BITS = 2**31 - 1
"""FFmpeg counts them in an int, and refuses to open the encoder beyond."""


class X264Encoder(FfmpegEncoder):
    """x264 with the presets ultrafast and zerolatency."""

    name: ClassVar[EncoderName] = EncoderName.X264
    codec: ClassVar[Codec] = Codec.H264
    ffmpeg_name: ClassVar[str] = "libx264"
    # FFmpeg hands over a new mean rate but keeps the buffer of the opened one. Down to half of that rate the
    # buffer is at most twice as long in time and the rate is met within 15 %; above it the old peak caps.
    in_place_share: ClassVar[float | None] = 0.5

    def options(self, config: EncoderConfig) -> dict[str, str]:
        """Return FFmpeg's options for libx264."""
        rate = config.bitrate.bits_per_second
        buffer_bits = min(round(rate * config.vbv_frames / config.mode.refresh_hz), _MAX_BUFFER_BITS)
        # Each thread makes a slice, and nothing else does.
        threads = max(config.thread_count, config.slices)
        parameters = [
            f"keyint={self._key_interval(config)}",
            "scenecut=0",
            f"threads={threads}",
            f"slices={threads}",
            "repeat-headers=1",
        ]
        if config.intra_refresh:
            parameters.append("intra-refresh=1")
        return {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "maxrate": str(rate),
            "bufsize": str(buffer_bits),
            "forced-idr": "1",
            "x264-params": ":".join(parameters),
        }

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        """Encode one picture, without the 700 bytes in which x264 writes its settings down before the first."""
        unit = super().encode(frame, key=key)
        return replace(unit, data=bitstream.without_user_data(unit.data)) if unit.key else unit

    @staticmethod
    def _key_interval(config: EncoderConfig) -> str:
        if config.key_interval:
            return str(config.key_interval)
        # With intra refresh the interval is the length of one refresh wave, and there must be one.
        return str(config.mode.refresh_hz) if config.intra_refresh else "infinite"
