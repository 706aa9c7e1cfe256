"""Which codecs a host without a GPU offers to Moonlight clients: H.264, and one that is asked for and opens."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from punktfunk.gamestream.describe import CodecModes
from punktfunk.host.config import HostConfig
from punktfunk.host.gamestream import agreement
from punktfunk.host.gamestream.agreement import offered_modes
from punktfunk.media import SyntheticSpec, TestCardSpec, check_encoder
from punktfunk.media.encoders import EncoderCheck
from punktfunk.media.encoders.base import EncoderName


def host(codec: str, **others: Any) -> HostConfig:
    return HostConfig(**{"source": TestCardSpec(), "encoder": "x264", "codec": codec, **others})


@pytest.mark.conformance(43)
@pytest.mark.parametrize(
    ("codec", "modes"),
    [
        ("auto", CodecModes.H264),
        ("h264", CodecModes.H264),
        ("hevc", CodecModes.H264 | CodecModes.HEVC),
        ("av1", CodecModes.H264 | CodecModes.AV1),
    ],
)
def test_software_makes_what_the_operator_asks_for_and_h264(codec: str, modes: CodecModes) -> None:
    assert offered_modes(host(codec)) == modes
    assert offered_modes(host(codec, source=SyntheticSpec())) == CodecModes.H264


@pytest.mark.conformance(43)
def test_a_codec_whose_encoder_does_not_open_here_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[EncoderName] = []

    def missing(name: EncoderName) -> EncoderCheck:
        tried.append(name)
        return dataclasses.replace(
            check_encoder(name), available=False, reason="libx265 is not in this build"
        )

    monkeypatch.setattr(agreement, "check_encoder", missing)
    assert offered_modes(host("hevc")) == CodecModes.H264
    assert offered_modes(host("auto")) == CodecModes.H264
    assert tried == [EncoderName.X265], "codecs that nobody asked for are not tried"
