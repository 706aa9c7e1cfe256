"""The pointer of compositors that tell it beside their pictures: right at the client, and no frame is sent for it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import punktfunk
from punktfunk.client import input as make
from punktfunk.cursor import CursorUpdate
from punktfunk.desktop import DesktopOptions, DesktopOutput
from punktfunk.desktop.capture import PipeWireScreen, WlrScreen, open_capture
from punktfunk.desktop.kwin import KWinDesktop
from punktfunk.desktop.mutter import MutterDesktop
from punktfunk.desktop.user_session import UserSession
from punktfunk.desktop.wlroots import WlrootsDesktop
from punktfunk.errors import MediaError
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.media.sources import CursorSource, VideoSource
from tests.desktops.support.desktops import StreamedDesktop, streamed_desktop
from tests.desktops.support.streaming import MODE, counted, send, serving
from tests.support.waiting import eventually, soon

POINTERS = (
    (24, 16, 5, 3, bytes.fromhex("ff8000ff")),
    (40, 40, 20, 39, bytes.fromhex("0000ff80")),
    (40, 40, 0, 39, bytes.fromhex("00ff00ff")),
)
"""Width, height, hot spot and colour of what a program has as its pointer. Of a hot spot whose x alone has changed, and
has become 0, wlroots 0.20 says nothing by itself."""
MOVES = 60
TESTING = os.environ.get("PUNKTFUNK_DESKTOPS") == "testing"
DESKTOPS: dict[str, type[UserSession]] = {"mutter": MutterDesktop}
if TESTING:
    DESKTOPS |= {"kwin": KWinDesktop, "sway": WlrootsDesktop, "labwc": WlrootsDesktop}
OPTIONS = {"portal-gnome": ("--cursor", "separate")}
"""What has to be asked for: a portal chooses once for all clients."""
TOLD = [*DESKTOPS, *OPTIONS, *(["headless-sway"] if TESTING else [])]


@pytest.fixture(params=TOLD)
def streamed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StreamedDesktop]:
    """Each desktop that tells its pointer, also by a portal."""
    with streamed_desktop(request.param, tmp_path) as there:
        yield there


@pytest.fixture(params=DESKTOPS)
def desktop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StreamedDesktop]:
    """Each desktop that tells its pointer, which KWin does from 6.7 on, and wlroots from 0.20."""
    with streamed_desktop(request.param, tmp_path) as there:
        yield there


def _specs() -> str:
    return ",".join(f"{w}x{h}+{x}+{y}+{colour.hex()}" for w, h, x, y, colour in POINTERS)


def _is(pointer: CursorUpdate, number: int, x: int, y: int) -> bool:
    """Whether it has that shape, every pixel of it, and is at that place."""
    width, height, hot_x, hot_y, colour = POINTERS[number]
    shape = pointer.shape
    if not pointer.visible or shape is None or (shape.width, shape.height) != (width, height):
        return False
    near = abs(pointer.x - x) <= 1 and abs(pointer.y - y) <= 1
    pixels = [shape.rgba[at : at + 4] for at in range(0, len(shape.rgba), 4)]
    # Colours lose a bit where alpha is low: the compositor keeps them multiplied by it.
    right = all(abs(a - b) <= 2 for pixel in set(pixels) for a, b in zip(pixel, colour, strict=True))
    return near and right and (shape.hot_x, shape.hot_y) == (hot_x, hot_y)


def _places() -> list[tuple[int, int]]:
    """Places all over the picture, one step after another."""
    return [
        (40 + step * (MODE.width - 80) // MOVES, MODE.height // 2 + (step % 7 - 3) * 20)
        for step in range(MOVES)
    ]


def test_shape_and_place_reach_the_client_and_no_picture_is_captured_for_them(
    streamed: StreamedDesktop, tmp_path: Path
) -> None:
    desktop = streamed
    told: list[str] = []
    options = desktop.window_options = ("--rate", "0", "--pointers", _specs())

    async def scenario() -> None:
        config = punktfunk.ClientConfig(
            pin=host.fingerprint,
            mode=MODE,
            cursor="separate",
            artefacts=tmp_path / "client",
            state_dir=tmp_path / "client-state",
        )
        async with punktfunk.Client(host.address, config) as client:
            assert client.welcome.host_caps == 8
            await counted(client, "frames_complete", 3)
            window = desktop.show(*options)
            await soon(lambda: window.events("ready"), "the window to draw")
            frames: list[int] = []
            client.on_progress = lambda progress: frames.append(progress.frames)
            for number in range(len(POINTERS)):
                shown = functools.partial(_shown, client, number)
                await soon(lambda: shown(*_places()[0]), "the first place", 30.0)  # noqa: B023
                await soon(lambda: frames[-2:] and max(frames[-2:]) <= 3, "a still picture")
                frames.clear()
                for x, y in _places():
                    await _move(client, number, x, y)
                told.append(f"{MOVES} of {MOVES} right, frames a second: {frames}")
                await send(client, *make.click(1))
            client.stop()
            await client.finished()

    with serving(desktop, tmp_path, *OPTIONS.get(desktop.kind.name, ())) as host:
        asyncio.run(asyncio.wait_for(scenario(), 240))
        host.end()
    print(desktop.kind.name, told)
    counters = host.stats().counters
    captured, same = counters["capture_captured"], counters.get("capture_unchanged", 0)
    print(f"{captured} pictures captured in all, {same} painted anew and the same")
    assert captured < MOVES // 3, "of what was drawn, and not of movements; others are the same picture again"
    assert counters["capture_cursor_told"] >= MOVES * len(POINTERS)


async def _move(client: punktfunk.Client, number: int, x: int, y: int) -> None:
    """Point there and wait until it is there; once more from beside, for PipeWire may lose what tells it."""
    for beside in (0, 2, 4, 6, 8):
        await send(client, *(make.move_to(x - off, y, MODE.width, MODE.height) for off in {beside: 0, 0: 0}))
        with contextlib.suppress(pytest.fail.Exception):
            await soon(functools.partial(_told, client, number, x, y), "it", 2.0)
            return
    pytest.fail(f"the pointer is not at {x}, {y}, but {client.cursor.pointer}")


def _told(client: punktfunk.Client, number: int, x: int, y: int) -> bool:
    return _is(client.cursor.pointer, number, x, y)


def _shown(client: punktfunk.Client, number: int, x: int, y: int) -> bool:
    """Point there, and return whether it is there; a program may have its place only after the first of it."""
    for near in (x - 2, x):
        client.send(make.move_to(near, y, MODE.width, MODE.height))
    return _told(client, number, x, y)


def test_no_frame_at_all_is_made_while_the_pointer_moves_and_nothing_else(
    desktop: StreamedDesktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in desktop.session.env.items():
        monkeypatch.setenv(name, value)
    with DESKTOPS[desktop.kind.name](DesktopOptions(audio=False)) as opened:
        output = opened.provide(MODE, separate_cursor=True)
        assert isinstance(output.screen, PipeWireScreen | WlrScreen)
        assert output.screen.cursor == "metadata"
        _move_over_a_still_picture(desktop, opened, output)


@pytest.mark.skipif(not TESTING, reason="older wlroots paints it for each copy as it is asked")
def test_beside_a_stream_whose_client_draws_it_another_of_the_same_output_has_it_in_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later capture of an output that is captured without its pointer gets it from wlroots 0.20 for no asking."""
    with streamed_desktop("labwc", tmp_path) as desktop:
        for name, value in desktop.session.env.items():
            monkeypatch.setenv(name, value)
        with WlrootsDesktop(DesktopOptions(audio=False)) as opened:
            drawn, painted = (opened.provide(MODE, separate_cursor=separate) for separate in (True, False))
            assert drawn.name == painted.name
            told: list[CursorUpdate] = []
            with contextlib.ExitStack() as closed:
                captures = []
                for output in (drawn, painted):
                    assert isinstance(output.screen, WlrScreen)
                    captures.append(open_capture(output.screen, MODE))
                    closed.callback(captures[-1].close)
                beside, within = captures
                assert isinstance(beside, CursorSource)
                beside.separate_cursor(told.append)
                places = (_places()[10], _places()[40])
                for at, other in (places, places[::-1]):
                    eventually(lambda: (beside.capture(), _pointed(opened, told, *at))[1], "the place")  # noqa: B023
                    eventually(lambda: _is_seen(within, *at), "it where it is")  # noqa: B023
                    assert not _is_seen(within, *other), "and not where it was"
                    assert not _is_seen(beside, *at)


