"""The commands that give punktfunk a right on the user's desktop, and take it away: nothing else ever does either."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from punktfunk.cli_run import fail
from punktfunk.errors import CapabilityError, PunktfunkError, UsageError
from punktfunk.terminal import say
from punktfunk.trust.state_dir import default_state_dir

app = typer.Typer(help="Let punktfunk stream the desktop that runs, or no longer.", no_args_is_help=True)

_HONOURED_LIMIT_S: Final = 5.0
"""KWin looks for new applications at most every second and a half."""
_AGAIN_S: Final = 0.25
_SAY_AGAIN_S: Final = 30.0


class Granting(StrEnum):
    """Desktops whose rights are written down in files."""

    KWIN = "kwin"
    """KDE Plasma."""
    PORTAL = "portal"
    """Any desktop with a portal."""


StateDir = Annotated[Path | None, typer.Option(help="State folder of the host, for portal.")]


@app.command()
def grant(
    desktop: Annotated[Granting, typer.Argument(help="The desktop that is to let punktfunk capture it.")],
    state_dir: StateDir = None,
    unasked: Annotated[
        bool, typer.Option("--unasked", help="On Plasma, for portal: never ask, neither now nor later.")
    ] = False,
) -> None:
    """Let punktfunk capture this user's desktop without asking each time.

    kwin: a program of punktfunk's own, a copy of the Python that runs it, and an entry in the menu's folder that names
    it; both are the user's own files. What can be started as this user can use the right as well.

    portal: an entry in the menu's folder that gives punktfunk its name, and the desktop's question, which is to be
    answered on its screen; the answer is kept in the state folder.
    """
    if os.environ.get("SUDO_UID"):
        raise UsageError("by sudo the grant would be root's", "give the command as the user of the desktop")
    _require_meant(desktop, state_dir, unasked=unasked)
    if desktop is Granting.PORTAL:
        _grant_by_portal(state_dir or default_state_dir(), unasked=unasked)
        return
    from punktfunk.desktop.kwin import grant as kwin

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
    state_dir: StateDir = None,
) -> None:
    """Take the right away again; streams that run keep it until they end."""
    _require_meant(desktop, state_dir)
    if desktop is Granting.PORTAL:
        from punktfunk.desktop.portal import permission

        there = permission.revoke(state_dir or default_state_dir())
    else:
        from punktfunk.desktop.kwin import grant as kwin

        there = kwin.take_back()
    if there:
        say(f"revoked    punktfunk may not capture by {desktop} any more")
    else:
        say("revoked    there was no grant")


def _require_meant(desktop: Granting, state_dir: Path | None, *, unasked: bool = False) -> None:
    """Raise UsageError for an option that changes nothing of that desktop's grant: who gives it expects otherwise."""
    if desktop is Granting.PORTAL:
        return
    for option, given in (("--state-dir", state_dir is not None), ("--unasked", unasked)):
        if given:
            raise UsageError(
                f"{option} is for the grant by portal, not for {desktop}",
                f"leave it out: the grant of {desktop} is in the user's own files, and nobody is asked",
            )


def _grant_by_portal(folder: Path, *, unasked: bool) -> None:
    """Have the question asked now, where a person may be before it; the host then does not."""
    from punktfunk.desktop import DesktopOptions
    from punktfunk.desktop.portal import permission
    from punktfunk.desktop.portal.grants import GRANTS_FILE
    from punktfunk.desktop.portal.portal_desktop import PortalDesktop

    say(f"named      {permission.write_application()}")
    if not permission.is_named():
        say("named      the portal knows no names of programs: what it grants may be asked for again")
    if unasked:
        permission.allow_on_plasma()
        say("allowed    Plasma asks nobody about punktfunk any more")
    with PortalDesktop(DesktopOptions(audio=False, state_dir=folder)) as opened:
        if not opened.is_settled(0):
            say("asked      answer the question on the desktop's screen; Ctrl-C takes it back")
        while not opened.is_settled(_SAY_AGAIN_S):
            say("waiting    for the answer on the desktop's screen")
        failure = opened.failure
        if failure is not None:
            fail(failure)
        say(f"granted    {opened.description}")
        say(
            f"kept       {folder / GRANTS_FILE}"
            if opened.is_kept
            else "kept       no: it will ask at each start"
        )
    say("take it back with: punktfunk desktop revoke portal")


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
