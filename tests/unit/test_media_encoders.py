"""Real encoders on the real test card: no delay, key frames on demand, rates that are followed."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from punktfunk.errors import CodecUnavailableError, EncoderFailedError, MediaError, UnitError, UsageError
from punktfunk.media import (
    AccessUnit,
    Codec,
    EncoderConfig,
    EncoderName,
    RateChange,
    TestCardSpec,
    available_encoders,
    frame_marker,
    open_encoder,
    open_producer,
    quality,
)
from punktfunk.media.bitstream import unit_types
from punktfunk.media.decoders import open_decoder
from punktfunk.media.encoders.x264 import X264Encoder
from punktfunk.media.planes import plane_view
from punktfunk.media.testcard import TestCard
from punktfunk.media.types import RawFrame
from punktfunk.units import Bitrate, Mode

_MODE = Mode(640, 360, 60)
"""A quarter of the pixels of 720p at a quarter of its bit rates: encoders do the same."""
_ALL = [EncoderName.X264, EncoderName.X265, EncoderName.SVT_AV1]
_KEY_UNITS = {EncoderName.X264: [7, 8, 5], EncoderName.X265: [32, 33, 34, 20], EncoderName.SVT_AV1: [2, 1, 6]}


def _config(name: EncoderName = EncoderName.X264, mbit: float = 2, **more: object) -> EncoderConfig:
    bitrate = Bitrate(round(mbit * 10**6))
    return EncoderConfig.model_validate({"encoder": name, "mode": _MODE, "bitrate": bitrate, **more})


@pytest.mark.parametrize("name", _ALL)
def test_every_picture_comes_out_at_once_and_intact(name: EncoderName) -> None:
    """One access unit a picture, decoded to a picture at once, with the right frame marker in it, at 1.25 Mbit/s."""
    producer = open_producer(TestCardSpec(entropy=0.3), _config(name, 1.25))
    assert producer.codec is not None
    decoder = open_decoder(producer.codec)
    for number in range(30):
        unit = producer.produce()
        assert unit.frame == number
        assert unit.pts_ns == unit.stamps.captured_ns
        stamps = unit.stamps
        assert stamps.captured_ns <= stamps.converted_ns <= stamps.encode_begin_ns < stamps.encode_end_ns
        decoded = decoder.decode(unit.data)
        assert decoded is not None, f"frame {number} was held back"
        reading = frame_marker.read(decoded.luma)
        assert reading is not None, f"the frame marker of frame {number} is unreadable"
        assert (reading.frame, reading.time_us) == (number, stamps.captured_ns // 1000)
    producer.close()
    assert (decoder.stats.errors, decoder.stats.concealed) == (0, 0)


@pytest.mark.parametrize("name", _ALL)
def test_a_key_frame_comes_first_and_on_demand_only(name: EncoderName) -> None:
    producer = open_producer(TestCardSpec(), _config(name))
    units = []
    for number in range(24):
        if number == 15:
            producer.request_key()
        units.append(producer.produce())
    producer.close()
    assert [unit.frame for unit in units if unit.key] == [0, 15]
    # The stream can be entered at the second one: a fresh decoder takes it from there.
    assert producer.codec is not None
    present = [kind for kind in unit_types(producer.codec, units[15].data) if kind in _KEY_UNITS[name]]
    assert list(dict.fromkeys(present)) == _KEY_UNITS[name]
    decoder = open_decoder(producer.codec)
    for unit in units[15:]:
        decoded = decoder.decode(unit.data)
        assert decoded is not None
        reading = frame_marker.read(decoded.luma)
        assert reading is not None
        assert reading.frame == unit.frame
    assert decoder.stats.concealed == 0


@pytest.mark.parametrize("vbv_frames", [1.0, 2.0])
@pytest.mark.parametrize("entropy", [0.3, 1.0])
def test_no_access_unit_is_larger_than_the_rate_buffer(vbv_frames: float, entropy: float) -> None:
    config = _config(mbit=2.5, vbv_frames=vbv_frames)
    producer = open_producer(TestCardSpec(entropy=entropy), config)
    sizes = []
    for number in range(60):
        if number in {20, 40}:
            producer.request_key()
        sizes.append(len(producer.produce().data))
    producer.close()
    # x264 plans with the buffer and misses the size it planned by a few per cent.
    assert max(sizes) <= config.frame_bytes * vbv_frames * 1.12
    assert sum(sizes) / len(sizes) == pytest.approx(config.frame_bytes, rel=0.2)


def _rate(units: list[AccessUnit]) -> float:
    return sum(len(unit.data) for unit in units) * 8 * _MODE.refresh_hz / len(units)


def test_a_new_bit_rate_is_followed_within_a_fifth_over_two_seconds() -> None:
    producer = open_producer(TestCardSpec(entropy=0.4), _config(mbit=8, mode=Mode(1280, 720, 60)))
    steps = [
        (6, RateChange.IN_PLACE),
        (4, RateChange.IN_PLACE),
        (8, RateChange.IN_PLACE),
        (2, RateChange.REOPENED),  # under half of the opened rate: the buffer would be too long
        (1.5, RateChange.IN_PLACE),
        (12, RateChange.REOPENED),  # above it: the old peak rate would cap
        (7, RateChange.IN_PLACE),
    ]
    producer.produce()
    for mbit, how in steps:
        bitrate = Bitrate(round(mbit * 10**6))
        assert producer.set_bitrate(bitrate) is how
        assert producer.bitrate == bitrate
        units = [producer.produce() for _ in range(120)]
        assert units[0].key is (how is RateChange.REOPENED)
        assert not any(unit.key for unit in units[1:])
        assert _rate(units) == pytest.approx(bitrate.bits_per_second, rel=0.2), f"at {bitrate}"
    assert producer.set_bitrate(producer.bitrate) is RateChange.UNCHANGED
    producer.close()


@pytest.mark.parametrize("name", [EncoderName.X265, EncoderName.SVT_AV1])
def test_other_encoders_take_a_new_rate_by_reopening(name: EncoderName) -> None:
    producer = open_producer(TestCardSpec(), _config(name, 2))
    for _ in range(3):
        producer.produce()
    assert producer.set_bitrate(Bitrate.parse("750 kbit/s")) is RateChange.REOPENED
    units = [producer.produce() for _ in range(60)]
    producer.close()
    assert [unit.key for unit in units] == [True] + [False] * 59
    assert [unit.frame for unit in units] == list(range(3, 63))
    # One second only, first frame included; the point is that it left 2 Mbit/s behind.
    assert 0.375e6 < _rate(units) < 1.125e6


@pytest.mark.parametrize("name", _ALL)
def test_an_encoder_takes_no_priority_over_other_threads_and_programs(name: EncoderName) -> None:
    """SVT-AV1 takes the highest real-time priority where it may, which is as root."""

    def scheduled() -> set[tuple[int, int]]:
        threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        return {(os.sched_getscheduler(one), os.sched_getparam(one).sched_priority) for one in threads}

    before = scheduled()
    producer = open_producer(TestCardSpec(entropy=0.3), _config(name, 5))
    assert scheduled() == before, "once it is open"
    for rate in (5_000_000, 3_000_000):
        producer.set_bitrate(Bitrate(rate))
        producer.produce()
        assert scheduled() == before, f"at {rate} bit/s"
    producer.close()


def test_intra_refresh_repairs_the_picture_without_a_key_frame() -> None:
    """A decoder that enters in mid-stream shows rubbish first and the true picture after one refresh wave."""
    config = _config(mbit=2, intra_refresh=True, key_interval=30)
    producer = open_producer(TestCardSpec(entropy=0.2), config)
    card = TestCard(_MODE.resolution, entropy=0.2)
    reference = card.new_picture()
    decoder = open_decoder(Codec.H264)
    first = producer.produce()
    assert first.key
    decoder.decode(first.data)
    lost = 10
    errors = {}
    for number in range(1, 100):
        unit = producer.produce()
        assert not unit.key
        if number <= lost:
            continue  # never reaches the decoder
        decoded = decoder.decode(unit.data)
        assert decoded is not None
        card.draw(reference, frame=unit.frame, time_us=unit.stamps.captured_ns // 1000)
        errors[number] = quality.psnr(plane_view(reference, 0), decoded.luma)
    producer.close()
    assert errors[lost + 1] < 27
    assert np.mean([errors[number] for number in range(80, 100)]) > errors[lost + 1] + 4


def test_periodic_key_frames_come_at_their_interval() -> None:
    producer = open_producer(TestCardSpec(), _config(key_interval=12))
    keys = [number for number in range(30) if producer.produce().key]
    producer.close()
    assert keys == [0, 12, 24]


def test_every_encoder_of_the_wheel_opens() -> None:
    checks = available_encoders()
    assert [(check.name, check.codec) for check in checks] == [
        (EncoderName.X264, Codec.H264),
        (EncoderName.X265, Codec.HEVC),
        (EncoderName.SVT_AV1, Codec.AV1),
    ]
    assert all(check.available and check.reason == "" for check in checks)


def test_an_encoder_that_ffmpeg_lacks_is_reported_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(X264Encoder, "ffmpeg_name", "h264_nonesuch")
    with pytest.raises(CodecUnavailableError) as raised:
        open_encoder(_config())
    assert "h264_nonesuch" in raised.value.cause
    assert "PyAV wheel" in raised.value.hint
    assert raised.value.exit_code == 4


def test_an_encoder_that_looks_ahead_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_lookahead(self: X264Encoder, config: EncoderConfig) -> dict[str, str]:
        return {"preset": "ultrafast", "x264-params": "rc-lookahead=10:sync-lookahead=10"}

    monkeypatch.setattr(X264Encoder, "options", with_lookahead)
    producer = open_producer(TestCardSpec(), _config())
    with pytest.raises(MediaError, match="0 access units for frame 0"):
        producer.produce()


def test_a_picture_of_another_size_is_refused_and_not_scaled() -> None:
    encoder = open_encoder(_config())
    frame = RawFrame(av.VideoFrame(1280, 720, "yuv420p"), 0, 0)
    with pytest.raises(MediaError, match="1280x720"):
        encoder.encode(frame)


def test_a_closed_encoder_says_so() -> None:
    encoder = open_encoder(_config())
    encoder.close()
    encoder.close()
    with pytest.raises(MediaError, match="closed"):
        encoder.encode(RawFrame(av.VideoFrame(640, 360, "yuv420p"), 0, 0))
    with pytest.raises(MediaError, match="closed"):
        encoder.set_bitrate(Bitrate.parse("1 Mbit/s"))


def test_an_encoder_that_has_failed_is_freed_without_being_told_of_the_end() -> None:
    """FFmpeg's VA-API encoders end the process otherwise (``nox -s vaapi`` has the real ones)."""
    told: list[object] = []

    class Context:
        time_base = Fraction(1, 60)

        def encode(self, picture: av.VideoFrame | None) -> list[av.Packet]:
            told.append(picture)
            raise av.error.ExternalError(1, "the GPU is lost")

    source = TestCardSpec()
    for fails in (False, True):
        told.clear()
        producer = open_producer(source, _config())
        producer.produce()
        encoder = producer._encoder  # type: ignore[attr-defined]
        encoder._context = Context()
        if fails:
            with pytest.raises(EncoderFailedError, match=r"x264 failed on frame 1: .*the GPU is lost"):
                producer.produce()
            told.clear()
        producer.close()
        assert told == ([] if fails else [None])


