"""Idle, sleep and lock of the user's session held off, for as long as somebody streams from it.

Whoever watches a film over a stream presses no key. Asked are all that may end it: the desktop's session manager, its
screen saver or its portal, by the session bus, or else a wlroots compositor itself; and logind, by which the whole
machine sleeps, on the system bus. Each holds off what it was asked to for as long as this process is connected to it,
or has the descriptor that it gave: it is over when this is closed, and when the process is killed.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from punktfunk.desktop.session_bus import SessionBus, require_bus, variant
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError

if TYPE_CHECKING:
    from punktfunk.desktop.wayland.idle import IdleInhibitor

APPLICATION: Final = "punktfunk"
REASON: Final = "a client is streaming from here"
_SYSTEM_BUS: Final = "unix:path=/run/dbus/system_bus_socket"
_ANSWER_LIMIT_S: Final = 5.0
_SUSPEND, _IDLE = 4, 8
"""Flags of org.gnome.SessionManager and of the portal, which has taken them from it."""
_NO_WINDOW: Final = 0


@dataclass(frozen=True, slots=True)
class Way:
    """One that can be asked to hold off what would end a stream, by its name on the session bus."""

    title: str
    """Who it is, in a log."""
    name: str
    inhibit: Callable[[SessionBus], None]


def _by_gnome(bus: SessionBus) -> None:
    name = "org.gnome.SessionManager"
    body = (APPLICATION, _NO_WINDOW, REASON, _SUSPEND | _IDLE)
    bus.call(name, "/org/gnome/SessionManager", name, "Inhibit", "susu", body, timeout_s=_ANSWER_LIMIT_S)


def _by_screen_saver(bus: SessionBus) -> None:
    name = "org.freedesktop.ScreenSaver"
    body = (APPLICATION, REASON)
    bus.call(name, "/org/freedesktop/ScreenSaver", name, "Inhibit", "ss", body, timeout_s=_ANSWER_LIMIT_S)


def _by_portal(bus: SessionBus) -> None:
    body = ("", _SUSPEND | _IDLE, {"reason": variant("s", REASON)})
    bus.call(
        "org.freedesktop.portal.Desktop",
        "/org/freedesktop/portal/desktop",
        "org.freedesktop.portal.Inhibit",
        "Inhibit",
        "sua{sv}",
        body,
        timeout_s=_ANSWER_LIMIT_S,
    )


WAYS: Final = (
    Way("the session manager of GNOME", "org.gnome.SessionManager", _by_gnome),
    Way("the screen saver", "org.freedesktop.ScreenSaver", _by_screen_saver),
    Way("the portal", "org.freedesktop.portal.Desktop", _by_portal),
)
"""In the order in which they are asked: the first that does it is enough for a session."""


class Inhibitor:
    """Holds idle, sleep and lock off from its making on until it is closed.

    ``session`` asks the user's own session too; without it only the machine is kept from sleeping. Raises nothing: a
    stream runs without. ``held`` says who does it, ``refused`` what the others have said.
    """

    def __init__(
        self, *, session: bool, session_address: str | None = None, system_address: str | None = None
    ) -> None:
        self.held: list[str] = []
        self.refused: list[str] = []
        self._bus: SessionBus | None = None
        self._gone = threading.Event()
        """Set once whoever the bus was asked for has ended, and what it held off with it."""
        self._compositor: IdleInhibitor | None = None
        self._descriptors: tuple[int, ...] = ()
        if session:
            self._ask_session(session_address)
            if not self.held:
                self._ask_compositor()
        self._ask_machine(system_address)

    @property
    def holds_session(self) -> bool:
        """Whether idle and lock of the user's session are held off now: not once who does it, or its bus, has ended."""
        if self._compositor is not None:
            return self._compositor.holds
        return self._bus is not None and not (self._bus.lost or self._gone.is_set())

    def close(self) -> None:
        """Let them go. Closing twice is harmless."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()
        compositor, self._compositor = self._compositor, None
        if compositor is not None:
            compositor.close()
        descriptors, self._descriptors = self._descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_session(self, address: str | None) -> None:
        try:
            if address is None:
                require_bus()
            bus = SessionBus(address)
        except PunktfunkError as error:
            self.refused.append(f"the session: {error.cause}")
            return
        for way in WAYS:
            try:
                if not bus.name_has_owner(way.name):
                    continue
                gone = _asked(bus, way)
            except DesktopError as error:
                self.refused.append(f"{way.title}: {error.cause}")
            else:
                self.held.append(way.title)
                self._bus, self._gone = bus, gone
                return
        bus.close()
        if not self.refused:
            self.refused.append("the session: it has neither a screen saver, a session manager nor a portal")

    def _ask_compositor(self) -> None:
        """Have a wlroots compositor hold idle off: its session has often none of the above."""
        from punktfunk.desktop.user_session import session_socket
        from punktfunk.desktop.wayland.idle import IdleInhibitor

        try:
            self._compositor = IdleInhibitor(session_socket())
        except (CapabilityError, DesktopError) as error:
            self.refused.append(f"the compositor: {error.cause}")
        else:
            self.held.append("the compositor")

    def _ask_machine(self, address: str | None) -> None:
        given = address or system_address()
        if given is None:
            self.refused.append("the machine: no system bus is here")
            return
        try:
            with SessionBus(given) as bus:
                self._ask_logind(bus)
        except (CapabilityError, DesktopError) as error:
            self.refused.append(f"logind: {error.cause}")

    def _ask_logind(self, bus: SessionBus) -> None:
        """Ask for both; a session that is not the one at the screen may have to do with idle."""
        for what in ("idle:sleep", "idle"):
            with contextlib.suppress(DesktopError) if what != "idle" else contextlib.nullcontext():
                reply = bus.call(
                    "org.freedesktop.login1",
                    "/org/freedesktop/login1",
                    "org.freedesktop.login1.Manager",
                    "Inhibit",
                    "ssss",
                    (what, APPLICATION, REASON, "block"),
                    timeout_s=_ANSWER_LIMIT_S,
                    takes_descriptors=True,
                )
                self._descriptors = reply.descriptors
                self.held.append(f"logind ({what.replace(':', ' and ')})")
                return


def _asked(bus: SessionBus, way: Way) -> threading.Event:
    """Ask for it, and return what is set once whoever does it has ended; raise DesktopError where he refuses."""
    gone = threading.Event()
    # Before he is asked, so that his end does not fall in between.
    bus.watch_owner(way.name, lambda _owner: gone.set())
    way.inhibit(bus)
    return gone


def system_address() -> str | None:
    """Return where the system bus is; None where there is none."""
    given = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
    if given:
        return given
    return _SYSTEM_BUS if Path(_SYSTEM_BUS.removeprefix("unix:path=")).exists() else None
