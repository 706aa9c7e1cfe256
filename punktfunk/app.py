"""An app as clients of either wire see and start it: a program of the host's own list, or the desktop itself.

What runs is the host owner's choice alone: a client names an app by its number or title, and nothing of a request
becomes part of a command (promise P12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AppCompositor = Literal["sway", "gamescope"]
"""What a desktop of an app's own may be: a headless sway, or a gamescope for that program alone."""

MAX_APP_ID = 2**31 - 1
"""Moonlight clients keep the number in 31 bits, and take 0 for "nothing runs" (gamestream section 4.1)."""


@dataclass(frozen=True, slots=True)
class App:
    """Something that a client can launch. ``id`` never changes: clients keep pictures and shortcuts by it."""

    id: int
    """1 to :data:`MAX_APP_ID`."""
    title: str
    command: tuple[str, ...] = ()
    """A program and its arguments, run without a shell; empty: the desktop that all clients share, which has no
    process."""
    folder: str = ""
    """The program's working folder; empty: the home folder."""
    own_desktop: bool = False
    """Whether the program runs on a headless desktop of its own, made for the client that launches it, in place of the
    one that all clients share."""
    compositor: AppCompositor = "sway"
    """What that desktop is."""


DESKTOP = App(1, "Desktop")
"""The app that every host has: clients show an empty list as an error."""
