"""A desktop that runs already: found, streamed as it is, and left as it was found."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import punktfunk
from harness.peers.served_desktop import ServedDesktop, pictures
from punktfunk.desktop import BackendName, DesktopOptions, DesktopOutput, backends, wlroots
from punktfunk.desktop.capture import WlrScreen, open_capture
from punktfunk.desktop.session import DesktopSession
from punktfunk.desktop.touch import sway as sway_touch
from punktfunk.desktop.touch.uinput import TOUCH_NAME, UinputTouch
from punktfunk.desktop.vdisplay.sway import SwayDisplay
from punktfunk.desktop.vdisplay.sway_ipc import SwayIpc
from punktfunk.desktop.wlroots import WlrootsDesktop
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.input import Contact, InputEvent, InputKind, SurfaceSize, Tool
from punktfunk.log_ring import LogRing
from punktfunk.units import Mode
from tests.support.client_counters import counted
from tests.support.new_sway import NewSway
from tests.support.touch_device import Device
from tests.support.waiting import eventually

MODE = Mode(640, 480, 60)
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def inside(session: DesktopSession, monkeypatch: pytest.MonkeyPatch) -> DesktopSession:
    """A session that plays the user's own, in the environment."""
    session.create(MODE)
    monkeypatch.setenv("WAYLAND_DISPLAY", session.socket)
    monkeypatch.setenv("SWAYSOCK", session.ipc_path)
    return session


def test_a_running_session_is_preferred_and_its_focused_output_is_streamed(inside: DesktopSession) -> None:
    backend, found = backends.choose()
    assert backend.name is BackendName.WLROOTS
    assert "HEADLESS-1" in found.reason
    with backend.open(DesktopOptions()) as desktop:
        output = desktop.provide(Mode(320, 240, 60))
        assert output.screen == WlrScreen(display=inside.socket, output="HEADLESS-1")
        assert isinstance(output.screen, WlrScreen)
        capture = open_capture(output.screen, output.mode)
        try:
            frame = capture.capture()
        finally:
            capture.close()
    assert output.name == "HEADLESS-1"
    assert (frame.picture.width, frame.picture.height) == (320, 240), "scaled to the stream"
    assert inside.failure is None


def test_input_goes_into_a_running_session_and_is_released_with_it(inside: DesktopSession) -> None:
    with WlrootsDesktop() as desktop:
        desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
        desktop.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=5, y=5, surface=SurfaceSize(10, 10)))
        # A sway without a screen reads no touch screen: the first finger is the pointer.
        assert not desktop.takes_touch
        desktop.inject(InputEvent(InputKind.TOUCH_DOWN, 1, 5, 5, SurfaceSize(10, 10)))
        assert desktop.release_all() == {"injected": 3}
        with SwayIpc(inside.ipc_path) as ipc:
            ipc.watch_inputs()
            eventually(lambda: len(ipc.inputs()) >= 2, "the virtual pointer and keyboard")
            assert ipc.has_inputs(ipc.inputs(), 0.0)
            assert not ipc.has_inputs({TOUCH_NAME}, 0.0)
    assert inside.failure is None


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """Touch screens and pens that were made, without a kernel behind them; sway is not asked whether it has them."""
    pytest.importorskip("evdev", reason="python-evdev (pip install 'punktfunk[gamepad]')")
    made: list[Device] = []

    def device(*given: Any, **identity: Any) -> Device:
        made.append(Device(*given, **identity))
        return made[-1]

    monkeypatch.setattr(wlroots, "open_touch", lambda _ipc: UinputTouch(open_device=device))
    return made


def pointer_entries(ring: LogRing) -> list[str]:
    """Return how loud it was said that fingers move the pointer."""
    entries = ring.entries()
    return [entry.level for entry in entries if entry.event == "fingers and pens move the pointer"]


