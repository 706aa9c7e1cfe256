"""Which app runs for whom, on which desktop, and when it is over: apps as clients of any wire launch and leave them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from punktfunk import log
from punktfunk.app import DESKTOP, App
from punktfunk.desktop import DesktopOutput, OnEnd, RunningProgram
from punktfunk.desktop.capture import WlrScreen
from punktfunk.ending import EndReason
from punktfunk.errors import AppRunningError, CapabilityError, CapacityFullError, DesktopError
from punktfunk.host import running_apps
from punktfunk.host.client_session import ClientSession
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.running_apps import AppPlaces, RunningApp, RunningApps
from punktfunk.units import Mode
from tests.support.waiting import PATIENCE_S, soon

MODE = Mode(1280, 720, 60)
SCOPE = App(6, "Scope", ("scope",), "/", own_desktop=True, compositor="gamescope")
GAME, OTHER = (
    App(2, "Game", ("game",), "/", own_desktop=True),
    App(3, "Other", ("other",), "/", own_desktop=True),
)
SHARED = App(4, "Shared", ("shared",), "/")
A, B, C = "a" * 64, "b" * 64, "c" * 64


class Desk:
    """A desktop that notes what it is asked for, in order."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.programs: list[OnEnd] = []

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        self.did.append(f"output {mode}")
        return DesktopOutput("HEADLESS-1", mode, WlrScreen(display="wayland-1", output="HEADLESS-1"))

    def give_back(self, _output: DesktopOutput) -> None:
        pass

    def run(self, command: Sequence[str], _folder: Path, on_end: OnEnd) -> RunningProgram:
        self.did.append(f"run {command[0]}")
        self.programs.append(on_end)
        return self

    def end(self) -> None:
        self.did.append("end")

    def close(self) -> None:
        self.did.append("close")


class Session(ClientSession):
    """A client's session on an app; its wire says so when it has ended."""

    def __init__(self, app: RunningApp, client: str) -> None:
        self.log, self.dropped_datagrams = log.get("test"), Counter[str]()
        self.app, self.reason = app, ""
        app.join(client, self)

    def end(self, reason: EndReason) -> None:
        self.reason = reason.value
        asyncio.get_running_loop().call_soon(self.leave)

    def leave(self) -> None:
        self.app.leave(self)


class House:
    """A host's apps, its desktop, and those that were opened for apps."""

    def __init__(self, most_own: int = 4) -> None:
        self.shared = Desk()
        self.own: list[Desk] = []
        self.captured_until: list[str] = []
        self.most_open = 0
        self.next_own = Desk
        self.streams_over_may_return: asyncio.Event | None = None
        shared = DesktopPool(self.shared)  # type: ignore[arg-type]  # as much of a desktop as apps ask for
        self.keep_s = 3600.0
        places = AppPlaces(shared, self._open, lambda: most_own, self._streams_over, lambda: self.keep_s)
        self.apps = RunningApps(lambda: (DESKTOP, GAME, OTHER, SHARED, SCOPE), places)

    def _open(self, _app: App) -> DesktopPool:
        self.own.append(self.next_own())
        self.most_open = max(self.most_open, sum("close" not in desk.did for desk in self.own))
        return DesktopPool(self.own[-1])  # type: ignore[arg-type]  # as above

    async def _streams_over(self, desktop: DesktopPool) -> None:
        assert isinstance(desktop._desktop, Desk)
        self.captured_until += desktop._desktop.did[-1:]
        if self.streams_over_may_return is not None:
            await self.streams_over_may_return.wait()

    async def launched(self, app: App, client: str) -> Session:
        running = self.apps.launch(app, client)
        await running.ready(MODE)
        return Session(running, client)

    def seen(self) -> dict[str, int]:
        """What runs as each client sees it."""
        found = {client[0]: self.apps.seen_by(client) for client in (A, B, C)}
        return {client: 0 if running is None else running.app.id for client, running in found.items()}


def at(house: House, use: Callable[[House], Awaitable[None]]) -> None:
    async def run() -> None:
        await use(house)
        await house.apps.close()

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S * 2))


