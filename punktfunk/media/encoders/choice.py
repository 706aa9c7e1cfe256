"""Which encoder makes a codec here, what takes over where it fails, and the reason for it in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from punktfunk.errors import CodecUnavailableError
from punktfunk.media.encoders import nvenc, vaapi
from punktfunk.media.encoders.base import EncoderName
from punktfunk.media.encoders.isolated_check import check_isolated
from punktfunk.media.types import Codec

EncoderWish = Literal["auto", "x264", "nvenc", "vaapi"]
"""``x264`` means software: x264's place is taken by x265 and SVT-AV1 for the codecs that it does not make."""

HARDWARE: Final[Mapping[EncoderName, Codec]] = {**nvenc.CODEC_OF, **vaapi.CODEC_OF}
"""The encoders of GPUs."""
SOFTWARE: Final = {
    Codec.H264: EncoderName.X264,
    Codec.HEVC: EncoderName.X265,
    Codec.AV1: EncoderName.SVT_AV1,
}
ORDER: Final[Mapping[Codec, tuple[EncoderName, ...]]] = {
    codec: (*(name for name, made in HARDWARE.items() if made is codec), software)
    for codec, software in SOFTWARE.items()
}
"""What makes a codec, in the order in which it is taken and in which one takes over from another: NVENC, VA-API,
software."""
_FAMILIES: Final = {"nvenc": tuple(nvenc.CODEC_OF), "vaapi": tuple(vaapi.CODEC_OF)}


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder, why it is that one, and what takes over from it."""

    name: EncoderName
    reason: str
    fallbacks: tuple[EncoderName, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


@cache
def choose_encoder(codec: Codec, wish: EncoderWish = "auto") -> EncoderChoice:
    """Choose for a codec; cached, for drivers do not come and go.

    Raises for ``nvenc`` and ``vaapi`` what is missing (see :func:`require_gpu_encoder`); ``auto`` takes the next of
    :data:`ORDER` then, and says of those before it why not. What was asked for by name has no successor.
    """
    if wish == "x264":
        return EncoderChoice(SOFTWARE[codec], "asked for")
    if wish != "auto":
        name = next(name for name in ORDER[codec] if name in _FAMILIES[wish])
        require_gpu_encoder(name)
        return EncoderChoice(name, "asked for")
    reasons: list[str] = []
    for position, name in enumerate(ORDER[codec]):
        if name in HARDWARE:
            try:
                require_gpu_encoder(name)
            except CodecUnavailableError as error:
                reasons.append(error.cause)
                continue
            reasons.insert(0, "the GPU encodes it")
        return EncoderChoice(name, "; ".join(reasons), ORDER[codec][position + 1 :])
    raise AssertionError("the last of an order is software, which is not asked")


def require_gpu_encoder(name: EncoderName) -> None:
    """Return when an encoder of a GPU works here, having encoded with it; raise what is missing otherwise.

    DeviceMissingError, DriverMissingError, EngineMissingError or CodecUnsupportedError; CodecUnavailableError where a
    library of ours is missing, or the encoder is refused all the same.
    """
    family = next(names for names in _FAMILIES.values() if name in names)
    if name in nvenc.CODEC_OF:
        nvenc.require_driver()
    else:
        vaapi.require_device()
    if name in (refused := check_isolated(family)):
        error = refused[name]
        raise type(error)(error.cause, error.hint)
