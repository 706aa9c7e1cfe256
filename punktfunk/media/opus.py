"""Opus packets of one or two channels: low delay, constant bit rate (punktfunk/1 section 3.2)."""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

import av
import numpy as np
from numpy.typing import NDArray

from punktfunk.errors import CodecUnavailableError, MediaError
from punktfunk.units import Bitrate

SAMPLE_RATE: Final = 48_000
PACKET_SAMPLES: Final = 240
"""Samples of a packet of 5 ms."""
DEFAULT_BITRATE: Final = Bitrate(128_000)
_LAYOUTS: Final = {1: "mono", 2: "stereo"}

Samples = NDArray[np.float32]
"""Interleaved channels, shape (samples, channels), -1 to 1."""


class OpusEncoder:
    """Makes one packet of the samples of ``packet_ms``. Not safe for use by two threads at once."""

    def __init__(
        self, *, channels: int = 2, bitrate: Bitrate = DEFAULT_BITRATE, packet_ms: Literal[5, 10] = 5
    ) -> None:
        """Open the encoder; raise CodecUnavailableError where this FFmpeg has no libopus."""
        if channels not in _LAYOUTS:
            raise CodecUnavailableError(f"Opus with {channels} channels is not made here", "use 1 or 2")
        self._channels = channels
        self._samples = SAMPLE_RATE * packet_ms // 1000
        options = {"application": "lowdelay", "frame_duration": str(packet_ms), "vbr": "off"}
        try:
            context = av.CodecContext.create("libopus", "w")
            context.sample_rate = SAMPLE_RATE
            context.format = "flt"
            context.layout = _LAYOUTS[channels]
            context.bit_rate = bitrate.bits_per_second
            context.options = options
            context.open()
        except (ValueError, OSError, av.error.FFmpegError) as error:
            raise CodecUnavailableError(
                f"Opus cannot be encoded: {error}", "install a PyAV that was built with libopus"
            ) from error
        self._context = context
        self._position = 0

    def encode(self, samples: Samples) -> bytes:
        """Return the packet of these samples, shape (240, channels) for 5 ms; raise MediaError for other shapes."""
        if samples.shape != (self._samples, self._channels):
            raise MediaError(
                f"an Opus packet is made of {self._samples}x{self._channels} samples, not {samples.shape}"
            )
        interleaved = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=_LAYOUTS[self._channels])
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = Fraction(1, SAMPLE_RATE)
        frame.pts = self._position
        self._position += self._samples
        packets = self._context.encode(frame)
        if len(packets) != 1:
            raise MediaError(f"Opus gave {len(packets)} packets for one chunk of sound")
        return bytes(packets[0])


class OpusDecoder:
    """Turns packets back into samples. Not safe for use by two threads at once."""

    def __init__(self, *, channels: int = 2) -> None:
        """Open the decoder; raise CodecUnavailableError where this FFmpeg has no libopus."""
        try:
            context = av.CodecContext.create("libopus", "r")
            context.sample_rate = SAMPLE_RATE
            context.layout = _LAYOUTS[channels]
            context.open()
        except (KeyError, ValueError, OSError, av.error.FFmpegError) as error:
            raise CodecUnavailableError(
                f"Opus cannot be decoded: {error}", "install a PyAV that was built with libopus"
            ) from error
        self._context = context

    def decode(self, packet: bytes) -> Samples:
        """Return the samples of a packet, shape (samples, channels); raise MediaError for a damaged one."""
        try:
            frames = self._context.decode(av.Packet(packet))
        except (ValueError, av.error.FFmpegError) as error:
            raise MediaError(f"not an Opus packet: {error}") from error
        parts = [_interleaved(frame) for frame in frames]
        if not parts:
            raise MediaError("an Opus packet gave no sound")
        return np.concatenate(parts)


def _interleaved(frame: av.AudioFrame) -> Samples:
    channels = len(frame.layout.channels)
    array: NDArray[np.generic] = frame.to_ndarray()
    samples = array.T if frame.format.is_planar else array.reshape(-1, channels)
    full_scale = 32768.0 if samples.dtype == np.int16 else 1.0
    return np.ascontiguousarray(samples, np.float32) / np.float32(full_scale)