def test_fingers_and_pens_go_to_their_devices_where_sway_has_them(
    inside: DesktopSession, devices: list[Device], ring: LogRing
) -> None:
    surface = SurfaceSize(10, 10)
    # The session's own words are those of a real sway, which refuses a mapping that it does not understand.
    with WlrootsDesktop() as desktop:
        assert desktop.takes_touch
        for finger in (1, 2):
            desktop.inject(InputEvent(InputKind.TOUCH_DOWN, finger, finger, 5, surface))
        desktop.inject(InputEvent(InputKind.TOUCH_MOVE, 3, 5, 5, surface))
        desktop.inject(InputEvent(InputKind.TOUCH_HOVER, 0, 5, 5, surface, contact=Contact(Tool.PEN)))
        desktop.inject(InputEvent(InputKind.TOUCH_HOVER, 4, 5, 5, surface))
        fingers, pen = devices
        desktop._input.settle()
        assert len(fingers.slots) == 2
        assert pen.down == {"BTN_TOOL_PEN"}
        assert desktop.release_all() == {"touched": 3, "dropped_not_down": 1, "injected": 1}
        assert fingers.slots == {}
        assert pen.down == set()
        assert pointer_entries(ring) == []
        fingers.fails = True
        for finger in (5, 6):
            desktop.inject(InputEvent(InputKind.TOUCH_DOWN, finger, 5, 5, surface))
        desktop._input.settle()
        assert desktop.failure is None, "the pointer goes on"
        assert not desktop.takes_touch
        assert all(device.closed for device in devices)
        assert pointer_entries(ring) == ["warning"], "once"
        counted = {"touched": 3, "dropped_not_down": 1, "injected": 2, "dropped_further_finger": 1}
        assert desktop.release_all() == counted, "the first finger is the pointer, and is lifted"
        desktop.inject(InputEvent(InputKind.TOUCH_DOWN, 6, 5, 5, surface))
        assert desktop.release_all() == counted | {"injected": 3}
    with WlrootsDesktop() as desktop:
        fingers, pen = devices[2:]
        desktop.inject(InputEvent(InputKind.TOUCH_DOWN, 1, 5, 5, surface))
        desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
        desktop._input.settle()
        pen.fails = fingers.fails = True
        assert desktop.release_all() == {"touched": 1, "injected": 1}
        assert desktop._injector is not None
        assert desktop._injector._keys == set(), "the key is let go all the same"
        assert desktop.failure is None
        assert not desktop.takes_touch
        assert fingers.closed
    with WlrootsDesktop() as desktop:
        assert desktop.takes_touch
    assert all(device.closed for device in devices)
    with SwayIpc(inside.ipc_path) as ipc, pytest.raises(DesktopError, match="refused"):
        ipc.command('input "28774:1:punktfunk_touch_screen" map_to_nothing HEADLESS-1')
    assert inside.failure is None


