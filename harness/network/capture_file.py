"""Read captures packet by packet: pcap and pcapng, whoever wrote them.

A capture is hostile input. Blocks have a cap before they are read, nothing is kept but what a reader of packets
needs, and what is malformed or cut off ends the reading with :attr:`CaptureFile.damage`, which says where and why;
what came before stays. scapy's reader is held against this one in the tests. It does not say how many packets the
capture missed, logs warnings where a position is wanted, and reads what it is given whole before version 2.8 (ADR
0220).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from punktfunk.errors import UsageError
from punktfunk.printable import printable

MAX_BLOCK_BYTES: Final = 1 << 24
"""Of a block or a packet record. A GSO train has 64 KiB; the rest is room for comments."""
MAX_INTERFACES: Final = 1024
MAX_SECRET_BYTES: Final = 1 << 20
"""Of all key logs that a capture brings."""
_SHOWN_NAME: Final = 32
_NAME_A_FILE: Final = (
    "name a .pcap or .pcapng file, as tcpdump, Wireshark and 'link.capture: true' write them"
)

_PCAP_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""Byte order, and nanoseconds of the smaller part of a time stamp."""
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _STATISTICS, _PACKET, _SECRETS = 0x0A0D0D0A, 1, 2, 3, 5, 6, 10
_NAME, _RESOLUTION, _OFFSET_S, _DROPPED = 2, 9, 14, 5
_TLS_KEY_LOG: Final = 0x544C534B
_MICROSECONDS: Final = 6
_SECOND: Final = 10**9
_MAX_TIME_NS: Final = (1 << 63) - 1
"""A capture may say any time; later ones than this (2262) count as this one."""


class _MalformedError(Exception):
    """What is read is no capture from here on; its text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One captured packet, from its link layer on."""

    time_ns: int
    """Since 1970; 0 where the capture does not say."""
    linktype: int
    data: bytes
    length: int
    """Bytes that the packet had; more than ``data`` where the capture kept its beginning alone."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What packets were captured at."""

    linktype: int
    name: str
    kept_bytes: int
    """Most of a packet that was kept, 0 for no limit."""
    unit_ns: tuple[int, int]
    """A unit of its time stamps in ns, as a fraction."""
    offset_s: int = 0


