"""A device of an EIS server that writes down what it is told."""

from __future__ import annotations

from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.eis_devices import Capability, Region

Told = tuple[str | int | float | bool, ...]
_POINTER = Capability.POINTER | Capability.BUTTON | Capability.SCROLL
_ABSOLUTE = Capability.ABSOLUTE | Capability.BUTTON | Capability.SCROLL


class Device:
    """Fulfils :class:`punktfunk.desktop.inject.eis_devices.EisDevice`."""

    def __init__(
        self, name: str, capabilities: Capability, *regions: Region, keymap: bytes | None = None
    ) -> None:
        self.name = name
        self.capabilities = capabilities
        self.regions = regions
        self.keymap = keymap
        self.told: list[Told] = []

    def start(self) -> None:
        self.told.append(("start",))

    def stop(self) -> None:
        self.told.append(("stop",))

    def key(self, code: int, *, down: bool) -> None:
        self.told.append(("key", code, down))

    def button(self, code: int, *, down: bool) -> None:
        self.told.append(("button", code, down))

    def move_by(self, dx: float, dy: float) -> None:
        self.told.append(("by", dx, dy))

    def move_to(self, x: float, y: float) -> None:
        self.told.append(("to", x, y))

    def scroll(self, dx: int, dy: int) -> None:
        self.told.append(("scroll", dx, dy))

    def scroll_smoothly(self, dx: float, dy: float) -> None:
        self.told.append(("smooth", dx, dy))

    def type(self, characters: str) -> None:
        self.told.append(("type", characters))

    def touch_down(self, finger: int, x: float, y: float) -> None:
        self.told.append(("down", finger, x, y))

    def touch_move(self, finger: int, x: float, y: float) -> None:
        self.told.append(("move", finger, x, y))

    def touch_up(self, finger: int, *, cancel: bool) -> None:
        self.told.append(("cancel" if cancel else "up", finger))

    def take(self) -> list[Told]:
        """Return what it was told since the last time."""
        told, self.told = self.told, []
        return told


def pointer() -> Device:
    """Return a relative pointer with buttons and a wheel, as KWin and Mutter give."""
    return Device("pointer", _POINTER)


def keyboard(keymap: bytes | None = None) -> Device:
    """Return a keyboard."""
    return Device("keyboard", Capability.KEYBOARD, keymap=keymap)


def absolute(*regions: Region) -> Device:
    """Return an absolute pointer of those regions."""
    return Device("absolute", _ABSOLUTE, *regions)


def touch(*regions: Region) -> Device:
    """Return a touch screen of those regions."""
    return Device("touch", Capability.TOUCH, *regions)


def region(x: int, y: int, width: int, height: int, mapping_id: str | None = None) -> Region:
    """Return a region of a device."""
    return Region(Rect(x, y, width, height), mapping_id)
