"""A connection to an EIS server, as a client that sends: its seats, its devices, and what it tells of them.

The protocol is spoken here and not by libei, which ends the process when a server hangs up at the wrong time
(docs/adr/0188). Names and opcodes are those of its description, protocol.xml of libei 1.6; a server may know less.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from punktfunk import log
from punktfunk.clock import monotonic_ns
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.ei_wire import HINT, Arguments, EiSocket, Message, text
from punktfunk.desktop.inject.eis_devices import MAX_REGIONS, Capability, EisDevice, Region
from punktfunk.errors import DesktopError
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

MAX_KEYMAP_BYTES: Final = 1 << 20
"""A keymap is some 60 kB long."""
MAX_OBJECTS: Final = 2048
"""Of one server at a time; a server that makes more ends the connection."""

_VERSIONS: Final = {
    "ei_connection": 1,
    "ei_callback": 1,
    "ei_pingpong": 1,
    "ei_seat": 1,
    "ei_device": 2,
    "ei_pointer": 1,
    "ei_pointer_absolute": 1,
    "ei_scroll": 1,
    "ei_button": 1,
    "ei_keyboard": 1,
    "ei_touchscreen": 2,
    "ei_text": 1,
}
"""What is spoken here of each interface."""
_CAPABILITIES: Final = {
    "ei_pointer": Capability.POINTER,
    "ei_pointer_absolute": Capability.ABSOLUTE,
    "ei_scroll": Capability.SCROLL,
    "ei_button": Capability.BUTTON,
    "ei_keyboard": Capability.KEYBOARD,
    "ei_touchscreen": Capability.TOUCH,
    "ei_text": Capability.TEXT,
}
_HANDSHAKE: Final = 0
"""The number of the object that is there from the start."""
_SENDER: Final = 2
_XKB: Final = 1
_CANCEL_SINCE: Final = 2


class Happening(Enum):
    """What a server tells."""

    ADDED = auto()
    REMOVED = auto()
    RESUMED = auto()
    PAUSED = auto()
    MODIFIERS = auto()


@dataclass(frozen=True, slots=True)
class LockedModifiers:
    """What a server says of its keyboard beyond the keys that are down."""

    locked: int
    """Mask of the modifiers that stay, such as caps lock, by the keymap's numbers."""
    group: int
    """The layout that is used, of those of the keymap."""


@dataclass(frozen=True, slots=True)
class EisEvent:
    """Something that a server told of a device."""

    what: Happening
    device: EisDevice
    modifiers: LockedModifiers | None = None


class EisLink(Protocol):
    """A connection to an EIS server, which it owns. Not safe for use by two threads at once."""

    @property
    def descriptor(self) -> int:
        """Readable when there are events."""
        ...

    @property
    def unsent(self) -> bool:
        """Whether something waits until the server reads: :meth:`flush` when the descriptor is writable."""
        ...

    @property
    def bound(self) -> Capability:
        """What devices were asked for; none before the server has offered any."""
        ...

    @property
    def pending(self) -> bool:
        """Whether something that the server told has been read and waits for :meth:`events`."""
        ...

    def events(self, most: int) -> list[EisEvent]:
        """Read what the server told, without waiting, at most that many messages, and return the events in them.

        Raises DesktopError when the connection has ended.
        """
        ...

    def flush(self) -> None:
        """Send what waited; raise DesktopError when the connection has ended."""
        ...

    def close(self) -> None:
        """Disconnect. Closing twice is harmless."""
        ...


Handler = Callable[[int, Arguments], EisEvent | None]
"""Takes opcode and arguments of a message to an object."""


