"""Encoders without delay: one picture in, one access unit out.

Not here: which codec a client gets (``host/native/negotiation.py``), and decoders (``media/decoders.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from punktfunk.errors import CodecUnavailableError, UsageError
from punktfunk.media.encoders.base import (
    Encoder,
    EncoderConfig,
    EncoderName,
    RateChange,
)
from punktfunk.media.encoders.choice import (
    ANSWERS,
    HARDWARE,
    ORDER,
    EncoderChoice,
    EncoderWish,
    choose_encoder,
    require_gpu_encoder,
)
from punktfunk.media.encoders.fallback import FallbackEncoder, Replacement
from punktfunk.media.encoders.nvenc import CODEC_OF as _NVENC
from punktfunk.media.encoders.vaapi import CODEC_OF as _VAAPI
from punktfunk.media.types import Codec
from punktfunk.units import Mode

if TYPE_CHECKING:
    from punktfunk.media.encoders.ffmpeg import FfmpegEncoder

__all__ = [
    "ANSWERS",
    "HARDWARE",
    "Encoder",
    "EncoderCheck",
    "EncoderChoice",
    "EncoderConfig",
    "EncoderName",
    "EncoderWish",
    "FallbackEncoder",
    "RateChange",
    "Replacement",
    "all_encoders",
    "available_encoders",
    "check_encoder",
    "choose_encoder",
    "open_encoder",
]

_CHECK_MODE = Mode(320, 240, 60)


@dataclass(frozen=True, slots=True)
class EncoderCheck:
    """Whether an encoder opens here. ``reason`` says why not ("" when it does), ``hint`` what to do about it."""

    name: EncoderName
    codec: Codec
    available: bool
    reason: str
    hint: str = ""


def open_encoder(config: EncoderConfig) -> Encoder:
    """Open the encoder that ``config`` asks for, or with ``fallbacks`` the first that opens, which is then followed.

    Raises CodecUnavailableError where this installation cannot, UsageError for a combination that no encoder
    here offers.
    """
    if config.fallbacks:
        return FallbackEncoder(config, open_encoder)
    if config.intra_refresh and config.encoder is not EncoderName.X264:
        raise UsageError(
            f"{config.encoder} has no intra refresh here", "use encoder x264, or leave intra_refresh off"
        )
    if config.encoder in _NVENC:
        from punktfunk.media.encoders.nvenc import NvencEncoder

        return NvencEncoder(config)
    if config.encoder in _VAAPI:
        return _vaapi()[config.encoder](config)
    return _families()[config.encoder](config)


def all_encoders() -> tuple[EncoderCheck, ...]:
    """Return of every encoder whether it works here: for each codec those of GPUs, then software, as they are taken."""
    return tuple(check_encoder(name) for names in ORDER.values() for name in names)


def available_encoders() -> tuple[EncoderCheck, ...]:
    """Return of every software encoder whether it opens here, in order of preference."""
    return tuple(check_encoder(name) for name in _families())


def check_encoder(name: EncoderName) -> EncoderCheck:
    """Return whether an encoder works here, which is tried the first time.

    One of software is opened and closed, one of a GPU encodes two pictures in a process of its own.
    """
    if name not in HARDWARE:
        return _check_software(name)
    try:
        require_gpu_encoder(name)
    except CodecUnavailableError as error:
        return EncoderCheck(name, HARDWARE[name], False, error.cause, error.hint)
    return EncoderCheck(name, HARDWARE[name], True, "")


@cache
def _check_software(name: EncoderName) -> EncoderCheck:
    """Cached: FFmpeg is part of the installation, and stays what it is while a process runs."""
    codec = _families()[name].codec
    try:
        open_encoder(EncoderConfig(encoder=name, mode=_CHECK_MODE)).close()
    except CodecUnavailableError as error:
        return EncoderCheck(name, codec, False, error.cause, error.hint)
    return EncoderCheck(name, codec, True, "")


@cache
def _families() -> dict[EncoderName, type[FfmpegEncoder]]:
    """Return the software encoders by name; FFmpeg is loaded with the first that is asked for."""
    from punktfunk.media.encoders.svtav1 import SvtAv1Encoder
    from punktfunk.media.encoders.x264 import X264Encoder
    from punktfunk.media.encoders.x265 import X265Encoder

    return {family.name: family for family in (X264Encoder, X265Encoder, SvtAv1Encoder)}


@cache
def _vaapi() -> dict[EncoderName, type[FfmpegEncoder]]:
    """Return those of VA-API by name; FFmpeg is loaded with the first that is asked for."""
    from punktfunk.media.encoders.vaapi_encoder import VaapiAv1Encoder, VaapiH264Encoder, VaapiHevcEncoder

    return {family.name: family for family in (VaapiH264Encoder, VaapiHevcEncoder, VaapiAv1Encoder)}