def _is_seen(capture: VideoSource, x: int, y: int) -> bool:
    """Whether the next picture has something there; the desktop is black."""
    return bool(capture.capture().luma[y - 4 : y + 20, x - 4 : x + 20].max() > 40)


def _move_over_a_still_picture(desktop: StreamedDesktop, opened: UserSession, output: DesktopOutput) -> None:
    assert isinstance(output.screen, PipeWireScreen | WlrScreen)
    capture = open_capture(output.screen, MODE)
    told: list[CursorUpdate] = []
    over = threading.Event()

    ended: list[MediaError] = []

    def take() -> None:
        try:
            while not over.is_set():
                capture.capture()
        except MediaError as error:
            ended.append(error)
        capture.close()

    def pointed(x: int, y: int) -> bool:
        if ended:
            raise ended[0]
        return _pointed(opened, told, x, y)

    def made() -> int:
        """Frames of something new; a still picture is given again and again beside them."""
        return capture.counters["captured"]

    assert isinstance(capture, CursorSource)
    capture.separate_cursor(told.append)
    taking = threading.Thread(target=take)
    try:
        taking.start()
        eventually(made, "the first picture")
        window = desktop.show("--rate", "0", "--pointers", _specs())
        eventually(lambda: window.events("ready"), "the window to draw")
        eventually(lambda: pointed(*_places()[0]), "the pointer over the window")
        _settle(made)
        before = made()
        for x, y in _places():
            eventually(lambda: pointed(x, y), f"the pointer at {x}, {y}", 10.0)  # noqa: B023
        print(f"{desktop.kind.name}: {made() - before} frames in {MOVES} movements")
        assert made() == before
    finally:
        over.set()
        taking.join(15)


