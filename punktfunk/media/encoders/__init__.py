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
from punktfunk.media.encoders.choice import EncoderChoice, EncoderWish, choose_encoder
from punktfunk.media.encoders.nvenc import CODEC_OF as _NVENC
from punktfunk.media.types import Codec
from punktfunk.units import Mode

if TYPE_CHECKING:
    from punktfunk.media.encoders.ffmpeg import FfmpegEncoder

__all__ = [
    "Encoder",
    "EncoderCheck",
    "EncoderChoice",
    "EncoderConfig",
    "EncoderName",
    "EncoderWish",
    "RateChange",
    "available_encoders",
    "check_encoder",
    "choose_encoder",
    "open_encoder",
]

_CHECK_MODE = Mode(320, 240, 60)


@dataclass(frozen=True, slots=True)
class EncoderCheck:
    """Whether an encoder opens here. ``reason`` says why not ("" when it does)."""

    name: EncoderName
    codec: Codec
    available: bool
    reason: str


def open_encoder(config: EncoderConfig) -> Encoder:
    """Open the encoder that ``config`` asks for.

    Raises CodecUnavailableError where this installation cannot, UsageError for a combination that no encoder
    here offers.
    """
    if config.intra_refresh and config.encoder is not EncoderName.X264:
        raise UsageError(
            f"{config.encoder} has no intra refresh here", "use encoder x264, or leave intra_refresh off"
        )
    if config.encoder in _NVENC:
        from punktfunk.media.encoders.nvenc import NvencEncoder

        return NvencEncoder(config)
    return _families()[config.encoder](config)


def available_encoders() -> tuple[EncoderCheck, ...]:
    """Return of every software encoder whether it opens here, in order of preference."""
    return tuple(check_encoder(name) for name in _families())


@cache
def check_encoder(name: EncoderName) -> EncoderCheck:
    """Open and close a software encoder and return what came of it; cached, for libraries do not come and go."""
    reason = ""
    try:
        open_encoder(EncoderConfig(encoder=name, mode=_CHECK_MODE)).close()
    except CodecUnavailableError as error:
        reason = error.cause
    return EncoderCheck(name, _families()[name].codec, not reason, reason)


@cache
def _families() -> dict[EncoderName, type[FfmpegEncoder]]:
    """Return the software encoders by name; FFmpeg is loaded with the first that is asked for."""
    from punktfunk.media.encoders.svtav1 import SvtAv1Encoder
    from punktfunk.media.encoders.x264 import X264Encoder
    from punktfunk.media.encoders.x265 import X265Encoder

    return {family.name: family for family in (X264Encoder, X265Encoder, SvtAv1Encoder)}
