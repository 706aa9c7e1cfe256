"""The portal of a real desktop: its user is asked once, what was granted is had again, and what ends comes back."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from punktfunk.client import input as make
from punktfunk.desktop import DesktopOptions, DesktopOutput
from punktfunk.desktop.app_id import APP_ID
from punktfunk.desktop.capture import PipeWireScreen, numbered, open_capture
from punktfunk.desktop.portal import portal_desktop
from punktfunk.desktop.portal.examine import examine
from punktfunk.desktop.portal.grants import GRANTS_FILE
from punktfunk.desktop.portal.portal_desktop import PortalDesktop
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import ConsentAwaitedError, ConsentRefusedError, DesktopError
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.media import VideoSource
from punktfunk.units import Mode
from tests.desktops.support.desktops import StreamedDesktop, Window, streamed_desktop
from tests.desktops.support.portals import GnomePerson, Portals, allow_on_plasma, write_application
from tests.desktops.support.processes import Program
from tests.support.waiting import eventually

MODE: Final = Mode(1280, 720, 60)
OTHER: Final = Mode(1600, 900, 60)
TEXT: Final = "Portal, 1st"
SIZE: Final = SurfaceSize(MODE.width, MODE.height)


def write_wlr_configuration(home: Path) -> None:
    """Have the portal of wlroots show the only output without asking which, as its user has to."""
    folder = home / ".config" / "xdg-desktop-portal-wlr"
    folder.mkdir(parents=True)
    (folder / "config").write_text("[screencast]\nchooser_type=none\noutput_name=HEADLESS-1\nmax_fps=60\n")


class Place:
    """A desktop with its portal, the state folder of a host on it, and who answers."""

    def __init__(self, desktop: StreamedDesktop, folder: Path) -> None:
        assert desktop.compositor is not None
        self.desktop, self.compositor = desktop, desktop.compositor
        self.state = folder / "state"
        self.portals = Portals(desktop.compositor)
        self.opened: list[PortalDesktop] = []

    def open(self, *, by_eis: bool | None = None) -> PortalDesktop:
        """Open the desktop as a host does."""
        self.opened.append(PortalDesktop(DesktopOptions(audio=False, state_dir=self.state), by_eis=by_eis))
        return self.opened[-1]

    def command(self, name: str, *options: str) -> Program:
        """Start ``punktfunk desktop grant portal``, or ``revoke``."""
        argv = (sys.executable, "-m", "punktfunk", "desktop", name, "portal", *options)
        programs = self.desktop.session.programs
        return programs.start(name, [*argv, "--state-dir", str(self.state)])

    def end(self) -> None:
        """Close what was opened."""
        for each in self.opened:
            each.close()

    @property
    def token(self) -> str | None:
        """What is kept."""
        file = self.state / GRANTS_FILE
        grants = json.loads(file.read_text())["grants"] if file.exists() else []
        return grants[0]["token"] if grants else None

    def keep(self, token: str) -> None:
        """Put another token in its place, as whoever forges one would."""
        file = self.state / GRANTS_FILE
        document = json.loads(file.read_text())
        document["grants"][0]["token"] = token
        file.write_text(json.dumps(document))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Place]]:
    """Return a function that brings up a desktop with its portal; this process is a program of that session then."""
    with ExitStack() as ends:

        def begin(name: str) -> Place:
            desktop = ends.enter_context(streamed_desktop(name, tmp_path))
            assert desktop.compositor is not None
            for key, value in desktop.session.env.items():
                monkeypatch.setenv(key, value)
            write_application(desktop.session.home, APP_ID)
            write_wlr_configuration(desktop.session.home)
            there = Place(desktop, tmp_path)
            ends.callback(there.end)
            return there

        yield begin


@pytest.fixture
def gnome(place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch) -> Place:
    """Mutter with GNOME's portal. Whoever opens it waits for the person for as long as that takes."""
    monkeypatch.setattr(portal_desktop, "OPEN_WAIT_S", 0.5)
    monkeypatch.setattr(portal_desktop, "PROVIDE_WAIT_S", 15.0)
    return place("mutter")