def test_a_desktop_does_without_touch_where_sway_does_not_map_it(
    inside: DesktopSession,
    devices: list[Device],
    ring: LogRing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finger = InputEvent(InputKind.TOUCH_DOWN, 1, 5, 5, SurfaceSize(10, 10))
    with monkeypatch.context() as changed:
        # What a real sway refuses.
        changed.setattr(sway_touch, "IDENTIFIERS", ('" map_to_nothing "',))
        with WlrootsDesktop() as desktop:
            assert not desktop.takes_touch
            desktop.inject(finger)
            assert desktop.release_all() == {"injected": 1}
            assert desktop.failure is None
    assert pointer_entries(ring) == ["warning"]
    assert [device.closed for device in devices] == [True, True]

    new = NewSway(tmp_path / "sock", maps_inputs=False)
    with WlrootsDesktop(ipc_path=str(tmp_path / "sock"), own_output=True) as desktop:
        assert desktop.takes_touch, "there is nothing to map it to yet"
        output = desktop.provide(MODE)
        assert output.name == "HEADLESS-1", "by which the real one knows an output as well"
        assert not desktop.takes_touch
        desktop.inject(finger)
        assert desktop.release_all() == {"injected": 1}
        desktop.give_back(output)
        assert list(new.outputs) == ["DP-1"], "no output is left behind"
    new.close()
    assert pointer_entries(ring) == ["warning"] * 2
    assert all(device.closed for device in devices)


def test_an_output_is_taken_away_that_nobody_gets_and_one_that_cannot_be_pointed_at(
    inside: DesktopSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_output: str) -> None:
        raise DesktopError("the compositor does not answer")

    new = NewSway(tmp_path / "sock")
    with WlrootsDesktop(ipc_path=str(tmp_path / "sock"), own_output=True) as desktop:
        with monkeypatch.context() as changed:
            changed.setattr(desktop._injector, "aim", gone)
            with pytest.raises(DesktopError, match="does not answer"):
                desktop.provide(MODE)
            assert list(new.outputs) == ["DP-1"]
        assert desktop.failure is None, "it answers all the same"
        given = DesktopOutput("HEADLESS-1", MODE, WlrScreen(display=inside.socket, output="HEADLESS-1"))
        desktop.give_back(given)
        assert list(new.outputs) == ["DP-1"], "the user's own stays"
    new.close()
    assert inside.failure is None


def test_a_desktop_does_without_touch_where_sway_does_not_tell_of_its_inputs(
    inside: DesktopSession, ring: LogRing, tmp_path: Path
) -> None:
    new = NewSway(tmp_path / "sock", tells_of_inputs=False)
    with WlrootsDesktop(ipc_path=str(tmp_path / "sock"), own_output=False) as desktop:
        assert not desktop.takes_touch
        desktop.inject(InputEvent(InputKind.MOUSE_MOVE, x=1, y=1))
        desktop._input.settle()
        assert desktop.failure is None
    new.close()
    assert pointer_entries(ring) == ["warning"]


def test_what_ends_the_opening_of_a_desktop_unplugs_its_touch_screen(
    inside: DesktopSession, devices: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_ipc_path: str, _output: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(wlroots, "map_touch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WlrootsDesktop()
    assert [device.closed for device in devices] == [True, True]


def test_an_output_that_could_not_be_removed_is_not_made(inside: DesktopSession) -> None:
    with SwayIpc(inside.ipc_path) as ipc:
        if ipc.version() >= (1, 8):
            pytest.skip("this sway can remove outputs")
    with (
        SwayDisplay(inside.ipc_path, inside.socket) as display,
        pytest.raises(CapabilityError, match="remove"),
    ):
        display.create(MODE)
    with SwayIpc(inside.ipc_path) as ipc:
        assert list(ipc.outputs()) == ["HEADLESS-1"]


@pytest.mark.measures
def test_serve_streams_the_session_that_runs_and_leaves_it_as_it_was(
    session: DesktopSession, tmp_path: Path
) -> None:
    session.create(MODE)
    session.launch([sys.executable, "-m", "punktfunk", "testcard"], cwd=REPOSITORY)
    env = {"WAYLAND_DISPLAY": session.socket, "SWAYSOCK": session.ipc_path}
    with SwayIpc(session.ipc_path) as ipc:
        outputs = list(ipc.outputs())
    with ServedDesktop(tmp_path, "--bitrate", "6 Mbit/s", program=None, env=env) as host:
        assert "this desktop" in host.banner
        assert "HEADLESS-1" in host.banner
        asyncio.run(asyncio.wait_for(_see_pictures(host, tmp_path), 60))
        host.end()
    seen = pictures(host.left, tmp_path / "client")
    assert len(seen.captured_ns) >= 30
    assert (seen.wrong, seen.unreadable, seen.not_decoded, seen.queue_dropped) == (0, 0, 0, 0)
    assert session.failure is None, "the session did not survive"
    with SwayIpc(session.ipc_path) as ipc:
        assert list(ipc.outputs()) == outputs


def test_outputs_are_unplugged_one_by_one_and_the_rest_with_the_context(tmp_path: Path) -> None:
    sway = NewSway(tmp_path / "sock")
    with SwayDisplay(str(tmp_path / "sock"), "unused") as display:
        first, second = display.create(MODE), display.create(Mode(800, 600, 60))
        assert sway.outputs[first.name] == (640, 480)
        display.change(second, Mode(320, 240, 30))
        assert sway.outputs[second.name] == (320, 240)
        display.remove(first)
        assert list(sway.outputs) == ["DP-1", second.name]
    sway.close()
    assert list(sway.outputs) == ["DP-1"], "the user's own stays"
    assert sum("unplug" in command for command in sway.commands) == 2, "each once"


def test_an_output_of_ones_own_goes_with_the_context_where_sway_can_remove_it(inside: DesktopSession) -> None:
    with SwayIpc(inside.ipc_path) as ipc:
        if ipc.version() < (1, 8):
            pytest.skip("sway before 1.8 cannot remove outputs")
        with WlrootsDesktop(own_output=True) as desktop:
            assert desktop.provide(MODE).name in ipc.outputs()
        assert list(ipc.outputs()) == ["HEADLESS-1"]


def test_a_session_that_ends_is_noticed_with_the_next_event(inside: DesktopSession) -> None:
    desktop = WlrootsDesktop()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(Path(inside.socket).parent).encode() in environ and command.startswith(b"sway\0"):
                os.kill(int(entry.name), signal.SIGKILL)
    with pytest.raises(DesktopError):
        _press_until(lambda: desktop.failure, desktop)
    assert desktop.failure is not None
    desktop.close()


def test_outside_of_any_session_the_headless_one_is_chosen(
    desktop_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    backend, _ = backends.choose()
    assert backend.name is BackendName.HEADLESS_SWAY
    with pytest.raises(CapabilityError, match="wlroots: no Wayland session"):
        backends.choose(BackendName.WLROOTS)
    with pytest.raises(CapabilityError, match="WAYLAND_DISPLAY"):
        WlrootsDesktop()


def test_what_is_missing_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(CapabilityError, match="headless-sway: sway is not installed") as none:
        backends.choose()
    assert none.value.hint == "apt-get install sway"
    examined = backends.examine()
    assert not any(found.usable for found in examined)
    assert all(found.reason and found.hint for found in examined)
    *_, headless, gamescope = examined
    assert headless.hint == "apt-get install sway"
    assert gamescope.hint.startswith("install gamescope 3.16 or newer")
    with pytest.raises(CapabilityError, match="sway is not installed"):
        DesktopSession()
    sound, pads = backends.examine_parts()
    assert not sound.usable
    assert sound.hint == "apt-get install pipewire wireplumber pipewire-pulse"
    assert pads.usable == (not pads.hint)


async def _see_pictures(host: ServedDesktop, folder: Path) -> None:
    """Stream until the client has read the card in thirty pictures."""
    config = punktfunk.ClientConfig(
        pin=host.fingerprint,
        mode=Mode(640, 480, 30),
        artefacts=folder / "client",
        state_dir=folder / "client-state",
    )
    async with punktfunk.Client(host.address, config) as client:
        await counted(client, "strips_read", 30)


def _press_until(ended: Callable[[], object], desktop: WlrootsDesktop) -> None:
    """Inject until that is so, and once more."""
    event = InputEvent(InputKind.MOUSE_MOVE, x=1, y=1)

    def so() -> object:
        desktop.inject(event)
        return ended()

    eventually(so, "the end to be noticed")
    desktop.inject(event)
