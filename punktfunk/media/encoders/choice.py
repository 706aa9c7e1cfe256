"""Which encoder makes a codec here, what takes over where it fails, and the reason for it in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from punktfunk.errors import CodecUnavailableError, PunktfunkError
from punktfunk.media.encoders import nvenc, vaapi
from punktfunk.media.encoders.answers import EncoderAnswers, Names
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
    left_alone: tuple[str, ...] = ()
    """Of those before it, which work and are suspect, and why, in words."""

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


def choose_encoder(codec: Codec, wish: EncoderWish = "auto") -> EncoderChoice:
    """Choose for a codec by what is known of the GPUs' encoders, which are asked the first time.

    Raises for ``nvenc`` and ``vaapi`` what is missing (see :func:`require_gpu_encoder`); ``auto`` takes the next of
    :data:`ORDER` then, and says of those before it why not; it passes suspects over as well. What was asked for by name
    has no successor.
    """
    if wish == "x264":
        return EncoderChoice(SOFTWARE[codec], "asked for")
    if wish != "auto":
        name = next(name for name in ORDER[codec] if name in _FAMILIES[wish])
        require_gpu_encoder(name)
        return EncoderChoice(name, "asked for")
    reasons: list[str] = []
    left_alone: list[str] = []
    for position, name in enumerate(ORDER[codec]):
        if name in HARDWARE:
            try:
                require_gpu_encoder(name)
            except CodecUnavailableError as error:
                reasons.append(error.cause)
                continue
            if suspicion := ANSWERS.suspicion(name):
                left_alone.append(suspicion)
                reasons.append(suspicion)
                continue
            reasons.insert(0, "the GPU encodes it")
        behind = tuple(each for each in ORDER[codec][position + 1 :] if not _is_suspect(each))
        return EncoderChoice(name, "; ".join(reasons), behind, tuple(left_alone))
    raise AssertionError("the last of an order is software, which is not asked")


def require_gpu_encoder(name: EncoderName) -> None:
    """Return when an encoder of a GPU works here, having encoded with it; raise what is missing otherwise.

    DeviceMissingError, DriverMissingError, EngineMissingError or CodecUnsupportedError; CodecUnavailableError where a
    library of ours is missing, or the encoder is refused all the same.
    """
    error = ANSWERS.refusal(name)
    if error is not None:
        raise type(error)(error.cause, error.hint)


def _is_suspect(name: EncoderName) -> bool:
    return name in HARDWARE and bool(ANSWERS.suspicion(name))


def _ask(names: Names) -> Mapping[EncoderName, PunktfunkError]:
    """Look for libraries and a device, and where they are let each of these encoders prove itself.

    Drivers are not started in this process: one that fails there may do so for as long as the process lives.
    """
    try:
        if names[0] in nvenc.CODEC_OF:
            nvenc.require_libraries()
        else:
            vaapi.require_device()
    except CodecUnavailableError as error:
        return dict.fromkeys(names, error)
    return check_isolated(names)


ANSWERS: Final = EncoderAnswers(_FAMILIES, _ask)
"""Of this process, which has the GPUs of its machine."""
