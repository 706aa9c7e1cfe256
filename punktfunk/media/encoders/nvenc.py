"""H.264, HEVC and AV1 by the encoder of an NVIDIA GPU, through PyNvVideoCodec, which is loaded here alone.

Written against the interface of PyNvVideoCodec 2.2 (its module and NVIDIA's programming guide). No GPU with an
encoding engine has run it yet: what is tested is that every machine without one is told why, an H200 among them.
"""

from __future__ import annotations

import ctypes
import importlib
import re
from typing import TYPE_CHECKING, Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.errors import (
    CodecUnavailableError,
    CodecUnsupportedError,
    DriverMissingError,
    EncoderFailedError,
    EngineMissingError,
    MediaError,
)
from punktfunk.media import bitstream
from punktfunk.media.dma_buf import DmaBufImports
from punktfunk.media.encoders.base import EncoderConfig, EncoderName, RateChange, check_bitrate
from punktfunk.media.types import PIXEL_FORMAT, AccessUnit, Codec, RawFrame, Stamps
from punktfunk.units import Bitrate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CODEC_OF: Final = {
    EncoderName.NVENC_H264: Codec.H264,
    EncoderName.NVENC_HEVC: Codec.HEVC,
    EncoderName.NVENC_AV1: Codec.AV1,
}
LIBRARIES: Final = ("libcuda.so.1", "libnvidia-encode.so.1")
"""What NVIDIA's driver brings: CUDA, and the video part, which containers leave out by default."""
_SURFACE = "NV12"
_NO_PERIOD = 2**31 - 1
_FORCE_IDR = "FORCEIDR"
_STATUSES: Final = {
    1: "NO_ENCODE_DEVICE",
    2: "UNSUPPORTED_DEVICE",
    3: "INVALID_ENCODERDEVICE",
    4: "INVALID_DEVICE",
    5: "DEVICE_NOT_EXIST",
    8: "INVALID_PARAM",
    10: "OUT_OF_MEMORY",
    12: "UNSUPPORTED_PARAM",
    15: "INVALID_VERSION",
    18: "ENCODER_BUSY",
    20: "GENERIC",
    21: "INCOMPATIBLE_CLIENT_KEY",
    22: "UNIMPLEMENTED",
}
"""What ``NVENCSTATUS`` of NVIDIA's nvEncodeAPI.h calls the numbers that a user can do something about."""
_RETURNED: Final = re.compile(r"(nvEnc\w+)\(.*\) returned error (\d+)")
"""How PyNvVideoCodec 2.2 tells a status, in the third of four lines."""
_NO_ENGINE = ("NO_ENCODE_DEVICE", "UNSUPPORTED_DEVICE", "DEVICE_NOT_EXIST")


def examine(codec: Codec) -> None:
    """Return when this machine's GPU encodes ``codec``; raise what is missing otherwise.

    DriverMissingError, EngineMissingError or CodecUnsupportedError; CodecUnavailableError without PyNvVideoCodec.
    """
    require_driver()
    library = _load()
    _require_codec(library, codec)


def require_driver(libraries: tuple[str, ...] = LIBRARIES) -> None:
    """Raise DriverMissingError unless the driver's libraries load and see a GPU."""
    cuda = require_libraries(libraries)
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        raise DriverMissingError(
            "the NVIDIA driver sees no GPU", "nvidia-smi says more; is the kernel module loaded?"
        )


def require_libraries(libraries: tuple[str, ...] = LIBRARIES) -> Any:
    """Return CUDA where the driver's libraries load; raise DriverMissingError otherwise. Starts nothing of them."""
    cuda: Any = None
    for name in libraries:
        try:
            loaded = ctypes.CDLL(name)
        except OSError:
            what = "no NVIDIA driver" if cuda is None else "the NVIDIA driver's video part is missing"
            raise DriverMissingError(
                f"{what}: {name} cannot be loaded",
                "install NVIDIA's driver; in a container pass it on with its 'video' capability",
            ) from None
        cuda = cuda or loaded
    return cuda