class SocketLink:
    """Fulfils :class:`EisLink`. Binds one seat: the first that there is."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Speak over a connected socket, which the link owns from now on, whether this raises or not.

        Raises DesktopError where it is no socket.
        """
        self._socket = EiSocket(descriptor)
        self._name = name
        self._handlers: dict[int, Handler] = {_HANDSHAKE: self._on_handshake}
        self._connection: int | None = None
        self._seats: list[_Seat] = []
        self._serial = 0
        self._sequence = 0
        self._closed = False

    @property
    def descriptor(self) -> int:
        """Readable when there are events."""
        return self._socket.descriptor

    @property
    def unsent(self) -> bool:
        """Whether something waits until the server reads."""
        return self._socket.unsent

    @property
    def bound(self) -> Capability:
        """What devices were asked for."""
        return self._seats[0].bound if self._seats else Capability(0)

    @property
    def pending(self) -> bool:
        """Whether something has been read and waits for :meth:`events`."""
        return self._socket.pending

    def events(self, most: int) -> list[EisEvent]:
        """Read what the server told, without waiting; at most ``most`` messages of it."""
        found: list[EisEvent] = []
        # A read stops before each descriptor, so that there are some.
        while most > 0 and (self._socket.pending or self._socket.receive()):
            for message in itertools.islice(self._socket.messages(), most):
                most -= 1
                handler = self._handlers.get(message.object_id)
                # An object that is not known was dropped while this was on its way.
                event = None if handler is None else handler(message.opcode, Arguments(message))
                if event is not None:
                    found.append(event)
        return found

    def flush(self) -> None:
        """Send what waited."""
        self._socket.flush()

    def close(self) -> None:
        """Disconnect."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._connection is not None:
                self._socket.send(Message(self._connection, 1))  # disconnect
        except DesktopError:
            log.get("desktop").debug("the desktop had closed its input connection before")
        self._socket.close()

    def send(self, *messages: Message) -> None:
        """Send requests; raise DesktopError when the connection has ended."""
        self._socket.send(*messages)

    def started(self) -> bytes:
        """Return the arguments of a new emulation: the last serial, and a number that only grows."""
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        return struct.pack("=II", self._serial, self._sequence)

    @property
    def serial(self) -> bytes:
        """The last serial, as an argument."""
        return struct.pack("=I", self._serial)

    def note_serial(self, arguments: Arguments) -> None:
        """Remember the serial that a message begins with."""
        self._serial = arguments.u32()

    def add(self, object_id: int, handler: Handler) -> None:
        """Listen to an object that the server has made."""
        if len(self._handlers) >= MAX_OBJECTS:
            raise DesktopError("the desktop's input connection has too many devices", HINT)
        self._handlers[object_id] = handler

    def drop(self, object_id: int) -> None:
        """Forget an object."""
        self._handlers.pop(object_id, None)

    def take_descriptor(self) -> int | None:
        """Return the next descriptor that came, for the caller to close."""
        return self._socket.take_descriptor()

    def _on_handshake(self, opcode: int, arguments: Arguments) -> None:
        if opcode == 0:  # handshake_version
            self._socket.send(
                Message(_HANDSHAKE, 0, struct.pack("=I", min(1, arguments.u32()))),
                Message(_HANDSHAKE, 2, struct.pack("=I", _SENDER)),
                Message(_HANDSHAKE, 3, text(self._name)),
                *(Message(_HANDSHAKE, 4, text(one) + struct.pack("=I", v)) for one, v in _VERSIONS.items()),
                Message(_HANDSHAKE, 1),  # finish
            )
        elif opcode == 2:  # connection
            self.note_serial(arguments)
            self._connection = arguments.u64()
            self.drop(_HANDSHAKE)
            self.add(self._connection, self._on_connection)

    def _on_connection(self, opcode: int, arguments: Arguments) -> None:
        if opcode == 0:  # disconnected
            arguments.u32()
            reason, words = arguments.u32(), printable(arguments.text(), MAX_PEER_CHARACTERS)
            self._connection = None
            raise DesktopError(
                "the desktop has closed its input connection"
                + (f" (reason {reason}): {words}" if reason or words else ""),
                HINT,
            )
        if opcode == 1:  # seat
            object_id = arguments.u64()
            seat = _Seat(self, object_id)
            self._seats.append(seat)
            self.add(object_id, seat.handle)
        elif opcode == 3:  # ping
            self._socket.send(Message(arguments.u64(), 0, struct.pack("=Q", 0)))

    def seat_is_ready(self) -> None:
        """Bind the first seat, if that has not been done and it is described."""
        if self._seats:
            self._seats[0].bind()

    def seat_is_gone(self, seat: _Seat) -> None:
        """Forget a seat; the next one is bound then."""
        self._seats.remove(seat)
        self.drop(seat.object_id)
        self.seat_is_ready()


class _Seat:
    """What a server offers, before and after it was asked for."""

    def __init__(self, link: SocketLink, object_id: int) -> None:
        self._link = link
        self.object_id = object_id
        self.bound = Capability(0)
        self._masks: dict[str, int] = {}
        self._described = False

    def handle(self, opcode: int, arguments: Arguments) -> None:
        if opcode == 0:  # destroyed
            self._link.note_serial(arguments)
            self._link.seat_is_gone(self)
        elif opcode == 2:  # capability
            mask, interface = arguments.u64(), arguments.text()
            if interface in _CAPABILITIES:
                self._masks[interface] = mask
        elif opcode == 3:  # done
            self._described = True
            self._link.seat_is_ready()
        elif opcode == 4:  # device
            object_id = arguments.u64()
            self._link.add(object_id, SocketDevice(self._link, object_id).handle)

    def bind(self) -> None:
        if not self._described or self.bound or not self._masks:
            return
        wanted = 0
        for interface, mask in self._masks.items():
            wanted |= mask
            self.bound |= _CAPABILITIES[interface]
        self._link.send(Message(self.object_id, 1, struct.pack("=Q", wanted)))


class SocketDevice:
    """Fulfils :class:`EisDevice`. What is asked of it beyond its capabilities is not sent."""

    def __init__(self, link: SocketLink, object_id: int) -> None:
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
            together |= _CAPABILITIES[interface]
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
            case 6:  # done
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
        if interface in _CAPABILITIES and interface not in self._parts:
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