def test_an_app_gets_a_desktop_of_its_clients_size_before_its_program_begins() -> None:
    async def use(house: House) -> None:
        session = await house.launched(GAME, A)
        assert house.own[0].did == [f"output {MODE}", "run game"]
        assert await session.app.open_desktop(Mode(640, 360, 30)) is session.app.desktop
        await session.app.quit()
        assert house.own[0].did[2:] == ["end", "close"]
        assert house.captured_until == ["end"], "a desktop is closed once nobody captures it"
        assert session.reason == EndReason.APP_ENDED.value
        assert not house.shared.did

    at(House(), use)


def test_a_stream_of_a_gamescope_waits_for_the_end_of_the_one_before() -> None:
    async def use(house: House) -> None:
        sway = await house.launched(GAME, A)
        session = await house.launched(SCOPE, B)
        house.streams_over_may_return = asyncio.Event()
        assert await sway.app.open_desktop(MODE) is sway.app.desktop, "which streams may share"
        opening = asyncio.ensure_future(session.app.open_desktop(MODE))
        await soon(lambda: house.captured_until == ["run scope"], "a look at who streams it")
        assert not opening.done()
        house.streams_over_may_return.set()
        assert await opening is session.app.desktop

    at(House(), use)


@pytest.mark.conformance(75)
def test_clients_run_apps_with_desktops_of_their_own_side_by_side_and_see_their_own_alone() -> None:
    async def use(house: House) -> None:
        first = await house.launched(GAME, A)
        second = await house.launched(GAME, B)
        assert house.seen() == {"a": GAME.id, "b": GAME.id, "c": 0}
        assert first.app is not second.app
        assert len(house.own) == 2
        await house.launched(SHARED, C)
        assert house.seen() == {"a": GAME.id, "b": GAME.id, "c": SHARED.id}
        assert [(run.number, run.app) for run in house.apps.running()] == [(1, GAME), (2, GAME), (3, SHARED)]
        await first.app.quit()
        assert (second.reason, house.own[1].did[-1]) == ("", "run game")
        # The shared desktop is streamed: who has nothing to do with it may launch another app at once.
        assert house.seen() == {"a": 0, "b": GAME.id, "c": SHARED.id}
        with pytest.raises(AppRunningError, match="Shared runs on this host's desktop"):
            house.apps.launch(DESKTOP, A)
        with pytest.raises(AppRunningError, match="Game runs for this client"):
            house.apps.launch(OTHER, B)

    at(House(), use)


def test_the_app_on_the_shared_desktop_is_joined_and_shown_to_all_once_nobody_streams_it() -> None:
    async def use(house: House) -> None:
        first = await house.launched(SHARED, A)
        second = await house.launched(SHARED, B)
        assert first.app is second.app
        assert house.shared.did == ["run shared"]
        assert house.seen() == {"a": SHARED.id, "b": SHARED.id, "c": 0}
        second.leave()
        assert house.seen()["b"] == SHARED.id, "it has left, and may come back"
        first.leave()
        assert house.seen() == dict.fromkeys("abc", SHARED.id)
        assert house.apps.seen_by(None) is first.app
        assert house.apps.of(C) is first.app
        await first.app.quit()
        assert house.seen() == dict.fromkeys("abc", 0)
        assert house.shared.did == ["run shared", "end"], "the host's desktop stays"

    at(House(), use)


def test_a_client_that_leaves_finds_its_app_again_until_it_has_not_come_for_long() -> None:
    async def use(house: House) -> None:
        session = await house.launched(GAME, A)
        session.leave()
        assert house.seen()["a"] == GAME.id
        back = Session(session.app, A)
        house.keep_s = 0.0
        back.leave()
        await soon(lambda: house.seen()["a"] == 0, "nobody has streamed it")
        await soon(lambda: house.own[0].did[-1] == "close", "its desktop is gone")

    at(House(), use)


def test_another_time_to_keep_apps_counts_for_those_that_were_left_before() -> None:
    async def use(house: House) -> None:
        (await house.launched(GAME, A)).leave()
        former = await house.launched(GAME, B)
        former.leave()
        streamed = Session(former.app, B)
        house.keep_s = 7200.0
        house.apps.limit_times()
        assert house.seen()["a"] == GAME.id
        house.keep_s = 0.0
        house.apps.limit_times()
        await soon(lambda: house.seen()["a"] == 0, "nobody has streamed it")
        assert house.seen()["b"] == GAME.id, "its client has come back"
        assert not streamed.reason

    at(House(), use)