def _load() -> Any:
    try:
        return importlib.import_module("PyNvVideoCodec")
    except ImportError:
        raise CodecUnavailableError(
            "PyNvVideoCodec is not installed", "pip install 'punktfunk[nvenc]'"
        ) from None
    except RuntimeError as error:
        # It looks for the driver's libraries itself, and says so when they are too old for it.
        raise DriverMissingError(
            f"PyNvVideoCodec cannot use the driver: {_reason(error)}", "update NVIDIA's driver"
        ) from error


def _require_codec(library: Any, codec: Codec) -> None:
    """Ask for the capabilities of each codec: one that all of them lack is the engine."""
    refusals = {}
    no_engine = False
    for asked in dict.fromkeys((codec, *Codec)):
        try:
            capabilities = library.GetEncoderCaps(gpuid=0, codec=str(asked))
        except Exception as error:  # noqa: BLE001 - the library's classes derive from Exception alone
            refusals[asked] = _reason(error)
            no_engine = any(sign in f"{refusals[asked]} {error}" for sign in _NO_ENGINE)
            if no_engine:
                break
        else:
            if asked is codec and capabilities:
                return
            if capabilities:
                raise CodecUnsupportedError(
                    f"this GPU does not encode {codec}: {refusals.get(codec, 'no capabilities')}",
                    f"choose another codec: it encodes {asked}",
                )
    reason = refusals.get(codec, "no capabilities")
    if refusals and not no_engine:
        # Every session that the GPU has may be taken: this one passes, a missing engine does not.
        raise CodecUnavailableError(
            f"this GPU's encoder does not answer: {reason}",
            "end another encoding session, or encode in software (--encoder x264); nvidia-smi says more",
        )
    raise EngineMissingError(
        f"this GPU has no encoding engine: {reason}",
        "compute GPUs (A100, H100, H200) have none: encode in software (--encoder x264)",
    )


