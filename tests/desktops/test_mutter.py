"""GNOME's compositor: a monitor of each stream's size beside the user's own, input on the right one, nothing left."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from harness.peers import served_desktop
from punktfunk.clock import monotonic_ns
from punktfunk.desktop import BackendName, DesktopOptions, DesktopOutput, backends
from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.capture import numbered, open_capture
from punktfunk.desktop.mutter import MutterDesktop, examine
from punktfunk.desktop.mutter import desktop as module
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import CapabilityError, DesktopError, MediaError, SharingStoppedError
from punktfunk.input import Contact, InputEvent, InputKind, SurfaceSize
from punktfunk.media.types import RawFrame
from punktfunk.units import Mode
from tests.desktops.support.compositors import Compositor, Mutter
from tests.desktops.support.desktops import StreamedDesktop, Window, streamed_desktop
from tests.desktops.support.processes import Program, cpu_seconds
from tests.desktops.support.session import UserSession
from tests.desktops.support.streaming import client_of, counted, serving
from tests.support.waiting import eventually

MODE = Mode(1280, 720, 60)
OTHER = Mode(1600, 900, 60)
OWN = "1280x720"
MEASURED_S = 5
TESTING = os.environ.get("PUNKTFUNK_DESKTOPS") == "testing"


@pytest.fixture
def mutter(start: Callable[[str], Compositor], monkeypatch: pytest.MonkeyPatch) -> Compositor:
    """A Mutter with one monitor, in whose session this process is, too."""
    compositor = start("mutter")
    for name, value in compositor.session.env.items():
        monkeypatch.setenv(name, value)
    return compositor


@pytest.fixture
def desktop(mutter: Compositor) -> Iterator[MutterDesktop]:
    """The user's desktop."""
    with MutterDesktop(DesktopOptions(audio=False)) as opened:
        yield opened


def _sizes(compositor: Compositor) -> list[str]:
    return sorted(output.partition(" ")[2] for output in compositor.outputs())


@contextmanager
def _pictures(output: DesktopOutput) -> Iterator[Callable[[], RawFrame]]:
    """Capture an output; its monitor is there from the first picture on."""
    capture = open_capture(numbered(output.screen), output.mode)
    try:
        first = capture.capture()
        assert (first.picture.width, first.picture.height) == (output.mode.width, output.mode.height)
        yield capture.capture
    finally:
        capture.close()


def _show(compositor: Compositor, tmp_path: Path, *options: str) -> Window:
    """Open the test window on the newest monitor and wait until it draws."""
    written = tmp_path / f"window-{monotonic_ns()}.jsonl"
    command = [sys.executable, "-m", "tests.desktops.support.window", "--output", "newest", *options]
    with written.open("wb") as log:
        compositor.session.programs.start("window", command, stdout=log)
    window = Window(written)
    eventually(lambda: window.events("ready"), "the window to draw")
    return window


def _point(desktop: MutterDesktop, window: Window, mode: Mode, x: int, y: int) -> None:
    """Point at a place of the stream's picture, and wait until the window has the pointer there."""
    surface = SurfaceSize(mode.width, mode.height)

    def is_there() -> bool:
        # Again, for a window may have moved to its place only after the first; from beside, or it is no movement.
        for near in (x - 2, x):
            desktop.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=near, y=y, surface=surface))
        return window.pointer == pytest.approx((x, y), abs=1.6)

    eventually(is_there, f"the pointer at {(x, y)}", 10)


