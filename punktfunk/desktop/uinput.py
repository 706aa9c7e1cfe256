"""Whether this machine's kernel lets us make input devices: pads, touch screens and pens by uinput."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from punktfunk.errors import CapabilityError, PrivilegeError

NODE: Final = Path("/dev/uinput")


def require_uinput(what: str, node: Path = NODE) -> None:
    """Raise CapabilityError unless devices can be made here, with what would help; ``what`` needs them, in words."""
    try:
        import evdev  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise CapabilityError(
            f"{what} need python-evdev, which is not installed", "pip install 'punktfunk[gamepad]'"
        ) from error
    if not node.exists():
        raise CapabilityError(
            f"{what} need the kernel's uinput, and there is no {node}",
            "modprobe uinput (in a container: give it the device of the machine)",
        )
    if not os.access(node, os.R_OK | os.W_OK):
        raise PrivilegeError(
            f"{node} cannot be written by this user",
            "punktfunk service gamepads (shows the rule that lets it, and installs it as root)",
        )