@pytest.fixture
def person(gnome: Place) -> Iterator[GnomePerson]:
    """Who answers GNOME's question, and counts how often."""
    with GnomePerson(gnome.compositor) as there:
        yield there


def ended(program: Program) -> str:
    """Wait for the end of a program and return what it said; fail where it failed."""
    eventually(lambda: not program.running, f"the end of {program.name}")
    assert program.process.returncode == 0, program.text()
    return program.text()


def capture(output: DesktopOutput) -> VideoSource:
    """Read an output's pictures as a stream worker does."""
    assert output.open_remote is not None
    return open_capture(numbered(output.screen), output.mode, connection=output.open_remote())


def markers(source: VideoSource, count: int) -> list[int]:
    """Return the numbers of that many pictures of the window that differ."""
    seen: list[int] = []

    def enough() -> bool:
        number = source.capture().frame
        if number >= 0 and number not in seen:
            seen.append(number)
        return len(seen) >= count

    eventually(enough, f"{count} pictures with a marker")
    return seen


def put(desktop: PortalDesktop, *events: InputEvent | Iterable[InputEvent]) -> None:
    """Put events in."""
    for event in events:
        for one in (event,) if isinstance(event, InputEvent) else event:
            desktop.inject(one)


def touch(x: int, y: int, surface: SurfaceSize) -> list[InputEvent]:
    """Return a finger that goes down and up."""
    return [
        InputEvent(InputKind.TOUCH_DOWN, 1, x, y, surface),
        InputEvent(InputKind.TOUCH_UP, 1, x, y, surface),
    ]


