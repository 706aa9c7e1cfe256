"""A fullscreen window of plain pixels, for the test card and for whoever needs one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland.connection import Connection
from punktfunk.desktop.wayland.shm import Buffers, Pixels
from punktfunk.errors import DesktopError

_XRGB8888: Final = 1
_BUFFERS: Final = 3
_CONFIGURE_LIMIT_S: Final = 5.0
_GAMESCOPE: Final = "gamescope_control"
"""gamescope reads a buffer in shared memory once (3.16): put up again, it shows what was in it the first time."""


class Window:
    """A surface in a toplevel, fullscreen on ``output`` or where the compositor likes.

    Pictures are XRGB8888: bytes B, G, R, unused. ``show`` puts one up; ``on_frame`` is called when the
    compositor wants the next. ``closed`` is set when the window was closed from outside.
    """

    def __init__(
        self, connection: Connection, title: str, *, output: str | None = None, reuse: bool | None = None
    ) -> None:
        """Open the window and wait for its size; raise DesktopError where the compositor gives none.

        ``reuse`` puts a buffer up again and again, as most programs do, also on gamescope; None: except there.
        """
        self._connection = connection
        self._reuse = not connection.offers(_GAMESCOPE) if reuse is None else reuse
        self.closed = False
        self.on_frame: Callable[[], None] = _nothing
        # A compositor may leave the first size to the window and say its own once there is a picture.
        place = connection.output(output) if output is not None else next(iter(connection.outputs), None)
        self.width, self.height = (0, 0) if place is None else (place.width, place.height)
        """The size in pixels."""
        self._buffers: Buffers | None = None
        self._free: list[int] = []
        self._configured = False
        self._surface: Any = connection.bind("wl_compositor", 4).create_surface()
        self._base: Any = connection.bind("xdg_wm_base", 1)
        self._base.dispatcher["ping"] = _pong
        self._xdg_surface: Any = self._base.get_xdg_surface(self._surface)
        self._xdg_surface.dispatcher["configure"] = self._on_configure
        self._toplevel: Any = self._xdg_surface.get_toplevel()
        self._toplevel.dispatcher["configure"] = self._on_size
        self._toplevel.dispatcher["close"] = self._on_close
        self._toplevel.set_title(title)
        self._toplevel.set_app_id("punktfunk")
        self._toplevel.set_fullscreen(place.proxy if output is not None and place is not None else None)
        self._surface.commit()
        deadline = monotonic_ns() + round(_CONFIGURE_LIMIT_S * 1e9)
        while not (self._configured and self.width and self.height):
            left = deadline - monotonic_ns()
            if left <= 0:
                raise DesktopError("the compositor gave the window no size", "has it an output?")
            connection.dispatch(left / 1e9)

    def begin(self) -> tuple[int, Pixels] | None:
        """Return a picture to draw into, and its number for ``show``; None while all are in use."""
        if self._buffers is None:
            self._buffers = Buffers(
                self._connection,
                _BUFFERS,
                format_code=_XRGB8888,
                width=self.width,
                height=self.height,
                stride=self.width * 4,
            )
            self._free = list(range(_BUFFERS))
            for number, proxy in enumerate(self._buffers.proxies):
                self._await_release(proxy, number, self._buffers)
        if not self._free:
            return None
        number = self._free.pop(0)
        return number, self._buffers.pixels[number]

    def show(self, number: int) -> None:
        """Put the picture up, all of it changed, and ask to be told when the next one is wanted."""
        if self._buffers is None:
            raise DesktopError("show without begin")
        self._surface.frame().dispatcher["done"] = self._on_wanted
        self._surface.attach(self._buffers.proxies[number], 0, 0)
        self._surface.damage_buffer(0, 0, self.width, self.height)
        self._surface.commit()
        self._connection.flush()

    def hide_pointer(self) -> None:
        """Show no pointer over the window."""
        pointer = self._connection.bind("wl_seat", 1).get_pointer()
        pointer.dispatcher["enter"] = _without_cursor
        self._pointer: Any = pointer

    def _await_release(self, proxy: Any, number: int, owner: Buffers) -> None:
        def released(_buffer: Any) -> None:
            if owner is self._buffers:
                if not self._reuse:
                    self._await_release(owner.renew(number), number, owner)
                self._free.append(number)

        proxy.dispatcher["release"] = released

    def _on_wanted(self, callback: Any, _milliseconds: int) -> None:
        callback.destroy()
        self.on_frame()

    def _on_size(self, _toplevel: Any, width: int, height: int, _states: Any) -> None:
        if (width, height) != (self.width, self.height) and width and height:
            self.width, self.height = width, height
            self._buffers = None  # the old ones go when the compositor has let go of them

    def _on_configure(self, xdg_surface: Any, serial: int) -> None:
        xdg_surface.ack_configure(serial)
        self._configured = True

    def _on_close(self, _toplevel: Any) -> None:
        self.closed = True


def _nothing() -> None: ...


def _pong(base: Any, serial: int) -> None:
    base.pong(serial)


def _without_cursor(pointer: Any, serial: int, *_: Any) -> None:
    pointer.set_cursor(serial, None, 0, 0)
