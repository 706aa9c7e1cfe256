"""Idle held off by the compositor itself, for wlroots sessions, which mostly have nobody on the bus to ask.

Many compositors of wlroots count a surface that is not mapped as visible, so that nothing has to be shown. sway has not
done so since 1.12, which is found out by asking it whether it is idle: there the surface is mapped, as a pixel of the
background that is transparent and takes no input. Compositors of other families want a window that can be seen, and
have a screen saver or a session manager instead.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland import connect
from punktfunk.desktop.wayland.shm import Buffers
from punktfunk.errors import CapabilityError, DesktopError

_MANAGER: Final = "zwp_idle_inhibit_manager_v1"
_WLROOTS: Final = "zwlr_virtual_pointer_manager_v1"
"""What a compositor of that family offers."""
_LAYERS: Final = "zwlr_layer_shell_v1"
_NOTIFIER: Final = "ext_idle_notifier_v1"
_IDLE_MS: Final = 1
_IDLE_TOLD_S: Final = 0.25
"""In which a compositor says that it has been idle for a millisecond, unless somebody is at its keyboard just then."""
_MAPPED_S: Final = 2.0
_BACKGROUND: Final = 0
_TOP_LEFT: Final = 1 | 4
_AS_IF_ALONE: Final = -1
"""An exclusive zone that takes no room from others, and is not moved by theirs."""
_ARGB8888: Final = 0

_REFUSAL: Final = "the compositor does not hold idle off without a window"


class IdleInhibitor:
    """Holds idle off in the session on ``display`` until it is closed, or its process or the compositor ends.

    With ``mapped`` by a surface that is mapped from the start, otherwise only where one that is not is found not to
    help. Raises CapabilityError where the compositor is of another family or has no such thing, and DesktopError for
    none.
    """

    def __init__(self, display: str, *, mapped: bool = False) -> None:
        self._connection = connect(display)
        self._pixel: _Pixel | None = None
        """The surface, where it had to be mapped."""
        try:
            self._hold(mapped=mapped)
        except BaseException:
            self._connection.close()
            raise
        self._ended, self._end = os.pipe()
        self._reader = threading.Thread(target=self._read, name="idle-inhibitor", daemon=True)
        self._reader.start()

    @property
    def holds(self) -> bool:
        """Whether idle is held off still: not once the compositor has ended, or the output of a mapped surface."""
        return self._end >= 0 and self._reader.is_alive()

    @property
    def mapped(self) -> bool:
        """Whether it took a surface that is mapped."""
        return self._pixel is not None

    def close(self) -> None:
        """Let the session go idle again. Closing twice is harmless."""
        if self._end < 0:
            return
        os.close(self._end)
        self._end = -1
        self._reader.join()
        os.close(self._ended)
        self._connection.close()

    def _hold(self, *, mapped: bool) -> None:
        offers = self._connection.offers
        if not (offers(_WLROOTS) and offers(_MANAGER)):
            raise CapabilityError(_REFUSAL)
        manager = self._connection.bind(_MANAGER, 1)
        compositor = self._connection.bind("wl_compositor", 1)
        if not mapped:
            surface = compositor.create_surface()
            inhibitor = manager.create_inhibitor(surface)
            self._connection.round_trip()
            if not self._is_idle():
                return
            inhibitor.destroy()
            surface.destroy()
        if not offers(_LAYERS):
            raise CapabilityError(_REFUSAL)
        self._pixel = _Pixel(self._connection, compositor)
        manager.create_inhibitor(self._pixel.surface)
        self._connection.round_trip()
        if self._is_idle():
            raise CapabilityError(_REFUSAL)

    def _is_idle(self) -> bool:
        """Return whether the compositor says that it is idle, although that is held off."""
        if not self._connection.offers(_NOTIFIER):
            return False
        told: list[object] = []
        seat = self._connection.bind("wl_seat", 1)
        notice = self._connection.bind(_NOTIFIER, 1).get_idle_notification(_IDLE_MS, seat)
        notice.dispatcher["idled"] = told.append
        deadline = monotonic_ns() + round(_IDLE_TOLD_S * 1e9)
        while not told and (left := deadline - monotonic_ns()) > 0:
            self._connection.dispatch(left / 1e9)
        notice.destroy()
        return bool(told)

    def _read(self) -> None:
        """Take what the compositor tells all its clients: one that does not read is thrown out in the end."""
        try:
            watched = [self._ended, self._connection.fileno()]
            while self._pixel is None or not self._pixel.closed:
                if self._ended in select.select(watched, [], [])[0]:
                    return
                self._connection.dispatch(0)
        except DesktopError:
            return  # the compositor has ended, and its idleness with it


class _Pixel:
    """A surface that is mapped and that nobody notices: one transparent pixel of the background, without input."""

    def __init__(self, connection: Any, compositor: Any) -> None:
        """Map it on an output of the compositor's choice; raise CapabilityError where it has none."""
        self.closed = False
        """Whether the compositor has taken it away, as with the output that it was on."""
        self._configured = False
        self.surface: Any = compositor.create_surface()
        nowhere = compositor.create_region()
        self.surface.set_input_region(nowhere)
        nowhere.destroy()
        layers = connection.bind(_LAYERS, 1)
        self._layer: Any = layers.get_layer_surface(self.surface, None, _BACKGROUND, "punktfunk-idle")
        self._layer.dispatcher["configure"] = self._on_configure
        self._layer.dispatcher["closed"] = self._on_closed
        self._layer.set_size(1, 1)
        self._layer.set_anchor(_TOP_LEFT)
        self._layer.set_exclusive_zone(_AS_IF_ALONE)
        self._layer.set_keyboard_interactivity(0)
        self.surface.commit()
        deadline = monotonic_ns() + round(_MAPPED_S * 1e9)
        while not (self._configured or self.closed) and (left := deadline - monotonic_ns()) > 0:
            connection.dispatch(left / 1e9)
        if self.closed or not self._configured:
            raise CapabilityError("the compositor has no output for a surface that holds idle off")
        # New memory is all zeros: transparent.
        self._buffers = Buffers(connection, 1, format_code=_ARGB8888, width=1, height=1, stride=4)
        self.surface.attach(self._buffers.proxies[0], 0, 0)
        self.surface.commit()

    def _on_configure(self, layer: Any, serial: int, _width: int, _height: int) -> None:
        layer.ack_configure(serial)
        self._configured = True

    def _on_closed(self, _layer: Any) -> None:
        self.closed = True
