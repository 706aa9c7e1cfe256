"""``connect --present``: a client's window in a compositor shows the host's pictures and sends what is done in it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import punktfunk
from punktfunk.desktop.capture import WlrScreen, open_capture
from punktfunk.desktop.session import DesktopSession
from punktfunk.desktop.supervised_session import App
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.media import RawFrame, TestCardSpec, frame_marker
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode

MODE = Mode(640, 360, 30)
TAG = 611
REPOSITORY = Path(__file__).parents[3]
CONTROL, ALT, SHIFT, F11, A, Q = 0x11, 0x12, 0x10, 0x7A, 0x41, 0x51


class Sink:
    """Where the host puts its clients' input."""

    takes_touch = False

    def __init__(self) -> None:
        self.events: list[InputEvent] = []

    def inject(self, event: InputEvent) -> bool:
        self.events.append(event)
        return True

    def release_all(self) -> None:
        self.events.append(InputEvent(InputKind.KEY_UP, 0xFF))

    def of(self, kind: InputKind) -> list[InputEvent]:
        return [event for event in self.events if event.kind == kind]


@pytest.fixture
def window_parts(desktop_parts: None, lack: Callable[[str], None]) -> None:
    """Demand what a client's window is made of."""
    if importlib.util.find_spec("sdl2") is None:
        lack("PySDL2 (pip install 'punktfunk[present]')")


def press(session: DesktopSession, *keys: int) -> None:
    for key in keys:
        session.inject(InputEvent(InputKind.KEY_DOWN, key))
    for key in reversed(keys):
        session.inject(InputEvent(InputKind.KEY_UP, key))
    session.release_all()  # waits: more than the session takes at once is refused


def until(done: Callable[[], bool], what: str, limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def shown_card(session: DesktopSession, output: str, app: App, pictures: int = 1) -> RawFrame:
    """Capture the session's screen until so many pictures of the host's card were on it, pixel for pixel."""
    seen: set[int] = set()
    capture = open_capture(WlrScreen(display=session.socket, output=output), MODE)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert app.status is None, "the client has ended"
            frame = capture.capture()
            reading = frame_marker.read(frame.luma)
            if reading is not None and reading.tag == TAG:
                seen.add(reading.frame)
                if len(seen) == pictures:
                    return frame
    finally:
        capture.close()
    raise AssertionError(f"{len(seen)} pictures of the card were shown, not {pictures}")


@pytest.mark.slow
def test_a_window_shows_the_stream_sends_input_and_closes_by_its_own_key(
    window_parts: None, session: DesktopSession, tmp_path: Path
) -> None:
    sink = Sink()
    output = session.create(MODE)

    def watch(address: str) -> int | None:
        arguments = ["connect", address, "--present", "--mode", str(MODE)]
        folders = ["--state-dir", str(tmp_path / "state"), "--record", str(tmp_path / "record")]
        app = session.launch(
            [sys.executable, "-m", "punktfunk", *arguments, *folders],
            env={"PYTHONPATH": str(REPOSITORY), "SDL_VIDEODRIVER": "wayland"},
            cwd=REPOSITORY,
        )

        def key_arrives() -> bool:
            press(session, A)
            return bool(sink.of(InputKind.KEY_DOWN))

        until(key_arrives, "no key came")
        # A tiled window has a border; only a full screen shows pixel for pixel.
        press(session, F11)
        shown_card(session, output.name, app)
        session.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=320, y=180, surface=SurfaceSize(640, 360)))
        session.inject(InputEvent(InputKind.BUTTON_DOWN, 1))
        session.inject(InputEvent(InputKind.BUTTON_UP, 1))
        session.inject(InputEvent(InputKind.SCROLL, 0, x=-120))
        until(lambda: bool(sink.of(InputKind.SCROLL)), "no scrolling came")
        press(session, CONTROL, ALT, SHIFT, Q)
        until(lambda: app.status is not None, "the window did not close")
        return app.status

    async def scenario() -> None:
        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK,
            port=0,
            source=TestCardSpec(tag=TAG),
            codec="h264",
            bitrate=Bitrate(8_000_000),
        )
        async with punktfunk.Host(config, input_sink=sink) as host:
            status = await asyncio.to_thread(watch, f"127.0.0.1:{host.port}")
            [report] = await host.sessions_over(1)
        assert status == 0
        assert report.reason.startswith("client left"), report.reason

    asyncio.run(asyncio.wait_for(scenario(), 90))
    assert {event.code for event in sink.of(InputKind.KEY_DOWN)} == {A, 0xA2, 0xA0, 0xA4}, (
        "F11 and Q stay here"
    )
    released = {event.code for event in sink.of(InputKind.KEY_UP)}
    assert released >= {A, 0xA2, 0xA0, 0xA4}, "what the chord held is let go of"
    moved = sink.of(InputKind.MOUSE_ABSOLUTE)[-1]
    assert moved.surface == SurfaceSize(640, 360)
    assert abs(moved.x - 320) <= 1
    assert abs(moved.y - 180) <= 1
    assert [event.code for event in sink.of(InputKind.BUTTON_DOWN)] == [1]
    assert [event.code for event in sink.of(InputKind.BUTTON_UP)] == [1]
    assert sum(event.x for event in sink.of(InputKind.SCROLL)) < 0
    with np.load(tmp_path / "record" / "decoded.npz") as decoded:
        presented, decode_end = decoded["presented_ns"], decoded["decode_end_ns"]
    shown = presented > 0
    assert shown.sum() >= 3
    assert (presented[shown] > decode_end[shown]).all()
