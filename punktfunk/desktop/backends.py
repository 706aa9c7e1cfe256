"""The desktops that can be streamed: what each needs of this machine, how it is opened, and the choice between them.

Another one is a name in ``BackendName``, a class that fulfils ``Desktop`` (:class:`AttachedDesktop` serves wlroots
alone, :class:`HeadlessDesktop`, ``session`` and ``supervisor`` a sway of our own) and an entry in :data:`BACKENDS`;
where it is captured otherwise, a kind in ``capture`` as well. The management API names compositors in
``host/management.py``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from punktfunk.desktop import BackendName, Desktop, DesktopOptions, wayland
from punktfunk.desktop.attached import AttachedDesktop, require_wlroots, session_socket
from punktfunk.desktop.audio.pipewire import require_pipewire
from punktfunk.desktop.audio.pulse import require_pulse
from punktfunk.desktop.headless_desktop import HeadlessDesktop
from punktfunk.desktop.uinput import require_uinput
from punktfunk.errors import CapabilityError, PunktfunkError


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether something can be used on this machine: ``reason`` is why it can or cannot, ``hint`` what would help."""

    name: str
    usable: bool
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of desktop. ``examine`` starts nothing, but may connect to a session that runs."""

    name: BackendName
    compositor: str
    """Which compositors it is for, as the management API names them: kwin, gamescope, mutter, wlroots."""
    title: str
    """What it is, as the doctor lists it."""
    used_by: str
    examine: Callable[[], Availability]
    open: Callable[[DesktopOptions], Desktop]
    """Raises CapabilityError where it cannot run here and DesktopError where it does not come up."""


def examine() -> list[Availability]:
    """Return for each back end whether it can run here, the preferred one first. Starts nothing."""
    return [backend.examine() for backend in BACKENDS]


def examine_parts() -> list[Availability]:
    """Return whether sound and gamepads, without which a desktop can be streamed, are available. Starts nothing."""
    return [
        _part("sound", "PipeWire and libpulse are installed", require_pipewire, require_pulse),
        _part("gamepads", "uinput can be written", lambda: require_uinput("gamepads")),
    ]


def choose(wanted: BackendName | None = None) -> tuple[Backend, Availability]:
    """Return the first back end that can run, or ``wanted`` if it can, and why.

    Raises CapabilityError with the reasons where none can.
    """
    found: list[Availability] = []
    for backend in BACKENDS:
        if wanted in (None, backend.name):
            found.append(backend.examine())
            if found[-1].usable:
                return backend, found[-1]
    raise CapabilityError(f"no desktop can be streamed here ({reasons(found)})", hint_of(found))


def reasons(found: Iterable[Availability]) -> str:
    """Return in one line why each of them can or cannot be used."""
    return "; ".join(f"{each.name}: {each.reason}" for each in found)


def hint_of(found: Iterable[Availability]) -> str:
    """Return what would help the least preferred one, which needs the least; "" for nothing."""
    return next((each.hint for each in reversed(list(found)) if each.hint), "")


def _part(name: str, reason: str, *demands: Callable[[], None]) -> Availability:
    for demand in demands:
        try:
            demand()
        except CapabilityError as error:
            return Availability(name, False, error.cause, error.hint)
    return Availability(name, True, reason)


def _examine_attached() -> Availability:
    name = BackendName.ATTACHED.value
    if not os.environ.get("WAYLAND_DISPLAY"):
        return Availability(name, False, "no Wayland session runs here", "start punktfunk from within one")
    try:
        with wayland.connect(session_socket()) as connection:
            require_wlroots(connection)
            outputs = ", ".join(output.name for output in connection.outputs) or "no output"
    except PunktfunkError as error:
        return Availability(name, False, error.cause, error.hint)
    return Availability(name, True, f"a wlroots session runs here, with {outputs}")


def _examine_headless() -> Availability:
    name = BackendName.HEADLESS.value
    if shutil.which("sway") is None:
        return Availability(name, False, "sway is not installed", "apt-get install sway")
    if importlib.util.find_spec("pywayland") is None:
        return Availability(name, False, "pywayland is not installed", "pip install 'punktfunk[desktop]'")
    try:
        from punktfunk.desktop.inject.keymap import Keyboard

        Keyboard().close()
    except CapabilityError as error:
        return Availability(name, False, error.cause, error.hint)
    missing = [what for what in ("dbus-daemon", "Xwayland") if shutil.which(what) is None]
    without = f", without {' and '.join(missing)}" if missing else ""
    return Availability(name, True, f"sway is installed{without}")


BACKENDS: Final = (
    Backend(
        BackendName.ATTACHED,
        "wlroots",
        "running wlroots session",
        "serve, in front of all else",
        _examine_attached,
        AttachedDesktop,
    ),
    Backend(
        BackendName.HEADLESS,
        "wlroots",
        "headless sway",
        "serve --source desktop where no session runs",
        _examine_headless,
        HeadlessDesktop,
    ),
)
"""In the order of preference: a running session before one of our own."""
