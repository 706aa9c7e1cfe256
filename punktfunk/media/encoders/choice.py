"""Which encoder makes a codec here: the GPU's where it can, software elsewhere, and the reason for it in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from punktfunk.errors import CodecUnavailableError
from punktfunk.media.encoders import nvenc
from punktfunk.media.encoders.base import EncoderName
from punktfunk.media.types import Codec

EncoderWish = Literal["auto", "x264", "nvenc"]
"""``x264`` means software: x264's place is taken by x265 and SVT-AV1 for the codecs that it does not make."""

_SOFTWARE: Final = {
    Codec.H264: EncoderName.X264,
    Codec.HEVC: EncoderName.X265,
    Codec.AV1: EncoderName.SVT_AV1,
}
_HARDWARE: Final = {codec: name for name, codec in nvenc.CODEC_OF.items()}


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder and why it is that one."""

    name: EncoderName
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


@cache
def choose_encoder(codec: Codec, wish: EncoderWish = "auto") -> EncoderChoice:
    """Choose for a codec; cached, for drivers do not come and go.

    Raises for ``nvenc`` what is missing (see :func:`punktfunk.media.encoders.nvenc.examine`); ``auto`` takes
    software then.
    """
    if wish == "x264":
        return EncoderChoice(_SOFTWARE[codec], "asked for")
    try:
        nvenc.examine(codec)
    except CodecUnavailableError as error:
        if wish == "nvenc":
            raise
        return EncoderChoice(_SOFTWARE[codec], error.cause)
    return EncoderChoice(_HARDWARE[codec], "asked for" if wish == "nvenc" else "the GPU encodes it")