class NvencEncoder:
    """An encoding session of the GPU; see :class:`~punktfunk.media.encoders.base.Encoder`."""

    imports: DmaBufImports | None = None
    """PyNvVideoCodec takes CUDA's memory and the host's."""

    def __init__(self, config: EncoderConfig) -> None:
        """Open a session; raise as :func:`examine` does."""
        # Whoever asks which encoders there are does without pictures, and without NumPy.
        import numpy as np

        from punktfunk.media.planes import plane_view

        self._plane_view = plane_view
        self.name = config.encoder
        self.codec = CODEC_OF[config.encoder]
        examine(self.codec)
        self._library = _load()
        self._config = config
        mode = config.mode
        self._accepts = (mode.width, mode.height, PIXEL_FORMAT)
        # Luma, and below it the two chroma planes interleaved.
        self._surface: NDArray[np.uint8] = np.empty((mode.height * 3 // 2, mode.width), np.uint8)
        self._session: Any = self._open(config)

    @property
    def bitrate(self) -> Bitrate:
        """The rate it aims at now."""
        return self._config.bitrate

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        """Encode one picture; see :class:`~punktfunk.media.encoders.base.Encoder`."""
        if self._session is None:
            raise MediaError(f"the {self.name} encoder is closed", "open a new one")
        picture = frame.picture
        if (picture.width, picture.height, picture.format.name) != self._accepts:
            raise MediaError(
                f"{self.name} is open for {self._config.mode.resolution} {PIXEL_FORMAT}, "
                f"but frame {frame.frame} is {picture.width}x{picture.height} {picture.format.name}",
                "open a new encoder when the mode changes",
            )
        begin_ns = monotonic_ns()
        rows = picture.height
        self._surface[:rows] = self._plane_view(picture, 0)
        self._surface[rows:, 0::2] = self._plane_view(picture, 1)
        self._surface[rows:, 1::2] = self._plane_view(picture, 2)
        flags = int(getattr(self._library.NV_ENC_PIC_FLAGS, _FORCE_IDR)) if key else 0
        try:
            packets = (
                self._session.Encode(self._surface, flags) if flags else self._session.Encode(self._surface)
            )
        except Exception as error:
            raise EncoderFailedError(
                f"{self.name} failed on frame {frame.frame}: {_reason(error)}",
                "close the encoder and open a new one",
            ) from error
        data = joined(packets)
        if not data:
            raise EncoderFailedError(
                f"{self.name} held frame {frame.frame} back",
                "its options let it look ahead; a low-latency stream cannot use it like this",
            )
        return AccessUnit(
            data=data,
            key=bitstream.is_key(self.codec, data),
            frame=frame.frame,
            pts_ns=frame.captured_ns,
            stamps=Stamps(frame.captured_ns, frame.converted_ns, begin_ns, monotonic_ns()),
        )

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        """Aim at a new rate without a new session; see :class:`~punktfunk.media.encoders.base.Encoder`."""
        if self._session is None:
            raise MediaError(f"the {self.name} encoder is closed", "open a new one")
        if bitrate == self._config.bitrate:
            return RateChange.UNCHANGED
        check_bitrate(bitrate)
        config = self._config.model_copy(update={"bitrate": bitrate})
        try:
            parameters = self._session.GetEncodeReconfigureParams()
            parameters.averageBitrate = parameters.maxBitRate = bitrate.bits_per_second
            parameters.vbvBufferSize = parameters.vbvInitialDelay = _buffer_bits(config)
            self._session.Reconfigure(parameters)
        except Exception as error:
            raise EncoderFailedError(
                f"{self.name} does not take {bitrate}: {_reason(error)}",
                "close the encoder and open a new one",
            ) from error
        self._config = config
        return RateChange.IN_PLACE

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        """Stay as it is: the GPU reaches any rate that it was opened for."""
        return RateChange.UNCHANGED

    def close(self) -> None:
        """Free the session; see :class:`~punktfunk.media.encoders.base.Encoder`."""
        session, self._session = self._session, None
        if session is not None:
            session.EndEncode()

    def _open(self, config: EncoderConfig) -> Any:
        mode = config.mode
        try:
            return self._library.CreateEncoder(mode.width, mode.height, _SURFACE, True, **options(config))
        except Exception as error:
            # Consumer GPUs open a handful of sessions at a time, and every one has a largest picture.
            raise CodecUnavailableError(
                f"the encoder {self.name} cannot be opened at {mode}: {_reason(error)}",
                "end another encoding session, or use --encoder x264",
            ) from error


def options(config: EncoderConfig) -> dict[str, str]:
    """Return the keyword arguments of ``CreateEncoder``; the library reads them as text.

    One picture in, one access unit out: no B frames, no look-ahead, a rate buffer of a few frames, and key frames
    on demand, each with its parameter sets.
    """
    rate = str(config.bitrate.bits_per_second)
    period = str(config.key_interval or _NO_PERIOD)
    return {
        "codec": str(CODEC_OF[config.encoder]),
        "preset": "P2",
        "tuning_info": "ultra_low_latency",
        "rc": "cbr",
        "fps": str(config.mode.refresh_hz),
        "bitrate": rate,
        "maxbitrate": rate,
        "vbvbufsize": str(_buffer_bits(config)),
        "vbvinit": str(_buffer_bits(config)),
        "bf": "0",
        "gop": period,
        "idrperiod": period,
        "repeatspspps": "1",
    }


def joined(packets: Any) -> bytes:
    """Return what ``Encode`` gave as one byte string: bytes up to release 2.1, a list of dictionaries since."""
    if isinstance(packets, list):
        return b"".join(bytes(packet["data"]) for packet in packets)
    return bytes(packets)


def _buffer_bits(config: EncoderConfig) -> int:
    return round(config.bitrate.bits_per_second * config.vbv_frames / config.mode.refresh_hz)


def _reason(error: BaseException) -> str:
    """The call that was refused and the name of its status, where the library tells them; else its first line."""
    if told := _RETURNED.search(str(error)):
        status = int(told[2])
        return f"{told[1]}: {_STATUSES.get(status, 'error')} ({status})"
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
