"""The other end of an EIS connection: says what a server says, a message at a time, and reads what it is told."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from punktfunk.desktop.inject.ei_wire import Arguments, EiSocket, Message, text
from punktfunk.errors import DesktopError

CONNECTION = 0xFF00_0000_0000_0001
SEAT = CONNECTION + 1
MASKS = {
    "ei_pointer": 0x1,
    "ei_pointer_absolute": 0x20,
    "ei_scroll": 0x40,
    "ei_button": 0x80,
    "ei_keyboard": 0x100,
    "ei_touchscreen": 0x2000,
    "ei_text": 0x4000,
    "ei_of_the_future": 0x8000,
}
"""A server chooses the bits."""


def u32(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


@dataclass
class EisServer:
    """A server of one client, which has ``client``, a descriptor for it to take over."""

    client: int = field(init=False)

    def __post_init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self.client = theirs.detach()
        self._reading = EiSocket(os.dup(self._ours.fileno()))
        self._next = SEAT
        self.parts: dict[int, dict[str, int]] = {}
        """Objects of each device's interfaces."""
        self.overheard: Callable[[bytes], object] | None = None
        """Takes what is said instead of the client."""

    def tell(self, object_id: int, opcode: int, body: bytes = b"", descriptor: int | None = None) -> None:
        """Send one message, with a descriptor where it has one."""
        encoded = Message(object_id, opcode, body).encode()
        if self.overheard is not None:
            self.overheard(encoded)
            return
        descriptors = [] if descriptor is None else [descriptor]
        socket.send_fds(self._ours, [encoded], descriptors)

    def raw(self, data: bytes) -> None:
        """Send bytes."""
        self._ours.sendall(data)

    def told(self) -> list[tuple[int, int, bytes]]:
        """Return object, opcode and arguments of what the client has sent since the last time."""
        with contextlib.suppress(DesktopError):  # it may have hung up since
            while self._reading.receive():
                continue
        return [(each.object_id, each.opcode, each.body) for each in self._reading.messages()]

    def greet(self) -> None:
        """Send what comes first."""
        self.tell(0, 0, u32(1))

    def welcome(self, serial: int = 7) -> None:
        """Let the client in."""
        self.tell(0, 1, text("ei_callback") + u32(1))
        self.tell(0, 2, u32(serial) + u64(CONNECTION) + u32(1))

    def seat(self, *interfaces: str) -> int:
        """Offer a seat with such devices, all if none are named; return its number."""
        seat = self.number()
        self.tell(CONNECTION, 1, u64(seat) + u32(1))
        self.tell(seat, 1, text("default"))
        for interface in interfaces or MASKS:
            self.tell(seat, 2, u64(MASKS[interface]) + text(interface))
        self.tell(seat, 3)
        return seat

    def device(
        self,
        seat: int,
        *interfaces: str,
        regions: tuple[tuple[int, int, int, int, str | None], ...] = (),
        keymap: bytes | None = None,
        touch_version: int = 2,
    ) -> int:
        """Give a device and let it be used; return its number."""
        device = self.number()
        self.tell(seat, 4, u64(device) + u32(2))
        self.tell(device, 1, text("a device"))
        self.tell(device, 2, u32(1))
        for x, y, width, height, mapping_id in regions:
            if mapping_id is not None:
                self.tell(device, 12, text(mapping_id))
            self.tell(device, 4, u32(x, y, width, height) + struct.pack("=f", 1.0))
        self.parts[device] = {}
        for interface in interfaces:
            part = self.parts[device][interface] = self.number()
            version = touch_version if interface == "ei_touchscreen" else 1
            self.tell(device, 5, u64(part) + text(interface) + u32(version))
            if interface == "ei_keyboard" and keymap is not None:
                self.keymap(part, keymap)
        self.tell(device, 6)
        self.tell(device, 7, u32(8))
        return device

    def keymap(self, keyboard: int, keymap: bytes, size: int | None = None, kind: int = 1) -> None:
        """Send a keymap as a file of its size, or of another one."""
        descriptor = os.memfd_create("keymap")
        try:
            os.write(descriptor, keymap)
            self.tell(keyboard, 1, u32(kind, len(keymap) if size is None else size), descriptor)
        finally:
            os.close(descriptor)

    def hang_up(self) -> None:
        """Close the connection. Closing twice is harmless."""
        self._ours.close()
        self._reading.close()

    def end(self) -> None:
        """Close both ends, where no client has taken its own over."""
        self.hang_up()
        os.close(self.client)

    def number(self) -> int:
        """Return a number for a new object."""
        self._next += 1
        return self._next


def arguments(body: bytes) -> Arguments:
    """Return what reads the arguments of a message."""
    return Arguments(Message(0, 0, body))
