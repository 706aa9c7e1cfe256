"""The test card client: what it draws in a session can be read from what is captured and from what is decoded."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture import WlrScreen, open_capture
from punktfunk.desktop.session import DesktopSession
from punktfunk.desktop.wayland import connect
from punktfunk.desktop.wayland.window import Window
from punktfunk.media import EncoderConfig, VideoSource, frame_marker
from punktfunk.media.decoders import open_decoder
from punktfunk.media.encoders import open_encoder
from punktfunk.media.producer import VideoProducer
from punktfunk.units import Bitrate, Mode
from tests.support.waiting import PATIENCE_S

MODE = Mode(960, 540, 60)
REPOSITORY = Path(__file__).parents[3]
CARD = [sys.executable, "-m", "punktfunk", "testcard"]


def _first_reading(capture: VideoSource) -> None:
    """Pass over the pictures from before the card's first."""
    for _ in range(500):
        if frame_marker.read(capture.capture().luma) is not None:
            return
    raise AssertionError("no picture of the card came")


def test_every_captured_picture_carries_a_readable_marker_older_than_its_stamp(
    session: DesktopSession,
) -> None:
    output = session.create(MODE)
    session.launch([*CARD, "--tag", "513"], cwd=REPOSITORY)
    capture = open_capture(WlrScreen(display=session.socket, output=output.name), MODE)
    try:
        _first_reading(capture)
        frames = [capture.capture() for _ in range(60)]
        readings = [frame_marker.read(frame.luma) for frame in [capture.capture() for _ in range(60)]]
    finally:
        capture.close()
    assert all(reading is not None for reading in readings)
    assert {reading.tag for reading in readings if reading} == {513}
    numbers = [reading.frame for reading in readings if reading]
    assert numbers == sorted(numbers)
    stamps = [frame.captured_ns for frame in frames]
    assert stamps == sorted(stamps)
    assert max(stamps) < monotonic_ns()


@pytest.mark.measures
def test_stamp_and_marker_agree_on_when_a_picture_was_made(session: DesktopSession) -> None:
    output = session.create(MODE)
    session.launch(CARD, cwd=REPOSITORY)
    capture = open_capture(WlrScreen(display=session.socket, output=output.name), MODE)
    try:
        _first_reading(capture)
        ages_ms = []
        for _ in range(60):
            frame = capture.capture()
            reading = frame_marker.read(frame.luma)
            assert reading is not None
            ages_ms.append((frame.captured_ns - reading.time_us * 1000) / 1e6)
    finally:
        capture.close()
    assert min(ages_ms) > 0, "captured before it was drawn"
    assert np.median(ages_ms) < 100, "the screen shows old pictures"


def test_a_captured_card_survives_encoder_and_decoder(session: DesktopSession) -> None:
    output = session.create(MODE)
    session.launch(CARD, cwd=REPOSITORY)
    capture = open_capture(WlrScreen(display=session.socket, output=output.name), MODE)
    producer = VideoProducer(capture, open_encoder(EncoderConfig(mode=MODE, bitrate=Bitrate(10_000_000))))
    decoder = open_decoder(producer.codec)
    try:
        _first_reading(capture)
        producer.request_key()
        read = 0
        for _ in range(45):
            unit = producer.produce()
            stamps = unit.stamps
            assert (
                0
                < stamps.captured_ns
                <= stamps.converted_ns
                <= stamps.encode_begin_ns
                <= stamps.encode_end_ns
            )
            decoded = decoder.decode(unit.data)
            read += decoded is not None and frame_marker.read(decoded.luma) is not None
    finally:
        producer.close()
        decoder.close()
    assert read == 45


@pytest.mark.measures
def test_the_card_ends_by_itself_and_says_what_it_drew(session: DesktopSession, tmp_path: Path) -> None:
    session.create(MODE)
    said = tmp_path / "said"
    argv = ["sh", "-c", 'exec "$@" >"$0"', str(said), *CARD, "--seconds", "1"]
    app = session.launch(argv, cwd=REPOSITORY)
    assert app.ended.wait(PATIENCE_S)
    assert app.status == 0
    ready, ended = (json.loads(line) for line in said.read_text().splitlines())
    assert ready == {"event": "ready", "width": 960, "height": 540}
    assert ended["event"] == "ended"
    assert ended["frames"] > 5


def test_a_card_without_a_compositor_says_so(session: DesktopSession, tmp_path: Path) -> None:
    said = tmp_path / "said"
    module = [sys.executable, "-m", "punktfunk.desktop.testcard"]
    argv = ["sh", "-c", 'exec "$@" 2>"$0"', str(said), *module, "--display", str(tmp_path / "nothing")]
    app = session.launch(argv, cwd=REPOSITORY)
    assert app.ended.wait(PATIENCE_S)
    assert app.status == 5
    assert "no compositor answers" in said.read_text()


def test_a_window_is_told_of_its_frames_also_when_python_collects_its_garbage_meanwhile(
    session: DesktopSession,
) -> None:
    session.create(MODE)
    told: list[int] = []
    with connect(session.socket) as connection:
        window = Window(connection, "a window")
        window.on_frame = lambda: told.append(len(told))
        for frame in range(3):
            begun = window.begin()
            assert begun is not None
            window.show(begun[0])
            gc.collect()
            deadline = time.monotonic() + PATIENCE_S
            while len(told) == frame and time.monotonic() < deadline:
                connection.dispatch(0.1)
            assert len(told) == frame + 1, "the compositor's answer was lost"
