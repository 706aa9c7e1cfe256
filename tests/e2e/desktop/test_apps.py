"""Apps on headless desktops: on one that is shared, and each on one of its own, streamed to its client alone."""

from __future__ import annotations

import asyncio
import os
import queue
import sys
from pathlib import Path

import pytest

from punktfunk.app import DESKTOP, App
from punktfunk.client.ending import End
from punktfunk.client.gamestream.service import GameStreamClient
from punktfunk.desktop import DesktopOptions
from punktfunk.desktop.headless_desktop import HeadlessDesktop
from punktfunk.errors import CapabilityError
from punktfunk.input import InputEvent, InputKind
from punktfunk.media import SyntheticSpec
from punktfunk.units import Mode
from tests.support.streaming_host import streaming_host
from tests.support.waiting import PATIENCE_S, eventually, soon

REPOSITORY = Path(__file__).parents[3]
SLOW = Mode(640, 368, 15)
MIRROR = Path(__file__).with_name("mirror.py")

WRITES = "import os, sys, time; open('said', 'w').write(os.environ['WAYLAND_DISPLAY']); time.sleep(float(sys.argv[1]))"


def test_an_app_runs_in_the_session_and_is_ended(desktop_parts: None, tmp_path: Path) -> None:
    ends: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()

    def over(status: int, words: str) -> None:
        ends.put((status, words))

    options = DesktopOptions(program=(sys.executable, "-c", "import time; time.sleep(600)"), audio=False)
    with HeadlessDesktop(options) as desktop:
        running = desktop.run((sys.executable, "-c", WRITES, "600"), tmp_path, over)
        eventually(
            lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text(), "the app's display"
        )
        running.end()
        assert ends.get(timeout=PATIENCE_S)[0] < 0
        running.end()
        desktop.run((sys.executable, "-c", "print('no level'); raise SystemExit(3)"), tmp_path, over)
        assert ends.get(timeout=PATIENCE_S) == (3, "no level")
        with pytest.raises(CapabilityError):
            desktop.run(("/no/such/program",), tmp_path, over)
        os.mkfifo(tmp_path / "game")
        for rest in ("exit 0", "trap - TERM; exec sleep 600"):
            game = f"trap '' TERM; read -r _ < game & {rest}"
            launcher = desktop.run(("/bin/sh", "-c", game), tmp_path, over)
            ends_first = rest == "exit 0"
            if ends_first:
                assert ends.get(timeout=PATIENCE_S) == (0, "")
            reader_left = os.open(tmp_path / "game", os.O_WRONLY)
            launcher.end()
            with pytest.raises(BrokenPipeError):
                os.write(reader_left, b"the game that a launcher has started goes with it")
            os.close(reader_left)
            if not ends_first:
                assert ends.get(timeout=PATIENCE_S)[0] < 0
        desktop.run((sys.executable, "-c", WRITES, "600"), tmp_path, over)
    assert ends.get(timeout=PATIENCE_S)[0] != 0


def _pictures(client: GameStreamClient) -> list[int]:
    """Have the numbers of read frame markers told, the latest last."""
    seen = [0]
    client.on_progress = lambda progress: seen.append(progress.counters.get("strips_read", 0))
    return seen


@pytest.mark.slow
@pytest.mark.conformance(34)
@pytest.mark.conformance(75)
def test_two_clients_stream_apps_on_desktops_of_their_own_at_once(
    desktop_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    typed = tmp_path / "typed"
    card = App(2, "Card", (sys.executable, "-m", "punktfunk.desktop.testcard"), own_desktop=True)
    paper = App(
        3, "Paper", ("foot", "--fullscreen", sys.executable, str(MIRROR), str(typed)), own_desktop=True
    )

    async def scenario() -> None:
        # What the host streams otherwise has no pictures at all.
        async with streaming_host(tmp_path, source=SyntheticSpec(), apps=(DESKTOP, card, paper)) as host:
            first, second = await host.paired("first"), await host.paired("second")
            draws = host.client(first, app="Card", mode=SLOW)
            writes = host.client(second, app="Paper", mode=SLOW, decode=False)
            seen = _pictures(draws)
            async with draws:
                await soon(lambda: seen[-1] >= 3, "the program's pictures")
                assert (await host.asking(second).info_as_paired()).current_app == 0
                async with writes:
                    # Before the terminal has the keyboard, what is typed goes nowhere.
                    async with asyncio.timeout(PATIENCE_S):
                        while not (typed.exists() and b"a" in typed.read_bytes()):
                            for kind in (InputKind.KEY_DOWN, InputKind.KEY_UP):
                                writes.send(InputEvent(kind, 0x41))
                            await asyncio.sleep(0.05)
                    apps = [(await host.asking(who).info_as_paired()).current_app for who in (first, second)]
                    assert apps == [card.id, paper.id]
                    await host.asking(second).quit()
                    assert (await writes.finished()).end is End.CLOSED
                    assert (await host.asking(second).info_as_paired()).current_app == 0
                before = seen[-1]
                await soon(lambda: seen[-1] > before, "the other one goes on")
                draws.stop()
                await draws.finished()
            assert (await host.asking(first).info_as_paired()).current_app == card.id
            again = host.client(first, mode=SLOW)
            seen = _pictures(again)
            async with again:
                await soon(lambda: seen[-1] >= 3, "the program's pictures once more")
                assert again.resumed
            await host.asking(first).quit()
            assert [report.source for report in host.host.reports] == ["desktop"] * 3
            assert not any(report.failed for report in host.host.reports)

    asyncio.run(asyncio.wait_for(scenario(), 120))
