"""wlroots compositors that a user has running: sway makes an output for each client, labwc is streamed as it is."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.peers.served_desktop import ServedDesktop, pictures
from punktfunk.clock import monotonic_ns
from punktfunk.desktop import DesktopOutput
from punktfunk.desktop.capture import WlrScreen, open_capture
from punktfunk.desktop.wlroots import WlrootsDesktop
from punktfunk.errors import DesktopError
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.units import Mode
from tests.desktops.support.compositors import Compositor
from tests.desktops.support.processes import Program
from tests.desktops.support.streaming import client_of
from tests.support.client_counters import counted
from tests.support.waiting import eventually

WINDOW = Path(__file__).with_name("support") / "window.py"
TEXT = "wlroots"
LEFT_BUTTON = 1


@contextmanager
def attached(desktop: Compositor, monkeypatch: pytest.MonkeyPatch) -> Iterator[WlrootsDesktop]:
    """Attach to a compositor as ``serve`` does, which is told of it by its environment."""
    for name in ("XDG_RUNTIME_DIR", "WAYLAND_DISPLAY", "SWAYSOCK"):
        monkeypatch.setenv(name, desktop.session.env.get(name, ""))
    with WlrootsDesktop() as opened:
        yield opened


def window(desktop: Compositor, *options: str) -> Program:
    """Show the window of a user's program and wait for its first picture."""
    program = desktop.session.programs.start("window", [sys.executable, str(WINDOW), *options])
    eventually(lambda: told(program, "ready"), "the window")
    return program


def told(program: Program, event: str) -> list[dict[str, Any]]:
    """Return what the window has told of that kind."""
    lines = [json.loads(line) for line in program.text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def typed(program: Program) -> str:
    """Return the text of the keys that arrived."""
    return "".join(each["text"] for each in told(program, "key") if each["down"])


def type_text(desktop: WlrootsDesktop, text: str) -> None:
    """Press and release the key of each letter."""
    for letter in text:
        for kind in (InputKind.KEY_DOWN, InputKind.KEY_UP):
            desktop.inject(InputEvent(kind, ord(letter.upper())))


def fps(output: DesktopOutput, seconds: float = 4.0) -> tuple[float, int]:
    """Return how many pictures a second have another number than the one before, and how many had none."""
    assert isinstance(output.screen, WlrScreen)
    capture = open_capture(output.screen.model_copy(update={"read_marker": True}), output.mode)
    try:
        begin_ns = capture.capture().captured_ns
        while capture.capture().captured_ns < begin_ns + 1_000_000_000:
            pass  # what may pass in a burst has passed
        numbers, begin_ns = [], monotonic_ns()
        while monotonic_ns() < begin_ns + seconds * 1e9:
            numbers.append(capture.capture().frame)
        took_s = (monotonic_ns() - begin_ns) / 1e9
    finally:
        capture.close()
    return (len(np.unique(numbers)) - 1) / took_s, sum(number < 0 for number in numbers)


@pytest.mark.measures
@pytest.mark.parametrize("mode", [Mode(1280, 720, 60), Mode(1920, 1080, 60)], ids=str)
def test_sway_makes_an_output_of_the_size_and_rate_that_are_asked_for_and_takes_it_away(
    mode: Mode,
    start: Callable[[str], Compositor],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    sway = start("sway")
    before = sway.outputs()
    with attached(sway, monkeypatch) as desktop:
        output = desktop.provide(mode)
        assert f"{output.name} {mode.width}x{mode.height}" in sway.outputs()
        window(sway, "--output", output.name)
        rate, unreadable = fps(output)
        record_property("fps", rate)
        print(f"{mode}: {rate:.1f} pictures captured a second, {unreadable} unreadable")
        assert unreadable == 0
        assert rate > mode.refresh_hz / 4
        larger = desktop.change(output, Mode(1600, 900, 60))
        assert f"{output.name} 1600x900" in sway.outputs()
        desktop.give_back(larger)
        assert sway.outputs() == before
        desktop.provide(mode, scale=2.0)
        assert len(sway.outputs()) == len(before) + 1
    assert sway.outputs() == before, "what was not given back goes with the desktop"


def test_input_arrives_on_the_output_of_a_stream_and_goes_on_for_who_stays(
    start: Callable[[str], Compositor], monkeypatch: pytest.MonkeyPatch
) -> None:
    sway = start("sway")
    with attached(sway, monkeypatch) as desktop:
        first, second = desktop.provide(Mode(1280, 720, 60)), desktop.provide(Mode(800, 600, 60))
        for output, (x, y), (width, height) in (
            (first, (320, 540), (1280, 720)),
            (second, (200, 150), (800, 600)),
        ):
            shown = window(sway, "--output", output.name)
            surface = SurfaceSize(width, height)

            def clicked(
                x: int = x, y: int = y, surface: SurfaceSize = surface, shown: Program = shown
            ) -> bool:
                # Until sway has laid the window out, a click may be for what was there before.
                desktop.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=x, y=y, surface=surface))
                for kind in (InputKind.BUTTON_DOWN, InputKind.BUTTON_UP):
                    desktop.inject(InputEvent(kind, LEFT_BUTTON))
                return bool(told(shown, "pointer_button"))

            eventually(clicked, "the button")
            places = [*told(shown, "pointer_enter"), *told(shown, "pointer_motion")]
            assert [round(value) for value in places[-1]["values"][-2:]] == [x, y]
            type_text(desktop, TEXT)
            eventually(lambda shown=shown: typed(shown) == TEXT, "the text")
            sway.session.programs.end(shown)
            desktop.give_back(output)
        assert desktop.release_all()["injected"] > 0


