"""Touch and pens on a sway that reads the machine's input devices: made by uinput, and mapped to an output."""

from __future__ import annotations

import contextlib
from typing import Final

from punktfunk.desktop.touch.uinput import (
    PEN_NAME,
    PEN_PRODUCT,
    TOUCH_NAME,
    TOUCH_PRODUCT,
    VENDOR,
    UinputTouch,
)
from punktfunk.desktop.vdisplay.sway_ipc import SwayIpc
from punktfunk.errors import CapabilityError

SEEN_LIMIT_S: Final = 2.0
"""For the kernel, udev and libinput to tell sway of the devices; they take some 50 ms."""
NAMES: Final = frozenset({TOUCH_NAME, PEN_NAME})
IDENTIFIERS: Final = tuple(
    f"{VENDOR}:{product}:{name.replace(' ', '_')}"
    for name, product in ((TOUCH_NAME, TOUCH_PRODUCT), (PEN_NAME, PEN_PRODUCT))
)
"""As sway calls them in its commands."""


def open_touch(ipc_path: str | None) -> UinputTouch:
    """Make both devices and wait until sway has them.

    Raises CapabilityError where they cannot be made, or nobody reads them: a headless sway, a compositor without sway's
    socket (of which nobody could say to which output a finger belongs), and DesktopError where sway does not answer.
    Neither leaves a device behind.
    """
    if ipc_path is None:
        raise CapabilityError("only sway maps a touch screen to an output", "fingers move the pointer")
    with SwayIpc(ipc_path) as ipc, contextlib.ExitStack() as unless_seen:
        ipc.watch_inputs()
        touch = UinputTouch()
        unless_seen.callback(touch.close)
        if not ipc.has_inputs(NAMES, SEEN_LIMIT_S):
            raise CapabilityError(
                "sway does not read the machine's input devices, as one without a screen",
                "fingers move the pointer",
            )
        unless_seen.pop_all()
    return touch


def map_touch(ipc_path: str, output: str) -> None:
    """Have fingers and pen touch this output; raise DesktopError where sway refuses."""
    with SwayIpc(ipc_path) as ipc:
        for identifier in IDENTIFIERS:
            ipc.command(f'input "{identifier}" map_to_output {output}')
