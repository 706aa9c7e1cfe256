"""What the version of GNOME Shell tells of the Mutter in it, whoever streams that: by its own interface or a portal."""

from __future__ import annotations

import contextlib
import re
from typing import Final

from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import DesktopError

_SHELL: Final = "org.gnome.Shell"
_LOOK_LIMIT_S: Final = 3.0
_NEWER: Final = 50
_NEWER_SERVICE: Final = "org.gnome.Mutter.ColorManager"
"""What a Mutter without a shell has, as tests run it: 50 does, 48 does not."""


def shell_version(bus: SessionBus) -> str:
    """Return the version of GNOME Shell, such as "48.7"; "" where it is not there or does not say."""
    with contextlib.suppress(DesktopError):
        if bus.name_has_owner(_SHELL):
            said = bus.get_property(
                _SHELL, "/org/gnome/Shell", _SHELL, "ShellVersion", timeout_s=_LOOK_LIMIT_S
            )
            if isinstance(said, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9a-z]{1,8}){0,3}", said):
                return said
    return ""


def is_newer(bus: SessionBus) -> bool:
    """Return whether the Mutter there is of GNOME 50 or newer, by GNOME Shell's version, or without one by what it has.

    It captures every picture at a monitor's full rate, where 48 leaves out one that comes a moment before its time,
    which at equal rates is most of them; and it makes a monitor with the scale that is asked for, of which 48 knows
    nothing. Neither is told by the version of its interface, which is 4 in both; 49 was not tried.
    """
    shell = shell_version(bus)
    return int(shell.partition(".")[0]) >= _NEWER if shell else bus.name_has_owner(_NEWER_SERVICE)
