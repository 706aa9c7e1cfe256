"""The portals of a desktop: a front end that programs ask, a back end behind it, and who answers GNOME's question."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import pytest

from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.capture import PipeWireScreen, open_capture
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import DesktopError
from punktfunk.media import VideoSource
from punktfunk.units import Mode
from tests.desktops.support.compositors import Compositor
from tests.desktops.support.processes import Program
from tests.support.waiting import PATIENCE_S, eventually

FRONT_END: Final = "org.freedesktop.portal.Desktop"
_BACK_ENDS: Final = "org.freedesktop.impl.portal.desktop."
_FOLDERS: Final = ("/usr/libexec", "/usr/lib/x86_64-linux-gnu/libexec", "/usr/lib/aarch64-linux-gnu/libexec")
_ENVIRONMENT: Final[Mapping[str, Mapping[str, str]]] = {
    # GTK's dialog by software: its own renderers want OpenGL or Vulkan.
    "gnome": {"GDK_BACKEND": "wayland", "GSK_RENDERER": "cairo"},
    "kde": {"QT_QPA_PLATFORM": "wayland", "KDE_FULL_SESSION": "true", "KDE_SESSION_VERSION": "6"},
    "wlr": {},
}
_REPLACE: Final[Mapping[str, Sequence[str]]] = {"gnome": ("-r",), "kde": (), "wlr": ("-r",)}
"""By which a back end takes the place of one that the bus has started; KDE's does so by itself."""
_BACK_END_OF: Final = {"mutter": "gnome", "kwin": "kde", "sway": "wlr"}
_SETTLED_S: Final = 0.3
"""For GTK to draw what a click has changed; nothing tells when it has."""
_LEFT_BUTTON: Final = 0x110
_WHITE: Final = 220
_REMOTE: Final = "org.gnome.Mutter.RemoteDesktop"
_CAST: Final = "org.gnome.Mutter.ScreenCast"


class Portals:
    """A portal that runs on a desktop, in its session."""

    def __init__(self, desktop: Compositor) -> None:
        """Start both and wait until they have their names."""
        self.desktop = desktop
        self.name = _BACK_END_OF[desktop.name]
        self.back_end, self.front_end = self.start()

    def start(self) -> tuple[Program, Program]:
        """Start them in their order; those that the bus may have started by itself are replaced."""
        back_end = self._start(
            f"xdg-desktop-portal-{self.name}",
            _REPLACE[self.name],
            _ENVIRONMENT[self.name],
            _BACK_ENDS + self.name,
        )
        front_end = self._start("xdg-desktop-portal", ("-r", "-v"), {}, FRONT_END)
        return back_end, front_end

    def again(self) -> None:
        """Start both again after a crash."""
        for program in (self.front_end, self.back_end):
            program.kill()
        self.back_end, self.front_end = self.start()

    def end(self) -> None:
        """Take the file system of documents away, which a front end brings along and which outlives its process."""
        documents = self.desktop.session.runtime / "doc"
        subprocess.run(["umount", "--lazy", str(documents)], capture_output=True, check=False)

    def _start(self, name: str, arguments: Sequence[str], env: Mapping[str, str], owns: str) -> Program:
        programs, address = (
            self.desktop.session.programs,
            self.desktop.session.env["DBUS_SESSION_BUS_ADDRESS"],
        )
        path = next(str(folder / name) for folder in map(Path, _FOLDERS) if (folder / name).exists())
        program = programs.start(name, [path, *arguments], env)
        with SessionBus(address) as bus:
            # Not another one, which the bus has started by itself meanwhile and which this one replaces.
            programs.wait_for(program, lambda: _owner_pid(bus, owns) == program.pid, f"the name {owns}")
        return program


def _owner_pid(bus: SessionBus, name: str) -> int:
    """Return the process that has a name on the bus; 0 for nobody."""
    daemon = "org.freedesktop.DBus"
    try:
        reply = bus.call(daemon, "/org/freedesktop/DBus", daemon, "GetConnectionUnixProcessID", "s", (name,))
    except BusError:
        return 0
    return int(reply.body[0])


def allow_on_plasma(desktop: Compositor, app_id: str) -> None:
    """Let a program be shown and take part without a question, as Plasma's own settings write it."""
    store = "org.freedesktop.impl.portal.PermissionStore"
    with SessionBus(desktop.session.env["DBUS_SESSION_BUS_ADDRESS"]) as bus:
        bus.call(
            store,
            f"/{store.replace('.', '/')}",
            store,
            "SetPermission",
            "sbssas",
            ("kde-authorized", True, "remote-desktop", app_id, ["yes"]),
        )


