"""A Wayland client that tells, one JSON object a line, which input reaches it and when (CLOCK_MONOTONIC, ns).

Started inside a session as ``python probe.py``; shows a grey window fullscreen.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pywayland.protocol.relative_pointer_unstable_v1 import ZwpRelativePointerManagerV1

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland import connect
from punktfunk.desktop.wayland.window import Window

_POINTER = ("motion", "button", "axis", "axis_source", "axis_discrete")
_KEYBOARD = ("key", "modifiers")


def _report(event: str, *arguments: Any) -> None:
    plain = [argument for argument in arguments if isinstance(argument, int | float)]
    print(json.dumps({"event": event, "values": plain, "at_ns": monotonic_ns()}), flush=True)


def _listen(proxy: Any, prefix: str, events: tuple[str, ...]) -> None:
    for event in events:
        proxy.dispatcher[event] = lambda _proxy, *values, name=event: _report(f"{prefix}_{name}", *values)


def main() -> None:
    connection = connect(os.environ["WAYLAND_DISPLAY"])
    window = Window(connection, "probe")
    seat = connection.bind("wl_seat", 5)
    pointer, keyboard = seat.get_pointer(), seat.get_keyboard()
    _listen(pointer, "pointer", _POINTER)
    _listen(keyboard, "keyboard", _KEYBOARD)
    keyboard.dispatcher["enter"] = lambda *_: _report("keyboard_enter")
    pointer.dispatcher["enter"] = lambda _p, _serial, _surface, x, y: _report("pointer_enter", x, y)
    # The combination that crashes wlroots 0.15 on a seat whose pointer has gone.
    relative = connection.bind(ZwpRelativePointerManagerV1.name, 1).get_relative_pointer(pointer)
    relative.dispatcher["relative_motion"] = lambda _r, _hi, _lo, dx, dy, *_: _report("relative", dx, dy)
    shown = window.begin()
    assert shown is not None
    shown[1][:] = 128
    window.show(shown[0])
    connection.round_trip()
    _report("ready", window.width, window.height)
    while not window.closed:
        connection.dispatch(0.5)


if __name__ == "__main__":
    sys.exit(main())