def type_and_point(desktop: PortalDesktop, window: Window, mode: Mode) -> None:
    """Type into the window, point at it and click; all of it has to arrive where it belongs."""

    def points(x: int, y: int) -> bool:
        # Again and again: input is dropped, and counted, where this process gets no CPU for long.
        put(desktop, make.move_to(x, y, mode.width, mode.height))
        assert window.size is not None
        wanted = x * window.size[0] / mode.width, y * window.size[1] / mode.height
        return window.pointer == pytest.approx(wanted, abs=1.6)

    for x, y in ((mode.width // 4, mode.height // 3), (mode.width - 40, mode.height - 25)):
        eventually(functools.partial(points, x, y), f"the pointer at {x}, {y}")

    def focused() -> bool:
        put(desktop, make.text("x"))
        return "x" in window.typed

    eventually(focused, "the window has the keyboard")
    before = len(window.typed)
    put(desktop, make.text(TEXT))
    eventually(lambda: window.typed[before:].endswith(TEXT), f"{TEXT!r} is typed")
    eventually(lambda: not window.held, "no key stays down")
    clicks = len(window.events("pointer_button"))
    put(desktop, make.click(1), make.scroll(1))
    eventually(lambda: len(window.events("pointer_button")) == clicks + 2, "the click")
    eventually(lambda: window.events("pointer_axis"), "the wheel")


def test_gnome_asks_once_for_the_users_monitor_and_then_never_again_but_for_a_forged_token(
    gnome: Place, person: GnomePerson
) -> None:
    assert examine(gnome.state).reason.endswith("asks once, on its screen")
    desktop = gnome.open()
    assert isinstance(desktop.notice, ConsentAwaitedError)
    person.share("monitor")
    first = desktop.provide(MODE)
    assert "one of its monitors" in desktop.description
    assert gnome.token is not None
    assert (gnome.state / GRANTS_FILE).stat().st_mode & 0o777 == 0o600
    assert isinstance(first.screen, PipeWireScreen)
    assert not first.screen.sized
    source = capture(first)
    window = gnome.desktop.show()
    markers(source, 10)
    type_and_point(desktop, window, MODE)
    assert desktop.takes_touch
    put(desktop, touch(320, 180, SIZE))
    eventually(lambda: window.events("touch_up"), "the finger")
    assert window.events("touch_down")[0]["values"][-2:] == pytest.approx([320, 180], abs=1.6)
    source.close()
    desktop.close()
    assert person.answered == 1

    assert examine(gnome.state).reason.endswith("does not ask: a grant is kept")
    desktop = gnome.open()
    source = capture(desktop.provide(MODE))
    markers(source, 3)
    source.close()
    assert person.answered == 1
    assert gnome.token is not None, "what it brings is kept for the next time: the same, or another one"
    desktop.close()

    for answers, forged in ((2, "6f0c7a5e-5f0b-4f0e-9b0a-8d3c1d2b7c11"), (3, "no UUID at all")):
        gnome.keep(forged)
        desktop = gnome.open()
        assert isinstance(desktop.notice, ConsentAwaitedError)
        person.share("monitor")
        desktop.provide(MODE)
        assert person.answered == answers
        assert gnome.token not in {None, forged}
        desktop.close()
    desktop = gnome.open()
    desktop.provide(MODE)
    assert person.answered == 3


def test_the_command_asks_where_a_person_is_before_it_and_revoking_brings_the_question_back(
    gnome: Place, person: GnomePerson
) -> None:
    entry = gnome.desktop.session.home / ".local/share/applications" / f"{APP_ID}.desktop"
    entry.unlink()
    granting = gnome.command("grant")
    person.share("monitor")
    said = ended(granting)
    assert "granted    this desktop by its portal (gnome): one of its monitors" in said
    assert f"kept       {gnome.state / GRANTS_FILE}" in said
    assert entry.exists()
    desktop = gnome.open()
    desktop.provide(MODE)
    assert person.answered == 1
    desktop.close()
    kept = gnome.token
    assert "may not capture by portal any more" in ended(gnome.command("revoke"))
    assert not entry.exists()
    assert kept is not None
    assert gnome.token is None
    assert isinstance(gnome.open().notice, ConsentAwaitedError)


def test_plasma_asks_nobody_once_its_user_has_said_so_and_asks_again_when_it_is_revoked(
    place: Callable[[str], Place],
) -> None:
    plasma = place("kwin")
    assert "Plasma asks nobody about punktfunk any more" in ended(plasma.command("grant", "--unasked"))
    plasma.open().provide(MODE)
    plasma.end()
    ended(plasma.command("revoke"))
    with SessionBus() as bus:
        store = "org.freedesktop.impl.portal.PermissionStore"
        path = f"/{store.replace('.', '/')}"
        found = bus.call(store, path, store, "Lookup", "ss", ("kde-authorized", "remote-desktop")).body[0]
    assert APP_ID not in found


def test_a_monitor_that_gnome_makes_has_the_clients_size_follows_it_and_goes_with_the_stream(
    gnome: Place, person: GnomePerson
) -> None:
    before = gnome.compositor.outputs()
    desktop = gnome.open()
    person.share("virtual")
    output = desktop.provide(OTHER)
    assert "a monitor made for the first client" in desktop.description
    source = capture(output)
    source.capture()
    eventually(lambda: any(each.endswith(" 1600x900") for each in gnome.compositor.outputs()), "the monitor")
    window = gnome.desktop.show()
    markers(source, 10)
    assert window.size == (1600, 900)
    type_and_point(desktop, window, OTHER)
    put(desktop, touch(800, 450, SurfaceSize(1600, 900)))
    eventually(lambda: window.events("touch_up"), "the finger")
    assert window.events("touch_down")[0]["values"][-2:] == pytest.approx([800, 450], abs=1.6)
    source.close()
    source = capture(desktop.change(output, Mode(1024, 600, 60)))
    source.capture()
    eventually(lambda: any(each.endswith(" 1024x600") for each in gnome.compositor.outputs()), "its new size")
    source.close()
    desktop.give_back(output)
    try:
        eventually(lambda: gnome.compositor.outputs() == before, "the monitor goes with its stream")
    except DesktopError:
        if gnome.compositor.crashes():
            pytest.xfail("Mutter 48 crashed as it took its monitor away, which it does now and then")
        raise
    source = capture(desktop.provide(MODE))
    source.capture()
    assert person.answered == 1
    source.close()


def test_who_presses_cancel_is_told_so_and_not_asked_by_each_client(
    gnome: Place, person: GnomePerson
) -> None:
    desktop = gnome.open()
    person.cancel()
    for _ in range(2):
        with pytest.raises(ConsentRefusedError):
            desktop.provide(MODE)
    assert person.answered == 1
    assert gnome.token is None
    assert isinstance(desktop.notice, ConsentRefusedError)


def test_input_that_was_not_allowed_leaves_the_picture(gnome: Place, person: GnomePerson) -> None:
    desktop = gnome.open()
    person.share("monitor", interaction=False)
    source = capture(desktop.provide(MODE))
    gnome.desktop.show()
    markers(source, 3)
    assert "without input, which was not allowed" in desktop.description
    assert not desktop.takes_touch
    put(desktop, make.text("a"))
    source.close()


def test_the_portals_own_methods_put_input_in_where_there_is_no_eis(
    gnome: Place, person: GnomePerson
) -> None:
    desktop = gnome.open(by_eis=False)
    person.share("monitor")
    source = capture(desktop.provide(MODE))
    window = gnome.desktop.show()
    markers(source, 3)
    type_and_point(desktop, window, MODE)

    def touched() -> bool:
        put(
            desktop, touch(320, 180, SIZE)
        )  # the first makes Mutter plug a touch screen in, which programs see too late
        return bool(window.events("touch_up"))

    eventually(touched, "the finger")
    put(desktop, InputEvent(InputKind.KEY_DOWN, make.SHIFT))
    eventually(lambda: window.held, "shift is down")
    desktop.release_all()
    eventually(lambda: not window.held, "and let go of")
    source.close()


@pytest.mark.parametrize("dies", ["front_end", "back_end", "both", "compositor", "pipewire"])
def test_what_dies_behind_a_stream_is_a_failure_and_comes_back_without_a_question(
    gnome: Place, person: GnomePerson, dies: str
) -> None:
    desktop = gnome.open()
    person.share("monitor")
    source = capture(desktop.provide(MODE))
    source.capture()
    if dies == "compositor":
        gnome.compositor.program.kill()
    if dies == "pipewire":
        gnome.desktop.session.pipewire.kill()
    for name in ("front_end", "back_end"):
        if dies in (name, "both", "compositor"):
            getattr(gnome.portals, name).kill()
    eventually(lambda: desktop.failure is not None, "its end is noticed")
    source.close()
    if dies == "compositor":
        gnome.compositor.again()
    if dies == "pipewire":
        gnome.desktop.session.restart_pipewire()
    gnome.portals.again()
    source = capture(desktop.provide(MODE))
    source.capture()
    source.close()
    assert desktop.failure is None
    assert person.answered == 1


def test_plasma_asks_nobody_where_that_was_allowed_and_is_presented_its_token(
    place: Callable[[str], Place],
) -> None:
    plasma = place("kwin")
    allow_on_plasma(plasma.compositor, APP_ID)
    desktop = plasma.open()
    assert desktop.notice is None
    output = desktop.provide(MODE)
    source = capture(output)
    window = plasma.desktop.show()
    markers(source, 10)
    type_and_point(desktop, window, MODE)
    source.close()
    desktop.close()
    token = plasma.token
    assert token is not None
    plasma.open().provide(MODE)
    assert plasma.token is not None


@pytest.mark.skipif(
    os.environ.get("PUNKTFUNK_DESKTOPS") != "testing",
    reason="Debian 13's portal of wlroots cannot render with pixman",
)
def test_the_portal_of_wlroots_shows_the_output_of_its_configuration_without_input_and_asks_nobody(
    place: Callable[[str], Place],
) -> None:
    sway = place("sway")
    assert "no RemoteDesktop: without input" in examine(sway.state).reason
    desktop = sway.open()
    assert desktop.notice is None
    assert "without input, which its portal does not take" in desktop.description
    source = capture(desktop.provide(MODE))
    sway.desktop.show()
    markers(source, 30)
    source.close()
    desktop.close()
    assert sway.token is not None
    sway.open().provide(MODE)
