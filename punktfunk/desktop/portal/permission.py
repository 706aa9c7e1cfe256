"""What the user's own files and desktop say of punktfunk: its name, and what may be had without a question.

Nothing here is done but on a user's order (``punktfunk desktop grant portal`` and ``revoke portal``).
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from pathlib import Path
from typing import Final

from punktfunk.desktop.app_id import APP_ID
from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.portal.grants import GrantStore
from punktfunk.desktop.portal.requests import Portal
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.desktop.user_data import applications, write_whole
from punktfunk.errors import CapabilityError, DesktopError

_STORE: Final = "org.freedesktop.impl.portal.PermissionStore"
_STORE_PATH: Final = "/org/freedesktop/impl/portal/PermissionStore"
_KEPT_IN: Final = ("remote-desktop", "screencast")
"""Tables in which xdg-desktop-portal keeps what its tokens stand for."""
_PLASMA: Final = ("kde-authorized", "remote-desktop")
"""Table and entry of Plasma for programs that may see and control it without a question."""
_NAMED_LIMIT_S: Final = 5.0
"""A portal that runs learns of a new file by a watch on its folder."""
_AGAIN_S: Final = 0.2


def application() -> Path:
    """Return the file by which desktops believe punktfunk its name, whether it is there or not."""
    return applications() / f"{APP_ID}.desktop"


def write_application() -> Path:
    """Write that file, which shows in no menu; raise CapabilityError where it cannot be written."""
    path = application()
    entry = (
        "[Desktop Entry]",
        "Type=Application",
        "Name=punktfunk",
        "Comment=Streams this desktop; made by: punktfunk desktop grant portal",
        f"Exec={shlex.quote(sys.executable)} -m punktfunk serve",
        "NoDisplay=true",
        "",
    )
    try:
        write_whole(path, "\n".join(entry))
    except OSError as error:
        raise CapabilityError(f"{path} cannot be written: {error.strerror}", "is it yours?") from error
    return path


def is_named() -> bool:
    """Wait until the portal believes the name, and return whether it does; an old one knows no names."""
    deadline = time.monotonic() + _NAMED_LIMIT_S
    while True:
        with SessionBus() as bus:
            portal = Portal(bus)
            try:
                if portal.register(APP_ID):
                    return True
            finally:
                portal.close()
        if time.monotonic() > deadline:
            return False
        time.sleep(_AGAIN_S)


def allow_on_plasma() -> None:
    """Let whoever has punktfunk's name see and control a Plasma session without a question, until it is revoked.

    Raises DesktopError where there is no store of permissions.
    """
    table, entry = _PLASMA
    with SessionBus() as bus:
        bus.call(
            _STORE, _STORE_PATH, _STORE, "SetPermission", "sbssas", (table, True, entry, APP_ID, ("yes",))
        )


def revoke(folder: Path) -> bool:
    """Take back all that portals have granted to punktfunk, and its name; return whether there was anything.

    ``folder`` is the state folder of the host. Sessions that are open stay so until their end.
    """
    store = GrantStore(folder)
    tokens = store.forget()
    path = application()
    there = path.exists() or bool(tokens)
    with contextlib.suppress(CapabilityError, DesktopError), SessionBus() as bus:
        for table in _KEPT_IN:
            for token in tokens:
                with contextlib.suppress(BusError):
                    bus.call(_STORE, _STORE_PATH, _STORE, "Delete", "ss", (table, token))
        with contextlib.suppress(BusError):
            bus.call(_STORE, _STORE_PATH, _STORE, "DeletePermission", "sss", (*_PLASMA, APP_ID))
            there = True
    path.unlink(missing_ok=True)
    return there
