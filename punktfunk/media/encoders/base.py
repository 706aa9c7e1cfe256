"""What every encoder offers and how one is configured; nothing here loads a codec."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from punktfunk.errors import UnitError
from punktfunk.media.dma_buf import DmaBufImports
from punktfunk.media.types import BT709, AccessUnit, Codec, Colours, RawFrame
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
    VAAPI_H264 = "vaapi-h264"
    VAAPI_HEVC = "vaapi-hevc"
    VAAPI_AV1 = "vaapi-av1"


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
    fallbacks: tuple[EncoderName, ...] = ()
    """Encoders of the same codec that take over, in this order, where ``encoder`` cannot be opened or fails."""
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
    slices: int = Field(default=1, ge=1, le=8)
    """Slices of a picture at least, for decoders that decode them side by side (x264; x265 would delay pictures)."""

    colours: Colours = BT709
    """Of the pictures, which their source makes so, and the bitstream says."""

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

    @property
    def imports(self) -> DmaBufImports | None:
        """The DMA-BUFs that it takes beside pictures in memory, the same until it is closed; None: takes none."""
        ...

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        """Encode one picture and return its access unit; ``key`` asks for one that decoding can start at.

        Raises EncoderFailedError when the encoder fails or holds the picture back, and ImportRefusedError where it
        cannot import the picture's DMA-BUF and would take the next picture in memory as if this one had not been.
        """
        ...

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        """Aim at a new rate from the next picture on, and return how; raise UnitError out of range."""
        ...

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        """Share the bit rate out among so many frames a second from the next picture on, and return how."""
        ...

    def close(self) -> None:
        """Free the encoder. Closing twice is harmless; encoding afterwards raises MediaError."""
        ...
