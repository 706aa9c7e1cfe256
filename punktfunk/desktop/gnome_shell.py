"""What the version of GNOME Shell tells of the Mutter in it, whoever streams that: by its own interface or a portal."""

from __future__ import annotations

import contextlib
import re
from typing import Final

from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import DesktopError

_SHELL: Final = "org.gnome.Shell"
_LOOK_LIMIT_S: Final = 3.0
_FULL_RATE_SINCE: Final = 50
"""Of GNOME; 49 was not tried."""


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


def halves_rates(shell: str) -> bool:
    """Return whether that GNOME Shell's Mutter captures only every second picture at a monitor's full rate.

    48 leaves a picture out that comes a moment before its time, which at equal rates is most of them; 50 does not. Of
    a Mutter without a shell nothing is known, and asking for too much costs it CPU where too little costs pictures.
    """
    return not shell or int(shell.partition(".")[0]) < _FULL_RATE_SINCE
