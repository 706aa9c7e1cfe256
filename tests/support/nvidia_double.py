"""What stands in for PyNvVideoCodec in tests, where it is called that and found first; x264 encodes.

``NVENC_DOUBLE`` says what is wrong with it: ``refuses`` (no session opens), ``crashes``, ``hangs``, or ``fails N`` and
``dies N`` (on the picture of that number). Its interface is that of PyNvVideoCodec 2.2, as far as
``media/encoders/nvenc.py`` uses it.
"""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace
from typing import Any

import av

NV_ENC_PIC_FLAGS = SimpleNamespace(FORCEIDR=2)
_WRONG, _, _AT = os.environ.get("NVENC_DOUBLE", "").partition(" ")


def GetEncoderCaps(gpuid: int, codec: str) -> dict[str, int]:
    if codec != "h264":
        raise RuntimeError("nvEncGetEncodeCaps: invalid parameter")
    return {"width_max": 4096, "num_encoder_engines": 1}


class CreateEncoder:
    def __init__(self, width: int, height: int, surface: str, from_memory: bool, **options: str) -> None:
        if _WRONG == "refuses":
            raise RuntimeError(
                "CreateEncoder :\nError code : 10\n"
                "Error Type : m_nvenc.nvEncOpenEncodeSessionEx(&parameters, &encoder) returned error 10\nat line 12"
            )
        if _WRONG == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if _WRONG == "hangs":
            time.sleep(60)
        assert (surface, from_memory, options["codec"]) == ("NV12", True, "h264")
        self._context: Any = av.CodecContext.create("libx264", "w")
        self._context.width, self._context.height, self._context.pix_fmt = width, height, "yuv420p"
        self._context.time_base = SimpleNamespace(numerator=1, denominator=int(options["fps"]))
        self._context.bit_rate = int(options["bitrate"])
        self._context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "g": "99999",
        }
        self._pictures = 0

    def Encode(self, surface: Any, flags: int = 0) -> list[dict[str, bytes]]:
        if _WRONG == "dies" and self._pictures == int(_AT):
            os.kill(os.getpid(), signal.SIGSEGV)
        if _WRONG == "fails" and self._pictures == int(_AT):
            raise RuntimeError("nvEncEncodePicture: generic error (20)\nat line 34")
        picture = av.VideoFrame.from_ndarray(surface, format="nv12").reformat(format="yuv420p")
        picture.pts = self._pictures
        if flags & NV_ENC_PIC_FLAGS.FORCEIDR:
            picture.pict_type = av.video.frame.PictureType.I
        self._pictures += 1
        return [{"data": bytes(packet)} for packet in self._context.encode(picture)]

    def GetEncodeReconfigureParams(self) -> SimpleNamespace:
        return SimpleNamespace()

    def Reconfigure(self, parameters: SimpleNamespace) -> None:
        assert parameters.averageBitrate == parameters.maxBitRate
        self._context.bit_rate = parameters.averageBitrate

    def EndEncode(self) -> list[dict[str, bytes]]:
        return []
