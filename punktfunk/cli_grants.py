"""The commands that give punktfunk a right on the user's desktop, and take it away: nothing else ever does either."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import Annotated, Final

import typer

from punktfunk.errors import CapabilityError, PunktfunkError, UsageError
from punktfunk.terminal import say

app = typer.Typer(help="Let punktfunk stream the desktop that runs, or no longer.", no_args_is_help=True)

_HONOURED_LIMIT_S: Final = 5.0
"""KWin looks for new applications at most every second and a half."""
_AGAIN_S: Final = 0.25


class Granting(StrEnum):
    """Desktops whose rights are written down in files."""

    KWIN = "kwin"
    """KDE Plasma."""


@app.command()
def grant(
    desktop: Annotated[Granting, typer.Argument(help="The desktop that is to let punktfunk capture it.")],
) -> None:
    """Let punktfunk capture this user's outputs without asking each time.

    On KDE Plasma that takes a program of punktfunk's own, a copy of the Python that runs it, and an entry in the menu's
    folder that names it; both are the user's own files. What can be started as this user can use the right as well.
    """
    from punktfunk.desktop.kwin import grant as kwin

    if os.environ.get("SUDO_UID"):
        raise UsageError("by sudo the grant would be root's", "give the command as the user of the desktop")
    given = kwin.give()
    say(f"granted    {given.entry}")
    say(f"to         {given.program}")
    say(f"{desktop}       {_honoured()}")
    say("take it back with: punktfunk desktop revoke kwin")


@app.command()
def revoke(
    desktop: Annotated[
        Granting, typer.Argument(help="The desktop that is to let punktfunk capture it no longer.")
    ],
) -> None:
    """Take the right away again; streams that run keep it until they end."""
    from punktfunk.desktop.kwin import grant as kwin

    if kwin.take_back():
        say(f"revoked    punktfunk may not capture {desktop}'s outputs any more")
    else:
        say("revoked    there was no grant")


def _honoured() -> str:
    """Return whether KWin lets punktfunk capture now, if one runs here."""
    from punktfunk.desktop.kwin import reach
    from punktfunk.desktop.user_session import session_socket

    if not os.environ.get("WAYLAND_DISPLAY"):
        return "does not run here, and will honour it when it does"
    deadline = time.monotonic() + _HONOURED_LIMIT_S
    while True:
        try:
            reach.connect(session_socket()).close()
        except CapabilityError as error:
            if time.monotonic() > deadline:
                return f"does not honour it yet: {error.cause} ({error.hint})"
            time.sleep(_AGAIN_S)
        except PunktfunkError as error:
            return f"cannot be asked: {error.cause}"
        else:
            return "lets punktfunk capture"
