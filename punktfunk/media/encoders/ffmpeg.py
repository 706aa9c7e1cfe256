"""The shell that the FFmpeg encoders share.

A family's file knows its options and how it takes a new bit rate; the shell here opens the context, forces
key frames, stamps, and holds the promise of zero delay: one access unit out for each picture in.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from punktfunk.clock import monotonic_ns
from punktfunk.errors import CodecUnavailableError, EncoderFailedError, MediaError
from punktfunk.media import bitstream
from punktfunk.media.dma_buf import DmaBufImports
from punktfunk.media.encoders.base import EncoderConfig, EncoderName, RateChange, check_bitrate
from punktfunk.media.types import PIXEL_FORMAT, AccessUnit, Codec, RawFrame, Stamps
from punktfunk.units import Bitrate

_CODE_POINTS = {"bt601": (6, 6, 6), "bt709": (1, 1, 1), "bt2020": (9, 9, 14)}
"""Matrix, primaries and transfer (ITU-T H.273); of BT.601 those of 525 lines."""


class FfmpegEncoder(ABC):
    """An encoder of FFmpeg, reached through PyAV."""

    name: ClassVar[EncoderName]
    codec: ClassVar[Codec]
    ffmpeg_name: ClassVar[str]
    imports: DmaBufImports | None = None
    input_format: ClassVar[str] = PIXEL_FORMAT
    """What pictures are for the encoder; PyAV makes it of yuv420p where it is another."""
    open_hint: ClassVar[str] = (
        "install the PyAV wheel, whose FFmpeg has it (pip install --force-reinstall av), or choose another encoder"
    )
    """What to do where it cannot be opened."""
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
        self._failed = False

    @property
    def bitrate(self) -> Bitrate:
        """The rate it aims at now."""
        return self._bitrate

    def create(self) -> VideoCodecContext:
        """Return a context that is not open yet."""
        context = av.CodecContext.create(self.ffmpeg_name, "w")
        assert isinstance(context, VideoCodecContext)
        return context

    @abstractmethod
    def options(self, config: EncoderConfig) -> dict[str, str]:
        """Return the encoder's options for a configuration."""

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        """Encode one picture; see :class:`~punktfunk.media.encoders.base.Encoder`."""
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
            self._failed = True
            raise EncoderFailedError(
                f"{self.name} failed on frame {frame.frame}: {error}", "close the encoder and open a new one"
            ) from error
        if len(packets) != 1:
            raise EncoderFailedError(
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
        """Aim at a new rate; see :class:`~punktfunk.media.encoders.base.Encoder`."""
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
        return self._reopen(self._config.model_copy(update={"bitrate": bitrate}))

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        """Expect another frame rate; see :class:`~punktfunk.media.encoders.base.Encoder`."""
        if self._context is None:
            raise MediaError(f"the {self.name} encoder is closed", "open a new one")
        mode = replace(self._config.mode, refresh_hz=refresh_hz)
        if mode == self._config.mode:
            return RateChange.UNCHANGED
        return self._reopen(self._config.model_copy(update={"mode": mode, "bitrate": self._bitrate}))

    def close(self) -> None:
        """Free the encoder; see :class:`~punktfunk.media.encoders.base.Encoder`."""
        context, self._context = self._context, None
        if context is not None and self._encoded and not self._failed:
            # Some encoders complain on standard error when they are freed before being told of the end. Those of
            # VA-API end the process when they are told after a failure (an assertion in FFmpeg 9).
            with contextlib.suppress(av.error.FFmpegError):
                context.encode(None)

    def _reopen(self, config: EncoderConfig) -> RateChange:
        replacement = self._open(config)
        self.close()
        self._config, self._context = config, replacement
        self._opened_bitrate = self._bitrate = config.bitrate
        return RateChange.REOPENED

    def _open(self, config: EncoderConfig) -> VideoCodecContext:
        try:
            context = self.create()
            context.width, context.height = config.mode.width, config.mode.height
            context.pix_fmt = self.input_format
            context.framerate = Fraction(config.mode.refresh_hz)
            context.time_base = Fraction(1, config.mode.refresh_hz)
            context.bit_rate = config.bitrate.bits_per_second
            context.max_b_frames = 0
            context.color_range = 2 if config.colours.full_range else 1
            context.colorspace, context.color_primaries, context.color_trc = _CODE_POINTS[
                config.colours.space
            ]
            context.options = self.options(config)
            context.open()
        except (av.error.FFmpegError, av.codec.codec.UnknownCodecError, NotImplementedError) as error:
            raise CodecUnavailableError(
                f"the encoder {self.name} (FFmpeg's {self.ffmpeg_name}) cannot be opened: {error}",
                self.open_hint,
            ) from error
        return context
