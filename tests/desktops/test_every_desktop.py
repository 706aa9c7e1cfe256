"""What every desktop must do, with a real client: show, take keys and pointer, change its mode, and be left alone."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.peers import served_desktop
from punktfunk.client import input as make
from punktfunk.units import Mode
from tests.desktops.support.desktops import KINDS, StreamedDesktop, Window, streamed_desktop
from tests.desktops.support.streaming import MODE, client_of, counted, pictures, send, serving
from tests.support.waiting import soon

SMALLER = Mode(1024, 600, 30)


@pytest.fixture(params=KINDS)
def desktop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StreamedDesktop]:
    """Each desktop in turn."""
    with streamed_desktop(request.param, tmp_path) as there:
        yield there


def test_it_shows_is_typed_into_and_pointed_at_changes_its_mode_and_is_left_as_it_was(
    desktop: StreamedDesktop, tmp_path: Path
) -> None:
    before = desktop.state()

    async def scenario() -> None:
        async with client_of(host, tmp_path) as client:
            await counted(client, "frames_complete", 3)
            window = desktop.show()
            await soon(lambda: window.events("ready"), "the window to draw")
            await pictures(client, 20)
            # As a person would: where the pointer is, the keyboard goes. Not every desktop gives it to new windows.
            await _pointing(client, window)
            await _typing(client, window, desktop.kind.text)
            answer = await client.request_mode(SMALLER)
            assert answer.accepted
            await counted(client, "frames_complete", 20)
            if desktop.kind.own_output:
                if desktop.kind.moves_windows:
                    await soon(functools.partial(_shows, desktop, SMALLER), "an output of the new size")
                    window = desktop.show()
                await soon(functools.partial(_has_size, window, SMALLER), "a window of the new size")
                await pictures(client, 10)
                await _pointing(client, window, SMALLER)
            client.stop()
            summary = await client.finished()
            assert summary.counters["decode_errors"] == 0

    with serving(desktop, tmp_path) as host:
        asyncio.run(asyncio.wait_for(scenario(), 120))
        host.end()
    desktop.is_as(before)
    seen = served_desktop.pictures(host.left, tmp_path / "client")
    assert seen.wrong == 0, "another picture than the one that was captured"
    assert len(seen.captured_ns) > 30


async def _typing(client: object, window: Window, text: str) -> None:
    # The first key may come before the window has the keyboard; what is asserted comes after.
    async with asyncio.timeout(30):
        while "x" not in window.typed:
            await send(client, *make.text("x"))
            await asyncio.sleep(0.05)
    before = len(window.typed)
    await send(client, *make.text(text))
    await soon(lambda: window.typed[before:].endswith(text), f"{text!r} to be typed, not {window.typed!r}")
    await soon(lambda: not window.held, "every key to be up")


async def _pointing(client: object, window: Window, mode: Mode = MODE) -> None:
    assert window.size is not None
    width, height = window.size
    for x, y in ((mode.width // 4, mode.height // 3), (mode.width - 40, mode.height - 25), (50, 60)):
        await send(client, make.move_to(x, y, mode.width, mode.height))
        wanted = (x * width / mode.width, y * height / mode.height)
        await soon(functools.partial(_is_at, window, wanted), f"the pointer at {wanted}", 10.0)
    clicks = len(window.events("pointer_button"))
    await send(client, *make.click(1))
    await soon(lambda: len(window.events("pointer_button")) >= clicks + 2, "the click")
    wheel = len(window.events("pointer_axis"))
    await send(client, make.scroll(1))
    await soon(lambda: len(window.events("pointer_axis")) > wheel, "the wheel")


def _is_at(window: Window, place: tuple[float, float]) -> bool:
    return window.pointer == pytest.approx(place, abs=1.6)


def _has_size(window: Window, mode: Mode) -> bool:
    return window.size == (mode.width, mode.height)


def _shows(desktop: StreamedDesktop, mode: Mode) -> bool:
    assert desktop.compositor is not None
    return any(output.endswith(f" {mode.width}x{mode.height}") for output in desktop.compositor.outputs())
