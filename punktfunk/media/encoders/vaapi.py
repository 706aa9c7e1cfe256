"""Whether an AMD or Intel GPU encodes here, by VA-API, and what FFmpeg's encoders of it are told.

It takes a render node, a driver that has an entry point for the codec, and a PyAV that has VA-API. The wheel on PyPI
has none; how to get one that has is in ``docs/reference/encoders.md``, and with what these encoders were run. The
encoders themselves: ``vaapi_encoder``, which loads FFmpeg.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from punktfunk.errors import CodecUnavailableError, CodecUnsupportedError, DriverMissingError
from punktfunk.media.encoders import libva
from punktfunk.media.encoders.base import EncoderConfig, EncoderName
from punktfunk.media.types import Codec

CODEC_OF: Final = {
    EncoderName.VAAPI_H264: Codec.H264,
    EncoderName.VAAPI_HEVC: Codec.HEVC,
    EncoderName.VAAPI_AV1: Codec.AV1,
}
FFMPEG_NAMES: Final = {codec: f"{codec}_vaapi" for codec in Codec}
"""What FFmpeg calls its encoders."""
FIRST_PYAV: Final = 18
"""The first release that hands pictures to an encoder of a GPU."""
BUILD_HINT: Final = (
    "build PyAV with a distribution's FFmpeg 8 or newer: pip install --force-reinstall --no-binary av 'av>=18' "
    "(docs/how-to/encode-on-a-gpu.md has the packages)"
)
_NO_PERIOD: Final = 0xFFFF
"""Pictures between key frames that nobody asked for: drivers keep the number in 16 bits, and some take its highest
value for never. FFmpeg counts by itself, so that one comes every 18 minutes at 60 a second."""
_MAX_BUFFER_BITS: Final = 2**31 - 1
"""FFmpeg counts them in an int."""


def require_device(folder: Path = libva.NODES, libraries: tuple[str, str] = libva.LIBRARIES) -> None:
    """Return where there is a GPU and a libva, so that its driver is worth asking; raise what is missing.

    DeviceMissingError or DriverMissingError. Loads no driver.
    """
    libva.render_nodes(folder)
    libva.require_libraries(libraries)


def examine(
    codec: Codec, folder: Path = libva.NODES, libraries: tuple[str, str] = libva.LIBRARIES
) -> tuple[Path, libva.EntryPoint]:
    """Return the render node that encodes ``codec`` here, and how; raise what is missing otherwise.

    DeviceMissingError, DriverMissingError or CodecUnsupportedError, in this order; CodecUnavailableError where the
    GPU could and PyAV cannot.
    """
    found, refused = [], None
    for node in libva.render_nodes(folder):
        try:
            driver = libva.ask(node, libraries)
        except DriverMissingError as error:
            refused = refused or error
            continue
        if codec in driver.encodes:
            require_pyav(codec)
            return node, driver.encodes[codec]
        others = ", ".join(driver.encodes) or "nothing"
        found.append(f"{driver.vendor or node} encodes {others}")
    if not found:
        assert refused is not None
        raise refused
    raise CodecUnsupportedError(
        f"no GPU here encodes {codec} by VA-API: {'; '.join(found)}",
        "choose another codec; some distributions leave H.264 and HEVC out of Mesa (Fedora: mesa-va-drivers-freeworld)",
    )


def require_pyav(codec: Codec = Codec.H264) -> None:
    """Raise CodecUnavailableError unless PyAV has FFmpeg's VA-API encoder of ``codec`` and can give it pictures."""
    import av
    from av.codec.hwaccel import hwdevices_available

    if int(av.__version__.partition(".")[0]) < FIRST_PYAV:
        raise CodecUnavailableError(
            f"PyAV {av.__version__} gives no pictures to a GPU's encoder: {FIRST_PYAV} is the first that does",
            BUILD_HINT,
        )
    try:
        av.Codec(FFMPEG_NAMES[codec], "w")
    except av.codec.codec.UnknownCodecError:
        known = False
    else:
        known = "vaapi" in hwdevices_available()
    if not known:
        raise CodecUnavailableError(f"this PyAV's FFmpeg was built without {FFMPEG_NAMES[codec]}", BUILD_HINT)


def options(config: EncoderConfig, point: libva.EntryPoint) -> dict[str, str]:
    """Return FFmpeg's options: one picture in, one access unit out, a rate buffer of a few frames.

    With the peak equal to the mean FFmpeg takes the driver's constant rate, or the next best that it has.
    """
    rate = config.bitrate.bits_per_second
    buffer_bits = min(round(rate * config.vbv_frames / config.mode.refresh_hz), _MAX_BUFFER_BITS)
    chosen = {
        "async_depth": "1",  # with two, the default, each access unit comes a picture late
        "maxrate": str(rate),
        "bufsize": str(buffer_bits),
        "g": str(config.key_interval or _NO_PERIOD),
        "bf": "0",
    }
    if point is libva.EntryPoint.SLICE_LOW_POWER:
        chosen["low_power"] = "1"
    if config.encoder is EncoderName.VAAPI_H264:
        chosen["sei"] = "0"  # names of FFmpeg and driver before each key frame, and clocks that nobody reads
    return chosen
