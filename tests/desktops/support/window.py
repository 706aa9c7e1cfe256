"""A program of a desktop's user: shows frame markers fullscreen, and tells what reaches it, one JSON object a line.

    python window.py [--output NAME|newest] [--rate FPS] [--seconds N] [--reuse] [--pointers SPEC[,SPEC…]]

Every picture carries its number and the time of its drawing (``punktfunk.media.frame_marker``) over a band that moves.
It is drawn as soon as the compositor asks for the next one, or ``--rate`` times a second; ``--rate 0`` draws once.
Over the window there is no pointer, or those of ``--pointers``, each ``WIDTHxHEIGHT+HOTX+HOTY+RRGGBBAA`` (alpha not
premultiplied), one after another with each click.
Events have ``at_ns`` (CLOCK_MONOTONIC); keys come with the text that the keyboard's own keymap makes of them.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import signal
import sys
from ctypes import CDLL, c_char_p, c_int, c_size_t, c_uint32, c_void_p, create_string_buffer
from typing import Any, Final

import numpy as np

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland import connect
from punktfunk.desktop.wayland.connection import Connection
from punktfunk.desktop.wayland.shm import Buffers
from punktfunk.desktop.wayland.window import Window
from punktfunk.errors import DesktopError
from punktfunk.media import frame_marker
from punktfunk.media.marker_layout import layout

_BAND: Final = 64
_GROUND, _LIGHT = 0x50, 0xB0
_SEAT_VERSION: Final = 8
"""From which on a wheel is told in parts of a notch; KWin keeps them back from a program of an older one."""
_X_OFFSET: Final = 8
_ARGB8888: Final = 0
_PRESSED: Final = 1
_CAPABILITIES: Final = {"pointer": 1, "keyboard": 2, "touch": 4}
_EVENTS: Final = {
    "pointer": ("motion", "button", "axis", "axis_source", "axis_value120", "axis_stop"),
    "touch": ("down", "up", "motion", "cancel"),
}


def tell(event: str, **fields: Any) -> None:
    """Print one event."""
    print(json.dumps({"event": event, "at_ns": monotonic_ns(), **fields}), flush=True)


class Typing:
    """What the keyboard's keymap makes of keys and modifiers, by libxkbcommon."""

    def __init__(self, keymap: bytes) -> None:
        library = CDLL("libxkbcommon.so.0")
        for name in ("xkb_context_new", "xkb_keymap_new_from_string", "xkb_state_new"):
            getattr(library, name).restype = c_void_p
        library.xkb_keymap_new_from_string.argtypes = [c_void_p, c_char_p, c_int, c_int]
        library.xkb_state_new.argtypes = [c_void_p]
        library.xkb_state_update_mask.argtypes = [c_void_p, *[c_uint32] * 6]
        library.xkb_state_key_get_utf8.argtypes = [c_void_p, c_uint32, c_char_p, c_size_t]
        self._library = library
        self._state = library.xkb_state_new(
            library.xkb_keymap_new_from_string(library.xkb_context_new(0), keymap, 1, 0)
        )

    def modify(self, depressed: int, latched: int, locked: int, group: int) -> None:
        self._library.xkb_state_update_mask(self._state, depressed, latched, locked, 0, 0, group)

    def text(self, key: int) -> str:
        room = create_string_buffer(16)
        self._library.xkb_state_key_get_utf8(self._state, key + _X_OFFSET, room, len(room))
        return room.value.decode()


