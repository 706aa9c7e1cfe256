"""A connection to an EIS server, as a client that sends: how it begins and ends, and its seats.

The protocol is spoken here and not by libei, which ends the process when a server hangs up at the wrong time
(docs/adr/0188). Names and opcodes are those of its description, protocol.xml of libei 1.6; a server may know less.
"""

from __future__ import annotations

import itertools
import struct
from typing import Final, Protocol

from punktfunk import log
from punktfunk.desktop.inject.ei_wire import HINT, Arguments, EiSocket, Message, text
from punktfunk.desktop.inject.eis_devices import Capability, EisEvent
from punktfunk.desktop.inject.eis_socket_device import CAPABILITIES, Handler, SocketDevice
from punktfunk.errors import DesktopError
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

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
_HANDSHAKE: Final = 0
"""The number of the object that is there from the start."""
_SENDER: Final = 2


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
        """Listen to an object that the server has made; raise DesktopError for one too many, or a number in use."""
        if object_id in self._handlers:
            raise DesktopError("the desktop's input connection sends what cannot be understood", HINT)
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
            self.add(object_id, seat.handle)
            self._seats.append(seat)
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
            if interface in CAPABILITIES:
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
            self.bound |= CAPABILITIES[interface]
        self._link.send(Message(self.object_id, 1, struct.pack("=Q", wanted)))
