"""A connection to an EIS server by libei, through python-libei: the one file that knows either.

libei is not safe for two threads at once: whoever uses a link holds a lock around all of it. Its objects are
released here in order, devices before their connection, for a device reads its connection when it goes.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

from punktfunk import log
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.eis_devices import MAX_REGIONS, Capability, EisDevice, Region
from punktfunk.errors import CapabilityError, DesktopError

if TYPE_CHECKING:
    from libei import ei

MAX_KEYMAP_BYTES: Final = 1 << 20
"""A keymap is some 60 kB long."""
MAX_SEATS: Final = 8
"""Of one server; further ones are ignored."""
_NEEDS_LIBEI: Final = "apt-get install libei1 (Debian 13 and later; libei on Fedora and Arch)"


class Happening(Enum):
    """What a server tells."""

    ADDED = auto()
    REMOVED = auto()
    RESUMED = auto()
    PAUSED = auto()
    MODIFIERS = auto()
    GONE = auto()
    """The connection has ended; nothing more happens."""


@dataclass(frozen=True, slots=True)
class LockedModifiers:
    """What a server says of its keyboard beyond the keys that are down."""

    locked: int
    """Mask of the modifiers that stay, such as caps lock, by the keymap's numbers."""
    group: int
    """The layout that is used, of those of the keymap."""


@dataclass(frozen=True, slots=True)
class EisEvent:
    """Something that a server told; of a device, but for ``GONE``."""

    what: Happening
    device: EisDevice | None = None
    modifiers: LockedModifiers | None = None


class EisLink(Protocol):
    """A connection to an EIS server, which it owns."""

    @property
    def descriptor(self) -> int:
        """Readable when there are events."""
        ...

    @property
    def bound(self) -> Capability:
        """What devices were asked for; none before the server has offered any."""
        ...

    def events(self, most: int) -> list[EisEvent]:
        """Read what the server told, without waiting, and return up to ``most`` events of it.

        As long as it returns that many there may be more.
        """
        ...

    def close(self) -> None:
        """Disconnect. Closing twice is harmless."""
        ...


def require_libei() -> None:
    """Raise CapabilityError unless input by libei is possible."""
    try:
        from libei import ei
    except ImportError as error:
        raise CapabilityError(
            f"input on this desktop needs python-libei, which cannot be imported: {error}",
            "pip install 'punktfunk[desktop]'",
        ) from error
    if not ei.is_available():
        raise CapabilityError("input on this desktop needs libei, which is not installed", _NEEDS_LIBEI)


class LibeiLink:
    """Fulfils :class:`EisLink`. Binds one seat: the first that there is."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Speak over a connected socket, which the link owns from now on, whether this raises or not.

        Raises CapabilityError without libei and DesktopError where the socket is none.
        """
        try:
            require_libei()
        except CapabilityError:
            os.close(descriptor)
            raise
        from libei import ei

        self._kinds = ei.EventType
        self._happenings: dict[int, Happening] = {
            ei.EventType.DEVICE_ADDED: Happening.ADDED,
            ei.EventType.DEVICE_REMOVED: Happening.REMOVED,
            ei.EventType.DEVICE_RESUMED: Happening.RESUMED,
            ei.EventType.DEVICE_PAUSED: Happening.PAUSED,
            ei.EventType.KEYBOARD_MODIFIERS: Happening.MODIFIERS,
        }
        _quieten()
        self._context: ei.Sender | None = None
        self._seats: list[ei.Seat] = []
        self._bound = Capability(0)
        self._devices: dict[ei.Device, LibeiDevice] = {}
        self._removed: list[LibeiDevice] = []
        """What the server has taken away and whoever asks for events may still hold, until the next time."""
        try:
            self._context = ei.Sender.create_for_fd(descriptor, name)
        except ei.Error as error:
            raise DesktopError(f"the input connection of the desktop cannot be used: {error}") from error

    @property
    def descriptor(self) -> int:
        """Readable when there are events."""
        return self._open.fd

    @property
    def bound(self) -> Capability:
        """What devices were asked for."""
        return self._bound

    def events(self, most: int) -> list[EisEvent]:
        """Read what the server told, without waiting; at most ``most`` events of it."""
        found: list[EisEvent] = []
        self._release_removed()
        self._open.dispatch()
        for event in self._open.events:
            if (told := self._told(event)) is not None:
                found.append(told)
            if len(found) >= most:
                break
        return found

    def close(self) -> None:
        """Disconnect, and release all that libei gave."""
        context, self._context = self._context, None
        if context is None:
            return
        self._release_removed()
        for device in self._devices.values():
            device.release()
        self._devices.clear()
        for seat in self._seats:
            seat.release()
        self._seats.clear()
        context.release()

    @property
    def _open(self) -> ei.Sender:
        if self._context is None:
            raise DesktopError("the input connection of the desktop is closed")
        return self._context

    def _told(self, event: ei.Event) -> EisEvent | None:
        if event.event_type == self._kinds.DISCONNECT:
            return EisEvent(Happening.GONE)
        if event.device is not None:
            return self._told_of_device(event, event.device)
        if event.seat is not None:
            self._told_of_seat(event, event.seat)
        return None

    def _told_of_seat(self, event: ei.Event, seat: ei.Seat) -> None:
        if event.event_type == self._kinds.SEAT_ADDED and len(self._seats) < MAX_SEATS:
            self._seats.append(seat)
        elif event.event_type == self._kinds.SEAT_REMOVED and seat in self._seats:
            if seat == self._seats[0]:
                self._bound = Capability(0)
            self._seats.remove(seat)
        self._bind_first()

    def _told_of_device(self, event: ei.Event, device: ei.Device) -> EisEvent | None:
        kind = event.event_type
        if kind == self._kinds.DEVICE_ADDED:
            self._devices[device] = LibeiDevice(device)
        known = self._devices.get(device)
        what = self._happenings.get(kind)
        if known is None or what is None:
            return None
        if what is Happening.REMOVED:
            self._removed.append(self._devices.pop(device))
        if what is Happening.MODIFIERS:
            mods = event.keyboard_xkb_modifiers
            # What is latched counts for the next key as what is locked does.
            return EisEvent(what, known, LockedModifiers(mods.locked | mods.latched, mods.group))
        return EisEvent(what, known)

    def _release_removed(self) -> None:
        for device in self._removed:
            device.release()
        self._removed.clear()

    def _bind_first(self) -> None:
        if not self._seats or self._bound:
            return
        offered = self._seats[0].capabilities
        wanted = tuple(each for each in offered if each.value in _KNOWN)
        for each in wanted:
            self._bound |= Capability(each.value)
        if wanted:
            self._seats[0].bind(wanted)


