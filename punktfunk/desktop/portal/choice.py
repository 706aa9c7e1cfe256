"""What to ask a portal for, by what it says that it offers. Bits and versions are those of its D-Bus interfaces."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from punktfunk.errors import CapabilityError

_EIS_VERSION: Final = 2
"""RemoteDesktop gives a socket of EIS, and keeps what was granted, from here on."""
_KEEPING_SCREEN_CAST_VERSION: Final = 4
"""ScreenCast alone keeps what was granted from here on."""


class Sources(IntFlag):
    """What pictures may be of: ``AvailableSourceTypes``, ``types`` and ``source_type``."""

    MONITOR = 1
    WINDOW = 2
    VIRTUAL = 4
    """A monitor that is made for the stream, of the size that its reader asks for."""


class Cursors(IntFlag):
    """How the pointer is shown: ``AvailableCursorModes`` and ``cursor_mode``."""

    HIDDEN = 1
    EMBEDDED = 2
    METADATA = 4


class Devices(IntFlag):
    """What input may be of: ``AvailableDeviceTypes``, ``types`` and ``devices``."""

    KEYBOARD = 1
    POINTER = 2
    TOUCH = 4


ALL_DEVICES: Final = Devices.KEYBOARD | Devices.POINTER | Devices.TOUCH


@dataclass(frozen=True, slots=True)
class Offer:
    """What a portal says of itself; version 0 is an interface that it does not have."""

    screen_cast: int
    remote_desktop: int
    sources: int
    cursors: int
    devices: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    sources: Sources
    cursor: Cursors
    devices: Devices
    """None at all: pictures without input."""
    has_eis: bool
    keeps: bool
    """A token can be had by which the same is granted again without a question."""

    @property
    def kind(self) -> str:
        """The kind of session, which a token is for."""
        return "remote-desktop" if self.devices else "screen-cast"


def plan(offer: Offer, *, separate_cursor: bool = False) -> Plan:
    """Return what to ask for.

    A monitor or one made for the stream, whichever the user then chooses; the pointer painted into the pictures or,
    with ``separate_cursor``, told beside them, as far as that is offered; every device. Raises CapabilityError where
    there are no pictures.
    """
    sources = Sources(offer.sources & (Sources.MONITOR | Sources.VIRTUAL))
    if not offer.screen_cast or not sources:
        raise CapabilityError(
            "the desktop's portal shows no screen"
            if offer.screen_cast
            else "the desktop's portal has no ScreenCast",
            "install the part of xdg-desktop-portal for this desktop: -gnome, -kde, -wlr or -hyprland",
        )
    devices = Devices(offer.devices & ALL_DEVICES) if offer.remote_desktop else Devices(0)
    return Plan(
        sources=sources,
        cursor=_cursor(offer, separate_cursor=separate_cursor),
        devices=devices,
        has_eis=bool(devices) and offer.remote_desktop >= _EIS_VERSION,
        keeps=offer.remote_desktop >= _EIS_VERSION
        if devices
        else offer.screen_cast >= _KEEPING_SCREEN_CAST_VERSION,
    )


def _cursor(offer: Offer, *, separate_cursor: bool) -> Cursors:
    wishes = (Cursors.EMBEDDED, Cursors.METADATA)
    for wanted in reversed(wishes) if separate_cursor else wishes:
        if offer.cursors & wanted:
            return wanted
    return Cursors.HIDDEN