def test_a_session_on_an_app_keeps_it_however_long_it_lasts() -> None:
    async def use(house: House) -> None:
        house.keep_s = 0.0
        session = await house.launched(GAME, A)
        former = Session(session.app, A)
        former.leave()
        (await house.launched(GAME, B)).leave()
        await soon(lambda: house.own[1].did[-1] == "close", "one that nobody streams is gone")
        assert house.seen()["a"] == GAME.id

    at(House(), use)


def test_an_app_whose_program_ends_takes_its_sessions_and_its_desktop_along() -> None:
    async def use(house: House) -> None:
        session = await house.launched(GAME, A)
        house.own[0].programs[0](1, "crashed")
        await soon(lambda: house.own[0].did[-1] == "close", "its desktop is gone")
        assert session.reason == EndReason.APP_ENDED.value
        assert house.seen()["a"] == 0
        await house.launched(OTHER, A)

    at(House(), use)


def test_there_are_no_more_desktops_than_sessions() -> None:
    async def use(house: House) -> None:
        first = await house.launched(GAME, A)
        first.leave()
        with pytest.raises(CapacityFullError, match="1 apps with desktops of their own"):
            house.apps.launch(GAME, B)
        await first.app.quit()
        await house.launched(GAME, B)

    at(House(most_own=1), use)


def test_what_cannot_be_started_leaves_neither_app_nor_desktop() -> None:
    class Broken(Desk):
        def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
            super().provide(mode, scale=scale)
            raise DesktopError("sway did not give HEADLESS-1 the mode")

    class Without(Desk):
        def run(self, command: Sequence[str], _folder: Path, _on_end: OnEnd) -> RunningProgram:
            raise CapabilityError(f"{command[0]} cannot be started")

    async def use(house: House) -> None:
        for kind, error in ((Broken, DesktopError), (Without, CapabilityError)):
            house.next_own = kind
            with pytest.raises(error):
                await house.launched(GAME, A)
            assert house.seen()["a"] == 0
            await soon(lambda: house.own[-1].did[-1] == "close", "its desktop is gone")
        house.next_own = Desk
        await house.launched(GAME, A)

    at(House(), use)


def test_a_program_that_cannot_be_ended_keeps_neither_desktop_nor_place() -> None:
    class Stubborn(Desk):
        def end(self) -> None:
            super().end()
            raise OSError("not to be ended")

    async def use(house: House) -> None:
        house.next_own = Stubborn
        session = await house.launched(GAME, A)
        with pytest.raises(OSError, match="not to be ended"):
            await session.app.quit()
        assert house.own[0].did[-2:] == ["end", "close"]
        house.next_own = Desk
        await house.launched(GAME, A)
        await house.apps.close()
        house.next_own = Stubborn
        await house.launched(GAME, B)
        with pytest.raises(OSError, match="not to be ended"):
            await house.apps.close()
        assert house.own[2].did[-2:] == ["end", "close"]

    at(House(most_own=1), use)


def test_a_host_that_ends_waits_for_all_its_apps_whatever_one_of_them_meets() -> None:
    class Failing(House):
        failed = False

        async def _streams_over(self, desktop: DesktopPool) -> None:
            if desktop._desktop is self.own[0]:
                self.failed = True
                raise DesktopError("captured for ever")
            await super()._streams_over(desktop)

    async def use(house: House) -> None:
        assert isinstance(house, Failing)
        may_return = house.streams_over_may_return = asyncio.Event()
        await house.launched(OTHER, B)
        await house.launched(GAME, A)
        closing = asyncio.create_task(house.apps.close())
        await soon(lambda: house.failed and house.captured_until, "one has failed, and one is closed")
        for _ in range(10):
            await asyncio.sleep(0)
        assert not closing.done()
        may_return.set()
        with pytest.raises(DesktopError, match="captured for ever"):
            await closing
        assert house.own[1].did[-1] == "close"
        assert not house.apps.running()

    at(Failing(), use)


def test_a_host_that_ends_waits_for_an_app_that_is_being_quit() -> None:
    """Whoever quits it may be gone, as a client that does not wait for the answer."""

    async def use(house: House) -> None:
        may_return = house.streams_over_may_return = asyncio.Event()
        session = await house.launched(GAME, A)
        quitting = asyncio.create_task(session.app.quit())
        await soon(lambda: house.captured_until, "its desktop is about to close")
        quitting.cancel()
        closing = asyncio.create_task(house.apps.close())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not closing.done()
        may_return.set()
        await closing
        assert house.own[0].did[-1] == "close"

    at(House(), use)


