"""What every encoder offers, how one is configured, and the shell that the FFmpeg encoders share.

A family's file knows its options and how it takes a new bit rate; the shell here opens the context, forces
key frames, stamps, and holds the promise of zero delay: one access unit out for each picture in.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from enum import StrEnum
from fractions import Fraction
from typing import ClassVar, Protocol

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from pydantic import BaseModel, ConfigDict, Field, field_validator

from punktfunk.clock import monotonic_ns
from punktfunk.errors import CodecUnavailableError, MediaError, UnitError
from punktfunk.media import bitstream
from punktfunk.media.types import PIXEL_FORMAT, AccessUnit, Codec, RawFrame, Stamps
from punktfunk.units import Bitrate, Mode

_MAX_THREADS = 4
"""More slices than this cost bits at desktop sizes and save little time."""


MIN_BITRATE, MAX_BITRATE = Bitrate(100_000), Bitrate(2_000_000_000)
"""Rates an encoder is opened for: below, a rate buffer of one frame holds nothing worth showing."""


class EncoderName(StrEnum):
    """The encoders that can be asked for."""

    X264 = "x264"
    X265 = "x265"
    SVT_AV1 = "svt-av1"
    NVENC_H264 = "nvenc-h264"
    NVENC_HEVC = "nvenc-hevc"
    NVENC_AV1 = "nvenc-av1"


class RateChange(StrEnum):
    """How a new bit rate was put into effect."""

    UNCHANGED = "unchanged"
    IN_PLACE = "in-place"
    REOPENED = "reopened"
    """The encoder was opened again; the next access unit is a key frame."""


class EncoderConfig(BaseModel):
    """What to encode with, at which size and rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderName = EncoderName.X264
    mode: Mode = Mode(1280, 720, 60)
    bitrate: Bitrate = Bitrate(10_000_000)
    vbv_frames: float = Field(default=2.0, ge=1.0, le=60.0)
    """Size of the rate buffer in frame intervals: no frame is larger than this many average frames."""
    intra_refresh: bool = False
    """Refresh by a moving column of intra blocks, once a second, in place of key frames (x264)."""
    key_interval: int = Field(default=0, ge=0)
    """Frames between periodic key frames; 0 means only the first and those asked for."""
    threads: int = Field(default=0, ge=0, le=64)
    """Slice threads; 0 picks the machine's, at most four."""

    @field_validator("bitrate")
    @classmethod
    def _bitrate_in_range(cls, bitrate: Bitrate) -> Bitrate:
        return check_bitrate(bitrate)

    @property
    def frame_bytes(self) -> float:
        """Average size of an access unit at the configured rate, bytes."""
        return self.bitrate.bits_per_second / 8 / self.mode.refresh_hz

    @property
    def thread_count(self) -> int:
        """Threads to use, resolved for this machine."""
        return self.threads or min(_MAX_THREADS, len(os.sched_getaffinity(0)))


def check_bitrate(bitrate: Bitrate) -> Bitrate:
    """Return ``bitrate``; raise UnitError where no encoder is opened for it."""
    if not MIN_BITRATE <= bitrate <= MAX_BITRATE:
        raise UnitError(f"video bitrate {bitrate} is out of range", f"use {MIN_BITRATE} to {MAX_BITRATE}")
    return bitrate


class Encoder(Protocol):
    """An encoder without delay. Not safe for use by two threads at once."""

    @property
    def name(self) -> EncoderName:
        """Which encoder this is."""
        ...

    @property
    def codec(self) -> Codec:
        """What it makes."""
        ...

    @property
    def bitrate(self) -> Bitrate:
        """The rate it aims at now."""
        ...

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        """Encode one picture and return its access unit; ``key`` asks for one that decoding can start at.

        Raises MediaError when the encoder fails or holds the picture back.
        """
        ...

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        """Aim at a new rate from the next picture on, and return how; raise UnitError out of range."""
        ...

    def close(self) -> None:
        """Free the encoder. Closing twice is harmless; encoding afterwards raises MediaError."""
        ...


