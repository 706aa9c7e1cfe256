"""What holds a session's idleness off, and tells of its lock: wlroots compositors themselves, KDE's screen saver."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.inhibit import Inhibitor
from punktfunk.desktop.lock_watch import LockWatch
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.desktop.wayland import connect
from punktfunk.desktop.wayland.connection import Connection
from punktfunk.desktop.wayland.idle import IdleInhibitor
from punktfunk.errors import CapabilityError
from tests.desktops.support.compositors import Compositor, KWin
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


_HONOURING = ["labwc"] if os.environ.get("PUNKTFUNK_DESKTOPS") == "testing" else ["sway", "labwc"]


@pytest.mark.parametrize("name", _HONOURING)
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
            # Four times as long as it takes: told by another clock of the compositor's, its frames of time.
            deadline = monotonic_ns() + 4 * _IDLE_MS * 1_000_000
            while (left := deadline - monotonic_ns()) > 0:
                control.dispatch(left / 1e9)
            assert not held.is_told(), "it has gone idle though that is held off"
            let_go_ns = monotonic_ns()
        finally:
            os.kill(holder.pid, signal.SIGKILL if killed else signal.SIGTERM)
            holder.wait(PATIENCE_S)
        eventually(held.is_told, "it goes idle once nobody holds it off")
        assert held.idled_ns[0] > let_go_ns


@pytest.mark.skipif(
    "sway" in _HONOURING, reason="sway before 1.12 holds idle off for a surface without a window"
)
def test_a_sway_that_goes_idle_all_the_same_is_found_out(start: Callable[[str], Compositor]) -> None:
    with pytest.raises(CapabilityError, match="without a window"):
        IdleInhibitor(str(start("sway").socket))


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