_KNOWN: Final = frozenset(int(each) for each in Capability)


class LibeiDevice:
    """Fulfils :class:`EisDevice`."""

    def __init__(self, device: ei.Device) -> None:
        self._device = device
        self._fingers: dict[int, ei.Touch] = {}
        self.name = ""
        with contextlib.suppress(UnicodeDecodeError, AttributeError):
            self.name = device.name  # which a server need not give, nor as text
        self.capabilities = Capability(0)
        for each in device.capabilities:
            if each.value in _KNOWN:
                self.capabilities |= Capability(each.value)
        self.regions = _regions(device)
        self.keymap = _keymap(device) if Capability.KEYBOARD in self.capabilities else None

    def start(self) -> None:
        """Announce input."""
        self._device.start_emulating()

    def stop(self) -> None:
        """Announce that no more input follows."""
        self._device.stop_emulating()

    def key(self, code: int, *, down: bool) -> None:
        """Press or release a key."""
        self._device.keyboard_key(code, down).frame()

    def button(self, code: int, *, down: bool) -> None:
        """Press or release a button."""
        self._device.button(code, down).frame()

    def move_by(self, dx: float, dy: float) -> None:
        """Move the pointer."""
        self._device.pointer_motion(dx, dy).frame()

    def move_to(self, x: float, y: float) -> None:
        """Move the pointer to a place."""
        self._device.pointer_motion_absolute(x, y).frame()

    def scroll(self, dx: int, dy: int) -> None:
        """Turn the wheel."""
        self._device.scroll_discrete(dx, dy).frame()

    def scroll_smoothly(self, dx: float, dy: float) -> None:
        """Scroll by a length."""
        self._device.scroll_delta(dx, dy).frame()

    def type(self, text: str) -> None:
        """Type characters as such."""
        self._device.text_utf8(text).frame()

    def touch_down(self, finger: int, x: float, y: float) -> None:
        """Put a finger down."""
        touch = self._fingers[finger] = self._device.touch_new()
        touch.down(x, y)
        self._device.frame()

    def touch_move(self, finger: int, x: float, y: float) -> None:
        """Move a finger."""
        self._fingers[finger].motion(x, y)
        self._device.frame()

    def touch_up(self, finger: int, *, cancel: bool) -> None:
        """Lift a finger; libei before 1.4 knows no cancelling."""
        from libei import ei

        touch = self._fingers.pop(finger)
        try:
            if cancel:
                touch.cancel()
            else:
                touch.up()
        except ei.LibraryNotFoundError:
            touch.up()
        self._device.frame()
        touch.release()

    def release(self) -> None:
        """Give all back to libei. Nothing else may be called then."""
        for touch in self._fingers.values():
            touch.release()
        self._fingers.clear()
        self._device.release()


def _regions(device: ei.Device) -> tuple[Region, ...]:
    regions: list[Region] = []
    for region in device.regions[:MAX_REGIONS]:
        (x, y), (width, height) = region.position, region.dimension
        if width <= 0 or height <= 0:
            continue
        mapping_id = None
        with contextlib.suppress(UnicodeDecodeError):
            mapping_id = region.mapping_id
        regions.append(Region(Rect(x, y, width, height), mapping_id))
    return tuple(regions)


def _keymap(device: ei.Device) -> bytes | None:
    """Return the server's keymap, without its terminating zero.

    It is read and not mapped: a file that becomes shorter would end this process.
    """
    keymap = device.keymap
    if keymap is None:
        return None
    if not 0 < keymap.size <= MAX_KEYMAP_BYTES:
        log.get("desktop").warning("the desktop's keymap has no size that could be", bytes=keymap.size)
        return None
    try:
        with keymap.fd as file:
            return os.pread(file.fileno(), keymap.size, 0).rstrip(b"\0") or None
    except OSError as error:
        log.get("desktop").warning("the desktop's keymap cannot be read", cause=str(error))
        return None


def _quieten() -> None:
    """Keep libei's lines, which python-libei hands to the standard library's logging, off standard error."""
    import logging

    logger = logging.getLogger("libei.ei")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
