"""What is known of a GPU's encoders: refusals that last are kept, others asked again, and suspects left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from punktfunk.errors import (
    CodecUnavailableError,
    CodecUnsupportedError,
    DeviceMissingError,
    DriverMissingError,
    EngineMissingError,
    PunktfunkError,
)
from punktfunk.media import EncoderName
from punktfunk.media.encoders import answers
from punktfunk.media.encoders.answers import EncoderAnswers
from tests.support.waiting import PATIENCE_S

H264, HEVC, AV1 = EncoderName.NVENC_H264, EncoderName.NVENC_HEVC, EncoderName.NVENC_AV1
VAAPI = EncoderName.VAAPI_H264
FAMILIES = {"nvenc": (H264, HEVC, AV1), "vaapi": (VAAPI,)}
BUSY = CodecUnavailableError("opening nvenc-h264 hangs: nothing came of it in 20 s")
NO_AV1 = CodecUnsupportedError("no AV1")
S = 1_000_000_000


class Gpu:
    """What answers, and who was asked."""

    def __init__(self) -> None:
        self.now_ns = 7 * S
        self.refused: dict[EncoderName, PunktfunkError] = {}
        self.asked: list[tuple[EncoderName, ...]] = []
        self.answers = EncoderAnswers(FAMILIES, self.ask, lambda: self.now_ns)

    def ask(self, names: tuple[EncoderName, ...]) -> dict[EncoderName, PunktfunkError]:
        self.asked.append(names)
        return {name: error for name, error in self.refused.items() if name in names}

    def later(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)


@pytest.fixture
def gpu() -> Gpu:
    return Gpu()


def test_the_encoders_of_a_kind_are_asked_together_once_and_by_whoever_is_first(gpu: Gpu) -> None:
    assert not gpu.answers.due, "what nobody has wanted yet is not asked again"
    assert gpu.answers.ask_again() == {}
    assert gpu.answers.refusal(HEVC) is None
    assert gpu.answers.refusal(H264) is None
    assert gpu.asked == [(H264, HEVC, AV1)]
    gpu.later(10 * answers.MAX_AGAIN_S)
    assert not gpu.answers.due, "what works is not asked again"
    assert gpu.answers.ask_again() == {}


@pytest.mark.parametrize("error", [CodecUnsupportedError("no AV1"), EngineMissingError("a computing GPU")])
def test_a_refusal_that_lasts_is_kept(gpu: Gpu, error: PunktfunkError) -> None:
    gpu.refused = {AV1: error}
    assert gpu.answers.refusal(AV1) is error
    gpu.later(10 * answers.MAX_AGAIN_S)
    assert not gpu.answers.due
    assert gpu.answers.refusal(AV1) is error
    assert len(gpu.asked) == 1


@pytest.mark.parametrize("error", [BUSY, DriverMissingError("not up yet"), DeviceMissingError("EBUSY")])
def test_a_refusal_that_may_pass_is_asked_again_for_those_alone_whose_it_is(
    gpu: Gpu, error: PunktfunkError
) -> None:
    gpu.refused = {H264: error, AV1: NO_AV1}
    assert gpu.answers.refusal(H264) is error
    gpu.later(answers.AGAIN_S - 0.001)
    assert not gpu.answers.due
    assert gpu.answers.refusal(H264) is error, "and nobody is asked by the way"
    gpu.later(0.001)
    assert gpu.answers.due
    gpu.refused = {}
    assert gpu.answers.refusal(H264) is error, "until somebody asks again"
    assert gpu.answers.ask_again() == {H264: None}
    assert gpu.asked == [(H264, HEVC, AV1), (H264,)]
    assert gpu.answers.refusal(H264) is None
    assert gpu.answers.refusal(AV1) is NO_AV1
    gpu.later(10 * answers.MAX_AGAIN_S)
    assert not gpu.answers.due


def test_one_that_stays_is_asked_less_and_less_often_and_every_half_hour_at_last(gpu: Gpu) -> None:
    gpu.refused = {VAAPI: BUSY}
    gpu.answers.refusal(VAAPI)
    waited = []
    for _ in range(9):
        seconds = 0
        while not gpu.answers.due:
            gpu.later(1)
            seconds += 1
        waited.append(seconds)
        assert gpu.answers.ask_again() == {VAAPI: BUSY}
    assert waited == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    gpu.later(1800)
    gpu.refused = {}
    assert gpu.answers.ask_again() == {VAAPI: None}


def test_a_suspect_is_left_alone_with_all_of_its_gpu_until_it_has_proven_itself(gpu: Gpu) -> None:
    gpu.refused = {AV1: NO_AV1}
    assert gpu.answers.refusal(H264) is None
    assert gpu.answers.suspect(H264, "stood still in a picture") == answers.SUSPECT_S
    assert gpu.answers.suspicion(HEVC) == (
        "nvenc-hevc stood still in a picture, and is left alone for 10 min"
    )
    assert gpu.answers.suspicion(VAAPI) == "", "another GPU's"
    gpu.later(answers.SUSPECT_S - 0.001)
    assert not gpu.answers.due
    gpu.later(0.001)
    assert gpu.answers.due
    assert gpu.answers.suspicion(H264), "time alone does not clear it"
    assert gpu.answers.ask_again() == {H264: None, HEVC: None}
    assert gpu.answers.suspicion(H264) == ""
    assert not gpu.answers.due


def test_a_suspect_that_hangs_still_is_refused_and_one_that_holds_streams_again_waits_longer(
    gpu: Gpu,
) -> None:
    gpu.answers.refusal(H264)
    lengths = [gpu.answers.suspect(H264, "stood still in a picture") for _ in range(6)]
    assert lengths == [600, 1200, 2400, 4800, 7200, 7200]
    gpu.later(7200)
    gpu.refused = dict.fromkeys((H264, HEVC, AV1), BUSY)
    assert gpu.answers.ask_again() == gpu.refused
    assert gpu.answers.suspicion(H264) == ""
    assert gpu.answers.refusal(H264) is BUSY


def test_other_refusals_of_a_suspects_gpu_are_asked_again_without_clearing_it(gpu: Gpu) -> None:
    gpu.refused = {HEVC: BUSY}
    gpu.answers.refusal(H264)
    gpu.answers.suspect(H264, "stood still in a picture")
    gpu.later(answers.AGAIN_S)
    assert gpu.answers.ask_again() == {HEVC: BUSY}
    assert gpu.answers.suspicion(H264)


def test_nobody_waits_for_answers_that_are_asked_for_again_nor_asks_beside_that() -> None:
    asking, answered = threading.Event(), threading.Event()
    asked: list[tuple[EncoderName, ...]] = []
    now = [0]

    def ask(names: tuple[EncoderName, ...]) -> dict[EncoderName, PunktfunkError]:
        asked.append(names)
        if len(asked) > 1:
            asking.set()
            assert answered.wait(PATIENCE_S)
        return {VAAPI: BUSY}

    found = EncoderAnswers(FAMILIES, ask, lambda: now[0])
    found.refusal(VAAPI)
    now[0] = 30 * S
    with ThreadPoolExecutor(2) as threads:
        again: Callable[[], dict[EncoderName, PunktfunkError | None]] = found.ask_again
        both = [threads.submit(again), threads.submit(again)]
        assert asking.wait(PATIENCE_S)
        assert found.refusal(VAAPI) is BUSY, "known, while the question is out"
        answered.set()
        told = [each.result(PATIENCE_S) for each in both]
    assert len(asked) == 2
    assert sorted(told, key=len) == [{}, {VAAPI: BUSY}]
