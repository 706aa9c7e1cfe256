"""KWin as its user has it: the right to capture by a command, outputs, input on the right one, what is left behind."""

from __future__ import annotations

import itertools
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.desktop import DesktopOptions, DesktopOutput, wayland
from punktfunk.desktop.capture import numbered, open_capture
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.eis import EisInjector
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.desktop.kwin import KWinDesktop, examine, reach
from punktfunk.desktop.kwin.outputs import Outputs
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import CapabilityError, DesktopError, MediaError
from punktfunk.input import Contact, InputEvent, InputKind, SurfaceSize
from punktfunk.media.types import RawFrame
from punktfunk.units import Mode
from tests.desktops.support.compositors import Compositor, KWin
from tests.desktops.support.desktops import Window
from tests.desktops.support.processes import cpu_seconds
from tests.desktops.support.session import UserSession
from tests.support.waiting import eventually

MODE = Mode(1280, 720, 60)
OTHER = Mode(1600, 900, 60)
SCREENCAST = "zkde_screencast_unstable_v1"
MEASURED_S = 4
TESTING = os.environ.get("PUNKTFUNK_DESKTOPS") == "testing"


class PlainKWin(KWin):
    """KWin as it is on a machine without any graphics card."""

    graphics = False


@pytest.fixture
def kwin(start: Callable[[str], Compositor], monkeypatch: pytest.MonkeyPatch) -> Compositor:
    """A KWin, in whose session this process is, too."""
    compositor = start("kwin")
    _enter(compositor, monkeypatch)
    return compositor


@pytest.fixture
def desktop(kwin: Compositor) -> Iterator[KWinDesktop]:
    """The desktop of a user who has granted what is needed."""
    _punktfunk(kwin, "desktop", "grant", "kwin")
    with KWinDesktop(DesktopOptions(audio=False)) as opened:
        yield opened


