"""Apps that GameStream clients launch: their programs run while anybody may resume them, and end with them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from punktfunk.app import DESKTOP, App
from punktfunk.client.ending import End
from punktfunk.client.gamestream.host import LaunchWish, StreamKey
from punktfunk.errors import StatusError
from punktfunk.host.desktop import DesktopPool
from tests.e2e.test_app_runner import Desk, alive
from tests.support.streaming_host import MODE, StreamingHost, streaming_host
from tests.support.waiting import soon

WISH = LaunchWish(MODE)
PROGRAM = "import os, time; open('pid.new', 'w').write(str(os.getpid())); os.rename('pid.new', 'pid'); time.sleep(600)"


def beside(folder: Path, use: Callable[[StreamingHost], Awaitable[None]]) -> None:
    """Run a client's side beside a host with the desktop and two apps, of which one cannot be started."""
    apps = (
        DESKTOP,
        App(2, "Game", (sys.executable, "-c", PROGRAM), str(folder)),
        App(3, "Broken", ("/no/such/program",)),
    )

    async def run() -> None:
        async with streaming_host(folder, apps=apps, app_desktop=DesktopPool(Desk())) as host:
            await use(host)

    asyncio.run(asyncio.wait_for(run(), 120))


async def program_of(folder: Path) -> int:
    return int(await soon(lambda: (folder / "pid").exists() and (folder / "pid").read_text(), "the program"))


@pytest.mark.conformance(31)
@pytest.mark.conformance(35)
def test_a_program_runs_from_launch_to_cancel(tmp_path: Path) -> None:
    async def use(host: StreamingHost) -> None:
        asking = host.asking(await host.paired("phone"))
        assert [app.title for app in await asking.apps()] == ["Desktop", "Game", "Broken"]
        await asking.launch(2, WISH, StreamKey.draw())
        pid = await program_of(tmp_path)
        with pytest.raises(StatusError):
            await asking.launch(1, WISH, StreamKey.draw())
        assert (await asking.info_as_paired()).current_app == 2
        await asking.resume(2, WISH, StreamKey.draw())
        await asking.quit()
        assert not alive(pid), "the answer came before the program was gone"
        assert (await asking.info_as_paired()).current_app == 0
        with pytest.raises(StatusError):
            await asking.launch(3, WISH, StreamKey.draw())
        assert (await asking.info_as_paired()).current_app == 0
        await asking.launch(1, WISH, StreamKey.draw())

    beside(tmp_path, use)


@pytest.mark.conformance(37)
def test_a_program_that_ends_by_itself_ends_its_streams(tmp_path: Path) -> None:
    async def use(host: StreamingHost) -> None:
        state = await host.paired("phone")
        client = host.client(state, app="Game")
        seen: list[int] = []
        client.on_progress = lambda progress: seen.append(progress.counters.get("pictures", 0))
        async with client:
            await soon(lambda: seen and seen[-1] >= 5, "pictures")
            os.kill(await program_of(tmp_path), signal.SIGTERM)
            summary = await client.finished()
        assert summary.end is End.CLOSED
        info = await host.asking(state).info_as_paired()
        assert (info.busy, info.current_app) == (False, 0)

    beside(tmp_path, use)


def test_a_program_ends_with_its_host(tmp_path: Path) -> None:
    pids: list[int] = []

    async def use(host: StreamingHost) -> None:
        await host.asking(await host.paired("phone")).launch(2, WISH, StreamKey.draw())
        pids.append(await program_of(tmp_path))

    beside(tmp_path, use)
    assert not alive(pids[0])
