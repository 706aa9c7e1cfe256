"""What stands in for ``evdev.UInput`` and the kernel behind it: a touch screen, or a pen."""

from __future__ import annotations

from typing import Any

from punktfunk.desktop.touch.uinput import CONTACTS

KEYS = ("BTN_TOUCH", "BTN_TOOL_PEN", "BTN_TOOL_RUBBER", "BTN_STYLUS", "BTN_STYLUS2", "BTN_STYLUS3")


class Device:
    """The state that programs would see, held to what the device said that it has."""

    def __init__(self, capabilities: dict[int, Any], **identity: Any) -> None:
        # Not before: a machine may be without it, whose tests of this are skipped.
        from evdev import ecodes

        self._codes = ecodes
        self._key_names = {ecodes.ecodes[key]: key for key in KEYS}
        self.capabilities, self.identity = capabilities, identity
        self.keys: dict[str, int] = {}
        self.axes: dict[str, int] = {}
        self.slots: dict[int, dict[str, int]] = {}
        """Of those in use: the axes of each."""
        self.cancelled: list[int] = []
        self.reports = 0
        self.fails = self.closed = False
        self._all: list[dict[str, int]] = [{} for _ in range(CONTACTS)]
        self._slot = 0

    def write(self, kind: int, code: int, value: int) -> None:
        if self.fails:
            raise OSError(19, "No such device")
        if kind == self._codes.EV_KEY:
            assert code in self.capabilities[kind]
            self.keys[self._key_names[code]] = value
            return
        assert kind == self._codes.EV_ABS
        [info] = [info for axis, info in self.capabilities[kind] if axis == code]
        axis = self._codes.ABS[code]
        assert info.min <= value <= info.max or (axis, value) == ("ABS_MT_TRACKING_ID", -1)
        if axis == "ABS_MT_SLOT":
            self._slot = value
        elif axis == "ABS_MT_TRACKING_ID":
            if value < 0:
                del self.slots[self._slot]
            else:
                self.slots[self._slot] = self._all[self._slot]
        elif axis.startswith("ABS_MT"):
            self._all[self._slot][axis] = value
        else:
            self.axes[axis] = value

    def syn(self) -> None:
        self.reports += 1
        self.cancelled += [slot for slot, axes in self.slots.items() if axes["ABS_MT_TOOL_TYPE"] == 2]

    def close(self) -> None:
        self.closed = True

    @property
    def places(self) -> dict[int, tuple[int, int]]:
        return {n: (at["ABS_MT_POSITION_X"], at["ABS_MT_POSITION_Y"]) for n, at in self.slots.items()}

    @property
    def down(self) -> set[str]:
        return {key for key, value in self.keys.items() if value}
