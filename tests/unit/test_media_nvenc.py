"""The GPU's encoder where there is none: what is missing has a name, and software takes its place with the reason."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import pytest

from punktfunk.errors import (
    CapabilityError,
    CodecUnavailableError,
    CodecUnsupportedError,
    DriverMissingError,
    EngineMissingError,
)
from punktfunk.media import Codec, EncoderConfig, EncoderName, choose_encoder, open_encoder
from punktfunk.media.encoders import nvenc
from punktfunk.units import Bitrate, Mode


def driver_is_here() -> bool:
    try:
        ctypes.CDLL(nvenc.LIBRARIES[0])
    except OSError:
        return False
    return True


without_driver = pytest.mark.skipif(driver_is_here(), reason="this machine has NVIDIA's driver")


@without_driver
def test_without_a_driver_auto_takes_software_and_says_why() -> None:
    assert not any(choose_encoder(codec).name in nvenc.CODEC_OF for codec in Codec)
    reason = choose_encoder(Codec.H264).reason
    assert reason.startswith("no NVIDIA driver: libcuda.so.1 cannot be loaded; "), (
        "and then why not by VA-API"
    )


@without_driver
def test_without_a_driver_the_gpus_encoder_by_name_is_an_error_that_says_what_to_install() -> None:
    with pytest.raises(DriverMissingError, match="no NVIDIA driver") as caught:
        choose_encoder(Codec.HEVC, "nvenc")
    assert "video" in caught.value.hint
    with pytest.raises(DriverMissingError):
        open_encoder(EncoderConfig(encoder=EncoderName.NVENC_H264))


def test_software_by_name_asks_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvenc, "examine", lambda _codec: pytest.fail("was asked"))
    assert str(choose_encoder(Codec.H264, "x264")) == "x264 (asked for)"


def test_a_driver_without_its_video_part_is_told_from_no_driver_at_all() -> None:
    # Any library that loads stands for CUDA here: only the second name is looked for after it.
    with pytest.raises(DriverMissingError, match="video part is missing"):
        nvenc.require_driver(("libc.so.6", "libnvidia-encode-absent.so.1"))


class Caps:
    """Answers as ``GetEncoderCaps`` of PyNvVideoCodec does: a dictionary, or an exception with NVENC's status."""

    def __init__(self, codecs: set[Codec], refusal: str) -> None:
        self.codecs, self.refusal = codecs, refusal

    def GetEncoderCaps(self, gpuid: int, codec: str) -> dict[str, int]:
        assert gpuid == 0
        if Codec(codec) in self.codecs:
            return {"width_max": 4096, "num_encoder_engines": 1}
        raise Exception(self.refusal)  # noqa: TRY002 - as the library does


def told(call: str, status: int) -> str:
    """What PyNvVideoCodec 2.2.4 raises; so it did on an H200 with driver 580, whose status was 2."""
    return f"""PyNvEncoderCaps :\x20
Error code : {status}
Error Type : m_nvenc.{call}(&encodeSessionExParams, &hEncoder) returned error {status}
at /project/src/PyNvVideoCodec/src/PyNvEncoder.cpp:1103
"""


def test_a_compute_gpu_is_told_by_the_name_of_its_status() -> None:
    with pytest.raises(EngineMissingError) as caught:
        nvenc._require_codec(Caps(set(), told("nvEncOpenEncodeSessionEx", 2)), Codec.AV1)
    assert caught.value.cause.endswith("no encoding engine: nvEncOpenEncodeSessionEx: UNSUPPORTED_DEVICE (2)")


@pytest.mark.parametrize(
    ("status", "name"), [(10, "OUT_OF_MEMORY (10)"), (20, "GENERIC (20)"), (99, "error (99)")]
)
def test_an_encoder_whose_sessions_are_all_taken_is_no_missing_engine(status: int, name: str) -> None:
    """A missing engine is kept while the host runs, and this passes."""
    with pytest.raises(
        CodecUnavailableError, match=f"does not answer: nvEncOpen.*: {re.escape(name)}"
    ) as caught:
        nvenc._require_codec(Caps(set(), told("nvEncOpenEncodeSessionEx", status)), Codec.H264)
    assert type(caught.value) is CodecUnavailableError
    assert "end another encoding session" in caught.value.hint


def test_a_gpu_without_engine_and_one_without_the_codec_are_two_errors() -> None:
    nvenc._require_codec(Caps({Codec.H264}, ""), Codec.H264)
    with pytest.raises(CodecUnsupportedError, match="does not encode av1: invalid param"):
        nvenc._require_codec(Caps({Codec.H264, Codec.HEVC}, "invalid param\nat line 12"), Codec.AV1)
    with pytest.raises(EngineMissingError, match="no encoding engine") as caught:
        nvenc._require_codec(Caps(set(), "NV_ENC_ERR_NO_ENCODE_DEVICE"), Codec.H264)
    assert "--encoder x264" in caught.value.hint


def test_a_gpu_that_has_no_capabilities_has_no_engine() -> None:
    class Nothing:
        def GetEncoderCaps(self, gpuid: int, codec: str) -> dict[str, int]:
            return {}

    with pytest.raises(EngineMissingError, match="no encoding engine: no capabilities"):
        nvenc._require_codec(Nothing(), Codec.H264)


def test_each_of_the_three_is_a_missing_codec_and_a_missing_capability() -> None:
    kinds = [DriverMissingError, EngineMissingError, CodecUnsupportedError]
    assert len({kind.code for kind in kinds}) == 3
    assert all(
        issubclass(kind, CodecUnavailableError) and issubclass(kind, CapabilityError) for kind in kinds
    )
    assert {kind.exit_code for kind in kinds} == {4}


def test_options_ask_for_no_delay_key_frames_on_demand_and_a_buffer_of_the_configured_frames() -> None:
    config = EncoderConfig(
        encoder=EncoderName.NVENC_HEVC, mode=Mode(1280, 720, 60), bitrate=Bitrate(12_000_000), vbv_frames=2
    )
    options = nvenc.options(config)
    assert all(isinstance(value, str) for value in options.values())
    assert (options["codec"], options["bf"], options["repeatspspps"]) == ("hevc", "0", "1")
    assert options["tuning_info"] == "ultra_low_latency"
    assert options["bitrate"] == options["maxbitrate"] == "12000000"
    assert options["vbvbufsize"] == "400000"
    assert int(options["gop"]) > 10**9
    assert nvenc.options(config.model_copy(update={"key_interval": 90}))["idrperiod"] == "90"


@pytest.mark.parametrize(
    "packets", [b"\x00\x01", [{"data": b"\x00"}, {"data": b"\x01"}], bytearray(b"\x00\x01")]
)
def test_access_units_of_both_generations_of_the_library_are_joined(packets: Any) -> None:
    assert nvenc.joined(packets) == b"\x00\x01"
    assert nvenc.joined([]) == b""
