"""What of a KWin session can be had: a connection that may capture, a descriptor for input, and why not."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from punktfunk.desktop import Availability, BackendName, wayland
from punktfunk.desktop.inject.eis import require_keymaps
from punktfunk.desktop.kwin import grant
from punktfunk.desktop.session_bus import SessionBus, require_bus
from punktfunk.desktop.user_session import session_socket
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError
from punktfunk.printable import MAX_NAME_CHARACTERS, printable

if TYPE_CHECKING:
    from punktfunk.desktop.wayland.connection import Connection

SCREENCAST: Final = "zkde_screencast_unstable_v1"
_KWINS_OWN: Final = ("kde_output_management_v2", "org_kde_plasma_shell", SCREENCAST)
"""Interfaces that no other compositor offers; the last one not to everybody."""
_OTHER: Final = "the session that runs here is not KWin's"
_SERVICE: Final = "org.kde.KWin"
_EIS_PATH: Final = "/org/kde/KWin/EIS/RemoteDesktop"
_EIS_INTERFACE: Final = "org.kde.KWin.EIS.RemoteDesktop"
_EVERYTHING: Final = 63
"""All kinds of devices, as bits of ``connectToEIS``."""
_REFUSED_HINT: Final = (
    "KWin records its outputs only where it renders by OpenGL; else use --desktop portal or headless-sway"
)
_PLUGINS_HINT: Final = (
    "install KWin's plugins (Debian: apt-get install kwin-common); 6.3 takes input so, 5.27 does not"
)


def connect(socket: str) -> Connection:
    """Connect to a KWin that lets this program capture.

    Raises CapabilityError where it is another compositor or KWin does not, and DesktopError where none answers.
    """
    with contextlib.ExitStack() as unless_capable:
        connection = wayland.connect(socket)
        unless_capable.callback(connection.close)
        if not _is_kwin(connection):
            raise CapabilityError(_OTHER)
        if connection.offers(SCREENCAST):
            # Somebody has granted it to this interpreter, or has switched KWin's check off.
            unless_capable.pop_all()
            return connection
    granted = grant.connect(socket)
    if granted.offers(SCREENCAST):
        return granted
    granted.close()
    raise CapabilityError("KWin does not honour the grant to capture its outputs", _WITHOUT_EFFECT)


_WITHOUT_EFFECT: Final = (
    "is punktfunk run with the same HOME and XDG_DATA_HOME as KWin, and is KWin's screencast plugin installed "
    "(Debian: kwin-common)? else use --desktop portal"
)


def connect_input(bus: SessionBus) -> int:
    """Return a connection to KWin's input server, which the caller owns; raise CapabilityError where there is none."""
    try:
        reply = bus.call(
            _SERVICE, _EIS_PATH, _EIS_INTERFACE, "connectToEIS", "i", (_EVERYTHING,), takes_descriptors=True
        )
    except DesktopError as error:
        raise CapabilityError(f"KWin takes no input from programs: {error.cause}", _PLUGINS_HINT) from error
    first, *more = reply.descriptors or (-1,)
    for descriptor in more:
        os.close(descriptor)
    if first < 0:
        raise CapabilityError("KWin gave no connection for input", _PLUGINS_HINT)
    return first


def not_captured(refusal: PunktfunkError) -> CapabilityError:
    """Return what a refusal of KWin's means for who wants to stream its output."""
    return CapabilityError(f"KWin does not let its output be captured: {refusal.cause}", _REFUSED_HINT)


def examine() -> Availability:
    """Return whether a KWin session runs here that can be streamed; connects to it, and starts no stream.

    Whether KWin casts its outputs, opening one shows; here its own word on how it renders is taken.
    """
    name = BackendName.KWIN
    try:
        socket = session_socket()
    except CapabilityError as error:
        return Availability(name, False, error.cause, error.hint, absent=True)
    try:
        with wayland.connect(socket) as connection:
            if not _is_kwin(connection):
                return Availability(name, False, _OTHER, absent=True)
            output = next((each.name for each in connection.outputs), "no output")
        connect(socket).close()
        require_keymaps()
        require_bus()
        with SessionBus() as bus:
            _require_rendering(bus)
            _require_input(bus)
    except PunktfunkError as error:
        return Availability(name, False, error.cause, error.hint)
    return Availability(name, True, f"KWin runs here, with {output}")


def _is_kwin(connection: Connection) -> bool:
    return any(connection.offers(each) for each in _KWINS_OWN)


def _require_rendering(bus: SessionBus) -> None:
    """Raise CapabilityError where KWin says that it renders otherwise than by OpenGL; where it says nothing, pass."""
    with contextlib.suppress(DesktopError):
        rendering = str(
            bus.get_property(_SERVICE, "/Compositor", "org.kde.kwin.Compositing", "compositingType")
        )
        if rendering and not rendering.startswith("gl"):
            words = printable(rendering, MAX_NAME_CHARACTERS)
            raise CapabilityError(
                f"KWin renders by {words} and does not let its output be captured", _REFUSED_HINT
            )


def _require_input(bus: SessionBus) -> None:
    """Raise CapabilityError unless KWin has an input server; none is connected to."""
    try:
        described = bus.call(_SERVICE, _EIS_PATH, "org.freedesktop.DBus.Introspectable", "Introspect").body
    except DesktopError as error:
        raise CapabilityError(f"KWin takes no input from programs: {error.cause}", _PLUGINS_HINT) from error
    if "connectToEIS" not in str(described):
        raise CapabilityError("KWin takes no input from programs", _PLUGINS_HINT)
