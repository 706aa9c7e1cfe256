"""Which desktop can be streamed on this machine, which cannot and why, and the choice between them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from punktfunk.desktop import Desktop, wayland
from punktfunk.desktop.attached import AttachedDesktop, require_wlroots, session_socket
from punktfunk.desktop.audio.pipewire import require_pipewire
from punktfunk.desktop.audio.pulse import require_pulse
from punktfunk.desktop.pads.uinput import require_uinput
from punktfunk.desktop.session import DesktopSession, SessionOptions
from punktfunk.errors import CapabilityError, PunktfunkError


class BackendName(StrEnum):
    """The desktops that can be asked for."""

    ATTACHED = "attached"
    """The wlroots session that punktfunk was started in."""
    HEADLESS = "headless"
    """A sway of its own without a screen."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the machine says to a back end; ``reason`` is why it can or cannot, ``hint`` what would help."""

    name: BackendName
    usable: bool
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What the machine says to a part that a desktop is streamed without where it is missing."""

    name: str
    usable: bool
    reason: str
    hint: str = ""


def examine_parts() -> list[Part]:
    """Return whether sound and gamepads are available here. Starts nothing."""
    return [
        _part("sound", "PipeWire and libpulse are installed", require_pipewire, require_pulse),
        _part("gamepads", "uinput can be written", require_uinput),
    ]


def examine() -> list[Finding]:
    """Return for each back end whether it can run here. Starts nothing; connects to a session that runs."""
    return [_examine_attached(), _examine_headless()]


def choose() -> Finding | None:
    """Return the first back end that can run: a running session before one of our own; None for neither."""
    return next((finding for finding in examine() if finding.usable), None)


def open_desktop(
    name: BackendName,
    options: SessionOptions | None = None,
    *,
    on_end: Callable[[PunktfunkError], None] | None = None,
) -> Desktop:
    """Open a desktop; ``on_end`` is called when a headless one ends by itself.

    Raises CapabilityError where it cannot run here and DesktopError where it does not come up.
    """
    given = options or SessionOptions()
    if name is BackendName.ATTACHED:
        return AttachedDesktop(keyboard_layout=given.keyboard_layout, keyboard_variant=given.keyboard_variant)
    return DesktopSession(given, on_end=on_end)


def _part(name: str, reason: str, *demands: Callable[[], None]) -> Part:
    for demand in demands:
        try:
            demand()
        except CapabilityError as error:
            return Part(name, False, error.cause, error.hint)
    return Part(name, True, reason)


def _examine_attached() -> Finding:
    name = BackendName.ATTACHED
    if not os.environ.get("WAYLAND_DISPLAY"):
        return Finding(name, False, "no Wayland session runs here", "start punktfunk from within one")
    try:
        with wayland.connect(session_socket()) as connection:
            require_wlroots(connection)
            outputs = ", ".join(output.name for output in connection.outputs) or "no output"
    except PunktfunkError as error:
        return Finding(name, False, error.cause, error.hint)
    return Finding(name, True, f"a wlroots session runs here, with {outputs}")


def _examine_headless() -> Finding:
    name = BackendName.HEADLESS
    if shutil.which("sway") is None:
        return Finding(name, False, "sway is not installed", "apt-get install sway")
    if importlib.util.find_spec("pywayland") is None:
        return Finding(name, False, "pywayland is not installed", "pip install 'punktfunk[desktop]'")
    try:
        from punktfunk.desktop.inject.keymap import Keyboard

        Keyboard().close()
    except CapabilityError as error:
        return Finding(name, False, error.cause, error.hint)
    missing = [what for what in ("dbus-daemon", "Xwayland") if shutil.which(what) is None]
    without = f", without {' and '.join(missing)}" if missing else ""
    return Finding(name, True, f"sway is installed{without}")
