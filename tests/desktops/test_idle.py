"""What holds a session's idleness off, and tells of its lock: wlroots compositors themselves, KDE's screen saver."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture import WlrScreen, open_capture
from punktfunk.desktop.inhibit import Inhibitor
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.desktop.inject.wlr import WlrInjector
from punktfunk.desktop.lock_watch import LockWatch
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.desktop.wayland import connect
from punktfunk.desktop.wayland.connection import Connection
from punktfunk.desktop.wayland.idle import IdleInhibitor
from punktfunk.errors import CapabilityError
from punktfunk.input import InputEvent, InputKind
from punktfunk.media.planes import plane_view
from punktfunk.units import Mode
from tests.desktops.support.compositors import OWN_OUTPUT, Compositor, KWin
from tests.desktops.support.session import UserSession
from tests.support.waiting import PATIENCE_S, eventually

_IDLE_MS = 200
_HOLDER = """\
import sys, time
from punktfunk.desktop.wayland.idle import IdleInhibitor
held = IdleInhibitor(sys.argv[1])
print("held", flush=True)
time.sleep(600)
"""


_NOWHERE = "unix:path=/nonexistent/bus"
_SAVER = "org.freedesktop.ScreenSaver"


def corner(display: str) -> NDArray[np.uint8]:
    """Return the light of the picture's first pixels, where the surface is."""
    screen = WlrScreen(display=display, output="HEADLESS-1")
    capture = open_capture(screen, Mode(OWN_OUTPUT.width, OWN_OUTPUT.height, 60))
    try:
        return plane_view(capture.capture().picture, 0)[:4, :4].copy()
    finally:
        capture.close()


class LockingKWin(KWin):
    """KWin with its screen saver."""

    graphics = False
    locks = True


class Idleness:
    """What the compositor says of the seat: when it has gone idle."""

    def __init__(self, connection: Connection) -> None:
        self.idled_ns: list[int] = []
        self._connection = connection
        seat = connection.bind("wl_seat", 1)
        notice = connection.bind("ext_idle_notifier_v1", 1).get_idle_notification(_IDLE_MS, seat)
        notice.dispatcher["idled"] = lambda _notice: self.idled_ns.append(monotonic_ns())
        connection.round_trip()

    def is_told(self) -> bool:
        """Whether it has gone idle by now."""
        self._connection.dispatch(0)
        return bool(self.idled_ns)


def wait_for_idleness(connection: Connection) -> None:
    """Wait four times as long as it takes a session to go idle, by a clock that is not the compositor's."""
    deadline = monotonic_ns() + 4 * _IDLE_MS * 1_000_000
    while (left := deadline - monotonic_ns()) > 0:
        connection.dispatch(left / 1e9)


WINDOW = Path(__file__).with_name("support") / "window.py"
_WANTS_A_WINDOW = os.environ.get("PUNKTFUNK_DESKTOPS") == "testing"
"""Whether sway counts a surface only where it is mapped, which it does since 1.12."""


@pytest.mark.parametrize("name", ["sway", "labwc"])
@pytest.mark.parametrize("killed", [False, True])
def test_a_session_goes_idle_only_once_nobody_holds_it_off(
    start: Callable[[str], Compositor], name: str, killed: bool
) -> None:
    display = str(start(name).socket)
    command = [sys.executable, "-c", _HOLDER, display]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as holder,
        connect(display) as connection,
        connect(display) as control,
    ):
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            held = Idleness(connection)
            wait_for_idleness(control)
            assert not held.is_told(), "it has gone idle though that is held off"
            let_go_ns = monotonic_ns()
        finally:
            os.kill(holder.pid, signal.SIGKILL if killed else signal.SIGTERM)
            holder.wait(PATIENCE_S)
        eventually(held.is_told, "it goes idle once nobody holds it off")
        assert held.idled_ns[0] > let_go_ns


def test_a_surface_is_mapped_only_where_one_that_is_not_does_not_help(
    start: Callable[[str], Compositor],
) -> None:
    for name, mapped in (("sway", _WANTS_A_WINDOW), ("labwc", False)):
        with contextlib.closing(IdleInhibitor(str(start(name).socket))) as held:
            assert held.mapped == mapped, name


@pytest.mark.skipif(not _WANTS_A_WINDOW, reason="sway 1.10 leaves the surface where the output has gone")
def test_a_sway_without_an_output_for_the_surface_is_found_out_and_so_is_an_output_that_goes(
    start: Callable[[str], Compositor],
) -> None:
    desktop = start("sway")
    display = str(desktop.socket)
    with contextlib.closing(IdleInhibitor(display, mapped=True)) as held:
        assert held.holds
        desktop.session.programs.run("swaymsg", "output HEADLESS-1 unplug")
        eventually(lambda: not held.holds, "the surface goes with its output")
    with pytest.raises(CapabilityError, match="no output"):
        IdleInhibitor(display, mapped=True)


def test_a_surface_that_holds_idleness_off_is_not_seen_and_takes_no_input(
    start: Callable[[str], Compositor],
) -> None:
    """Beneath a program in full screen, and where there is none."""
    sway = start("sway")
    display = str(sway.socket)
    before = corner(display)
    with (
        contextlib.closing(IdleInhibitor(display, mapped=True)) as held,
        connect(display) as connection,
    ):
        assert (corner(display) == before).all(), "a pixel of it is seen"
        injector = WlrInjector(connection, Keyboard())
        program = sway.session.programs.start("window", [sys.executable, str(WINDOW), "--rate", "0"])

        def typed() -> bool:
            for kind in (InputKind.KEY_DOWN, InputKind.KEY_UP):
                injector.inject(InputEvent(kind, ord("A")))
            connection.round_trip()
            return '"text": "a"' in program.text()

        eventually(typed, "the program has the keyboard")
        shown = corner(display)
        idleness = Idleness(connection)
        wait_for_idleness(connection)
        assert not idleness.is_told(), "it has gone idle beneath a program in full screen"
        assert held.holds
    assert (corner(display) == shown).all(), "without it the picture is another one"


def test_a_compositor_that_wants_a_window_for_it_is_not_asked(start: Callable[[str], Compositor]) -> None:
    with pytest.raises(CapabilityError, match="without a window"):
        IdleInhibitor(str(start("mutter").socket))


def test_kde_holds_idleness_off_by_its_screen_saver_and_tells_of_a_lock(session: UserSession) -> None:
    LockingKWin(session)
    address = session.env["DBUS_SESSION_BUS_ADDRESS"]
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()
    with (
        Inhibitor(session=True, session_address=address, system_address=_NOWHERE) as held,
        LockWatch(told.put, session_address=address, system_address=_NOWHERE) as watch,
        SessionBus(address) as user,
    ):
        assert held.held == ["the screen saver"]
        assert not watch.locked
        user.call(_SAVER, "/ScreenSaver", _SAVER, "Lock")
        assert told.get(timeout=PATIENCE_S) is True
        assert watch.locked