def test_configurations_that_no_encoder_can_hold_are_refused() -> None:
    with pytest.raises(UsageError, match="intra refresh"):
        open_encoder(_config(EncoderName.X265, intra_refresh=True))
    with pytest.raises(ValueError, match="out of range"):
        _config(mbit=0.01)
    encoder = open_encoder(_config())
    with pytest.raises(UnitError, match="out of range"):
        encoder.set_bitrate(Bitrate(1000))
    assert encoder.bitrate == Bitrate.parse("2 Mbit/s")
    encoder.close()


@pytest.mark.parametrize("name", [EncoderName.X264, EncoderName.X265])
def test_the_highest_rate_is_encoded_at_the_lowest_frame_rate(name: EncoderName) -> None:
    producer = open_producer(TestCardSpec(), _config(name, 2000, mode=Mode(640, 360, 1)))
    assert producer.produce().key
    producer.close()


def test_a_configuration_survives_json() -> None:
    config = _config(EncoderName.SVT_AV1, 3.5, vbv_frames=1.5, key_interval=90)
    assert EncoderConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("name", _ALL)
def test_a_lower_frame_rate_gives_each_frame_more_of_the_bit_rate(name: EncoderName) -> None:
    config = _config(name, 4).model_copy(update={"mode": Mode(480, 272, 60)})
    producer = open_producer(TestCardSpec(entropy=1), config)
    assert producer.set_frame_rate(60) is RateChange.UNCHANGED
    many = sum(len(producer.produce().data) for _ in range(15))
    assert producer.set_frame_rate(20) is RateChange.REOPENED
    first = producer.produce()
    assert first.key
    few = len(first.data) + sum(len(producer.produce().data) for _ in range(14))
    producer.close()
    assert few > 1.5 * many
    assert producer.bitrate == Bitrate(4_000_000)
    with pytest.raises(MediaError):
        producer.set_frame_rate(30)