@pytest.mark.parametrize("app", [GAME, SHARED])
def test_an_app_that_is_quit_before_its_program_has_begun_begins_none(app: App) -> None:
    async def use(house: House) -> None:
        running = house.apps.launch(app, A)
        starting = asyncio.create_task(running.ready(MODE))
        await asyncio.sleep(0)
        await running.quit()
        with pytest.raises(CapabilityError, match="quit before it had begun"):
            await starting
        assert house.seen()["a"] == 0
        assert not any(step.startswith("run") for desk in (house.shared, *house.own) for step in desk.did)
        assert all(desk.did[-1] == "close" for desk in house.own)

    at(House(), use)


def test_an_unpaired_client_loses_its_app_and_the_host_takes_all_along() -> None:
    async def use(house: House) -> None:
        first, second = await house.launched(GAME, A), await house.launched(GAME, B)
        house.apps.revoke(A)
        house.apps.revoke(C)
        await soon(lambda: house.own[0].did[-1] == "close", "its desktop is gone")
        assert first.reason
        assert not second.reason

    house = House()
    at(house, use)
    assert house.own[1].did[-2:] == ["end", "close"]


def test_an_app_that_nobody_had_started_goes_with_its_last_session() -> None:
    async def use(house: House) -> None:
        running = house.apps.launch(SHARED, A)
        session = Session(running, A)
        assert house.seen()["a"] == SHARED.id
        session.leave()
        assert house.seen()["a"] == 0
        assert not house.shared.did

    at(House(), use)


def test_a_stream_that_is_late_for_its_app_opens_no_desktop_that_nobody_closes() -> None:
    """A client that has left while the worker of its former stream ended: its stream asks for the app after all."""

    async def use(house: House) -> None:
        running = house.apps.launch(GAME, A)
        Session(running, A).leave()
        with pytest.raises(CapabilityError, match="over"):
            await running.open_desktop(MODE)
        assert not house.own
        assert house.apps.seen_by(A) is None

    at(House(), use)


def test_a_desktop_that_still_closes_has_the_place_of_one() -> None:
    """Else a client whose app's program ends at once has one compositor after the other, however long each takes."""

    async def use(house: House) -> None:
        session = await house.launched(GAME, A)
        closing = house.streams_over_may_return = asyncio.Event()
        house.own[0].programs[0](1, "gone")
        await soon(lambda: bool(session.reason), "the app is over")
        assert house.seen()["a"] == 0
        again = asyncio.create_task(house.launched(GAME, A))
        await asyncio.sleep(0)  # it begins
        closing.set()
        await again
        assert (len(house.own), house.most_open) == (2, 1)

    at(House(most_own=1), use)


def test_a_program_without_a_desktop_is_not_launched() -> None:
    async def use(house: House) -> None:
        apps = RunningApps(house.apps.all, replace(house.apps._places, shared=None))
        with pytest.raises(CapabilityError, match="Shared needs a desktop") as lacking:
            apps.launch(SHARED, A)
        assert "desktop of its own" in lacking.value.hint
        assert not apps.launch(DESKTOP, A).on_a_desktop
        assert apps.launch(GAME, B).on_a_desktop

    at(House(), use)


@pytest.mark.parametrize(
    ("name", "app"),
    [
        ("2", GAME),
        ("game", GAME),
        (" GAME ", GAME),
        ("Shared", SHARED),
        ("5", None),
        ("gam", None),
        ("", None),
    ],
)
def test_a_client_names_an_app_by_number_or_title(name: str, app: App | None) -> None:
    assert House().apps.named(name) is app


def test_of_those_who_join_an_app_the_latest_are_kept() -> None:
    async def use(house: House) -> None:
        first = await house.launched(SHARED, A)
        for number in range(running_apps.MAX_CLIENTS_KEPT - 1):
            Session(first.app, f"{number:064}").leave()
        assert house.seen()["a"] == SHARED.id
        Session(first.app, A)
        Session(first.app, B)
        assert len(first.app.clients) == running_apps.MAX_CLIENTS_KEPT
        assert house.seen() == {"a": SHARED.id, "b": SHARED.id, "c": 0}
        assert "0" * 64 not in first.app.clients

    at(House(), use)