def write_application(home: Path, app_id: str) -> None:
    """Write the ``.desktop`` file by which a portal believes a program its name."""
    folder = home / ".local" / "share" / "applications"
    folder.mkdir(parents=True, exist_ok=True)
    entry = (
        "[Desktop Entry]",
        "Type=Application",
        "Name=punktfunk",
        f"Exec={sys.executable}",
        "NoDisplay=true",
        "",
    )
    (folder / f"{app_id}.desktop").write_text("\n".join(entry))


class GnomePerson:
    """The person before a GNOME without a shell: sees the screen, and has a mouse, by Mutter's own interfaces.

    The places are those of the dialog of xdg-desktop-portal-gnome 48 on 1280x720.
    """

    def __init__(self, desktop: Compositor) -> None:
        self.answered = 0
        """How many questions."""
        self._desktop = desktop
        self._bus = SessionBus(desktop.session.env["DBUS_SESSION_BUS_ADDRESS"])
        self._remote = str(desktop.session.runtime / "pipewire-0")
        made = self._bus.call(_REMOTE, f"/{_REMOTE.replace('.', '/')}", _REMOTE, "CreateSession")
        self._path = made.body[0]
        self._call("Start")
        # The first call plugs the mouse in, and a dialog that learns of it only then misses the click.
        self._call("NotifyPointerMotionRelative", "dd", 0.0, 0.0)

    def share(self, what: str, *, interaction: bool = True) -> None:
        """Allow it: ``monitor`` or ``virtual``, and that keys and pointer are taken."""
        with self._before_a_mutter_that_lasts(), self._looking() as eyes:
            eventually(lambda: _is_dialog(eyes), "the question on the screen")
            time.sleep(_SETTLED_S)
            if interaction:
                self._click(896, 267)
            self._click(*{"monitor": (640, 420), "virtual": (640, 518)}[what])
            self._click(922, 132)
            self._until_gone(eyes)

    def cancel(self) -> None:
        """Refuse it."""
        with self._before_a_mutter_that_lasts(), self._looking() as eyes:
            eventually(lambda: _is_dialog(eyes), "the question on the screen")
            time.sleep(_SETTLED_S)
            self._click(360, 132)
            self._until_gone(eyes)

    def _until_gone(self, eyes: VideoSource) -> None:
        eventually(lambda: not _is_dialog(eyes), "the question to go")
        self.answered += 1

    @contextlib.contextmanager
    def _before_a_mutter_that_lasts(self) -> Iterator[None]:
        """Judge nothing where Mutter crashes while it is looked at and clicked on, which 48 and 50 do now and then."""
        try:
            yield
        except DesktopError:
            if self._desktop.crashes():
                pytest.xfail("Mutter crashed while its person looked and clicked, by Mutter's own interfaces")
            raise

    @contextlib.contextmanager
    def _looking(self) -> Iterator[VideoSource]:
        """Look at the user's own monitor."""
        cast, path = _CAST, f"/{_CAST.replace('.', '/')}"
        session = self._bus.call(cast, path, cast, "CreateSession", "a{sv}", ({},)).body[0]
        stream = self._bus.call(
            cast, session, f"{cast}.Session", "RecordMonitor", "sa{sv}", ("Meta-0", {})
        ).body[0]
        nodes: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._bus.subscribe(stream, f"{cast}.Stream", "PipeWireStreamAdded", lambda body: nodes.put(body[0]))
        self._bus.call(cast, session, f"{cast}.Session", "Start")
        eyes = open_capture(
            PipeWireScreen(node=nodes.get(timeout=PATIENCE_S), remote=self._remote), Mode(1280, 720, 30)
        )
        try:
            yield eyes
        finally:
            eyes.close()
            self._bus.call(cast, session, f"{cast}.Session", "Stop")

    def _click(self, x: float, y: float) -> None:
        self._call("NotifyPointerMotionRelative", "dd", -10_000.0, -10_000.0)
        self._call("NotifyPointerMotionRelative", "dd", x, y)
        time.sleep(_SETTLED_S)
        for down in (True, False):
            self._call("NotifyPointerButton", "ib", _LEFT_BUTTON, down)
        time.sleep(_SETTLED_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.close()

    def _call(self, member: str, signature: str = "", *body: object) -> None:
        self._bus.call(_REMOTE, self._path, f"{_REMOTE}.Session", member, signature, body)


def _is_dialog(eyes: VideoSource) -> bool:
    """Whether what is seen has the white corners of the dialog: the desktop behind is blue, the test window grey."""
    luma = eyes.capture().luma
    return all(luma[y, x] > _WHITE for x, y in ((330, 590), (950, 590), (500, 170)))