def _enter(compositor: Compositor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in compositor.session.env.items():
        monkeypatch.setenv(name, value)


def _punktfunk(compositor: Compositor, *words: str) -> str:
    return compositor.session.programs.run(sys.executable, "-m", "punktfunk", *words, timeout_s=30)


def _show(compositor: Compositor, tmp_path: Path, output: str | None, *options: str) -> Window:
    """Open the test window on an output, or where the compositor likes, and wait until it draws."""
    written = tmp_path / f"window-{monotonic_ns()}.jsonl"
    command = [sys.executable, "-m", "tests.desktops.support.window", *options]
    if output is not None:
        command += ["--output", output]
    with written.open("wb") as log:
        compositor.session.programs.start("window", command, stdout=log)
    window = Window(written)
    eventually(lambda: window.events("ready"), "the window to draw")
    return window


@contextmanager
def _pictures(output: DesktopOutput) -> Iterator[Callable[[], RawFrame]]:
    capture = open_capture(numbered(output.screen), output.mode)
    try:
        yield capture.capture
    finally:
        capture.close()


def _take_100(next_picture: Callable[[], RawFrame]) -> None:
    for _ in range(100):
        next_picture()


def _point(desktop: KWinDesktop, window: Window, mode: Mode, x: int, y: int) -> None:
    """Point at a place of the stream's picture, and wait until the window has the pointer there."""
    assert window.size is not None
    desktop.inject(
        InputEvent(InputKind.MOUSE_ABSOLUTE, x=x, y=y, surface=SurfaceSize(mode.width, mode.height))
    )
    wanted = (x * window.size[0] / mode.width, y * window.size[1] / mode.height)
    eventually(lambda: window.pointer == pytest.approx(wanted, abs=1.6), f"the pointer at {wanted}", 10)


def _type(inject: Callable[[InputEvent], object], window: Window, text: str) -> None:
    eventually(lambda: window.events("keyboard_enter"), "the window to have the keyboard")
    for letter in text:
        for kind in (InputKind.KEY_DOWN, InputKind.KEY_UP):
            inject(InputEvent(kind, ord(letter)))


def test_the_grant_is_one_command_it_counts_at_once_and_for_punktfunk_alone(kwin: Compositor) -> None:
    found = examine()
    assert not found.usable
    assert found.hint == "run: punktfunk desktop grant kwin"
    said = _punktfunk(kwin, "desktop", "grant", "kwin")
    assert "kwin       lets punktfunk capture" in said.splitlines()
    assert examine().usable
    with wayland.connect(str(kwin.socket)) as another_program_in_python:
        assert not another_program_in_python.offers(SCREENCAST)
    _punktfunk(kwin, "desktop", "revoke", "kwin")
    assert not examine().usable
    assert not list(kwin.session.home.rglob("*punktfunk-screencast*"))


def test_input_needs_neither_a_grant_nor_graphics(
    session: UserSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kwin = PlainKWin(session)
    _enter(kwin, monkeypatch)
    with SessionBus() as bus:
        injector = EisInjector(reach.connect_input(bus), keyboard=Keyboard())
        try:
            injector.aim(region=Rect(0, 0, 1280, 720))
            window = _show(kwin, tmp_path, kwin.outputs()[0].split()[0], "--rate", "0")
            _type(injector.inject, window, "PUNKTFUNK")
            eventually(lambda: window.typed == "punktfunk", "what was typed")
            where = InputEvent(InputKind.MOUSE_ABSOLUTE, x=160, y=45, surface=SurfaceSize(320, 180))
            injector.inject(where)
            eventually(lambda: window.pointer == pytest.approx((640, 180), abs=1.1), "the pointer")
        finally:
            injector.close()


def test_a_kwin_that_does_not_render_by_opengl_says_so_to_whoever_asks_and_to_whoever_opens(
    session: UserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    kwin = PlainKWin(session)
    _enter(kwin, monkeypatch)
    _punktfunk(kwin, "desktop", "grant", "kwin")
    found = examine()
    assert (found.usable, found.absent) == (False, False)
    assert "renders by qpainter" in found.reason
    with pytest.raises(CapabilityError, match=r"does not let its output be captured: .*[Cc]ompositing"):
        KWinDesktop(DesktopOptions(audio=False))
    eventually(lambda: not _streams(kwin), "nothing of it to be left")


def _streams(kwin: Compositor) -> list[str]:
    return [node for node in kwin.session.nodes() if "Video" in node]


def test_what_a_program_draws_is_captured_in_order_and_with_its_time(
    desktop: KWinDesktop, kwin: Compositor, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    output = desktop.provide(MODE)
    _show(kwin, tmp_path, output.name)
    with _pictures(output) as next_picture:
        eventually(lambda: next_picture().frame >= 0, "a picture with a marker")
        begun, kwin_s, own_s = monotonic_ns(), cpu_seconds(kwin.program.pid), cpu_seconds(os.getpid())
        frames: list[RawFrame] = []
        ages: list[float] = []
        while monotonic_ns() - begun < MEASURED_S * 1_000_000_000:
            frames.append(next_picture())
            ages.append((monotonic_ns() - frames[-1].captured_ns) / 1e6)
        seconds = (monotonic_ns() - begun) / 1e9
        kwin_share = (cpu_seconds(kwin.program.pid) - kwin_s) / seconds
        own_share = (cpu_seconds(os.getpid()) - own_s) / seconds
    numbers = [frame.frame for frame in frames]
    assert -1 not in numbers
    assert numbers == sorted(numbers)
    # A picture that is given again has the time at which it was.
    new = [frame for before, frame in itertools.pairwise(frames) if frame.frame != before.frame]
    stamps = [frame.captured_ns for frame in new]
    assert stamps == sorted(stamps)
    assert all(begun - 1_000_000_000 < stamp < monotonic_ns() for stamp in stamps)
    different = len(set(numbers))
    assert different > MEASURED_S * 5
    ages.sort()
    figures = {
        "captured_fps": round(different / seconds, 1),
        "stamp_to_picture_ms_p50": round(statistics.median(ages), 1),
        "stamp_to_picture_ms_p95": round(ages[int(len(ages) * 0.95)], 1),
        "kwin_cpu_percent": round(kwin_share * 100),
        "own_cpu_percent": round(own_share * 100, 1),
        "mode": str(MODE),
        "output": output.name,
    }
    for name, value in figures.items():
        record_property(name, value)
    print(f"KWin: {figures}")


def test_a_picture_after_a_pause_has_its_own_time_and_not_that_of_the_one_before(
    desktop: KWinDesktop, kwin: Compositor, tmp_path: Path
) -> None:
    output = desktop.provide(MODE)
    _show(kwin, tmp_path, output.name, "--rate", "1.5")
    with _pictures(output) as next_picture:
        eventually(lambda: next_picture().frame >= 0, "a picture with a marker")
        stamps: dict[int, int] = {}
        while len(stamps) < 5:
            picture = next_picture()
            stamps.setdefault(picture.frame, (monotonic_ns() - picture.captured_ns) // 1_000_000)
    ages = list(stamps.values())[1:]
    assert max(ages) < 500, "ms: a picture is as old as the pause before it"


def test_keys_pointer_and_fingers_land_on_the_output_of_the_stream(
    desktop: KWinDesktop, kwin: Compositor, tmp_path: Path
) -> None:
    assert desktop.takes_touch
    assert desktop.description == "this KDE desktop, on an output of its own where KWin makes one"
    small = Mode(640, 360, 60)
    output = desktop.provide(small)
    assert desktop.description == "this KDE desktop" + (", on an output of its own" if TESTING else "")
    window = _show(kwin, tmp_path, output.name, "--rate", "0")
    _type(desktop.inject, window, "HELLO")
    eventually(lambda: window.typed == "hello", "what was typed")
    _point(desktop, window, small, 160, 90)
    _point(desktop, window, small, 639, 359)
    surface = SurfaceSize(small.width, small.height)
    for finger in range(2):  # KWin takes three for a gesture of its own
        down = InputEvent(InputKind.TOUCH_DOWN, finger, 100 * finger + 50, 180, surface, Contact())
        desktop.inject(down)
    eventually(lambda: len(window.events("touch_down")) == 2, "two fingers")
    assert window.size is not None
    places = [event["values"][-2:] for event in window.events("touch_down")]
    for finger, place in enumerate(places):
        wanted = ((100 * finger + 50) * window.size[0] / 640, 180 * window.size[1] / 360)
        assert place == pytest.approx(wanted, abs=1.6)
    desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
    eventually(lambda: window.held, "a key that is held")
    desktop.release_all()
    eventually(lambda: not window.held, "it to be let go of")
    eventually(lambda: len(window.events("touch_up", "touch_cancel")) >= 1, "the fingers to be lifted")


def test_streams_come_and_go_and_change_and_leave_the_desktop_as_it_was(
    desktop: KWinDesktop, kwin: Compositor, tmp_path: Path
) -> None:
    eventually(lambda: not _streams(kwin), "the stream of the trial at the opening to be gone")
    before = (kwin.outputs(), kwin.session.nodes())
    first, second = desktop.provide(MODE), desktop.provide(Mode(800, 600, 60))
    assert first.screen != second.screen
    _show(kwin, tmp_path, first.name)
    with ExitStack() as captures:
        for output in (first, second):
            picture = captures.enter_context(_pictures(output))()
            assert (picture.picture.width, picture.picture.height) == (output.mode.width, output.mode.height)
    changed = desktop.change(first, Mode(1024, 576, 60))
    with _pictures(changed) as next_picture:
        assert next_picture().picture.width == 1024
    with pytest.raises(DesktopError):
        desktop.change(first, MODE)
    desktop.give_back(second)
    with _pictures(changed) as next_picture:
        next_picture()
    desktop.give_back(changed)
    desktop.give_back(changed)
    eventually(lambda: (kwin.outputs(), kwin.session.nodes()) == before, "the desktop as it was")
    left = desktop.provide(MODE)
    assert left.screen
    desktop.close()
    desktop.close()
    eventually(lambda: (kwin.outputs(), kwin.session.nodes()) == before, "the desktop as it was")


def test_the_end_of_kwin_is_told_and_the_next_stream_has_the_next_kwin(
    desktop: KWinDesktop, kwin: Compositor
) -> None:
    output = desktop.provide(MODE)
    with _pictures(output) as next_picture:
        next_picture()
    kwin.program.kill()
    eventually(lambda: desktop.failure is not None, "the end of KWin to be noticed")
    assert "KWin has gone" in str(desktop.failure)
    with pytest.raises(DesktopError):
        desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
    with pytest.raises(DesktopError):
        desktop.provide(MODE)
    desktop.give_back(output)
    kwin.again()
    output = desktop.provide(MODE)
    assert desktop.failure is None
    with _pictures(output) as next_picture:
        next_picture()
    desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))


def test_the_end_of_pipewire_ends_the_stream_and_the_next_one_has_the_new_pipewire(
    desktop: KWinDesktop, kwin: Compositor
) -> None:
    output = desktop.provide(MODE)
    with _pictures(output) as next_picture:
        next_picture()
        kwin.session.pipewire.kill()
        with pytest.raises(MediaError):
            _take_100(next_picture)
    kwin.session.restart_pipewire()
    desktop.give_back(output)
    output = desktop.provide(MODE)
    with _pictures(output) as next_picture:
        next_picture()


@pytest.mark.skipif(not TESTING, reason="KWin 6.3 makes no outputs on its virtual backend")
def test_a_stream_has_an_output_of_the_size_rate_and_scale_that_its_client_asks_for(
    desktop: KWinDesktop, kwin: Compositor, tmp_path: Path
) -> None:
    before = kwin.outputs()
    output = desktop.provide(OTHER)
    assert desktop.description == "this KDE desktop, on an output of its own"
    assert f"{output.name} 1600x900" in kwin.outputs()
    window = _show(kwin, tmp_path, output.name)
    assert window.size == (1600, 900)
    _point(desktop, window, OTHER, 1500, 800)
    with _pictures(output) as next_picture:
        assert next_picture().picture.width == 1600
    faster = desktop.change(output, Mode(1600, 900, 90))
    assert faster.name == output.name, "the mode changes in place"
    changed = desktop.change(faster, Mode(1280, 800, 60))
    eventually(lambda: window.size == (1280, 800), "the window of the new size")
    _point(desktop, window, Mode(1280, 800, 60), 1200, 700)
    with _pictures(changed) as next_picture:
        assert next_picture().picture.width == 1280
    large = desktop.provide(OTHER, scale=2.0)
    assert f"{large.name} 1600x900" in kwin.outputs()
    assert _logical_size(kwin, large.name) == (800, 450)
    desktop.give_back(large)
    eventually(lambda: len(kwin.outputs()) == len(before) + 1, "it to be gone")
    again = desktop.provide(OTHER)
    assert again.name == large.name, "the name that KWin remembers a scale of"
    assert _logical_size(kwin, again.name) == (1600, 900)
    desktop.give_back(again)
    desktop.give_back(changed)
    eventually(lambda: kwin.outputs() == before, "the user's outputs alone")


@pytest.mark.skipif(not TESTING, reason="KWin 6.3 makes no outputs on its virtual backend")
def test_a_program_that_says_nothing_of_outputs_opens_on_the_one_of_the_stream(
    desktop: KWinDesktop, kwin: Compositor, tmp_path: Path
) -> None:
    desktop.provide(OTHER)
    window = _show(kwin, tmp_path, None, "--rate", "0")
    eventually(lambda: window.size == (1600, 900), "the window to be on the stream's output")


@pytest.mark.skipif(not TESTING, reason="KWin 6.3 makes no outputs on its virtual backend")
def test_two_clients_have_an_output_each_and_positions_count_on_the_older_ones(
    desktop: KWinDesktop, kwin: Compositor, tmp_path: Path
) -> None:
    first, second = desktop.provide(OTHER), desktop.provide(MODE)
    assert [f"{first.name} 1600x900", f"{second.name} 1280x720"] == kwin.outputs()[-2:]
    windows = [_show(kwin, tmp_path, output.name) for output in (first, second)]
    with _pictures(first) as of_first, _pictures(second) as of_second:
        eventually(lambda: of_first().frame >= 0, "a picture of the first")
        eventually(lambda: of_second().frame >= 0, "a picture of the second")
    _point(desktop, windows[0], OTHER, 1500, 800)
    desktop.give_back(first)
    _point(desktop, windows[1], MODE, 1200, 600)
    desktop.give_back(second)


def _logical_size(kwin: Compositor, name: str) -> tuple[int, int]:
    """Return how much fits on an output, by its scale, as any client sees it."""
    with wayland.connect(str(kwin.socket)) as connection:
        place = Outputs(connection).place(name, lambda: None)
        connection.round_trip()
        assert place is not None
        assert place.area is not None
        return place.area.width, place.area.height
