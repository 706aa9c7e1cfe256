"""Whether a Mutter is on the session bus that can be streamed, and what is known of it."""

from __future__ import annotations

import os
from typing import Final

from punktfunk.desktop import Availability, BackendName
from punktfunk.desktop.gnome_shell import shell_version
from punktfunk.desktop.inject.eis import require_keymaps
from punktfunk.desktop.pipewire.library import require_library
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import CapabilityError, PunktfunkError

REMOTE_DESKTOP: Final = "org.gnome.Mutter.RemoteDesktop"
REMOTE_DESKTOP_PATH: Final = "/org/gnome/Mutter/RemoteDesktop"
SCREEN_CAST: Final = "org.gnome.Mutter.ScreenCast"
SCREEN_CAST_PATH: Final = "/org/gnome/Mutter/ScreenCast"
_LOOK_LIMIT_S: Final = 3.0
_NEEDED_VERSION: Final = 3
"""Of the screen cast: the first whose virtual monitors count as monitors of the desktop (GNOME 41)."""


def require_mutter(bus: SessionBus) -> int:
    """Return the version of Mutter's screen cast; raise CapabilityError where none is on the bus, or an older one."""
    for name in (SCREEN_CAST, REMOTE_DESKTOP):
        if not bus.name_has_owner(name):
            raise CapabilityError(
                f"no GNOME session runs here (nobody on the session bus is {name})",
                "start punktfunk from within one",
            )
    version = bus.get_property(SCREEN_CAST, SCREEN_CAST_PATH, SCREEN_CAST, "Version", timeout_s=_LOOK_LIMIT_S)
    if not isinstance(version, int) or version < _NEEDED_VERSION:
        raise CapabilityError(
            f"this GNOME makes no virtual monitors (version {version} of {SCREEN_CAST})",
            "GNOME 41 or newer does",
        )
    return version


def examine() -> Availability:
    """Return whether the user's GNOME session can be streamed, and how; start nothing."""
    name = BackendName.MUTTER
    absent = "GNOME" not in os.environ.get("XDG_CURRENT_DESKTOP", "").split(":")
    try:
        with SessionBus() as bus:
            absent = not bus.name_has_owner(SCREEN_CAST)
            require_mutter(bus)
            version = shell_version(bus)
        require_library()
    except PunktfunkError as error:
        return Availability(name, False, error.cause, error.hint, absent=absent)
    found = f"GNOME {version} runs here" if version else "Mutter runs here"
    try:
        require_keymaps()
    except CapabilityError as error:
        return Availability(name, True, f"{found}; input is put in by calls, for {error.cause}", error.hint)
    return Availability(name, True, found)
