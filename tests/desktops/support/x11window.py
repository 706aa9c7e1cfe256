"""A program of X11: a window that fills the screen and tells what is typed and clicked, one JSON object a line.

It draws nothing. Events are those of ``window.py``, with the text that X11's own keymap and modifiers make of a key.
"""

from __future__ import annotations

import ctypes
import json
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p, create_string_buffer
from typing import Any, Final

_KEY_PRESS, _KEY_RELEASE, _BUTTON_PRESS, _BUTTON_RELEASE, _EXPOSE = 2, 3, 4, 5, 12
_MASK: Final = 0x1 | 0x2 | 0x4 | 0x8 | 0x8000
"""Keys, buttons and exposure."""
_X_OFFSET: Final = 8


class _KeyEvent(ctypes.Structure):
    """``XKeyEvent``; ``XButtonEvent`` has its button in place of the key's code."""

    _fields_ = (
        ("type", c_int),
        ("serial", c_ulong),
        ("send_event", c_int),
        ("display", c_void_p),
        ("window", c_ulong),
        ("root", c_ulong),
        ("subwindow", c_ulong),
        ("time", c_ulong),
        ("x", c_int),
        ("y", c_int),
        ("x_root", c_int),
        ("y_root", c_int),
        ("state", c_uint),
        ("keycode", c_uint),
        ("same_screen", c_int),
    )


class _Event(ctypes.Union):
    _fields_ = (("type", c_int), ("key", _KeyEvent), ("pad", c_long * 24))


def tell(event: str, **fields: Any) -> None:
    """Print one event."""
    print(json.dumps({"event": event, **fields}), flush=True)


def main() -> int:
    """Run until the display goes, or SIGTERM comes."""
    x = ctypes.CDLL("libX11.so.6")
    x.XOpenDisplay.restype, x.XOpenDisplay.argtypes = c_void_p, [c_char_p]
    x.XDefaultRootWindow.restype, x.XDefaultRootWindow.argtypes = c_ulong, [c_void_p]
    x.XCreateSimpleWindow.restype = c_ulong
    x.XCreateSimpleWindow.argtypes = [c_void_p, c_ulong, c_int, c_int, *[c_uint] * 3, c_ulong, c_ulong]
    x.XSelectInput.argtypes = [c_void_p, c_ulong, c_long]
    x.XMapWindow.argtypes = [c_void_p, c_ulong]
    x.XNextEvent.argtypes = [c_void_p, POINTER(_Event)]
    x.XLookupString.argtypes = [POINTER(_KeyEvent), c_char_p, c_int, c_void_p, c_void_p]
    x.XDisplayWidth.argtypes = x.XDisplayHeight.argtypes = [c_void_p, c_int]
    display = x.XOpenDisplay(None)
    if not display:
        tell("gone", cause="no X display")
        return 1
    width, height = x.XDisplayWidth(display, 0), x.XDisplayHeight(display, 0)
    window = x.XCreateSimpleWindow(
        display, x.XDefaultRootWindow(display), 0, 0, width, height, 0, 0, 0x5050B0
    )
    x.XSelectInput(display, window, _MASK)
    x.XMapWindow(display, window)
    event, room = _Event(), create_string_buffer(16)
    while True:
        x.XNextEvent(display, byref(event))
        match event.type:
            case kind if kind in (_KEY_PRESS, _KEY_RELEASE):
                length = x.XLookupString(byref(event.key), room, len(room), None, None)
                text = room.raw[:length].decode("latin-1")
                tell("key", code=event.key.keycode - _X_OFFSET, down=kind == _KEY_PRESS, text=text)
            case kind if kind in (_BUTTON_PRESS, _BUTTON_RELEASE):
                place = [float(event.key.x), float(event.key.y)]
                tell("pointer_button", button=event.key.keycode, down=kind == _BUTTON_PRESS, values=place)
            case kind if kind == _EXPOSE:
                tell("ready", width=width, height=height)


if __name__ == "__main__":
    sys.exit(main())
