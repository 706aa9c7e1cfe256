"""The desktops that can be streamed: what each needs of this machine, how it is opened, and the choice between them.

Another one is a name in ``BackendName``, a module with ``examine`` and a class that fulfils ``Desktop``, of a running
session on top of :class:`punktfunk.desktop.user_session.UserSession`, and an entry in :data:`BACKENDS`; where it is
captured otherwise, a kind in ``capture`` as well. The management API names compositors in
``host/management.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from punktfunk import log
from punktfunk.desktop import (
    Availability,
    BackendName,
    Desktop,
    DesktopOptions,
    gamescope,
    headless_desktop,
    kwin,
    mutter,
    wlroots,
)
from punktfunk.desktop.audio.pipewire import require_pipewire
from punktfunk.desktop.audio.pulse import require_pulse
from punktfunk.desktop.headless_desktop import HeadlessDesktop
from punktfunk.desktop.mutter import MutterDesktop
from punktfunk.desktop.portal.examine import examine as examine_portal
from punktfunk.desktop.portal.portal_desktop import PortalDesktop
from punktfunk.desktop.uinput import require_uinput
from punktfunk.desktop.wlroots import WlrootsDesktop
from punktfunk.errors import CapabilityError, DesktopError


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of desktop. ``examine`` starts nothing, but may connect to a session that runs.

    It takes the folder in which a host keeps what it was granted; None where that is forgotten.
    """

    name: BackendName
    compositor: str
    """Which compositors it is for, as the management API names them: kwin, gamescope, mutter, wlroots; "" for any."""
    title: str
    """What it is, as the doctor lists it."""
    used_by: str
    examine: Callable[[Path | None], Availability]
    open: Callable[[DesktopOptions], Desktop]
    """Raises CapabilityError where it cannot run here and DesktopError where it does not come up."""
    by_name_only: bool = False
    """Whether it is opened only where it is asked for, and never by ``auto``."""


def examine(state_dir: Path | None = None) -> list[Availability]:
    """Return for each back end whether it can run here, the preferred one first. Starts nothing.

    ``state_dir`` is where the host keeps what it was granted, if that is kept.
    """
    return [backend.examine(state_dir) for backend in BACKENDS]


def examine_parts() -> list[Availability]:
    """Return whether sound and gamepads, without which a desktop can be streamed, are available. Starts nothing."""
    return [
        _part("sound", "PipeWire and libpulse are installed", require_pipewire, require_pulse),
        _part("gamepads", "uinput can be written", lambda: require_uinput("gamepads")),
    ]


def choose(wanted: BackendName | None = None, state_dir: Path | None = None) -> tuple[Backend, Availability]:
    """Return the first back end that seems able to run, or ``wanted`` if it does, and why. Starts nothing.

    ``state_dir`` as of :func:`examine`. Raises CapabilityError with the reasons where none does.
    """
    found: list[Availability] = []
    for backend in _candidates(wanted):
        found.append(backend.examine(state_dir))
        if found[-1].usable:
            return backend, found[-1]
    kind = CapabilityError if wanted is None else found[-1].refusal
    raise kind(f"no desktop can be streamed here ({reasons(found)})", hint_of(found))


@dataclass(frozen=True, slots=True)
class Opened:
    """A desktop that runs, what it is one of, and why it is this one."""

    desktop: Desktop
    backend: Backend
    reason: str


def open_desktop(options: DesktopOptions, wanted: BackendName | None = None) -> Opened:
    """Open ``wanted``, or the first desktop that can be: one that looked able to run and does not is passed over.

    Raises what the opening of ``wanted`` has raised; otherwise CapabilityError with the reasons where none looked able
    to run, and DesktopError where some did and none came up.
    """
    logger = log.get("desktop")
    found: list[Availability] = []
    failed = False
    for backend in _candidates(wanted):
        seen = backend.examine(options.state_dir)
        if seen.usable:
            try:
                return Opened(backend.open(options), backend, seen.reason)
            except (CapabilityError, DesktopError) as error:
                if wanted is not None:
                    raise
                logger.warning("desktop not opened", desktop=seen.name, cause=error.cause, hint=error.hint)
                seen, failed = Availability(seen.name, False, error.cause, error.hint), True
        else:
            logger.info("desktop not taken", desktop=seen.name, cause=seen.reason)
        found.append(seen)
    kind = DesktopError if failed else CapabilityError if wanted is None else found[-1].refusal
    raise kind(f"no desktop can be streamed here ({reasons(found)})", hint_of(found))


def _candidates(wanted: BackendName | None) -> list[Backend]:
    """Return what may be opened, in the order in which it is tried; raise CapabilityError for what there is not."""
    found = [each for each in BACKENDS if wanted is each.name or (wanted is None and not each.by_name_only)]
    if not found:
        raise CapabilityError(f"this version cannot stream {wanted}", "leave --desktop out")
    return found


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


def _whatever_is_kept(examine: Callable[[], Availability]) -> Callable[[Path | None], Availability]:
    """Return the examination of a desktop of which a host keeps nothing."""
    return lambda _state_dir: examine()


BACKENDS: Final = (
    Backend(
        BackendName.KWIN,
        "kwin",
        "running KDE Plasma session",
        "serve --desktop kwin, and auto where one runs and lets punktfunk capture",
        _whatever_is_kept(kwin.examine),
        kwin.KWinDesktop,
    ),
    Backend(
        BackendName.MUTTER,
        "mutter",
        "running GNOME session",
        "serve --desktop mutter, and auto where one runs",
        _whatever_is_kept(mutter.examine),
        MutterDesktop,
    ),
    Backend(
        BackendName.WLROOTS,
        "wlroots",
        "running wlroots session",
        "serve --desktop wlroots, and auto where one runs",
        _whatever_is_kept(wlroots.examine),
        WlrootsDesktop,
    ),
    Backend(
        BackendName.PORTAL,
        "",
        "running session by its portal",
        "serve --desktop portal, and auto where a session can be streamed in no other way",
        examine_portal,
        PortalDesktop,
    ),
    Backend(
        BackendName.HEADLESS_SWAY,
        "wlroots",
        "headless sway",
        "serve --desktop headless-sway, and auto where no session can be streamed",
        _whatever_is_kept(headless_desktop.examine),
        HeadlessDesktop,
    ),
    Backend(
        BackendName.GAMESCOPE,
        "gamescope",
        "gamescope",
        "serve --desktop gamescope, and apps that ask for one",
        _whatever_is_kept(gamescope.examine),
        gamescope.GamescopeDesktop,
        by_name_only=True,
    ),
)
"""In the order in which ``auto`` tries them, which is that of :class:`BackendName`: a running session by what its
compositor itself offers, by the portal otherwise, and then one of our own. gamescope is no desktop that a person would
look for: it shows one program."""
