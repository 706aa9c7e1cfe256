"""One gamescope as a desktop: begun in its first stream's mode, begun anew when it has ended, and its input alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from punktfunk.desktop import DesktopOptions
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.desktop.gamescope import desktop as module
from punktfunk.desktop.gamescope.desktop import GamescopeDesktop
from punktfunk.desktop.gamescope.session import GamescopeOptions
from punktfunk.desktop.inject import Rect
from punktfunk.errors import DesktopError, PunktfunkError, SessionClosedError
from punktfunk.input import InputEvent, InputKind
from punktfunk.units import Mode

LARGE, SMALL = Mode(1920, 1080, 60), Mode(1280, 720, 120)
KEY = InputEvent(InputKind.KEY_DOWN, ord("A"))


class Session:
    """A session as far as a desktop asks for it."""

    pulse_server, pipewire, socket, ei_path = "", "/run/pipewire-0", "/run/gamescope-0", "/run/gamescope-0-ei"

    def __init__(self, options: GamescopeOptions, *, on_end: Callable[[PunktfunkError], None]) -> None:
        self.options, self.node = options, 40 + len(SESSIONS)
        self.failure: PunktfunkError | None = None
        self.closed = False
        SESSIONS.append(self)

    def close(self) -> None:
        self.closed = True


class Injector:
    """What puts input in, and hangs up when a test says so."""

    def __init__(self, descriptor: int, *, keyboard: object) -> None:
        self.failure: PunktfunkError | None = None
        self.closed = False
        self.region: Rect | None = None
        self.events: list[InputEvent] = []
        self.counters: dict[str, int] = {}
        INJECTORS.append(self)

    def aim(self, *, region: Rect) -> None:
        self.region = region

    def inject(self, event: InputEvent) -> None:
        if self.failure is not None:
            raise self.failure
        self.events.append(event)

    def release_all(self) -> None:
        self.events.clear()

    def close(self) -> None:
        self.closed = True


SESSIONS: list[Session] = []
INJECTORS: list[Injector] = []


@pytest.fixture(autouse=True)
def _sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    SESSIONS.clear()
    INJECTORS.clear()
    for name, double in (
        ("GamescopeSession", Session),
        ("EisInjector", Injector),
        ("_connected", lambda _path: -1),
        ("require_gamescope", lambda: ""),
        ("require_parts", lambda: None),
    ):
        monkeypatch.setattr(module, name, double)


def opened(*expected: str) -> GamescopeDesktop:
    return GamescopeDesktop(DesktopOptions(program=None, expected=expected, audio=False))


def test_it_is_begun_in_the_mode_of_its_first_stream_and_keeps_that_for_all_others() -> None:
    with opened("game") as desktop:
        assert not SESSIONS, "nothing runs before anybody streams"
        first = desktop.provide(LARGE)
        with pytest.raises(DesktopError, match="streamed already"):
            desktop.provide(LARGE)
        desktop.give_back(first)
        second = desktop.provide(SMALL)
        assert [session.options.mode for session in SESSIONS] == [LARGE]
        assert (first.mode, second.mode, first.screen) == (LARGE, SMALL, second.screen)
        assert isinstance(first.screen, PipeWireScreen)
        assert (first.screen.node, first.screen.remote) == (40, "/run/pipewire-0")
        changed = desktop.change(second, LARGE)
        assert (changed.mode, changed.screen) == (LARGE, first.screen)
        with pytest.raises(DesktopError):
            desktop.change(second, SMALL)  # it has become another one
        desktop.give_back(changed)
        with pytest.raises(DesktopError):
            desktop.change(changed, SMALL)
        assert INJECTORS[0].region == Rect(0, 0, 1920, 1080), "of the output, whatever is streamed"
    assert SESSIONS[0].closed
    assert INJECTORS[0].closed


def test_one_that_has_ended_is_begun_anew_in_the_size_that_it_had() -> None:
    with opened() as desktop:
        lost = desktop.provide(LARGE)
        SESSIONS[0].failure = DesktopError("the compositor ended (signal 9)")
        assert desktop.failure is SESSIONS[0].failure
        with pytest.raises(SessionClosedError):
            desktop.inject(KEY)
        with pytest.raises(DesktopError):
            desktop.change(lost, SMALL)
        output = desktop.provide(SMALL)
        assert [session.options.mode for session in SESSIONS] == [LARGE, LARGE]
        assert SESSIONS[0].closed
        assert isinstance(output.screen, PipeWireScreen)
        assert output.screen.node == 41
        assert desktop.failure is None


def test_where_its_input_alone_hangs_up_the_program_goes_on_and_the_next_stream_has_input() -> None:
    with opened() as desktop:
        output = desktop.provide(LARGE)
        desktop.inject(KEY)
        INJECTORS[0].failure = DesktopError("the desktop has closed its input connection")
        with pytest.raises(DesktopError):
            desktop.inject(KEY)
        desktop.give_back(output)
        desktop.provide(LARGE)
        desktop.inject(KEY)
        assert (len(SESSIONS), INJECTORS[0].closed, INJECTORS[1].events) == (1, True, [KEY])
        desktop.release_all()
        assert not INJECTORS[1].events


def test_a_closed_one_begins_nothing_and_an_empty_one_has_nothing_to_let_go_of() -> None:
    desktop = opened()
    desktop.inject(KEY)
    assert desktop.release_all() == {}
    assert desktop.sound is None
    desktop.close()
    desktop.close()
    with pytest.raises(SessionClosedError):
        desktop.provide(LARGE)
    assert not SESSIONS


@pytest.mark.parametrize("steam", [False, True])
def test_steam_in_its_game_mode_is_told_apart_before_it_runs(steam: bool) -> None:
    with opened("steam", *(("-gamepadui",) if steam else ())) as desktop:
        desktop.provide(LARGE)
        assert SESSIONS[0].options.steam is steam
