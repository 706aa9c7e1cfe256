"""VA-API from the encoder class to the driver: FFmpeg, PyAV and libva are the real ones, the driver is of our own.

What it codes of H.264 decodes to the very picture that was given (``cpu_driver.c``), so that whatever is wrong on the
way shows; HEVC and AV1 are made by libraries.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import punktfunk
from punktfunk.errors import (
    CodecUnavailableError,
    CodecUnsupportedError,
    DeviceMissingError,
    DriverMissingError,
    EncoderFailedError,
)
from punktfunk.media import (
    Codec,
    EncoderConfig,
    EncoderName,
    RateChange,
    TestCardSpec,
    choose_encoder,
    open_encoder,
)
from punktfunk.media.decoders import open_decoder
from punktfunk.media.encoders import ANSWERS, libva, vaapi
from punktfunk.media.encoders.choice import ORDER
from punktfunk.media.encoders.fallback import FallbackEncoder
from punktfunk.media.encoders.self_test import run_self_test
from punktfunk.media.encoders.vaapi_encoder import VaapiEncoder
from punktfunk.media.planes import plane_view
from punktfunk.media.sources.card import TestCardSource
from punktfunk.media.testcard import TestCard
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.support.waiting import soon

NODE = Path("/dev/dri/renderD200")
MODE = Mode(480, 272, 60)
H264 = EncoderName.VAAPI_H264


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    ANSWERS.forget()


def config(**more: object) -> EncoderConfig:
    return EncoderConfig.model_validate(
        {"encoder": H264, "mode": MODE, "bitrate": Bitrate(8_000_000), **more}
    )


def test_the_node_the_driver_and_its_entry_points_are_found_without_a_word_on_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert libva.render_nodes() == [NODE]
    for codec in Codec:
        assert vaapi.examine(codec) == (NODE, libva.EntryPoint.SLICE)
    assert "on the processor" in libva.ask(NODE).vendor
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_what_is_missing_is_told_apart_by_the_real_libva(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CPU_DRIVER", "decodes")
    with pytest.raises(CodecUnsupportedError, match="encodes nothing"):
        vaapi.examine(Codec.H264)
    monkeypatch.setenv("LIBVA_DRIVER_NAME", "absent")
    with pytest.raises(DriverMissingError, match="no VA-API driver for /dev/dri/renderD200: ") as caught:
        vaapi.examine(Codec.H264)
    assert "mesa-va-drivers" in caught.value.hint
    (tmp_path / "renderD128").touch()
    with pytest.raises(DriverMissingError, match=r"does not take .* for a GPU"):
        vaapi.examine(Codec.H264, tmp_path)
    with pytest.raises(DeviceMissingError):
        vaapi.examine(Codec.H264, tmp_path / "none")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", list(vaapi.CODEC_OF))
def test_ffmpegs_encoders_open_and_know_every_option_that_they_are_given(name: EncoderName) -> None:
    encoder = open_encoder(config(encoder=name))
    assert isinstance(encoder, VaapiEncoder)
    context = encoder._context
    assert context is not None
    assert context.options == {}, "what nobody took is left over"
    assert (context.pix_fmt, str(context.sw_format.name)) == ("vaapi", "nv12")
    assert context.gop_size == 65_535
    assert context.max_b_frames == 0
    encoder.close()


@pytest.mark.parametrize("mode", [MODE, Mode(638, 362, 60), Mode(464, 32, 30)])
def test_each_picture_comes_out_at_once_and_is_the_one_that_went_in(mode: Mode) -> None:
    source = TestCardSource(TestCard(mode.resolution, entropy=0.5))
    encoder, decoder = open_encoder(config(mode=mode)), open_decoder(Codec.H264)
    keys = []
    for number in range(12):
        frame = source.capture()
        unit = encoder.encode(frame, key=number == 7)
        assert unit.frame == number
        if unit.key:
            keys.append(number)
            assert unit.data.count(b"Lavc") == 0
        decoded = decoder.decode(unit.data)
        assert decoded is not None
        assert (decoded.width, decoded.height) == (mode.width, mode.height)
        for index in range(3):
            assert np.array_equal(plane_view(decoded.picture, index), plane_view(frame.picture, index)), (
                number,
                index,
            )
    assert keys == [0, 7]
    encoder.close()


def test_a_new_rate_opens_it_again_and_the_stream_goes_on() -> None:
    source, decoder = TestCardSource(TestCard(MODE.resolution)), open_decoder(Codec.H264)
    encoder = open_encoder(config())
    keys = []
    for number in range(9):
        if number == 3:
            assert encoder.set_bitrate(Bitrate(4_000_000)) is RateChange.REOPENED
        if number == 6:
            assert encoder.set_frame_rate(30) is RateChange.REOPENED
        unit = encoder.encode(source.capture())
        keys += [number] if unit.key else []
        assert decoder.decode(unit.data) is not None
    assert keys == [0, 3, 6]
    assert encoder.bitrate == Bitrate(4_000_000)


def test_a_driver_that_fails_in_mid_stream_is_followed_by_software(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPU_DRIVER", "fails 5")
    encoder = open_encoder(config(fallbacks=(EncoderName.X264,)))
    assert isinstance(encoder, FallbackEncoder)
    source, decoder = TestCardSource(TestCard(MODE.resolution)), open_decoder(Codec.H264)
    names = []
    for number in range(10):
        unit = encoder.encode(source.capture())
        assert unit.key == (number in {0, 5})
        decoded = decoder.decode(unit.data)
        assert decoded is not None
        assert not decoded.concealed
        names.append(encoder.name)
    assert names == [H264] * 5 + [EncoderName.X264] * 5
    [replaced] = encoder.replacements
    assert isinstance(replaced.error, EncoderFailedError)
    assert replaced.error.cause.startswith("vaapi-h264 failed on frame 5: ")


def test_a_driver_that_refuses_a_session_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPU_DRIVER", "refuses")
    with pytest.raises(CodecUnavailableError, match=r"vaapi-h264 \(FFmpeg's h264_vaapi\) cannot be opened"):
        open_encoder(config())
    encoder = open_encoder(config(fallbacks=(EncoderName.X264,)))
    assert encoder.name is EncoderName.X264
    chosen = choose_encoder(Codec.H264)
    assert (chosen.name, chosen.fallbacks) == (EncoderName.X264, ())
    assert "vaapi-h264" in chosen.reason


def test_auto_takes_the_gpu_for_each_codec_and_software_behind_it() -> None:
    for codec, names in ORDER.items():
        chosen = choose_encoder(codec)
        assert (chosen.name, chosen.fallbacks) == (names[1], names[2:])
        assert chosen.reason.startswith("the GPU encodes it; no NVIDIA driver")


@pytest.mark.parametrize(("name", "least_db"), [(EncoderName.VAAPI_HEVC, 30), (EncoderName.VAAPI_AV1, 30)])
def test_hevc_and_av1_pass_the_self_test_at_the_rate_that_was_asked_for(
    name: EncoderName, least_db: float
) -> None:
    # The driver makes headers of its own, as some do: pictures are of its surfaces' size.
    asked = config(encoder=name, mode=Mode(640, 384, 60), bitrate=Bitrate(4_000_000))
    found = run_self_test(asked, vaapi.CODEC_OF[name], 60)
    assert (found.failure, found.frames, found.rate_change) == ("", 60, RateChange.REOPENED)
    assert found.psnr_db > least_db
    assert 2 < found.megabits_per_second < 6


def test_the_command_tests_it() -> None:
    options = ["--test", "--json", "--mode", "640x384@60", "--bitrate", "4 Mbit/s"]
    done = subprocess.run(
        [sys.executable, "-m", "punktfunk", "encoders", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    result = rows["vaapi-h264"]["test"]
    assert (result["failure"], result["frames"], result["psnr_db"], result["least_psnr_db"]) == (
        "",
        120,
        99.0,
        99.0,
    )
    assert result["rate_change"] == "reopened"
    assert rows["vaapi-hevc"]["available"]


def test_a_host_streams_by_it_and_goes_over_to_software_before_its_clients_eyes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The check before it encodes two pictures, so that only a stream sees the failure.
    monkeypatch.setenv("CPU_DRIVER", "fails 60")

    async def scenario() -> None:
        host_config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK, port=0, source=TestCardSpec(), codec="h264", mode=Mode(464, 32, 60)
        )
        client_config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
        async with punktfunk.Host(host_config) as host:
            async with punktfunk.Client(f"127.0.0.1:{host.port}", client_config):
                [report] = await soon(host.sessions.live, "the stream begins")
                await soon(lambda: report.encoder == H264, "the GPU's encoder is at work")
                words = await soon(lambda: report.notices.get("encoder"), "another encoder took over")
                assert words.startswith("x264 took over: vaapi-h264 failed on frame 60: ")
                assert report.encoder == "x264"
                sent = report.counters.get("frames_sent", 0)
                await soon(lambda: report.counters.get("frames_sent", 0) > sent + 60, "the stream goes on")
            assert not report.failed

    asyncio.run(asyncio.wait_for(scenario(), 120))
