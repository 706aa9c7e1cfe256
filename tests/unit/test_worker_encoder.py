"""A stream worker whose encoder is replaced: the host hears of it once, and a later mode begins with the successor."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from punktfunk.errors import DeviceMissingError, EncoderFailedError
from punktfunk.host.commands import _Told
from punktfunk.host.session_report import SessionReport
from punktfunk.host.sessions import Sessions
from punktfunk.host.stream import messages, worker
from punktfunk.host.stream.next_mode import Built
from punktfunk.host.stream.worker import StreamProgram
from punktfunk.media import (
    AccessUnit,
    Encoder,
    EncoderConfig,
    EncoderName,
    RawFrame,
    TestCardSpec,
    VideoProducer,
)
from punktfunk.media.encoders import ANSWERS
from punktfunk.media.encoders.fallback import FallbackEncoder
from punktfunk.media.encoders.x264 import X264Encoder
from punktfunk.media.sources.card import TestCardSource
from punktfunk.media.testcard import TestCard
from punktfunk.units import Mode
from tests.support.stream_spec import SPEC

NVENC, VAAPI, X264 = EncoderName.NVENC_H264, EncoderName.VAAPI_H264, EncoderName.X264
CONFIG = EncoderConfig(encoder=NVENC, fallbacks=(VAAPI, X264), mode=Mode(480, 272, 60))


class Nvenc(X264Encoder):
    """x264 by another name, which fails on its third picture, or never."""

    name = NVENC  # type: ignore[misc]
    fails = True

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        if self.fails and self._encoded == 2:
            raise EncoderFailedError("the GPU is lost", "look for it")
        return super().encode(frame, key=key)


class Sound(Nvenc):
    fails = False


def opened(config: EncoderConfig) -> Encoder:
    if config.encoder is VAAPI:
        raise DeviceMissingError("no GPU", "buy one")
    return Nvenc(config) if config.encoder is NVENC else X264Encoder(config)


def producer(encoder: Encoder) -> VideoProducer:
    return VideoProducer(TestCardSource(TestCard(CONFIG.mode.resolution)), encoder)


class Channel:
    """What a worker tells its host."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.stopping = threading.Event()

    def send(self, message: Any) -> None:
        self.said.append(message)


class Sender:
    def submit(self, unit: AccessUnit) -> int:
        return unit.frame


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> StreamProgram:
    made = producer(FallbackEncoder(CONFIG, opened))
    monkeypatch.setattr(worker, "open_worker_producer", lambda *_given: made)
    spec = SPEC.model_copy(update={"source": TestCardSpec(), "encoder": CONFIG})
    begun = StreamProgram(Channel(), spec, ())  # type: ignore[arg-type]
    begun._told_encoder = str(NVENC)
    return begun


def test_the_host_is_told_of_all_that_were_passed_over_in_one_message(program: StreamProgram) -> None:
    for _ in range(5):
        program._frame(Sender())  # type: ignore[arg-type]
    replaced = messages.EncoderReplaced(
        "x264",
        [
            ["nvenc-h264", "PF541", "the GPU is lost", "look for it"],
            ["vaapi-h264", "PF540", "no GPU", "buy one"],
        ],
    )
    assert program._end.said == [replaced]  # type: ignore[attr-defined]
    assert (program._encoder.encoder, program._encoder.fallbacks) == (X264, ())


def test_what_was_passed_over_before_the_first_picture_is_told_behind_the_encoder_that_was_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        worker, "open_worker_producer", lambda *_given: producer(FallbackEncoder(CONFIG, _without_gpu))
    )
    channel = Channel()
    channel.stopping.set()
    spec = SPEC.model_copy(update={"source": TestCardSpec(), "encoder": CONFIG})
    StreamProgram(channel, spec, ()).run()  # type: ignore[arg-type]
    refused = [[str(name), "PF540", "no GPU", ""] for name in (NVENC, VAAPI)]
    assert channel.said == [
        messages.Ready("h264", "nvenc-h264"),
        messages.EncoderReplaced("x264", refused),
    ]


