"""A device of an EIS server, as it is on the connection: what the server tells of it, and what it is told."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from punktfunk import log
from punktfunk.clock import monotonic_ns
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.ei_wire import Arguments, Message, text
from punktfunk.desktop.inject.eis_devices import (
    MAX_REGIONS,
    Capability,
    EisEvent,
    Happening,
    LockedModifiers,
    Region,
)
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

MAX_KEYMAP_BYTES: Final = 1 << 20
"""A keymap is some 60 kB long."""
CAPABILITIES: Final = {
    "ei_pointer": Capability.POINTER,
    "ei_pointer_absolute": Capability.ABSOLUTE,
    "ei_scroll": Capability.SCROLL,
    "ei_button": Capability.BUTTON,
    "ei_keyboard": Capability.KEYBOARD,
    "ei_touchscreen": Capability.TOUCH,
    "ei_text": Capability.TEXT,
}
"""What each interface that is spoken here can do."""
_XKB: Final = 1
_CANCEL_SINCE: Final = 2

Handler = Callable[[int, Arguments], EisEvent | None]
"""Takes opcode and arguments of a message to an object."""


class Link(Protocol):
    """What a device needs of its connection."""

    def send(self, *messages: Message) -> None:
        """Send requests; raise DesktopError when the connection has ended."""
        ...

    def started(self) -> bytes:
        """Return the arguments of a new emulation."""
        ...

    @property
    def serial(self) -> bytes:
        """The last serial, as an argument."""
        ...

    def note_serial(self, arguments: Arguments) -> None:
        """Remember the serial that a message begins with."""
        ...

    def add(self, object_id: int, handler: Handler) -> None:
        """Listen to an object that the server has made."""
        ...

    def drop(self, object_id: int) -> None:
        """Forget an object."""
        ...

    def take_descriptor(self) -> int | None:
        """Return the next descriptor that came, for the caller to close."""
        ...


class SocketDevice:
    """Fulfils :class:`EisDevice`. What is asked of it beyond its capabilities is not sent."""

    def __init__(self, link: Link, object_id: int) -> None:
        self._link = link
        self._object_id = object_id
        self._parts: dict[str, tuple[int, int]] = {}
        """Object and version of each of its interfaces."""
        self._regions: list[Region] = []
        self._mapping_id: str | None = None
        self._there = False
        self.name = ""
        self.keymap: bytes | None = None

    @property
    def capabilities(self) -> Capability:
        """All that it can do."""
        together = Capability(0)
        for interface in self._parts:
            together |= CAPABILITIES[interface]
        return together

    @property
    def regions(self) -> Sequence[Region]:
        """Where its positions may lie."""
        return self._regions

    def start(self) -> None:
        """Announce input."""
        self._link.send(Message(self._object_id, 1, self._link.started()))

    def stop(self) -> None:
        """Announce that no more input follows."""
        self._link.send(Message(self._object_id, 2, self._link.serial))

    def key(self, code: int, *, down: bool) -> None:
        """Press or release a key."""
        self._send("ei_keyboard", 1, struct.pack("=II", code, down))

    def button(self, code: int, *, down: bool) -> None:
        """Press or release a button."""
        self._send("ei_button", 1, struct.pack("=II", code, down))

    def move_by(self, dx: float, dy: float) -> None:
        """Move the pointer."""
        self._send("ei_pointer", 1, struct.pack("=ff", dx, dy))

    def move_to(self, x: float, y: float) -> None:
        """Move the pointer to a place."""
        self._send("ei_pointer_absolute", 1, struct.pack("=ff", x, y))

    def scroll(self, dx: int, dy: int) -> None:
        """Turn the wheel."""
        self._send("ei_scroll", 2, struct.pack("=ii", dx, dy))

    def scroll_smoothly(self, dx: float, dy: float) -> None:
        """Scroll by a length."""
        self._send("ei_scroll", 1, struct.pack("=ff", dx, dy))

    def type(self, characters: str) -> None:
        """Type characters as such."""
        self._send("ei_text", 2, text(characters))

    def touch_down(self, finger: int, x: float, y: float) -> None:
        """Put a finger down."""
        self._send("ei_touchscreen", 1, struct.pack("=Iff", finger, x, y))

    def touch_move(self, finger: int, x: float, y: float) -> None:
        """Move a finger."""
        self._send("ei_touchscreen", 2, struct.pack("=Iff", finger, x, y))

    def touch_up(self, finger: int, *, cancel: bool) -> None:
        """Lift a finger; a server that knows no cancelling is told that it was lifted."""
        _, version = self._parts.get("ei_touchscreen", (0, 0))
        self._send(
            "ei_touchscreen", 4 if cancel and version >= _CANCEL_SINCE else 3, struct.pack("=I", finger)
        )

    def _send(self, interface: str, opcode: int, body: bytes) -> None:
        part = self._parts.get(interface)
        if part is not None:
            frame = self._link.serial + struct.pack("=Q", monotonic_ns() // 1000)
            self._link.send(Message(part[0], opcode, body), Message(self._object_id, 3, frame))

    def handle(self, opcode: int, arguments: Arguments) -> EisEvent | None:
        """Take what the server tells of the device."""
        match opcode:
            case 0:  # destroyed
                return self._destroyed(arguments)
            case 1:
                self.name = printable(arguments.text(), MAX_PEER_CHARACTERS)
            case 4:
                self._add_region(arguments)
            case 5:
                self._add_part(arguments)
            case 6 if not self._there:  # done
                self._there = True
                return EisEvent(Happening.ADDED, self)
            case 7:
                self._link.note_serial(arguments)
                return EisEvent(Happening.RESUMED, self)
            case 8:
                self._link.note_serial(arguments)
                return EisEvent(Happening.PAUSED, self)
            case 12:
                self._mapping_id = arguments.text()
        return None

    def _destroyed(self, arguments: Arguments) -> EisEvent | None:
        self._link.note_serial(arguments)
        self._link.drop(self._object_id)
        for object_id, _ in self._parts.values():
            self._link.drop(object_id)
        return EisEvent(Happening.REMOVED, self) if self._there else None

    def _add_region(self, arguments: Arguments) -> None:
        x, y, width, height = (arguments.u32() for _ in range(4))
        if width and height and len(self._regions) < MAX_REGIONS:
            self._regions.append(Region(Rect(x, y, width, height), self._mapping_id))
        self._mapping_id = None

    def _add_part(self, arguments: Arguments) -> None:
        object_id, interface, version = arguments.u64(), arguments.text(), arguments.u32()
        if interface in CAPABILITIES and interface not in self._parts:
            self._parts[interface] = object_id, version
            handler = self._on_keyboard if interface == "ei_keyboard" else self._on_part
            self._link.add(object_id, lambda opcode, rest: handler(interface, opcode, rest))

    def _on_part(self, interface: str, opcode: int, arguments: Arguments) -> EisEvent | None:
        if opcode == 0 and interface in self._parts:  # destroyed
            self._link.note_serial(arguments)
            object_id, _ = self._parts.pop(interface)
            self._link.drop(object_id)
        return None

    def _on_keyboard(self, interface: str, opcode: int, arguments: Arguments) -> EisEvent | None:
        if opcode == 1:
            kind, size = arguments.u32(), arguments.u32()
            descriptor = self._link.take_descriptor()
            if descriptor is not None:
                self.keymap = _read_keymap(kind, size, descriptor)
        elif opcode == 3 and self._there:  # modifiers
            self._link.note_serial(arguments)
            _, locked, latched, group = (arguments.u32() for _ in range(4))
            # What is latched counts for the next key as what is locked does.
            return EisEvent(Happening.MODIFIERS, self, LockedModifiers(locked | latched, group))
        return self._on_part(interface, opcode, arguments)


def _read_keymap(kind: int, size: int, descriptor: int) -> bytes | None:
    """Return the server's keymap, without its terminating zero, and close its file.

    It is read and not mapped: a file that becomes shorter would end this process.
    """
    try:
        if kind != _XKB or not 0 < size <= MAX_KEYMAP_BYTES:
            log.get("desktop").warning("the desktop's keymap is none that can be read", kind=kind, bytes=size)
            return None
        return os.pread(descriptor, size, 0).rstrip(b"\0") or None
    except OSError as error:
        log.get("desktop").warning("the desktop's keymap cannot be read", cause=str(error))
        return None
    finally:
        os.close(descriptor)