def _type_and_touch(
    desktop: MutterDesktop, window: Window, mode: Mode, *, before: Callable[[], object] = lambda: None
) -> None:
    assert window.size == (mode.width, mode.height)
    _point(desktop, window, mode, mode.width // 4, mode.height // 3)
    _point(desktop, window, mode, mode.width - 2, mode.height - 2)
    for letter in "HELLO":
        for kind in (InputKind.KEY_DOWN, InputKind.KEY_UP):
            desktop.inject(InputEvent(kind, ord(letter)))
    eventually(lambda: window.typed == "hello", "what was typed")
    before()
    surface = SurfaceSize(mode.width, mode.height)
    for finger in range(2):
        desktop.inject(InputEvent(InputKind.TOUCH_DOWN, finger, 100 * finger + 50, 180, surface, Contact()))
    eventually(lambda: len(window.events("touch_down")) == 2, "two fingers")
    for finger, event in enumerate(window.events("touch_down")):
        assert event["values"][-2:] == pytest.approx((100 * finger + 50, 180), abs=1.6)
    desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
    eventually(lambda: window.held, "a key that is held")
    desktop.release_all()
    eventually(lambda: not window.held, "it to be let go of")
    eventually(lambda: len(window.events("touch_up", "touch_cancel")) >= 1, "the fingers to be lifted")


def test_it_is_found_and_taken_before_the_portal_and_wlroots(mutter: Compositor) -> None:
    assert examine().usable
    backend, _ = backends.choose()
    assert backend.name is BackendName.MUTTER


def test_streams_get_monitors_of_their_size_that_change_and_go_with_them(
    desktop: MutterDesktop, mutter: Compositor
) -> None:
    before = mutter.session.nodes()
    assert _sizes(mutter) == [OWN]
    first, second = desktop.provide(OTHER), desktop.provide(Mode(800, 600, 30))
    assert first.screen != second.screen
    with ExitStack() as captures:
        for output in (first, second):
            captures.enter_context(_pictures(output))
        eventually(lambda: _sizes(mutter) == [OWN, "1600x900", "800x600"], "both monitors")
    changed = desktop.change(first, Mode(1024, 576, 60))
    with _pictures(changed):
        eventually(lambda: _sizes(mutter) == ["1024x576", OWN, "800x600"], "the new mode")
        desktop.give_back(second)
        eventually(lambda: _sizes(mutter) == ["1024x576", OWN], "the other stream's monitor to go")
    desktop.give_back(changed)
    desktop.give_back(changed)
    eventually(lambda: (_sizes(mutter), mutter.session.nodes()) == ([OWN], before), "the desktop as it was")
    with _pictures(desktop.provide(OTHER)):
        desktop.close()
    eventually(lambda: (_sizes(mutter), mutter.session.nodes()) == ([OWN], before), "the desktop as it was")


def test_keys_pointer_and_fingers_land_on_the_streams_monitor_beside_the_users(
    desktop: MutterDesktop, mutter: Compositor, tmp_path: Path
) -> None:
    assert desktop.takes_touch
    output = desktop.provide(OTHER)
    with _pictures(output):
        eventually(lambda: len(_sizes(mutter)) == 2, "the monitor")
        window = _show(mutter, tmp_path, "--rate", "0")
        _type_and_touch(desktop, window, OTHER)


def test_the_same_goes_by_calls_as_of_a_gnome_before_45(
    desktop: MutterDesktop, mutter: Compositor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise CapabilityError("it has no EIS server")

    monkeypatch.setattr(module, "require_keymaps", missing)
    with _pictures(desktop.provide(OTHER)):
        eventually(lambda: len(_sizes(mutter)) == 2, "the monitor")
        window = _show(mutter, tmp_path, "--rate", "0")

        def touch_once() -> None:
            # Mutter makes its touch screen with the first call, which the program then misses.
            surface = SurfaceSize(OTHER.width, OTHER.height)
            desktop.inject(InputEvent(InputKind.TOUCH_DOWN, 7, 5, 5, surface, Contact()))
            desktop.inject(InputEvent(InputKind.TOUCH_UP, 7, 5, 5, surface, Contact()))
            eventually(lambda: "touch" in window.events("devices")[-1]["there"], "the touch screen")

        _type_and_touch(desktop, window, OTHER, before=touch_once)
        _point(desktop, window, OTHER, 50, 60)  # after the fingers
        for kind in (InputKind.BUTTON_DOWN, InputKind.BUTTON_UP):
            desktop.inject(InputEvent(kind, 1))
        desktop.inject(InputEvent(InputKind.SCROLL, 0, 120))
        desktop.inject(InputEvent(InputKind.SCROLL, 1, 30))
        desktop.inject(InputEvent(InputKind.TEXT, ord("x")))
        eventually(lambda: len(window.events("pointer_button")) == 2, "the click")
        eventually(lambda: len(window.events("pointer_axis")) >= 2, "the wheel, both ways")
        eventually(lambda: window.typed.endswith("x"), "the text")


@pytest.mark.skipif(not TESTING, reason="Mutter 48 scales no monitor that it makes")
def test_a_monitor_has_the_scale_that_its_client_asks_for(
    desktop: MutterDesktop, mutter: Compositor, tmp_path: Path
) -> None:
    output = desktop.provide(OTHER, scale=2.0)
    with _pictures(output):
        assert _sizes(mutter) == [OWN, "1600x900"]
        window = _show(mutter, tmp_path, "--rate", "0")
        assert window.size == (800, 450)
        _point(desktop, window, Mode(800, 450, 60), 700, 400)
    changed = desktop.change(output, MODE)
    with _pictures(changed):
        assert _sizes(mutter) == [OWN, "1600x900"], "it keeps its mode, and pictures are scaled"
    desktop.give_back(changed)
    eventually(lambda: _sizes(mutter) == [OWN], "the desktop as it was")


class Shell(Mutter):
    """All of GNOME Shell. Its lock screen wants a display manager, so that a test does what that does to Mutter."""

    def start(self) -> Program:
        Path("/run/dbus").mkdir(exist_ok=True)
        system = self.session.programs.start(
            "system-bus", ["dbus-daemon", "--system", "--nofork", "--nopidfile"]
        )
        self.session.programs.wait_for(system, Path("/run/dbus/system_bus_socket").exists, "its socket")
        socket = self.session.env["WAYLAND_DISPLAY"] = "wayland-shell"
        options = ("--headless", "--no-x11", "--unsafe-mode", "--virtual-monitor", f"{OWN}@60")
        return self._start(
            ["env", "-u", "WAYLAND_DISPLAY", "gnome-shell", *options, "--wayland-display", socket]
        )


def test_a_locked_gnome_ends_the_stream_and_so_does_who_stops_the_sharing(
    session: UserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(session)
    for name, value in shell.session.env.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as ends:
        bus = ends.enter_context(SessionBus())
        eventually(lambda: bus.name_has_owner("org.gnome.Shell"), "GNOME Shell")

        def does(script: str) -> str:
            path = "/org/gnome/Shell"
            done, said = bus.call("org.gnome.Shell", path, "org.gnome.Shell", "Eval", "s", (script,)).body
            assert done, said
            return str(said)

        def has_started() -> bool:
            try:
                return does("Main.layoutManager._startingUp") == "false"
            except BusError:
                return False  # it has its name before it has its objects

        eventually(has_started, "GNOME Shell to have started")
        assert examine().reason.startswith("GNOME ")
        desktop = ends.enter_context(MutterDesktop(DesktopOptions(audio=False)))
        shared = "Main.panel.statusArea.screenSharing.visible"
        assert does(shared) == "false", "nothing is shared before somebody streams"
        with _pictures(desktop.provide(MODE)):
            eventually(lambda: does(shared) == "true", "GNOME's sign of a shared screen")
            remote = "global.backend.get_remote_access_controller()"
            does(f"{remote}.inhibit_remote_access()")
            eventually(lambda: desktop.failure is not None, "the end of the session to be noticed")
            with pytest.raises(DesktopError, match="while it is locked"):
                desktop.provide(MODE)
            does(f"{remote}.uninhibit_remote_access()")
        # As its sign in the top bar does when it is clicked.
        does(f"globalThis.shared = []; {remote}.connect('new-handle', (_, handle) => shared.push(handle)); 0")
        with _pictures(desktop.provide(MODE)):
            assert desktop.failure is None
            does("shared.forEach(handle => handle.stop())")
            eventually(lambda: desktop.failure is not None, "the sharing to be stopped")
            for _ in range(2):
                with pytest.raises(SharingStoppedError):
                    desktop.provide(MODE)


@pytest.mark.measures
@pytest.mark.parametrize("mode", [MODE, Mode(1920, 1080, 60)], ids=str)
def test_what_a_program_draws_is_captured_in_order_and_with_its_time(
    desktop: MutterDesktop,
    mutter: Compositor,
    tmp_path: Path,
    mode: Mode,
    record_property: Callable[[str, object], None],
) -> None:
    with _pictures(desktop.provide(mode)) as next_picture:
        eventually(lambda: len(_sizes(mutter)) == 2, "the monitor")
        window = _show(mutter, tmp_path)
        eventually(lambda: next_picture().frame >= 0, "a picture with a marker")
        assert window.size == (mode.width, mode.height)
        begun, mutter_s, own_s = monotonic_ns(), cpu_seconds(mutter.program.pid), cpu_seconds(os.getpid())
        frames: list[RawFrame] = []
        ages: list[float] = []
        while monotonic_ns() - begun < MEASURED_S * 1_000_000_000:
            frames.append(next_picture())
            ages.append((monotonic_ns() - frames[-1].captured_ns) / 1e6)
        seconds = (monotonic_ns() - begun) / 1e9
        shares = [
            round((cpu_seconds(pid) - before) / seconds * 100)
            for pid, before in ((mutter.program.pid, mutter_s), (os.getpid(), own_s))
        ]
    numbers = [frame.frame for frame in frames]
    assert -1 not in numbers
    assert numbers == sorted(numbers)
    # Of each picture when it came first: one that is given again has the time of that.
    stamps = [new.captured_ns for old, new in pairwise(frames) if new.frame != old.frame]
    assert stamps == sorted(stamps)
    assert all(begun - 1_000_000_000 < stamp < monotonic_ns() for stamp in stamps)
    different = len(set(numbers))
    assert different > MEASURED_S * 5
    figures = {
        "mode": str(mode),
        "captured_fps": round(different / seconds, 1),
        "stamp_to_picture_ms_p50": round(statistics.median(ages), 1),
        "stamp_to_picture_ms_p95": round(statistics.quantiles(ages, n=20)[-1], 1),
        "mutter_cpu_percent": shares[0],
        "own_cpu_percent": shares[1],
    }
    for name, value in figures.items():
        record_property(name, value)
    print(f"Mutter: {figures}")


def test_the_end_of_mutter_is_told_and_the_next_stream_has_the_next_mutter(
    desktop: MutterDesktop, mutter: Compositor
) -> None:
    output = desktop.provide(MODE)
    with _pictures(output) as next_picture:
        mutter.program.kill()
        with pytest.raises(MediaError):
            _take_100(next_picture)
    eventually(lambda: desktop.failure is not None, "the end of Mutter to be noticed")
    assert "GNOME has ended" in str(desktop.failure)
    with pytest.raises(DesktopError):
        desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
    with pytest.raises(CapabilityError, match="no GNOME session runs here"):
        desktop.provide(MODE)
    desktop.give_back(output)
    mutter.again()
    with _pictures(desktop.provide(MODE)):
        assert desktop.failure is None
        desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
        eventually(lambda: len(_sizes(mutter)) == 2, "the monitor")


def test_the_end_of_pipewire_ends_the_stream_and_the_next_one_has_the_new_pipewire(
    desktop: MutterDesktop, mutter: Compositor
) -> None:
    output = desktop.provide(MODE)
    with _pictures(output) as next_picture:
        mutter.session.pipewire.kill()
        with pytest.raises(MediaError):
            _take_100(next_picture)
    mutter.session.restart_pipewire()
    if not mutter.program.running:
        mutter.again()  # 50.5 crashes when PipeWire ends in mid-stream
    desktop.give_back(output)
    with _pictures(desktop.provide(MODE)):
        eventually(lambda: len(_sizes(mutter)) == 2, "the monitor")


def _take_100(next_picture: Callable[[], RawFrame]) -> None:
    for _ in range(100):
        next_picture()


@pytest.fixture
def streamed(tmp_path: Path) -> Iterator[StreamedDesktop]:
    """The desktop as ``punktfunk serve`` finds it."""
    with streamed_desktop("mutter", tmp_path) as there:
        yield there


@pytest.mark.parametrize("victim", ["host", "worker"])
def test_nothing_is_left_of_a_part_that_is_killed(
    streamed: StreamedDesktop, tmp_path: Path, victim: str
) -> None:
    before = streamed.state()

    async def scenario() -> None:
        async with client_of(host, tmp_path) as client:
            await counted(client, "frames_complete", 10)
            assert len(streamed.compositor.outputs()) == 2
            [pid] = [host.pid] if victim == "host" else host.workers
            os.kill(pid, signal.SIGKILL)
            await client.finished()

    with serving(streamed, tmp_path) as host:
        asyncio.run(asyncio.wait_for(scenario(), 60))
        streamed.is_as(before)


@pytest.mark.parametrize("mode", [MODE, Mode(1920, 1080, 60)], ids=str)
def test_from_the_stamp_of_a_picture_to_the_client(
    streamed: StreamedDesktop, tmp_path: Path, mode: Mode, record_property: Callable[[str, object], None]
) -> None:
    async def scenario() -> float:
        async with client_of(host, tmp_path, mode) as client:
            await counted(client, "frames_complete", 3)
            window = streamed.show()
            await counted(client, "strips_read", 10)
            assert window.size == (mode.width, mode.height)
            assert streamed.compositor is not None
            pid = streamed.compositor.program.pid
            begun, before = monotonic_ns(), cpu_seconds(pid)
            await asyncio.sleep(MEASURED_S)
            share = (cpu_seconds(pid) - before) / ((monotonic_ns() - begun) / 1e9)
            client.stop()
            await client.finished()
            return share

    with serving(streamed, tmp_path) as host:
        share = asyncio.run(asyncio.wait_for(scenario(), 60))
        host.end()
    seen = served_desktop.pictures(host.left, tmp_path / "client")
    assert seen.wrong == 0
    taken = seen.between("captured_ns", "complete_ns")
    figures = {
        "mode": str(mode),
        "captured_fps": round(seen.fps, 1),
        "stamp_to_complete_ms_p50": round(float(statistics.median(taken)), 1),
        "stamp_to_complete_ms_p95": round(float(statistics.quantiles(taken, n=20)[-1]), 1),
        "mutter_cpu_percent": round(share * 100),
    }
    for name, value in figures.items():
        record_property(name, value)
    print(f"Mutter, streamed: {figures}")