@pytest.mark.parametrize("recovered", [True, False])
def test_a_mode_that_was_asked_for_before_brings_back_what_it_was_built_with(
    program: StreamProgram, recovered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        program._frame(Sender())  # type: ignore[arg-type]
    program._end.said.clear()  # type: ignore[attr-defined]
    another = producer(Sound(CONFIG) if recovered else FallbackEncoder(CONFIG, _without_gpu))
    monkeypatch.setattr(program._next_mode, "take", lambda: Built(TestCardSpec(), CONFIG, another))
    program._take_next_mode()
    told = [said for said in program._end.said if isinstance(said, messages.EncoderReplaced)]  # type: ignore[attr-defined]
    assert told == ([messages.EncoderReplaced("nvenc-h264", [])] if recovered else [])
    assert program._encoder.encoder is (NVENC if recovered else X264)


@pytest.mark.parametrize("by_encoder", [True, False])
def test_a_worker_that_stands_still_says_whether_its_encoder_holds_it(
    program: StreamProgram, by_encoder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at as the watch does it: from within the call that does not come back."""
    monkeypatch.setattr(worker, "leave", lambda _status: None)
    video = program._producer
    assert isinstance(video, VideoProducer)
    held, name = (video._encoder, "encode") if by_encoder else (video._source, "capture")
    call = getattr(held, name)

    def stands_still(*given: Any, **named: Any) -> Any:
        program._stalled()
        return call(*given, **named)

    monkeypatch.setattr(held, name, stands_still)
    program._frame(Sender())  # type: ignore[arg-type]
    [failed] = program._end.said  # type: ignore[attr-defined]
    assert isinstance(failed, messages.Failed)
    assert failed.cause == "the stream stood still for 20 s in a picture of testcard by nvenc-h264"
    assert failed.held_by == ("nvenc-h264" if by_encoder else "")
    assert ("left alone" in failed.hint) == by_encoder
    assert not video.encoding


@pytest.mark.parametrize(
    ("held_by", "suspicion"),
    [
        ("nvenc-h264", "nvenc-h264 stood still in a picture, and is left alone for 10 min"),
        ("x264", ""),
        ("", ""),
    ],
)
def test_the_host_leaves_a_gpu_alone_that_held_a_stream_and_says_so(held_by: str, suspicion: str) -> None:
    warned: list[tuple[str, dict[str, Any]]] = []
    ended: list[str] = []
    session: Any = SimpleNamespace(
        log=SimpleNamespace(
            warning=lambda event, **fields: warned.append((event, fields)), error=lambda *_, **__: None
        ),
        stream_failed=ended.append,
    )
    report = SessionReport(1, session, CONFIG.mode, None)
    host: Any = SimpleNamespace(leave=lambda _session: None)
    ANSWERS.forget()
    try:
        Sessions._worker_says(host, session, report, messages.Failed("PF500", "it stood still", "", held_by))
        assert ANSWERS.suspicion(NVENC) == suspicion
    finally:
        ANSWERS.forget()
    assert (report.failed, ended) == (True, ["stream failed: it stood still"])
    told = {"encoder": held_by, "cause": "stood still in a picture", "minutes": 10}
    assert warned == ([("encoder is suspect", told)] if suspicion else [])


def _without_gpu(config: EncoderConfig) -> Encoder:
    if config.encoder is X264:
        return X264Encoder(config)
    raise DeviceMissingError("no GPU")


def test_serve_prints_a_replacement_once_for_each_session_and_again_when_it_is_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told, report = _Told(), SimpleNamespace(number=3, state="streaming", notices={})
    for words in (None, "x264 took over", "x264 took over", "x265 took over", None):
        report.notices = {} if words is None else {"encoder": words}
        told.changed(report)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [
        "WARNING      session 3: x264 took over",
        "WARNING      session 3: x265 took over",
    ]
    report.state = "ended"
    told.changed(report)  # type: ignore[arg-type]
    assert told._warned == {}