class Pointers:
    """What the pointer looks like over the window: nothing, or of one colour, another with each click."""

    def __init__(self, connection: Connection, specs: str) -> None:
        self._drawn: list[tuple[Any, tuple[int, int], Buffers]] = []
        self._looks = 0
        for spec in filter(None, specs.split(",")):
            size, hot_x, hot_y, colour = spec.split("+")
            width, height = (int(side) for side in size.split("x"))
            buffers = Buffers(
                connection, 1, format_code=_ARGB8888, width=width, height=height, stride=width * 4
            )
            *colours, alpha = bytes.fromhex(colour)
            blue_green_red = [value * alpha // 255 for value in reversed(colours)]
            buffers.pixels[0][...] = (*blue_green_red, alpha)
            surface = connection.bind("wl_compositor", 4).create_surface()
            surface.attach(buffers.proxies[0], 0, 0)
            surface.damage_buffer(0, 0, width, height)
            surface.commit()
            self._drawn.append((surface, (int(hot_x), int(hot_y)), buffers))

    def enter(self, pointer: Any, serial: int) -> None:
        """Show it over the window."""
        if not self._drawn:
            pointer.set_cursor(serial, None, 0, 0)
            return
        surface, hot, _ = self._drawn[self._looks % len(self._drawn)]
        pointer.set_cursor(serial, surface, *hot)

    def click(self, pointer: Any, serial: int) -> None:
        """Show the next one."""
        self._looks += 1
        self.enter(pointer, serial)


class Listener:
    """Tells of everything that the seat's devices do. Devices come and go with who injects."""

    def __init__(self, connection: Connection, pointers: Pointers) -> None:
        self._pointers = pointers
        self._entered = 0
        self._seat = connection.bind("wl_seat", _SEAT_VERSION)
        self._seat.dispatcher["capabilities"] = self._capable
        self._devices: dict[str, Any] = {}
        self._typing: Typing | None = None

    def _capable(self, seat: Any, capabilities: int) -> None:
        there = [name for name, bit in _CAPABILITIES.items() if int(capabilities) & bit]
        tell("devices", there=there)
        for name in list(self._devices):
            if name not in there:
                self._devices.pop(name).release()
        for name in there:
            if name not in self._devices:
                device = self._devices[name] = getattr(seat, f"get_{name}")()
                getattr(self, f"_listen_{name}")(device)

    def _listen_pointer(self, pointer: Any) -> None:
        def enter(_pointer: Any, serial: int, _surface: Any, x: float, y: float) -> None:
            self._entered = serial
            self._pointers.enter(pointer, serial)
            tell("pointer_enter", values=[float(x), float(y)])

        def button(_pointer: Any, serial: int, time_ms: int, code: int, state: int) -> None:
            if state == _PRESSED:
                self._pointers.click(pointer, self._entered)
            tell("pointer_button", values=[float(serial), float(time_ms), float(code), float(state)])

        pointer.dispatcher["enter"] = enter
        pointer.dispatcher["leave"] = lambda *_: tell("pointer_leave")
        self._plain("pointer", pointer)
        pointer.dispatcher["button"] = button

    def _listen_touch(self, touch: Any) -> None:
        self._plain("touch", touch)

    def _listen_keyboard(self, keyboard: Any) -> None:
        def keymap(_keyboard: Any, _format: int, descriptor: int, size: int) -> None:
            try:
                with mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as text:
                    self._typing = Typing(text[:size].rstrip(b"\0"))
            finally:
                os.close(descriptor)

        def modifiers(
            _keyboard: Any, _serial: int, depressed: int, latched: int, locked: int, group: int
        ) -> None:
            if self._typing is not None:
                self._typing.modify(depressed, latched, locked, group)
            tell("modifiers", values=[depressed, latched, locked, group])

        def key(_keyboard: Any, _serial: int, _time: int, code: int, state: int) -> None:
            text = self._typing.text(code) if self._typing is not None else ""
            tell("key", code=code, down=bool(state), text=text)

        keyboard.dispatcher["keymap"] = keymap
        keyboard.dispatcher["modifiers"] = modifiers
        keyboard.dispatcher["key"] = key
        keyboard.dispatcher["enter"] = lambda *_: tell("keyboard_enter")
        keyboard.dispatcher["leave"] = lambda *_: tell("keyboard_leave")

    def _plain(self, prefix: str, device: Any) -> None:
        for event in _EVENTS[prefix]:

            def said(_device: Any, *values: Any, name: str = event) -> None:
                tell(
                    f"{prefix}_{name}", values=[float(one) for one in values if isinstance(one, int | float)]
                )

            device.dispatcher[event] = said


class Markers:
    """Draws numbered pictures into a window."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.frames = 0

    def draw(self) -> bool:
        """Show the next picture; ``False`` while the compositor still reads all buffers."""
        begun = self._window.begin()
        if begun is None:
            return False
        number, pixels = begun
        height, width = pixels.shape[:2]
        place = layout(width, height)
        pixels[place.height :] = _GROUND
        top = place.height + self.frames * 8 % max(1, height - place.height - _BAND)
        pixels[top : top + _BAND] = _LIGHT
        luma = np.zeros((height, width), np.uint8)
        frame_marker.draw(luma, frame=self.frames, time_us=monotonic_ns() // 1000)
        marked = luma[: place.height, : place.width]
        # Black and white of the desktop's full range; the stream makes the limited one of it.
        pixels[: place.height, : place.width] = np.where(marked > frame_marker.THRESHOLD, 255, 0)[..., None]
        pixels[: place.height, place.width :] = _GROUND
        self.frames += 1
        self._window.show(number)
        return True


def main() -> int:
    """Run until SIGTERM, until the window is closed, or until the compositor goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", help="the output to fill; newest: that which was made last")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--pointers", default="")
    parser.add_argument(
        "--reuse", action="store_true", default=None, help="put buffers up again, also on gamescope"
    )
    given = parser.parse_args()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    connection = connect(os.environ.get("WAYLAND_DISPLAY") or os.environ["GAMESCOPE_WAYLAND_DISPLAY"])
    output = _chosen(connection, given.output)
    window = Window(connection, "punktfunk test window", output=output, reuse=given.reuse)
    listener = Listener(connection, Pointers(connection, given.pointers))
    markers = Markers(window)
    began = monotonic_ns()
    try:
        _run(connection, window, markers, given, stopped)
    except DesktopError as error:
        tell("gone", cause=error.cause)
        return 1
    finally:
        tell("ended", frames=markers.frames, seconds=(monotonic_ns() - began) / 1e9)
        del listener
        connection.close()
    return 0


def _run(
    connection: Connection, window: Window, markers: Markers, given: argparse.Namespace, stopped: list[int]
) -> None:
    due: list[bool] = [True]
    step_ns = round(1e9 / given.rate) if given.rate else None
    next_ns = monotonic_ns()
    end_ns = monotonic_ns() + round(given.seconds * 1e9) if given.seconds else None
    window.on_frame = lambda: due.append(True)
    size = (0, 0)
    while not (stopped or window.closed):
        now = monotonic_ns()
        if end_ns is not None and now >= end_ns:
            return
        if size != (window.width, window.height):
            due.append(True)  # an empty window of another size is no picture
        if due and (step_ns is None or now >= next_ns) and markers.draw():
            if size != (window.width, window.height):
                size = (window.width, window.height)
                tell("ready", width=size[0], height=size[1], frame=markers.frames)
            due.clear()
            next_ns = max(next_ns + (step_ns or 0), now)
            if given.rate == 0:
                window.on_frame = _nothing
        wait_s = 0.1 if not (due and step_ns) else max(0.0, (next_ns - now) / 1e9)
        connection.dispatch(min(wait_s, 0.1))


def _nothing() -> None: ...


def _chosen(connection: Connection, wanted: str | None) -> str | None:
    if wanted != "newest":
        return wanted
    return connection.outputs[-1].name if connection.outputs else None


if __name__ == "__main__":
    sys.exit(main())
