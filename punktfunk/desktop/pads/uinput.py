"""Pads by the kernel's uinput, through python-evdev (``punktfunk[gamepad]``): an Xbox 360 pad with rumble.

Programs know that pad without a driver or a mapping of their own, whichever library they use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from punktfunk.desktop.pads import OnRumble, PadState
from punktfunk.desktop.uinput import require_uinput
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.input import TRIGGERS, PadAxis, PadButtons

if TYPE_CHECKING:
    import evdev

_NAME: Final = "punktfunk pad"
_BUS_USB, _VENDOR, _PRODUCT, _VERSION = 0x03, 0x045E, 0x028E, 0x0110
"""Microsoft's Xbox 360 pad, as the kernel's xpad driver presents it."""
_MAX_EFFECTS: Final = 16
_STICK_FUZZ, _STICK_FLAT = 16, 128
_FULL: Final = 0xFFFF

_BUTTONS: Final = {
    PadButtons.A: "BTN_SOUTH",
    PadButtons.B: "BTN_EAST",
    PadButtons.X: "BTN_NORTH",  # the kernel's names follow no layout; this is where xpad has X
    PadButtons.Y: "BTN_WEST",
    PadButtons.LEFT_SHOULDER: "BTN_TL",
    PadButtons.RIGHT_SHOULDER: "BTN_TR",
    PadButtons.BACK: "BTN_SELECT",
    PadButtons.START: "BTN_START",
    PadButtons.GUIDE: "BTN_MODE",
    PadButtons.LEFT_STICK: "BTN_THUMBL",
    PadButtons.RIGHT_STICK: "BTN_THUMBR",
}
_AXES: Final = {
    PadAxis.LEFT_X: "ABS_X",
    PadAxis.LEFT_Y: "ABS_Y",
    PadAxis.RIGHT_X: "ABS_RX",
    PadAxis.RIGHT_Y: "ABS_RY",
    PadAxis.LEFT_TRIGGER: "ABS_Z",
    PadAxis.RIGHT_TRIGGER: "ABS_RZ",
}
_UPWARDS: Final = frozenset({PadAxis.LEFT_Y, PadAxis.RIGHT_Y})
"""Axes whose positive end is up on the wire and down in the kernel."""


class UinputPad:
    """One pad; see :class:`punktfunk.desktop.pads.Pad`.

    ``open_device`` is ``evdev.UInput`` or what stands in for it. Raises CapabilityError where uinput is
    unavailable.
    """

    def __init__(
        self, number: int, on_rumble: OnRumble, *, open_device: Callable[..., evdev.UInput] | None = None
    ) -> None:
        if open_device is None:
            require_uinput("gamepads")
        import evdev

        self._codes = evdev.ecodes
        self._on_rumble = on_rumble
        self._effects: dict[int, tuple[int, int]] = {}
        self._playing: set[int] = set()
        self._gain = _FULL
        self._strength = (0, 0)
        self._state = PadState()
        try:
            self._device = (open_device or evdev.UInput)(
                self._capabilities(),
                name=f"{_NAME} {number + 1}",
                vendor=_VENDOR,
                product=_PRODUCT,
                version=_VERSION,
                bustype=_BUS_USB,
                max_effects=_MAX_EFFECTS,
            )
        except (OSError, evdev.UInputError) as error:
            raise CapabilityError(f"no pad can be made: {error}", "see punktfunk doctor") from error
        self._closed = False

    def fileno(self) -> int:
        """Return the device's descriptor."""
        descriptor: int = self._device.fd
        return descriptor

    def report(self, state: PadState) -> None:
        """Send what has changed, as one report."""
        codes = self._codes
        before, self._state = self._state, state
        try:
            for bit, name in _BUTTONS.items():
                if (state.buttons ^ before.buttons) & bit:
                    self._device.write(codes.EV_KEY, codes.ecodes[name], int(bool(state.buttons & bit)))
            for axis, name in _AXES.items():
                if state.axes[axis] != before.axes[axis]:
                    value = state.axes[axis]
                    self._device.write(
                        codes.EV_ABS, codes.ecodes[name], ~value if axis in _UPWARDS else value
                    )
            for name, low, high in (
                ("ABS_HAT0X", PadButtons.LEFT, PadButtons.RIGHT),
                ("ABS_HAT0Y", PadButtons.UP, PadButtons.DOWN),
            ):
                if (value := _hat(state, low, high)) != _hat(before, low, high):
                    self._device.write(codes.EV_ABS, codes.ecodes[name], value)
            self._device.syn()
        except OSError as error:
            raise DesktopError(f"the pad is gone: {error.strerror}") from error

    def read(self) -> None:
        """Take effects in, play and stop them."""
        codes = self._codes
        try:
            for event in self._device.read():
                if event.type == codes.EV_UINPUT and event.code in (codes.UI_FF_UPLOAD, codes.UI_FF_ERASE):
                    self._answer(event)
                elif event.type == codes.EV_FF and event.code == codes.FF_GAIN:
                    self._gain = max(0, min(_FULL, event.value))
                elif event.type == codes.EV_FF:
                    (self._playing.add if event.value else self._playing.discard)(event.code)
        except BlockingIOError:
            pass
        except OSError as error:
            raise DesktopError(f"the pad is gone: {error.strerror}") from error
        self._tell()

    def close(self) -> None:
        """Unplug it."""
        if not self._closed:
            self._closed = True
            self._device.close()

    def _capabilities(self) -> dict[int, Any]:
        # Loosely typed: evdev's own type of it has no place for what an axis needs.
        from evdev import AbsInfo

        codes = self._codes
        stick = AbsInfo(0, -32768, 32767, _STICK_FUZZ, _STICK_FLAT, 0)
        trigger = AbsInfo(0, 0, 255, 0, 0, 0)
        hat = AbsInfo(0, -1, 1, 0, 0, 0)
        axes = [(codes.ecodes[name], trigger if axis in TRIGGERS else stick) for axis, name in _AXES.items()]
        axes += [(codes.ABS_HAT0X, hat), (codes.ABS_HAT0Y, hat)]
        return {
            codes.EV_KEY: [codes.ecodes[name] for name in _BUTTONS.values()],
            codes.EV_ABS: axes,
            codes.EV_FF: [codes.FF_RUMBLE, codes.FF_GAIN],
        }

    def _answer(self, request: evdev.InputEvent) -> None:
        """Take or forget an effect; a program that was killed while it asked is not there for the answer."""
        from evdev import UInputError

        with contextlib.suppress(UInputError):
            if request.code == self._codes.UI_FF_UPLOAD:
                self._take_effect(request.value)
            else:
                self._erase_effect(request.value)

    def _take_effect(self, request: int) -> None:
        upload = self._device.begin_upload(request)
        effect = upload.effect
        if effect.type == self._codes.FF_RUMBLE:
            rumble = effect.u.ff_rumble_effect
            self._effects[effect.id] = (rumble.strong_magnitude, rumble.weak_magnitude)
            upload.retval = 0
        else:
            upload.retval = -22  # EINVAL: the pad has two motors and nothing else
        self._device.end_upload(upload)

    def _erase_effect(self, request: int) -> None:
        erase = self._device.begin_erase(request)
        self._effects.pop(erase.effect_id, None)
        self._playing.discard(erase.effect_id)
        erase.retval = 0
        self._device.end_erase(erase)

    def _tell(self) -> None:
        """Report what the motors do now: the sum of all effects that play, at the gain that was set."""
        playing = [self._effects[number] for number in self._playing if number in self._effects]
        low, high = (
            min(_FULL, sum(column)) * self._gain // _FULL for column in zip((0, 0), *playing, strict=True)
        )
        if (low, high) != self._strength:
            self._strength = (low, high)
            self._on_rumble(low, high)


def _hat(state: PadState, low: PadButtons, high: PadButtons) -> int:
    return int(bool(state.buttons & high)) - int(bool(state.buttons & low))
