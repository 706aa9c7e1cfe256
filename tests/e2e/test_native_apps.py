"""A native client names an app: it streams that one's own desktop, leaves it running, finds it again and ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

import punktfunk
from punktfunk.app import DESKTOP, App
from punktfunk.client.ending import End
from punktfunk.desktop import BackendName, OnEnd, RunningProgram
from punktfunk.errors import RejectedError
from punktfunk.host.desktop import DesktopPool, launchable
from punktfunk.host.running_apps import AppPlaces, RunningApps
from punktfunk.host.service import Host
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.input import InputEvent, InputKind
from punktfunk.media import SyntheticSpec
from punktfunk.native.dialect import CloseCode
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.e2e.test_desktop_of_another_kind import Blackboard
from tests.support.waiting import soon

MODE = Mode(640, 368, 15)
LESSON = App(2, "Lesson", ("chalk", "--white"), "/", own_desktop=True)
PROGRAM = App(3, "Program", ("program",), "/")


class Board(Blackboard):
    """A blackboard on which programs run until the test says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.programs: list[OnEnd] = []

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        self.done.append(" ".join(("run", *command, str(folder))))
        self.programs.append(on_end)
        return self

    def end(self) -> None:
        self.done.append("end")


def host_of(boards: list[Board], source: DesktopSpec | None = None) -> Host:
    """Return a host whose apps get boards, and that streams frames without pictures, or no desktop of its own."""
    host = Host(
        punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK,
            port=0,
            source=source or SyntheticSpec(),
            encoder="x264",
            bitrate=Bitrate(4_000_000),
        )
    )

    def open_own(_app: App) -> DesktopPool:
        boards.append(Board())
        return DesktopPool(boards[-1])

    places = AppPlaces(None, open_own, lambda: 2, host.sessions.gone)
    apps = (DESKTOP, LESSON, PROGRAM)
    host.apps = RunningApps(lambda: apps if source is None else launchable(apps, source), places)
    return host


def test_an_app_is_named_streamed_left_found_again_and_ended(tmp_path: Path) -> None:
    boards: list[Board] = []
    fingerprint = Identity.load_or_create(tmp_path, Role.CLIENT).fingerprint
    config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=MODE, state_dir=tmp_path, app="lesson")

    async def streams(client: punktfunk.Client) -> None:
        read: list[int] = []
        client.on_progress = lambda progress: read.append(progress.counters["strips_read"])
        await soon(lambda: read and read[-1] >= 2, "the board's picture")

    async def scenario() -> None:
        async with host_of(boards) as host:
            where = f"127.0.0.1:{host.port}"
            async with punktfunk.Client(where, config) as client:
                await streams(client)
                client.send(InputEvent(InputKind.KEY_DOWN, ord("A")))
                await soon(lambda: boards[0].events, "a key on the app's own desktop")
                [report] = host.live()
                assert report.source == "desktop"
                client.stop()
                await client.finished()
            await host.sessions_over(1)
            running = host.apps.seen_by(fingerprint)
            assert running is not None
            assert not running.ending, "it goes on without its client"
            by_number = config.model_copy(update={"app": "2", "quit_after": True})
            async with punktfunk.Client(where, by_number) as client:
                await streams(client)
                assert host.apps.seen_by(fingerprint) is running
                client.stop()
                await client.finished()
            await soon(lambda: host.apps.seen_by(fingerprint) is None, "the app's end")
            assert len(boards) == 1
            async with punktfunk.Client(where, config) as client:
                await soon(lambda: len(boards) == 2 and boards[1].programs, "the program once more")
                boards[1].programs[0](1, "out of chalk")
                summary = await client.finished()
                assert summary.end is End.CLOSED
                assert CloseCode.APP_EXITED.sentence in summary.reason
            await soon(lambda: boards[1].done[-1] == "close", "its desktop is gone")

    asyncio.run(asyncio.wait_for(scenario(), 120))
    done = [step for step in boards[0].done if step != "release_all"]
    first = f"provide board-0 {MODE}"
    # An output that nobody looks at any more is given back beside what is done next.
    steps = [step for step in done if step != "give_back board-0"]
    assert steps == [first, "run chalk --white /", first, first, "end", "close"]
    assert len(done) - len(steps) >= 2
    assert done[-1] == "close", "nobody captures what is closed"


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("game", "no app 'game': Desktop, Lesson, Program"),
        ("Program", "Program needs a desktop, and this host streams none"),
    ],
)
def test_an_app_that_cannot_be_streamed_is_refused_in_words(app: str, words: str) -> None:
    config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=MODE, app=app)

    async def scenario() -> None:
        async with host_of([]) as host:
            with pytest.raises(RejectedError, match=words) as refused:
                async with punktfunk.Client(f"127.0.0.1:{host.port}", config):
                    pass
            assert refused.value.close_code == CloseCode.LAUNCH_NOT_PERMITTED
            assert not host.sessions.history.reports
            assert host.apps.seen_by(None) is None

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_where_each_client_has_a_desktop_of_its_own_who_names_no_app_gets_the_one_that_was_named_for_all(
    tmp_path: Path,
) -> None:
    boards: list[Board] = []
    spec = DesktopSpec(backend=BackendName.GAMESCOPE, app=("chalk",))
    host = host_of(boards, spec)

    async def scenario() -> None:
        async with host:
            config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=MODE, state_dir=tmp_path)
            async with punktfunk.Client(f"127.0.0.1:{host.port}", config) as client:
                await soon(lambda: boards and boards[0].programs, "the program")
                [running] = host.apps.running()
                assert (running.app.id, running.app.compositor) == (DESKTOP.id, "gamescope")
                client.stop()
                await client.finished()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert f"run chalk {Path.home()}" in boards[0].done
    assert boards[0].done[-1] == "close"