def test_labwc_is_streamed_as_it_is(
    start: Callable[[str], Compositor], monkeypatch: pytest.MonkeyPatch
) -> None:
    labwc = start("labwc")
    before = labwc.outputs()
    with attached(labwc, monkeypatch) as desktop:
        output = desktop.provide(Mode(640, 360, 60))
        assert desktop.provide(Mode(1280, 720, 60)).screen == output.screen, "there is no other"
        shown = window(labwc)
        rate, unreadable = fps(output)
        print(f"labwc: {rate:.1f} pictures captured a second")
        assert (unreadable, rate > 0) == (0, True)
        type_text(desktop, TEXT)
        eventually(lambda: typed(shown) == TEXT, "the text")
        desktop.give_back(output)
    assert labwc.outputs() == before


def test_a_compositor_that_was_killed_is_attached_to_again_once_it_runs_again(
    start: Callable[[str], Compositor], monkeypatch: pytest.MonkeyPatch
) -> None:
    sway = start("sway")
    with attached(sway, monkeypatch) as desktop:
        output = desktop.provide(Mode(1280, 720, 60))
        sway.program.kill()
        desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
        eventually(lambda: desktop.failure, "the end to be noticed")
        with pytest.raises(DesktopError):
            desktop.inject(InputEvent(InputKind.KEY_UP, ord("A")))
        desktop.give_back(output)
        with pytest.raises(DesktopError):
            desktop.provide(Mode(1280, 720, 60))
        sway.again()
        again = desktop.provide(Mode(1280, 720, 60))
        assert desktop.failure is None
        assert f"{again.name} 1280x720" in sway.outputs()
        shown = window(sway, "--output", again.name)
        eventually(lambda: told(shown, "keyboard_enter"), "the focus on the output that was made")
        type_text(desktop, TEXT)
        eventually(lambda: typed(shown) == TEXT, "the text")
        desktop.give_back(again)
        assert len(sway.outputs()) == 1


def show_card(sway: Compositor, before: list[str]) -> None:
    """Show the test card on the output that is made for the client."""
    eventually(lambda: len(sway.outputs()) > len(before), "an output for the client")
    [made] = {each.split()[0] for each in sway.outputs()} - {each.split()[0] for each in before}
    argv = [sys.executable, "-m", "punktfunk", "testcard", "--output", made]
    sway.session.programs.start("testcard", argv)


async def _see_pictures(host: ServedDesktop, folder: Path) -> None:
    async with client_of(host, folder, Mode(1280, 720, 60)) as client:
        await counted(client, "strips_read", 60)


def test_a_client_sees_what_the_session_shows_on_the_output_that_is_made_for_it(
    start: Callable[[str], Compositor], tmp_path: Path
) -> None:
    desktop = start("sway")
    before = desktop.outputs()
    options = ("--desktop", "wlroots", "--bitrate", "8 Mbit/s")
    with ServedDesktop(tmp_path, *options, program=None, env=desktop.session.env) as host:
        assert "this desktop" in host.banner
        shown_by = ThreadPoolExecutor(1).submit(show_card, desktop, before)
        asyncio.run(asyncio.wait_for(_see_pictures(host, tmp_path), 90))
        shown_by.result(30)
        host.end()
    seen = pictures(host.left, tmp_path / "client")
    assert (seen.wrong, seen.unreadable, seen.not_decoded) == (0, 0, 0)
    late = seen.between("captured_ns", "complete_ns")
    print(
        f"sway: {seen.fps:.1f} fps, capture to client complete "
        f"p50 {np.quantile(late, 0.5):.2f} ms, p95 {np.quantile(late, 0.95):.2f} ms"
    )
    assert len(seen.captured_ns) >= 60
    assert desktop.outputs() == before
