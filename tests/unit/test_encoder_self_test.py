"""``encoders --test``: an encoder that does what it says passes, and of one that does not it is told what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from punktfunk.cli import app
from punktfunk.errors import CodecUnavailableError, EncoderFailedError
from punktfunk.media import AccessUnit, Codec, EncoderConfig, EncoderName, RateChange, RawFrame, all_encoders
from punktfunk.media.encoders import self_test
from punktfunk.media.encoders.self_test import LEAST_DB, run_self_test
from punktfunk.media.encoders.x264 import X264Encoder
from punktfunk.media.planes import Plane, plane_view
from punktfunk.units import Bitrate, Mode

CONFIG = EncoderConfig(mode=Mode(480, 272, 60), bitrate=Bitrate(2_000_000))
FRAMES = 16
SMALL = ["--mode", "480x272@60", "--bitrate", "2 Mbit/s", "--frames", "8"]


class Wrong(X264Encoder):
    """x264 with something wrong about it."""

    def __init__(self, config: EncoderConfig, fault: str) -> None:
        super().__init__(config)
        self._fault = fault
        self._before: list[Plane] = []
        self._number = -1

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        self._number += 1
        if self._fault == "deaf":
            key = False
        if self._fault == "colours":
            one, other = (plane_view(frame.picture, index) for index in (1, 2))
            kept = one.copy()
            one[...] = other
            unit = super().encode(frame, key=key)
            other[...], one[...] = other.copy(), kept
            return unit
        if self._fault == "late":
            planes = [plane_view(frame.picture, index) for index in range(3)]
            given = [plane.copy() for plane in planes]
            for plane, before in zip(planes, self._before or given, strict=True):
                plane[...] = before
            unit = super().encode(frame, key=key)
            for plane, its in zip(planes, given, strict=True):
                plane[...] = its
            self._before = given
            return unit
        if self._fault == "fails" and self._number == 5:
            raise EncoderFailedError("x264 failed on frame 5: the GPU is lost")
        unit = super().encode(frame, key=key or (self._fault == "eager" and self._number == 3))
        if self._fault == "noise" and self._number == 4:
            unit = replace(unit, data=unit.data[:5] + b"\xff" * (len(unit.data) - 5))
        return unit

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        if self._fault == "stuck":
            raise CodecUnavailableError("x264 cannot be opened at 1 Mbit/s")
        return super().set_bitrate(bitrate)


def with_fault(fault: str) -> Callable[[EncoderConfig], X264Encoder]:
    return lambda config: Wrong(config, fault)


def test_an_encoder_that_does_what_it_says_passes_with_its_figures() -> None:
    found = run_self_test(CONFIG, Codec.H264, FRAMES)
    assert (found.failure, found.frames, found.rate_change) == ("", FRAMES, RateChange.IN_PLACE)
    assert 99 > found.psnr_db > found.least_psnr_db > LEAST_DB
    assert 0 < found.encode_ms <= found.longest_ms
    assert 1 < found.megabits_per_second < 3


def test_one_that_takes_a_lower_rate_by_opening_again_may_give_a_key_frame_then() -> None:
    found = run_self_test(CONFIG.model_copy(update={"encoder": EncoderName.X265}), Codec.HEVC, FRAMES)
    assert (found.failure, found.rate_change) == ("", RateChange.REOPENED)


@pytest.mark.parametrize(
    ("fault", "failure", "frames"),
    [
        ("deaf", "picture 8 is no key frame, which was asked for", 8),
        ("eager", "picture 3 is a key frame that nobody asked for", 3),
        ("colours", "picture 0 differs from what was encoded: PSNR 2", 0),
        ("late", "the frame marker of picture 1 is that of picture 0", 1),
        ("noise", "picture 4 does not decode", 4),
        ("fails", "x264 failed on frame 5: the GPU is lost", 5),
        ("stuck", "x264 cannot be opened at 1 Mbit/s", 12),
    ],
)
def test_each_fault_is_found_and_named(
    fault: str, failure: str, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "open_encoder", with_fault(fault))
    found = run_self_test(CONFIG, Codec.H264, FRAMES)
    assert found.failure.startswith(failure)
    assert found.frames == frames


def test_one_that_cannot_be_opened_after_all_has_failed() -> None:
    found = run_self_test(CONFIG.model_copy(update={"encoder": EncoderName.NVENC_H264}), Codec.H264, FRAMES)
    assert found.frames == 0
    assert found.failure


def test_the_command_tests_each_encoder_that_is_here_and_says_why_not_of_the_others() -> None:
    done = CliRunner().invoke(app, ["encoders", "--test", "--json", *SMALL])
    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == [check.name for check in all_encoders()]
    for row in rows.values():
        assert bool(row["test"]) == row["available"]
        assert bool(row["reason"]) != row["available"]
        if row["test"]:
            assert (row["test"]["failure"], row["test"]["frames"]) == ("", 8)
    assert rows["x264"]["available"]


def test_the_command_ends_with_1_when_an_encoder_does_not_do_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = self_test.open_encoder

    def opened(config: EncoderConfig) -> object:
        return Wrong(config, "deaf") if config.encoder is EncoderName.X264 else whole(config)

    monkeypatch.setattr(self_test, "open_encoder", opened)
    done = CliRunner().invoke(app, ["encoders", "--test", *SMALL], env={"COLUMNS": "200"})
    assert done.exit_code == 1
    assert "an encoder does not do what it says: x264: picture 4 is no key frame" in done.stderr
    rows = {words[1]: words[2] for line in done.stdout.splitlines() if len(words := line.split()) > 2}
    assert (rows["x264"], rows["x265"]) == ("no", "yes")


def test_without_the_option_nothing_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "open_encoder", lambda _config: pytest.fail("was opened"))
    done = CliRunner().invoke(app, ["encoders", "--json"])
    assert done.exit_code == 0
    assert {row["test"] for row in json.loads(done.stdout)} == {None}


def test_a_mode_without_room_for_the_frame_marker_is_a_wrong_flag() -> None:
    done = CliRunner().invoke(app, ["encoders", "--test", "--mode", "320x240@60"])
    assert done.exit_code == 2
    assert "320x240" in done.stderr