def _pointed(opened: UserSession, told: list[CursorUpdate], x: int, y: int) -> bool:
    surface = SurfaceSize(MODE.width, MODE.height)
    # PipeWire may lose what tells a movement alone, and a pointer that stays is not told again.
    for beside in (3, 0):
        opened.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=x + beside, y=y, surface=surface))
    return bool(told) and told[-1].visible and abs(told[-1].x - x) <= 1 and abs(told[-1].y - y) <= 1


def _settle(made: Callable[[], int]) -> None:
    """Wait until nothing is drawn any more: no frame for a second."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(made())
        return len(seen) > 100 and seen[-1] == seen[-100]

    eventually(still, "a picture that stands still")


@pytest.mark.skipif(TESTING, reason="KWin 6.7 leaves it out of the pictures")
def test_a_kwin_that_has_it_in_the_pictures_all_the_same_paints_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with streamed_desktop("kwin", tmp_path) as desktop:
        for name, value in desktop.session.env.items():
            monkeypatch.setenv(name, value)
        with KWinDesktop(DesktopOptions(audio=False)) as opened:
            output = opened.provide(MODE, separate_cursor=True)
            assert not opened.tells_cursor
            assert isinstance(output.screen, PipeWireScreen)
            assert output.screen.cursor == "embedded"
