"""What a desktop's input server says over an EIS connection."""

from __future__ import annotations

import socket

from punktfunk.desktop.inject.eis_devices import MAX_REGIONS, Happening
from punktfunk.desktop.inject.eis_input import EisInput
from punktfunk.desktop.inject.eis_link import SocketLink
from punktfunk.errors import DesktopError
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from tests.fuzz.target import Target
from tests.support.eis_server import CONNECTION, EisServer, u32, u64

_SURFACE = SurfaceSize(1280, 720)
_INPUT = (
    InputEvent(InputKind.KEY_DOWN, 0x41),
    InputEvent(InputKind.MOUSE_ABSOLUTE, 0, 5, 5, _SURFACE),
    InputEvent(InputKind.TOUCH_DOWN, 1, 5, 5, _SURFACE),
    InputEvent(InputKind.SCROLL, 0, 30),
)


def conversation(data: bytes) -> bool:
    """A server is heard and sent input, or the connection ends; what it gave is whole."""
    ours, theirs = socket.socketpair()
    link, fed = SocketLink(theirs.detach(), "fuzz"), EisInput()
    there = []
    understood = True
    ours.sendall(data)
    try:
        while (events := link.events(64)) or link.pending:
            for event in events:
                fed.happened(event)
                if event.what is Happening.ADDED:
                    there.append(event.device)
                for each in _INPUT:
                    fed.apply(each)
            fed.release_all()
    except DesktopError:
        understood = False
    finally:
        link.close()
        ours.close()
    for device in there:
        assert len(device.regions) <= MAX_REGIONS
        assert all(region.area.width and region.area.height for region in device.regions)
    return understood and bool(there)


def _conversations() -> list[bytes]:
    spoken: list[bytes] = []
    server = EisServer()
    server.overheard = spoken.append
    server.greet()
    server.welcome()
    seat = server.seat("ei_pointer_absolute", "ei_touchscreen", "ei_scroll", "ei_keyboard")
    device = server.device(
        seat, "ei_pointer_absolute", "ei_touchscreen", "ei_scroll", regions=((0, 0, 1280, 720, "m"),)
    )
    begun = b"".join(spoken)
    board = server.device(seat, "ei_keyboard")
    keyboard = server.parts[board]["ei_keyboard"]
    server.tell(keyboard, 3, u32(9, 1, 2, 16, 1))
    server.tell(CONNECTION, 3, u64(CONNECTION + 99) + u32(1))
    server.tell(device, 8, u32(10))
    server.tell(device, 0, u32(11))
    server.tell(seat, 0, u32(12))
    server.end()
    return [begun, b"".join(spoken)]


TARGETS = (
    Target(
        "eis_connection",
        conversation,
        _conversations,
        (
            b"ei_pointer\0\0",
            b"ei_keyboard\0",
            b"ei_text\0",
            CONNECTION.to_bytes(8, "little"),
            (16).to_bytes(4, "little"),
            b"\xff\xff\xff\xff",
        ),
    ),
)
