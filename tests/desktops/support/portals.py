"""The portals of a desktop: a front end that programs ask, a back end behind it, and who answers GNOME's question."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from punktfunk.desktop.session_bus import SessionBus
from tests.desktops.support.compositors import Compositor
from tests.desktops.support.processes import Program

FRONT_END: Final = "org.freedesktop.portal.Desktop"
_BACK_ENDS: Final = "org.freedesktop.impl.portal.desktop."
_FOLDERS: Final = ("/usr/libexec", "/usr/lib/x86_64-linux-gnu/libexec", "/usr/lib/aarch64-linux-gnu/libexec")
_ENVIRONMENT: Final[Mapping[str, Mapping[str, str]]] = {
    # GTK's dialog by software: its own renderers want OpenGL or Vulkan.
    "gnome": {"GDK_BACKEND": "wayland", "GSK_RENDERER": "cairo"},
    "kde": {"QT_QPA_PLATFORM": "wayland", "KDE_FULL_SESSION": "true", "KDE_SESSION_VERSION": "6"},
    "wlr": {},
}
_BACK_END_OF: Final = {"mutter": "gnome", "kwin": "kde", "sway": "wlr"}
_SETTLED_S: Final = 0.3
"""For GTK to draw what a click has changed; nothing tells when it has."""
_LEFT_BUTTON: Final = 0x110


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
            f"xdg-desktop-portal-{self.name}", (), _ENVIRONMENT[self.name], _BACK_ENDS + self.name
        )
        front_end = self._start("xdg-desktop-portal", ("-r", "-v"), {}, FRONT_END)
        return back_end, front_end

    def again(self) -> None:
        """Start both again after a crash."""
        for program in (self.front_end, self.back_end):
            program.kill()
        self.back_end, self.front_end = self.start()

    def _start(self, name: str, arguments: Sequence[str], env: Mapping[str, str], owns: str) -> Program:
        programs, address = (
            self.desktop.session.programs,
            self.desktop.session.env["DBUS_SESSION_BUS_ADDRESS"],
        )
        path = next(str(folder / name) for folder in map(Path, _FOLDERS) if (folder / name).exists())
        with SessionBus(address) as bus:
            former = bus.owner_of(owns)
            program = programs.start(name, [path, *arguments], env)
            programs.wait_for(program, lambda: bus.owner_of(owns) not in {"", former}, f"the name {owns}")
        return program


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


class Clicker:
    """The person before a GNOME without a shell: a pointer by Mutter's own interface, as a mouse would be."""

    _NAME: Final = "org.gnome.Mutter.RemoteDesktop"

    def __init__(self, desktop: Compositor) -> None:
        self._bus = SessionBus(desktop.session.env["DBUS_SESSION_BUS_ADDRESS"])
        made = self._bus.call(self._NAME, f"/{self._NAME.replace('.', '/')}", self._NAME, "CreateSession")
        self._path = made.body[0]
        self._call("Start")

    def click(self, x: float, y: float) -> None:
        """Click at a place of the desktop."""
        self._call("NotifyPointerMotionRelative", "dd", -10_000.0, -10_000.0)
        self._call("NotifyPointerMotionRelative", "dd", x, y)
        time.sleep(_SETTLED_S)
        for down in (True, False):
            self._call("NotifyPointerButton", "ib", _LEFT_BUTTON, down)
        time.sleep(_SETTLED_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.close()

    def _call(self, member: str, signature: str = "", *body: object) -> None:
        self._bus.call(self._NAME, self._path, f"{self._NAME}.Session", member, signature, body)
