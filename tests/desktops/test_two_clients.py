"""Two clients of one desktop at once: an output each where the desktop makes them, or both the first one's."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from harness.peers.served_desktop import ServedDesktop
from punktfunk.units import Mode
from tests.desktops.support.desktops import StreamedDesktop, streamed_desktop
from tests.desktops.support.streaming import client_of, counted, pictures, serving
from tests.support.waiting import soon

MODES = (Mode(1280, 720, 30), Mode(640, 360, 30))


@pytest.mark.measures
@pytest.mark.parametrize(
    ("name", "outputs"), [("sway", "own"), ("sway", "mirror"), ("mutter", "own"), ("kwin", "mirror")]
)
def test_two_clients_have_an_output_each_or_the_first_ones(name: str, outputs: str, tmp_path: Path) -> None:
    with streamed_desktop(name, tmp_path) as desktop:
        before = desktop.state()
        options = ("--outputs", outputs, "--sessions", "2")
        with serving(desktop, tmp_path, *options) as host:
            asyncio.run(asyncio.wait_for(_both(desktop, host, tmp_path, outputs), 120))
            host.end()
        desktop.is_as(before)


async def _both(desktop: StreamedDesktop, host: ServedDesktop, folder: Path, outputs: str) -> None:
    assert desktop.compositor is not None
    there = len(desktop.compositor.outputs())
    made = desktop.kind.own_output * (2 if outputs == "own" else 1)
    async with contextlib.AsyncExitStack() as clients:
        first = await clients.enter_async_context(client_of(host, folder / "1", MODES[0]))
        await counted(first, "frames_complete", 3)
        same, mutter = made < 2, desktop.kind.name == "mutter"
        # A stream of a screen that stands still begins, too; not of one that Mutter shows already.
        window = None if same and not mutter else desktop.show()
        second = await clients.enter_async_context(client_of(host, folder / "2", MODES[1]))
        await counted(second, "frames_complete", 3)
        assert len(desktop.compositor.outputs()) == there + made
        shown = window or desktop.show()
        await soon(lambda: shown.events("ready"), "the window to draw")
        if same:
            await pictures(second, 10)
        # Mutter moves windows about when a monitor comes.
        await (counted(first, "frames_complete", 10) if mutter else pictures(first, 10))
        first.stop()
        await first.finished()
        await (pictures(second, 10) if same else counted(second, "frames_complete", 10))
        second.stop()
        await second.finished()
