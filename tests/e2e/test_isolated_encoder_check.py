"""Encoders of a GPU that are tried in a process of their own: what they do to it is told, and done to nobody else."""

from __future__ import annotations

import pytest

from punktfunk.errors import CodecUnavailableError, DriverMissingError
from punktfunk.media import Codec, EncoderConfig
from punktfunk.media.encoders import nvenc
from punktfunk.media.encoders.base import EncoderName
from punktfunk.media.encoders.isolated_check import check_isolated
from punktfunk.media.encoders.self_test import run_isolated
from punktfunk.units import Bitrate, Mode
from tests.support import gpu_doubles

NAMES = tuple(nvenc.CODEC_OF)
H264, HEVC, AV1 = NAMES


def tried(
    monkeypatch: pytest.MonkeyPatch, wrong: str, limit_s: float = 30.0
) -> dict[EncoderName, CodecUnavailableError]:
    for name, value in gpu_doubles.with_nvidia(wrong).items():
        monkeypatch.setenv(name, value)
    refused = check_isolated(NAMES, limit_s)
    assert all(isinstance(error, CodecUnavailableError) for error in refused.values())
    return {name: error for name, error in refused.items() if isinstance(error, CodecUnavailableError)}


def test_an_encoder_that_works_is_not_refused_and_the_codecs_that_a_gpu_lacks_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = tried(monkeypatch, "")
    assert set(refused) == {HEVC, AV1}
    assert refused[AV1].cause == "this GPU does not encode av1: nvEncGetEncodeCaps: invalid parameter"
    assert (refused[AV1].code, refused[AV1].hint) == ("PF213", "choose another codec: it encodes h264")


def test_one_that_is_refused_when_it_is_opened_says_why_in_its_librarys_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = tried(monkeypatch, "refuses")
    assert (
        "cannot be opened at 640x480@60: nvEncOpenEncodeSessionEx: OUT_OF_MEMORY (10)" in refused[H264].cause
    )
    assert "end another encoding session" in refused[H264].hint


def test_one_that_fails_on_a_picture_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = tried(monkeypatch, "fails 1")
    assert refused[H264].cause == "nvenc-h264 failed on frame 1: nvEncEncodePicture: generic error (20)"


def test_a_driver_that_crashes_or_hangs_costs_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = tried(monkeypatch, "crashes")
    assert refused[H264].cause == "opening nvenc-h264 ends its process with signal 11"
    assert refused[AV1].cause.startswith("this GPU does not encode av1"), (
        "those behind it are tried all the same"
    )
    refused = tried(monkeypatch, "hangs", 1.0)
    assert refused[H264].cause == "opening nvenc-h264 hangs: nothing came of it in 1 s"
    assert refused[AV1].cause == "nvenc-h264 hangs", "nobody waits for the same GPU again"


@pytest.mark.parametrize(("wrong", "failure"), [("", ""), ("dies 5", "ends its process with signal 11")])
def test_the_self_test_of_an_encoder_outlives_its_driver(
    wrong: str, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in gpu_doubles.with_nvidia(wrong).items():
        monkeypatch.setenv(name, value)
    config = EncoderConfig(encoder=H264, mode=Mode(480, 272, 60), bitrate=Bitrate(2_000_000))
    found = run_isolated(config, Codec.H264, 8)
    assert (found.failure, found.frames) == (failure, 0 if failure else 8)


@pytest.mark.skipif(gpu_doubles.nvidia_is_here(), reason="this machine has NVIDIA's driver")
def test_without_a_double_this_machines_own_answer_keeps_its_kind() -> None:
    refused = check_isolated(NAMES)
    assert [type(error) for error in refused.values()] == [DriverMissingError] * 3
