"""A window that is shown for a moment, so that gamescope gives a picture of what it shows before and after it.

gamescope gives its consumers a picture when another window is shown, or the one that is shown has drawn: a program that
stands still is never seen by who comes later.
"""

from __future__ import annotations

from typing import Final

from punktfunk import log
from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland import connect
from punktfunk.errors import CapabilityError, DesktopError

_SHOWN_S: Final = 0.3
"""The longest that it is shown; 30 ms are enough where the machine has time."""


def provoke(display: str) -> None:
    """Show a black window at a Wayland socket until it was on the screen; what fails is logged."""
    try:
        with connect(display) as connection:
            from punktfunk.desktop.wayland.window import Window

            shown: list[bool] = []
            window = Window(connection, "punktfunk")
            window.on_frame = lambda: shown.append(True)
            begun = window.begin()
            if begun is None:
                return
            number, pixels = begun
            pixels[:] = 0
            window.show(number)
            deadline = monotonic_ns() + round(_SHOWN_S * 1e9)
            while not shown and (left := deadline - monotonic_ns()) > 0:
                connection.dispatch(left / 1e9)
    except (CapabilityError, DesktopError) as error:
        log.get("desktop").warning("no picture was provoked", cause=error.cause)
