"""What FFmpeg's VA-API encoders are told, and which render nodes are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from punktfunk.errors import CodecUnavailableError, DeviceMissingError
from punktfunk.media import EncoderConfig, EncoderName, choose_encoder, open_encoder
from punktfunk.media.encoders import libva, vaapi
from punktfunk.media.types import Codec
from punktfunk.units import Bitrate, Mode

MODE = Mode(1280, 720, 60)
without_gpu = pytest.mark.skipif(libva.NODES.exists(), reason="this machine has a GPU")


def told(
    name: EncoderName, point: libva.EntryPoint = libva.EntryPoint.SLICE, **more: object
) -> dict[str, str]:
    config = {"encoder": name, "mode": MODE, "bitrate": Bitrate(12_000_000), "vbv_frames": 2, **more}
    return vaapi.options(EncoderConfig.model_validate(config), point)


def test_options_ask_for_no_delay_key_frames_on_demand_and_a_buffer_of_the_configured_frames() -> None:
    options = told(EncoderName.VAAPI_HEVC)
    assert options == {
        "async_depth": "1",
        "maxrate": "12000000",
        "bufsize": "400000",
        "g": "65535",
        "bf": "0",
    }
    assert told(EncoderName.VAAPI_HEVC, key_interval=90)["g"] == "90"


def test_a_gpu_without_the_usual_entry_point_is_asked_for_the_other() -> None:
    assert told(EncoderName.VAAPI_AV1, libva.EntryPoint.SLICE_LOW_POWER)["low_power"] == "1"


def test_h264_is_left_without_the_names_of_what_made_it() -> None:
    assert told(EncoderName.VAAPI_H264)["sei"] == "0"


def test_a_buffer_that_ffmpeg_could_not_count_is_cut() -> None:
    slow = {"mode": Mode(1280, 720, 1), "bitrate": Bitrate(2_000_000_000)}
    assert told(EncoderName.VAAPI_H264, **slow)["bufsize"] == str(2**31 - 1)


@without_gpu
def test_without_a_gpu_the_encoder_by_name_is_an_error_that_says_so() -> None:
    with pytest.raises(DeviceMissingError, match="/dev/dri has no render node"):
        choose_encoder(Codec.HEVC, "vaapi")
    with pytest.raises(DeviceMissingError):
        open_encoder(EncoderConfig(encoder=EncoderName.VAAPI_AV1))


def test_only_render_nodes_are_looked_at_and_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("renderD1000", "renderD129", "renderD128", "card0", "by-path"):
        (tmp_path / name).touch()
    assert [node.name for node in libva.render_nodes(tmp_path)] == ["renderD128", "renderD129", "renderD1000"]


def test_an_encoder_that_this_pyav_lacks_cannot_be_opened_on_any_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real encoder up to FFmpeg: with the wheel FFmpeg lacks it, elsewhere the device is none."""
    from punktfunk.media.encoders import vaapi_encoder

    node = (Path("/dev/null"), libva.EntryPoint.SLICE)
    monkeypatch.setattr(vaapi_encoder, "examine", lambda _codec: node)
    for name in vaapi.CODEC_OF:
        with pytest.raises(
            CodecUnavailableError, match=f"the encoder {name} .*_vaapi.* cannot be opened"
        ) as caught:
            open_encoder(EncoderConfig(encoder=name, mode=MODE))
        assert "vainfo" in caught.value.hint
