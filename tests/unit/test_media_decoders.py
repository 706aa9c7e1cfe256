"""Decoders hold nothing back and never raise on what comes from the wire."""

from __future__ import annotations

import random
from functools import cache

import av
import numpy as np
import pytest

from punktfunk.errors import CodecUnavailableError, MediaError
from punktfunk.media import (
    AccessUnit,
    Codec,
    EncoderConfig,
    EncoderName,
    TestCardSpec,
    frame_marker,
    open_producer,
)
from punktfunk.media.decoders import open_decoder
from punktfunk.media.types import DecodedFrame
from punktfunk.units import Bitrate, Mode

_ENCODERS = {Codec.H264: EncoderName.X264, Codec.HEVC: EncoderName.X265, Codec.AV1: EncoderName.SVT_AV1}


@cache
def _stream(codec: Codec) -> tuple[AccessUnit, ...]:
    """Encode a short stream with a second key frame at 12."""
    config = EncoderConfig(
        encoder=_ENCODERS[codec], mode=Mode(640, 360, 60), bitrate=Bitrate.parse("4 Mbit/s")
    )
    producer = open_producer(TestCardSpec(), config)
    units = []
    for number in range(20):
        if number == 12:
            producer.request_key()
        units.append(producer.produce())
    producer.close()
    return tuple(units)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("codec", list(Codec))
def test_damaged_access_units_are_counted_and_the_next_key_frame_recovers(codec: Codec, seed: int) -> None:
    rng = random.Random(seed)
    units = _stream(codec)
    decoder = open_decoder(codec)
    for _ in range(15):
        for unit in units[:12]:
            damaged = bytearray(unit.data)
            match rng.randrange(4):
                case 0:
                    for _ in range(rng.randrange(1, 40)):
                        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
                case 1:
                    del damaged[rng.randrange(len(damaged)) :]
                case 2:
                    damaged = bytearray(rng.randbytes(len(damaged)))
                case 3:
                    start = rng.randrange(len(damaged))
                    damaged[start : start + 200] = bytes(200)
            decoder.decode(damaged)
    stats = decoder.stats
    assert stats.access_units == 15 * 12
    assert stats.frames + stats.errors == stats.access_units
    assert stats.errors > 0
    for unit in units[12:]:
        decoded = decoder.decode(unit.data)
        assert decoded is not None
        reading = frame_marker.read(decoded.luma)
        assert reading is not None
        assert reading.frame == unit.frame


@pytest.mark.parametrize("codec", list(Codec))
def test_an_empty_access_unit_is_an_error_and_not_the_end(codec: Codec) -> None:
    decoder = open_decoder(codec)
    units = _stream(codec)
    assert decoder.decode(b"") is None
    assert decoder.decode(units[0].data) is not None
    assert decoder.decode(b"") is None
    assert decoder.decode(units[1].data) is not None
    assert (decoder.stats.access_units, decoder.stats.frames, decoder.stats.errors) == (4, 2, 2)


@pytest.mark.parametrize("codec", list(Codec))
def test_a_stream_is_not_shown_before_its_first_key_frame(codec: Codec) -> None:
    decoder = open_decoder(codec)
    units = _stream(codec)
    early = [decoder.decode(unit.data) for unit in units[1:4]]
    assert all(frame is None or frame.concealed for frame in early)
    assert decoder.decode(units[12].data) is not None


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(kind: type) -> None:
    decoder = open_decoder(Codec.H264)
    decoded = decoder.decode(kind(_stream(Codec.H264)[0].data))
    assert decoded is not None
    assert (decoded.width, decoded.height) == (640, 360)
    assert decoded.luma.shape == (360, 640)
    assert 0 < decoded.decode_begin_ns < decoded.decode_end_ns


def test_a_picture_larger_than_the_cap_is_not_allocated() -> None:
    config = EncoderConfig(mode=Mode(4096, 2160, 30), bitrate=Bitrate.parse("20 Mbit/s"))
    unit = open_producer(TestCardSpec(), config).produce()
    decoder = open_decoder(Codec.H264, max_pixels=4096 * 2160 - 1)
    assert decoder.decode(unit.data) is None
    assert decoder.stats.errors == 1
    assert open_decoder(Codec.H264, max_pixels=4096 * 2160).decode(unit.data) is not None


def test_luma_of_a_ten_bit_picture_is_converted() -> None:
    picture = av.VideoFrame(64, 64, "yuv420p10le")
    samples = np.frombuffer(picture.planes[0], np.uint16).reshape(64, -1)  # type: ignore[call-overload]
    samples[...] = 235 * 4
    luma = DecodedFrame(picture, 0, 1, concealed=False).luma
    assert luma.shape == (64, 64)
    assert luma.dtype == np.uint8
    assert np.abs(luma.astype(int) - 235).max() <= 1


def test_an_unknown_codec_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CodecUnavailableError) as raised:
        open_decoder("h266")
    assert "h264, hevc, av1" in raised.value.hint


def test_a_closed_decoder_says_so() -> None:
    decoder = open_decoder("h264")
    decoder.close()
    decoder.close()
    with pytest.raises(MediaError, match="closed"):
        decoder.decode(b"\x00")
