"""Devices that an EIS server has given: what they can do, what is told of them, and where on them a position lands.

A server gives devices as it likes: KWin one of all outputs, Mutter one for each stream, gamescope one for everything.
Where a stream's output lies among them is told by its mapping id, or by its rectangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntFlag, auto
from typing import Final, Protocol

from punktfunk.desktop.inject import Rect
from punktfunk.input import SurfaceSize

MAX_DEVICES: Final = 64
"""Of one server at a time; further ones are ignored. Mutter gives two, and two for each stream."""
MAX_REGIONS: Final = 64
"""Of a device; further ones are ignored."""


class Capability(IntFlag):
    """What a device can do."""

    POINTER = 1
    ABSOLUTE = 2
    KEYBOARD = 4
    TOUCH = 8
    SCROLL = 16
    BUTTON = 32
    TEXT = 64


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the desktop that an absolute device reaches, in the server's logical pixels."""

    area: Rect
    mapping_id: str | None = None


class EisDevice(Protocol):
    """A device of a server. Each call sends; none waits."""

    @property
    def name(self) -> str:
        """As the server calls it, for people."""
        ...

    @property
    def capabilities(self) -> Capability:
        """All that it can do."""
        ...

    @property
    def regions(self) -> Sequence[Region]:
        """Where its positions may lie; empty for what has none."""
        ...

    @property
    def keymap(self) -> bytes | None:
        """The keymap that the server reads its keys by, as XKB's text; None where it tells none."""
        ...

    def start(self) -> None:
        """Announce input. Only for a device that is ready."""
        ...

    def stop(self) -> None:
        """Announce that no more input follows; the server lets go of what is down."""
        ...

    def key(self, code: int, *, down: bool) -> None:
        """Press or release a key, by its evdev code."""
        ...

    def button(self, code: int, *, down: bool) -> None:
        """Press or release a button, by its evdev code."""
        ...

    def move_by(self, dx: float, dy: float) -> None:
        """Move the pointer, logical pixels."""
        ...

    def move_to(self, x: float, y: float) -> None:
        """Move the pointer to a place in one of the device's regions."""
        ...

    def scroll(self, dx: int, dy: int) -> None:
        """Turn the wheel, 120 a notch, right and down positive."""
        ...

    def scroll_smoothly(self, dx: float, dy: float) -> None:
        """Scroll by a length, logical pixels, right and down positive."""
        ...

    def type(self, characters: str) -> None:
        """Type characters as such."""
        ...

    def touch_down(self, finger: int, x: float, y: float) -> None:
        """Put a finger down in one of the device's regions."""
        ...

    def touch_move(self, finger: int, x: float, y: float) -> None:
        """Move a finger that is down."""
        ...

    def touch_up(self, finger: int, *, cancel: bool) -> None:
        """Lift a finger; with ``cancel`` what it did is not to count, where the server knows that."""
        ...


class Happening(Enum):
    """What a server tells."""

    ADDED = auto()
    REMOVED = auto()
    RESUMED = auto()
    PAUSED = auto()
    MODIFIERS = auto()


@dataclass(frozen=True, slots=True)
class LockedModifiers:
    """What a server says of its keyboard beyond the keys that are down."""

    locked: int
    """Mask of the modifiers that stay, such as caps lock, by the keymap's numbers."""
    group: int
    """The layout that is used, of those of the keymap."""


@dataclass(frozen=True, slots=True)
class EisEvent:
    """Something that a server told of a device."""

    what: Happening
    device: EisDevice
    modifiers: LockedModifiers | None = None


class EisDevices:
    """The devices that are there, and those of them that may be used."""

    def __init__(self) -> None:
        self._devices: list[EisDevice] = []
        self._ready: list[EisDevice] = []
        self._mapping_id: str | None = None
        self._region: Rect | None = None

    def add(self, device: EisDevice) -> bool:
        """Note a device, which is not ready yet; ``False``: there are too many."""
        if len(self._devices) >= MAX_DEVICES:
            return False
        self._devices.append(device)
        return True

    def remove(self, device: EisDevice) -> None:
        """Forget a device."""
        self.pause(device)
        if device in self._devices:
            self._devices.remove(device)

    def resume(self, device: EisDevice) -> None:
        """Note that a device may be used."""
        if device in self._devices and device not in self._ready:
            self._ready.append(device)

    def pause(self, device: EisDevice) -> None:
        """Note that a device may not be used for now."""
        if device in self._ready:
            self._ready.remove(device)

    def aim(self, mapping_id: str | None, region: Rect | None) -> None:
        """Set where the output lies that positions count on; both ``None``: the first region that there is."""
        self._mapping_id, self._region = mapping_id, region

    @property
    def ready(self) -> Capability:
        """All that the devices that may be used can do."""
        together = Capability(0)
        for device in self._ready:
            together |= device.capabilities
        return together

    @property
    def offered(self) -> Capability:
        """All that devices can do, used or not."""
        together = Capability(0)
        for device in self._devices:
            together |= device.capabilities
        return together

    def having(self, capability: Capability, first: EisDevice | None = None) -> EisDevice | None:
        """Return a device that can do that and may be used: ``first``, or the one that came first."""
        if first is not None and first in self._ready and capability in first.capabilities:
            return first
        return next((device for device in self._ready if capability in device.capabilities), None)

    def place(
        self, capability: Capability, surface: SurfaceSize, x: int, y: int
    ) -> tuple[EisDevice, float, float] | None:
        """Return the device and the place on it of a position on ``surface``; None where the output is not there."""
        found = self._target(capability)
        if found is None:
            return None
        device, area = found
        return (
            device,
            _along(area.x, area.width, x, surface.width),
            _along(area.y, area.height, y, surface.height),
        )

    def _target(self, capability: Capability) -> tuple[EisDevice, Rect] | None:
        """Return the device and the part of it that is the output."""
        regions = [
            (device, region)
            for device in self._ready
            if capability in device.capabilities
            for region in device.regions
        ]
        if self._mapping_id is not None:
            for device, region in regions:
                if region.mapping_id == self._mapping_id:
                    return device, region.area
            if self._region is None:
                return None
        if self._region is None:
            return (regions[0][0], regions[0][1].area) if regions else None
        wanted = self._region
        for device, region in regions:
            if region.area == wanted:
                return device, region.area
        for device, region in regions:
            if region.area.contains(wanted):
                return device, wanted  # gamescope's one region is larger than any screen
        return None


def _along(start: int, length: int, position: int, size: int) -> float:
    """Return where a position of 0 to ``size`` lies on a region, whose last pixel is the farthest.

    A server takes nothing that is beyond its regions.
    """
    return start + min(max(0, min(size, position)) * length / size, length - 1)
