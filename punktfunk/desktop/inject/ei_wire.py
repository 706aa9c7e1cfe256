"""Messages of the EI protocol on a socket: their bytes, their descriptors, and neither reading nor writing that waits.

A message is the number of an object (64 bits), its length with this header, an opcode, and arguments aligned to 32
bits, in the machine's byte order; text has its length with a terminating zero before it; descriptors come beside the
bytes, in order. Source: the protocol's description, protocol.xml of libei 1.6.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from punktfunk.errors import DesktopError

MAX_MESSAGE_BYTES: Final = 1 << 16
"""Longer ones end the connection; the longest that a server has reason to send is some hundred bytes."""
MAX_UNSENT_BYTES: Final = 1 << 20
"""Kept for a server that does not read, over what the kernel keeps: half a minute of a fast mouse."""
MAX_DESCRIPTORS: Final = 16
"""Received and not yet taken; a server sends one for each keyboard."""
_HEADER: Final = struct.Struct("=QII")
_READ_BYTES: Final = 1 << 16
_CLOSED: Final = "the desktop has closed its input connection"
HINT: Final = "it is opened again with the next stream, when the desktop is there"


@dataclass(frozen=True, slots=True)
class Message:
    """What one object is told by the other side, or tells."""

    object_id: int
    opcode: int
    body: bytes = b""

    def encode(self) -> bytes:
        """Return it as it is sent."""
        return _HEADER.pack(self.object_id, _HEADER.size + len(self.body), self.opcode) + self.body


def text(value: str) -> bytes:
    """Return text as an argument."""
    encoded = value.encode() + b"\0"
    return struct.pack("=I", len(encoded)) + encoded + b"\0" * (-len(encoded) % 4)


class Arguments:
    """The arguments of a message, read in order; raise DesktopError where it is too short for them."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._at = 0

    def u32(self) -> int:
        """Return the next argument, 32 bits."""
        value: int = struct.unpack("=I", self._take(4))[0]
        return value

    def u64(self) -> int:
        """Return the next argument, 64 bits: a number, or an object's."""
        value: int = struct.unpack("=Q", self._take(8))[0]
        return value

    def text(self) -> str:
        """Return the next argument, text; "" where there is none. What is no UTF-8 in it is replaced."""
        length = self.u32()
        if not length:
            return ""
        taken = self._take(length)
        self._take(-length % 4)
        return taken.split(b"\0", 1)[0].decode(errors="replace")

    def _take(self, length: int) -> bytes:
        taken = self._message.body[self._at : self._at + length]
        if len(taken) < length:
            raise DesktopError("the desktop's input connection sends what cannot be understood", HINT)
        self._at += length
        return taken


class EiSocket:
    """A connected socket, which it owns. Not safe for use by two threads at once."""

    def __init__(self, descriptor: int) -> None:
        """Take a descriptor over, whether this raises or not; raise DesktopError where it is no socket."""
        try:
            self._socket = socket.socket(fileno=descriptor)
        except OSError as error:
            os.close(descriptor)
            raise DesktopError(
                f"the desktop gave no socket for its input connection: {error.strerror}"
            ) from error
        self._socket.setblocking(False)
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self._unsent = bytearray()

    @property
    def descriptor(self) -> int:
        """Its number; -1 once it is closed."""
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        """Whether something waits until the other side reads."""
        return bool(self._unsent)

    def receive(self) -> bool:
        """Take some of what has come; ``False``: nothing has. Raises DesktopError where the other side has hung up."""
        try:
            received, descriptors, _, _ = socket.recv_fds(
                self._socket, _READ_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except OSError as error:
            raise DesktopError(_CLOSED, HINT) from error
        self._descriptors.extend(descriptors)
        while len(self._descriptors) > MAX_DESCRIPTORS:
            os.close(self._descriptors.popleft())
        if not received:
            raise DesktopError(_CLOSED, HINT)
        self._received += received
        return True

    @property
    def pending(self) -> bool:
        """Whether :meth:`messages` has one, or what looks like one."""
        if len(self._received) < _HEADER.size:
            return False
        _, length, _ = _HEADER.unpack_from(self._received)
        return bool(len(self._received) >= min(length, MAX_MESSAGE_BYTES))

    def messages(self) -> Iterator[Message]:
        """Yield the whole messages that have been received; raise DesktopError for one that cannot be."""
        while len(self._received) >= _HEADER.size:
            object_id, length, opcode = _HEADER.unpack_from(self._received)
            if not _HEADER.size <= length <= MAX_MESSAGE_BYTES:
                raise DesktopError("the desktop's input connection sends what cannot be understood", HINT)
            if len(self._received) < length:
                return
            body = bytes(self._received[_HEADER.size : length])
            del self._received[:length]
            yield Message(object_id, opcode, body)

    def take_descriptor(self) -> int | None:
        """Return the next descriptor that was received, for the caller to close; None where there is none."""
        return self._descriptors.popleft() if self._descriptors else None

    def send(self, *messages: Message) -> None:
        """Send messages, or keep them for :meth:`flush`.

        Raises DesktopError where the other side has hung up, or has not read for long.
        """
        self._unsent += b"".join(message.encode() for message in messages)
        self.flush()
        if len(self._unsent) > MAX_UNSENT_BYTES:
            raise DesktopError("the desktop does not read its input", HINT)

    def flush(self) -> None:
        """Send what was kept, as far as the other side reads; raise DesktopError where it has hung up."""
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                return
            except OSError as error:
                raise DesktopError(_CLOSED, HINT) from error
            del self._unsent[:sent]

    def close(self) -> None:
        """Close the socket and what came with it. Closing twice is harmless."""
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
