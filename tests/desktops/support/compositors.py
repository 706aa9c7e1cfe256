"""Compositors without a screen, started as a user's own desktop: one class each."""

from __future__ import annotations

import re
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from punktfunk.desktop.session_bus import SessionBus
from punktfunk.desktop.wayland import connect
from punktfunk.errors import DesktopError
from punktfunk.units import Resolution
from tests.desktops.support.processes import Program
from tests.desktops.support.session import UserSession
from tests.desktops.support.vgem import with_graphics

OWN_OUTPUT = Resolution(1280, 720)
"""The size of the output that stands in for the user's screen."""


class Compositor(ABC):
    """A compositor that runs in a session; ``env`` of the session holds what its programs need."""

    name: ClassVar[str]
    desktop: ClassVar[str]
    """XDG_CURRENT_DESKTOP: also the portal's choice of back ends follows it."""
    services: ClassVar[tuple[str, ...]] = ()
    """What it is called on the session bus, which may be later than that it takes clients."""

    def __init__(self, session: UserSession) -> None:
        """Start it and wait until it takes clients."""
        self.session = session
        self.session.env["XDG_CURRENT_DESKTOP"] = self.desktop
        self.program = self.start()
        session.programs.wait_for(self.program, self._answers, "an output for clients")

    @abstractmethod
    def start(self) -> Program:
        """Start it and set WAYLAND_DISPLAY in the session's environment."""

    @property
    def socket(self) -> Path:
        """Where its clients connect."""
        return self.session.runtime / self.session.env["WAYLAND_DISPLAY"]

    def outputs(self) -> list[str]:
        """Return name and size of its outputs as any client sees them."""
        with connect(str(self.socket)) as connection:
            return [f"{each.name} {each.width}x{each.height}" for each in connection.outputs]

    def crashes(self, within_s: float = 5.0) -> bool:
        """Return whether it ends by a fault of its own within a time."""
        try:
            return self.program.process.wait(within_s) in {-signal.SIGSEGV, -signal.SIGABRT}
        except subprocess.TimeoutExpired:
            return False

    def again(self) -> None:
        """Start it again after a crash, as the user's session does."""
        self.program.kill()
        self.socket.unlink(missing_ok=True)
        self.socket.with_name(f"{self.socket.name}.lock").unlink(missing_ok=True)
        self.program = self.start()
        self.session.programs.wait_for(self.program, self._answers, "an output for clients")

    def _answers(self) -> bool:
        if "WAYLAND_DISPLAY" not in self.session.env:
            return self._found()
        if not self.socket.exists():
            return False
        try:
            return bool(self.outputs()) and self._serves()
        except DesktopError:
            return False

    def _serves(self) -> bool:
        if not self.services:
            return True
        with SessionBus(self.session.env["DBUS_SESSION_BUS_ADDRESS"]) as bus:
            return all(bus.name_has_owner(each) for each in self.services)

    def _found(self) -> bool:
        """Look for the socket of one that chooses its name; ``False``, to be asked again."""
        for path in sorted(self.session.runtime.glob("wayland-*")):
            if re.fullmatch(r"wayland-\d+", path.name):
                self.session.env["WAYLAND_DISPLAY"] = path.name
        return False

    def _start(self, argv: list[str], env: Mapping[str, str] | None = None) -> Program:
        return self.session.programs.start(self.name, argv, env)


class Sway(Compositor):
    """sway, software rendering."""

    name = "sway"
    desktop = "sway"

    def start(self) -> Program:
        self.session.env.pop("WAYLAND_DISPLAY", None)
        config = self.session.home / "sway.conf"
        size = f"{OWN_OUTPUT.width}x{OWN_OUTPUT.height}"
        config.write_text(
            f"xwayland disable\ndefault_border none\noutput HEADLESS-1 mode --custom {size}@60Hz\n"
        )
        # sway takes a name that is given, so that its commands are found again after a restart.
        commands = self.session.runtime / "sway-commands.sock"
        commands.unlink(missing_ok=True)
        self.session.env["SWAYSOCK"] = str(commands)
        return self._start(["sway", "--config", str(config)], _WITHOUT_HARDWARE)


class Labwc(Compositor):
    """labwc: wlroots without sway's own socket for commands."""

    name = "labwc"
    desktop = "labwc:wlroots"

    def start(self) -> Program:
        self.session.env.pop("WAYLAND_DISPLAY", None)
        return self._start(["labwc", "--config-dir", str(self.session.home)], _WITHOUT_HARDWARE)


class KWin(Compositor):
    """KWin on its virtual backend. With ``graphics`` it renders by OpenGL, which its screencast needs (``vgem.c``)."""

    name = "kwin"
    desktop = "KDE"
    services = ("org.kde.KWin",)
    graphics: ClassVar[bool] = True
    locks: ClassVar[bool] = False
    """Whether its session can be locked, and its screen saver asked."""
    more: ClassVar[tuple[str, ...]] = ()
    """Further options."""

    def start(self) -> Program:
        _bring_a_menu(self.session.home)
        socket = self.session.env["WAYLAND_DISPLAY"] = "wayland-kwin"
        size = ("--width", str(OWN_OUTPUT.width), "--height", str(OWN_OUTPUT.height))
        # What its clients are told of the desktop, KWin itself must not hear: it starts the portal meanwhile.
        argv = ["env", "-u", "XDG_CURRENT_DESKTOP", "-u", "WAYLAND_DISPLAY"]
        if self.graphics:
            argv += [f"{name}={value}" for name, value in with_graphics().items()]
        lock = () if self.locks else ("--no-lockscreen",)
        argv += ["kwin_wayland", "--virtual", *size, *lock, "--socket", socket, *self.more]
        return self._start(argv)


class Mutter(Compositor):
    """Mutter, GNOME's compositor, without the shell around it; llvmpipe renders."""

    name = "mutter"
    desktop = "GNOME"
    services = ("org.gnome.Mutter.ScreenCast", "org.gnome.Mutter.RemoteDesktop")
    more: ClassVar[tuple[str, ...]] = ()
    """Further options."""

    def start(self) -> Program:
        socket = self.session.env["WAYLAND_DISPLAY"] = "wayland-mutter"
        monitor = f"{OWN_OUTPUT.width}x{OWN_OUTPUT.height}@60"
        argv = ["mutter", "--headless", "--no-x11", "--wayland-display", socket, "--virtual-monitor", monitor]
        return self._start(["env", "-u", "WAYLAND_DISPLAY", *argv, *self.more])


def _bring_a_menu(home: Path) -> None:
    """Write what Plasma brings: without a menu KDE knows no program, and so grants none of them anything."""
    menu = home / ".config" / "menus" / "applications.menu"
    menu.parent.mkdir(parents=True, exist_ok=True)
    menu.write_text(
        "<Menu><Name>Applications</Name><DefaultAppDirs/><DefaultDirectoryDirs/><Include><All/></Include></Menu>\n"
    )


COMPOSITORS: dict[str, type[Compositor]] = {each.name: each for each in (Sway, Labwc, KWin, Mutter)}

_WITHOUT_HARDWARE = {
    "WLR_BACKENDS": "headless",
    "WLR_LIBINPUT_NO_DEVICES": "1",
    "WLR_RENDERER": "pixman",
}
