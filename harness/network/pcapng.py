"""Write pcapng files (draft-ietf-opsawg-pcapng): one section, one interface, nanosecond time stamps.

:mod:`harness.network.capture_file` reads them, and those of other programs.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Self

LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
"""Packets begin with the IP header (a TUN)."""

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_IF_NAME, _IF_TSRESOL = 2, 9
_ISB_IFRECV, _ISB_IFDROP = 4, 5
_NANOSECONDS = 9


class Writer:
    """A pcapng file; a context manager that closes it. ``write`` raises :class:`OSError` as files do."""

    def __init__(self, file: BinaryIO, linktype: int, interface: str) -> None:
        self._file = file
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        self._block(_SECTION, section)
        options = _option(_IF_NAME, interface.encode()) + _option(_IF_TSRESOL, bytes([_NANOSECONDS]))
        self._block(_INTERFACE, struct.pack("<HHI", linktype, 0, 0) + options + bytes(4))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def write(self, time_ns: int, packet: bytes) -> None:
        """Add a packet that was seen at ``time_ns`` (CLOCK_REALTIME)."""
        head = struct.pack("<IIIII", 0, time_ns >> 32, time_ns & 0xFFFFFFFF, len(packet), len(packet))
        self._block(_PACKET, head + packet + bytes(-len(packet) % 4))

    def statistics(self, time_ns: int, received: int, missed: int) -> None:
        """Add how many packets there were so far, and how many of them were not captured because there was no room."""
        head = struct.pack("<III", 0, time_ns >> 32, time_ns & 0xFFFFFFFF)
        options = _option(_ISB_IFRECV, struct.pack("<Q", received)) + _option(
            _ISB_IFDROP, struct.pack("<Q", missed)
        )
        self._block(_STATISTICS, head + options + bytes(4))

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", len(body) + 12)
        self._file.write(struct.pack("<I", kind) + length + body + length)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