class CaptureFile:
    """A capture that is read once, from its beginning; a context manager that closes it.

    Raises :class:`UsageError` for a file that cannot be opened or is no capture at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        """Why the reading ended before the file did; "" while it did not."""
        self.interfaces: list[Interface] = []
        self.missed: int | None = None
        """Packets that the capturing program did not keep up with; None where the capture does not say."""
        self.secrets: list[bytes] = []
        """Key logs that the capture brings (Decryption Secrets Blocks)."""
        self._secret_bytes = 0
        self._missed: dict[int, int] = {}
        self._at = 0
        self._endian, self._tick_ns = "<", 1
        self.format = ""
        self._file = _opened(path)
        try:
            self._begin()
        except _MalformedError as error:
            self._file.close()
            raise UsageError(f"{path} is no capture: {error}", _NAME_A_FILE) from error

    def _begin(self) -> None:
        magic = self._take(4)
        if magic in _PCAP_MAGIC:
            self.format = "pcap"
            self._endian, self._tick_ns = _PCAP_MAGIC[magic]
            self._read_pcap_header()
        elif magic == struct.pack(">I", _SECTION):
            self.format = "pcapng"
            self._read_section()
        else:
            raise _MalformedError("it begins as neither pcap nor pcapng does")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Record]:
        """Yield the packets in the order of the file; :attr:`damage` says afterwards whether that was all."""
        step = self._pcap_record if self.format == "pcap" else self._block
        while True:
            began = self._at
            try:
                record = step()
            except _MalformedError as error:
                self.damage = f"byte {began}: {error}"
                return
            except struct.error:
                self.damage = f"byte {began}: a block that is too short for what it says it is"
                return
            except EOFError:
                return
            except OSError as error:
                self.damage = f"byte {began}: {error.strerror or error}"
                return
            if record is not None:
                yield record

    # --- pcap --------------------------------------------------------------------------------------------------------

    def _read_pcap_header(self) -> None:
        major, _minor, _zone, _figures, kept, network = struct.unpack(self._endian + "HHiIII", self._take(20))
        if major != 2:
            raise _MalformedError(f"pcap of version {major}")
        # The upper bits say how long a frame check sequence is.
        self.interfaces.append(Interface(network & 0xFFFF, "", kept, (self._tick_ns, 1)))

    def _pcap_record(self) -> Record:
        seconds, part, kept, length = struct.unpack(self._endian + "IIII", self._take(16, begins=True))
        data = self._take(_bounded(kept, "a packet"))
        time_ns = seconds * _SECOND + part * self._tick_ns
        return Record(time_ns, self.interfaces[0].linktype, data, max(length, kept))

    # --- pcapng ------------------------------------------------------------------------------------------------------

    def _read_section(self) -> None:
        """Read a section header behind its type; byte order and interfaces begin anew with it."""
        raw_length, order = self._take(4), self._take(4)
        self._endian = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(order, "")
        if not self._endian:
            self._endian = "<"
            raise _MalformedError("a section without a byte order")
        (length,) = struct.unpack(self._endian + "I", raw_length)
        rest = self._take(_bounded(length, "a section header", 28) - 12)
        (major,) = struct.unpack_from(self._endian + "H", rest)
        if major != 1:
            raise _MalformedError(f"pcapng of version {major}")
        self._close_block(rest[-4:], length)
        self.interfaces = []
        self._missed = {}

    def _block(self) -> Record | None:
        raw_kind = self._take(4, begins=True)
        (kind,) = struct.unpack(self._endian + "I", raw_kind)
        if kind == _SECTION:
            self._read_section()
            return None
        (length,) = struct.unpack(self._endian + "I", self._take(4))
        rest = self._take(_bounded(length, "a block", 12) - 8)
        body = rest[:-4]
        self._close_block(rest[-4:], length)
        if kind == _PACKET:
            return self._packet(body)
        if kind == _OLD_PACKET:
            number, _drops, high, low, kept, whole = struct.unpack_from(self._endian + "HHIIII", body)
            return self._record(self._interface(number), high << 32 | low, _cut(body[20:], kept), whole)
        if kind == _SIMPLE:
            (whole,) = struct.unpack_from(self._endian + "I", body)
            limit = self._interface(0).kept_bytes or whole
            kept = min(whole, limit)
            return Record(0, self._interface(0).linktype, _cut(body[4:], kept), whole)
        if kind == _INTERFACE:
            self._begin_interface(body)
        elif kind == _STATISTICS:
            self._note_statistics(body)
        elif kind == _SECRETS:
            self._keep_secrets(body)
        return None

    def _packet(self, body: bytes) -> Record:
        number, high, low, kept, whole = struct.unpack_from(self._endian + "IIIII", body)
        return self._record(self._interface(number), high << 32 | low, _cut(body[20:], kept), whole)

    def _record(self, interface: Interface, ticks: int, data: bytes, length: int) -> Record:
        over, under = interface.unit_ns
        time_ns = ticks * over // under + interface.offset_s * _SECOND
        return Record(min(max(time_ns, 0), _MAX_TIME_NS), interface.linktype, data, max(length, len(data)))

    def _interface(self, number: int) -> Interface:
        if number >= len(self.interfaces):
            raise _MalformedError(f"a packet of interface {number}, of {len(self.interfaces)}")
        return self.interfaces[number]

    def _begin_interface(self, body: bytes) -> None:
        if len(self.interfaces) >= MAX_INTERFACES:
            raise _MalformedError(f"more than {MAX_INTERFACES} interfaces")
        linktype, kept = struct.unpack_from(self._endian + "HxxI", body)
        name, resolution, offset = "", _MICROSECONDS, 0
        for code, value in self._options(body[8:]):
            if code == _NAME:
                name = printable(value.decode("utf-8", "replace"), _SHOWN_NAME)
            elif code == _RESOLUTION and len(value) == 1:
                resolution = value[0]
            elif code == _OFFSET_S and len(value) == 8:
                (offset,) = struct.unpack(self._endian + "q", value)
        base, power = (2, resolution & 0x7F) if resolution & 0x80 else (10, resolution)
        self.interfaces.append(Interface(linktype, name, kept, (_SECOND, base**power), offset))

    def _note_statistics(self, body: bytes) -> None:
        """Take the drops that an Interface Statistics Block tells; the last one of an interface counts."""
        (number,) = struct.unpack_from(self._endian + "I", body)
        for code, value in self._options(body[12:]):
            if code == _DROPPED and len(value) == 8 and number < len(self.interfaces):
                (self._missed[number],) = struct.unpack(self._endian + "Q", value)
                self.missed = sum(self._missed.values())

    def _keep_secrets(self, body: bytes) -> None:
        kind, length = struct.unpack_from(self._endian + "II", body)
        if kind != _TLS_KEY_LOG:
            return
        self._secret_bytes += length
        if self._secret_bytes > MAX_SECRET_BYTES:
            raise _MalformedError(f"more than {MAX_SECRET_BYTES} bytes of key logs")
        self.secrets.append(_cut(body[8:], length))

    def _options(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while len(data) - at >= 4:
            code, length = struct.unpack_from(self._endian + "HH", data, at)
            if code == 0:
                return
            yield code, _cut(data[at + 4 :], length)
            at += 4 + length + -length % 4

    def _close_block(self, raw_length: bytes, length: int) -> None:
        if struct.unpack(self._endian + "I", raw_length) != (length,):
            raise _MalformedError("a block whose two lengths differ")

    # --- bytes -------------------------------------------------------------------------------------------------------

    def _take(self, count: int, *, begins: bool = False) -> bytes:
        """Return so many bytes. Where a record ``begins``, the end of the file is none too early."""
        data = self._file.read(count)
        self._at += len(data)
        if begins and not data:
            raise EOFError
        if len(data) < count:
            raise _MalformedError(f"the file ends {count - len(data)} bytes too early")
        return data


def _opened(path: Path) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file can have that name"
        raise UsageError(f"{path} cannot be read: {why}", _NAME_A_FILE) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path} cannot be read: it is no regular file", _NAME_A_FILE)
    return os.fdopen(descriptor, "rb")


def _bounded(length: int, what: str, least: int = 0) -> int:
    if length < least:
        raise _MalformedError(f"{what} of {length} bytes")
    if length > MAX_BLOCK_BYTES:
        raise _MalformedError(f"{what} of {length} bytes, more than {MAX_BLOCK_BYTES}")
    return length + -length % 4 if least else length


def _cut(data: bytes, length: int) -> bytes:
    if length > len(data):
        raise _MalformedError(f"{length} bytes where there are {len(data)}")
    return data[:length]