class FfmpegEncoder(ABC):
    """An encoder of FFmpeg, reached through PyAV."""

    name: ClassVar[EncoderName]
    codec: ClassVar[Codec]
    ffmpeg_name: ClassVar[str]
    in_place_share: ClassVar[float | None] = None
    """A rate from this share of the opened one up to all of it is applied in place; None: never in place."""

    def __init__(self, config: EncoderConfig) -> None:
        """Open the encoder; raise CodecUnavailableError where this installation cannot."""
        self._config = config
        self._accepts = (config.mode.width, config.mode.height, PIXEL_FORMAT)
        self._opened_bitrate = config.bitrate
        self._bitrate = config.bitrate
        self._context: VideoCodecContext | None = self._open(config)
        self._encoded = 0

    @property
    def bitrate(self) -> Bitrate:
        """The rate it aims at now."""
        return self._bitrate

    @abstractmethod
    def options(self, config: EncoderConfig) -> dict[str, str]:
        """Return the encoder's options for a configuration."""

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        """Encode one picture; see :class:`Encoder`."""
        context = self._context
        if context is None:
            raise MediaError(f"the {self.name} encoder is closed", "open a new one")
        picture = frame.picture
        if (picture.width, picture.height, picture.format.name) != self._accepts:
            # PyAV would scale it silently, at the price of a scaler a frame.
            raise MediaError(
                f"{self.name} is open for {self._config.mode.resolution} {PIXEL_FORMAT}, "
                f"but frame {frame.frame} is {picture.width}x{picture.height} {picture.format.name}",
                "open a new encoder when the mode changes",
            )
        picture.pts = self._encoded
        picture.time_base = context.time_base
        picture.pict_type = PictureType.I if key else PictureType.NONE
        begin_ns = monotonic_ns()
        try:
            packets = context.encode(picture)
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{self.name} failed on frame {frame.frame}: {error}", "close the encoder and open a new one"
            ) from error
        if len(packets) != 1:
            raise MediaError(
                f"{self.name} returned {len(packets)} access units for frame {frame.frame}, not one",
                "its options let it look ahead; a low-latency stream cannot use it like this",
            )
        data = bytes(packets[0])
        end_ns = monotonic_ns()
        self._encoded += 1
        return AccessUnit(
            data=data,
            key=bitstream.is_key(self.codec, data),
            frame=frame.frame,
            pts_ns=frame.captured_ns,
            stamps=Stamps(frame.captured_ns, frame.converted_ns, begin_ns, end_ns),
        )

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        """Aim at a new rate; see :class:`Encoder`."""
        context = self._context
        if context is None:
            raise MediaError(f"the {self.name} encoder is closed", "open a new one")
        if bitrate == self._bitrate:
            return RateChange.UNCHANGED
        opened = self._opened_bitrate.bits_per_second
        in_place = (
            self.in_place_share is not None
            and opened * self.in_place_share <= bitrate.bits_per_second <= opened
        )
        if in_place:
            context.bit_rate = bitrate.bits_per_second
            self._bitrate = bitrate
            return RateChange.IN_PLACE
        check_bitrate(bitrate)
        config = self._config.model_copy(update={"bitrate": bitrate})
        replacement = self._open(config)
        self.close()
        self._config, self._context = config, replacement
        self._opened_bitrate = self._bitrate = bitrate
        return RateChange.REOPENED

    def close(self) -> None:
        """Free the encoder; see :class:`Encoder`."""
        context, self._context = self._context, None
        if context is not None and self._encoded:
            # Some encoders complain on standard error when they are freed before being told of the end.
            with contextlib.suppress(av.error.FFmpegError):
                context.encode(None)

    def _open(self, config: EncoderConfig) -> VideoCodecContext:
        try:
            context = av.CodecContext.create(self.ffmpeg_name, "w")
            assert isinstance(context, VideoCodecContext)
            context.width, context.height = config.mode.width, config.mode.height
            context.pix_fmt = PIXEL_FORMAT
            context.framerate = Fraction(config.mode.refresh_hz)
            context.time_base = Fraction(1, config.mode.refresh_hz)
            context.bit_rate = config.bitrate.bits_per_second
            context.max_b_frames = 0
            context.color_range = 1  # limited
            context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
            context.options = self.options(config)
            context.open()
        except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
            raise CodecUnavailableError(
                f"the encoder {self.name} (FFmpeg's {self.ffmpeg_name}) cannot be opened: {error}",
                "install the PyAV wheel, whose FFmpeg has it (pip install --force-reinstall av), "
                "or choose another encoder",
            ) from error
        return context
