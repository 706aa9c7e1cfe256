"""Settings of outputs that KWin made for us: scale, and another size or rate in place, where it takes modes of our own.

KWin makes an output at 60 Hz and the scale that it remembers. A mode of our own is what gives it another rate, and
another size without it going and coming again, which would move all windows off it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland.connection import Connection
from punktfunk.desktop.wayland.kde import DEVICE, DEVICES, MANAGEMENT
from punktfunk.errors import CapabilityError
from punktfunk.printable import MAX_PEER_CHARACTERS, printable
from punktfunk.units import Mode

_CUSTOM_SINCE: Final = 18
_DEVICE_VERSION: Final = 23
_APPLY_LIMIT_S: Final = 5.0
_MHZ: Final = 1000
_NEAR_MHZ: Final = 1000
"""A mode is made by the rules of monitors, whose clocks come in steps: 74.91 Hz for 75."""
_REDUCED_BLANKING: Final = 1


def set_mode(connection: Connection, output: str, mode: Mode) -> None:
    """Give an output that size, exactly, and about that rate.

    ``connection`` is used for this alone. Raises CapabilityError where KWin has no such modes, or does not make this
    one; the output stays as it was then.
    """
    if connection.version_of(MANAGEMENT) < _CUSTOM_SINCE:
        raise CapabilityError("this KWin takes no modes of our own (6.3 does not, 6.7 does)", "")
    devices = _Devices(connection)
    device = devices.of_name(output)
    found = device.mode(mode)
    if found is None:
        devices.add_mode(device, mode)
        found = device.mode(mode)
    if found is None:
        raise CapabilityError(f"KWin made no mode {mode} for {output}", "")
    devices.apply(lambda configuration: configuration.mode(device.proxy, found.proxy))


def set_scale(connection: Connection, output: str, scale: float) -> None:
    """Have an output draw things larger by ``scale``; raise CapabilityError where KWin refuses.

    ``connection`` is used for this alone.
    """
    devices = _Devices(connection)
    device = devices.of_name(output)
    devices.apply(lambda configuration: configuration.scale(device.proxy, float(scale)))


class _DeviceMode:
    """A mode that a device has."""

    def __init__(self, proxy: Any) -> None:
        self.proxy: Any = proxy
        self.size = (0, 0)
        self.refresh_mhz = 0
        self.removed = False
        proxy.dispatcher["size"] = self._on_size
        proxy.dispatcher["refresh"] = self._on_refresh
        proxy.dispatcher["removed"] = self._on_removed

    def away(self, wanted: Mode) -> int:
        """Return how far its rate is from the wanted one, mHz."""
        return abs(self.refresh_mhz - wanted.refresh_hz * _MHZ)

    def _on_size(self, _proxy: Any, width: int, height: int) -> None:
        self.size = (width, height)

    def _on_refresh(self, _proxy: Any, refresh_mhz: int) -> None:
        self.refresh_mhz = refresh_mhz

    def _on_removed(self, _proxy: Any) -> None:
        self.removed = True


class _Device:
    """An output as KWin's settings know it."""

    def __init__(self, connection: Connection, proxy: Any) -> None:
        self._connection = connection
        self.proxy: Any = proxy
        self.name = ""
        self.modes: list[_DeviceMode] = []
        proxy.dispatcher["name"] = self._on_name
        proxy.dispatcher["mode"] = self._on_mode

    def mode(self, wanted: Mode) -> _DeviceMode | None:
        """Return the mode of that size whose rate is nearest; None where none is near."""
        size = (wanted.width, wanted.height)
        same = [each for each in self.modes if each.size == size and not each.removed]
        best = min(same, key=lambda each: each.away(wanted), default=None)
        return best if best is not None and best.away(wanted) <= _NEAR_MHZ else None

    def _on_name(self, _proxy: Any, name: str) -> None:
        self.name = name

    def _on_mode(self, _proxy: Any, mode: Any) -> None:
        self.modes.append(_DeviceMode(self._connection.adopt(mode)))


class _Devices:
    """All outputs as KWin's settings know them, and changes of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        newest = min(_CUSTOM_SINCE, connection.version_of(MANAGEMENT))
        self._management: Any = connection.bind(MANAGEMENT, max(1, newest))
        proxies = connection.bind_all(DEVICE, _DEVICE_VERSION)
        self._devices = [_Device(connection, proxy) for proxy in proxies]
        self._registries = connection.bind_all(DEVICES, _DEVICE_VERSION)
        for registry in self._registries:
            registry.dispatcher["output"] = self._on_output
            connection.round_trip()
        connection.round_trip()

    def of_name(self, name: str) -> _Device:
        """Return the output of that name; raise CapabilityError where there is none."""
        for device in self._devices:
            if device.name == name:
                return device
        raise CapabilityError(f"KWin's settings know no output {name}", "")

    def add_mode(self, device: _Device, mode: Mode) -> None:
        """Have a mode made beside those that the device has, instead of the one that was made last."""
        modes = self._management.create_mode_list()
        modes.set_resolution(mode.width, mode.height)
        modes.set_refresh_rate(mode.refresh_hz * _MHZ)
        modes.set_reduced_blanking(_REDUCED_BLANKING)
        modes.add_mode()
        self.apply(lambda configuration: configuration.set_custom_modes(device.proxy, modes))
        modes.destroy()
        self._connection.round_trip()  # to have the new mode described

    def apply(self, change: Callable[[Any], None]) -> None:
        """Have a change made; raise CapabilityError with KWin's words where it refuses."""
        applied: list[bool] = []
        reasons: list[str] = []
        configuration = self._management.create_configuration()
        configuration.dispatcher["applied"] = lambda *_: applied.append(True)
        configuration.dispatcher["failed"] = lambda *_: applied.append(False)
        configuration.dispatcher["failure_reason"] = lambda _proxy, reason: reasons.append(reason)
        change(configuration)
        configuration.apply()
        deadline = monotonic_ns() + round(_APPLY_LIMIT_S * 1e9)
        while not applied:
            left = (deadline - monotonic_ns()) / 1e9
            if left <= 0:
                break
            self._connection.dispatch(left)
        configuration.destroy()
        if not (applied and applied[0]):
            words = printable(reasons[0], MAX_PEER_CHARACTERS) if reasons else "it does not say why"
            raise CapabilityError(f"KWin does not change its output: {words}", "")

    def _on_output(self, _registry: Any, output: Any) -> None:
        self._devices.append(_Device(self._connection, self._connection.adopt(output)))
