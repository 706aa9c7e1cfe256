"""A desktop that runs already: found, streamed as it is, and left as it was found."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from punktfunk.desktop import backends
from punktfunk.desktop.attached import AttachedDesktop
from punktfunk.desktop.backends import BackendName
from punktfunk.desktop.capture import ScreenSpec, open_capture
from punktfunk.desktop.inject import InputEvent, InputKind
from punktfunk.desktop.session import DesktopSession
from punktfunk.desktop.vdisplay.sway import SwayDisplay
from punktfunk.desktop.vdisplay.sway_ipc import SwayIpc
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.units import Mode

MODE = Mode(640, 480, 60)


@pytest.fixture
def inside(session: DesktopSession, monkeypatch: pytest.MonkeyPatch) -> DesktopSession:
    """A session that plays the user's own, in the environment."""
    session.create(MODE)
    monkeypatch.setenv("WAYLAND_DISPLAY", session.socket)
    monkeypatch.setenv("SWAYSOCK", session.ipc_path)
    return session


def test_a_running_session_is_preferred_and_its_focused_output_is_streamed(inside: DesktopSession) -> None:
    finding = backends.choose()
    assert finding is not None
    assert finding.name is BackendName.ATTACHED
    assert "HEADLESS-1" in finding.reason
    with backends.open_desktop(BackendName.ATTACHED) as desktop:
        output = desktop.provide(Mode(320, 240, 60))
        capture = open_capture(ScreenSpec(socket=desktop.socket, output=output.name), output.mode)
        try:
            frame = capture.capture()
        finally:
            capture.close()
    assert output.name == "HEADLESS-1"
    assert (frame.picture.width, frame.picture.height) == (320, 240), "scaled to the stream"
    assert inside.failure is None


def test_input_goes_into_a_running_session_and_is_released_with_it(inside: DesktopSession) -> None:
    with AttachedDesktop() as desktop:
        desktop.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
        desktop.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=5, y=5, flags=10 << 16 | 10))
        assert desktop.release_all() == {"injected": 2}
    assert inside.failure is None


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


def test_an_output_of_ones_own_goes_with_the_context_where_sway_can_remove_it(inside: DesktopSession) -> None:
    with SwayIpc(inside.ipc_path) as ipc:
        if ipc.version() < (1, 8):
            pytest.skip("sway before 1.8 cannot remove outputs")
        with AttachedDesktop(own_output=True) as desktop:
            assert desktop.provide(MODE).name in ipc.outputs()
        assert list(ipc.outputs()) == ["HEADLESS-1"]


def test_a_session_that_ends_is_noticed_with_the_next_event(inside: DesktopSession) -> None:
    desktop = AttachedDesktop()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(Path(inside.socket).parent).encode() in environ and command.startswith(b"sway\0"):
                os.kill(int(entry.name), signal.SIGKILL)
    with pytest.raises(DesktopError):
        _press_for_ever(desktop)
    assert desktop.failure is not None
    desktop.close()


def test_outside_of_any_session_the_headless_one_is_chosen(
    desktop_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    finding = backends.choose()
    assert finding is not None
    assert finding.name is BackendName.HEADLESS
    with pytest.raises(CapabilityError, match="WAYLAND_DISPLAY"):
        AttachedDesktop()


def test_what_is_missing_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert backends.choose() is None
    attached, headless = backends.examine()
    assert (attached.usable, headless.usable) == (False, False)
    assert headless.hint == "apt-get install sway"
    with pytest.raises(CapabilityError, match="sway is not installed"):
        DesktopSession()


def _press_for_ever(desktop: AttachedDesktop) -> None:
    for _ in range(1000):
        desktop.inject(InputEvent(InputKind.MOUSE_MOVE, x=1, y=1))
