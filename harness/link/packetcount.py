"""Count packets where they arrive, by a filter in the kernel that copies nothing to us."""

from __future__ import annotations

import contextlib
import ctypes
import struct
from collections.abc import Iterable
from enum import Enum
from socket import AF_PACKET, SO_RCVBUF, SOCK_RAW, SOL_SOCKET, socket

from harness.network.namespaces import Namespace

_ETH_P_ALL = 0x0003
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_STATISTICS = 263, 6

# Classic BPF (linux/filter.h)
_LD_WORD, _LD_HALF, _LD_BYTE, _LD_HALF_INDEXED = 0x20, 0x28, 0x30, 0x48
_LDX_IP_HEADER, _JUMP, _JUMP_EQUAL, _JUMP_BITS, _RETURN = 0xB1, 0x05, 0x15, 0x45, 0x06
_PACKET_TYPE = 0xFFFFF000 + 4
"""SKF_AD_OFF + SKF_AD_PKTTYPE"""
_OUTGOING = 4
"""PACKET_OUTGOING (linux/if_packet.h)"""


_Row = tuple[int, int, int, int]
"""struct sock_filter: code, jump if true, jump if false, value."""
_REFUSE = -1
"""Stands for a jump to the end that counts nothing."""


class Port(Enum):
    """Which port of a datagram is the host's: its offset in the UDP header."""

    SOURCE = 0
    DESTINATION = 2


class PacketCounter:
    """Counts the IP packets that arrive at an Ethernet device: all of them, and those of the stream.

    The stream's are UDP whose ``port`` is one of ``media_ports`` (:data:`~harness.link.base.MAX_MEDIA_PORTS` at most);
    fragments have none. A packet that the socket's tiny buffer has no room for is counted too
    (``PACKET_STATISTICS``, packet(7)).
    """

    def __init__(self, namespace: Namespace, device: str, port: Port, media_ports: Iterable[int]) -> None:
        self._all = _Filtered(namespace, device, _incoming())
        self._stream = _Filtered(namespace, device, _stream(port, sorted(media_ports)))

    def all(self) -> int:
        """Return all packets so far."""
        return self._all.total()

    def stream(self) -> int:
        """Return the stream's packets so far."""
        return self._stream.total()

    def close(self) -> None:
        """Stop counting."""
        self._all.close()
        self._stream.close()


class _Filtered:
    def __init__(self, namespace: Namespace, device: str, rows: list[_Row]) -> None:
        self._total = 0
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
        # struct sock_fprog: number of instructions, pointer to them
        program = struct.pack("HL", len(rows), ctypes.addressof(code))

        def make() -> socket:
            made = socket(AF_PACKET, SOCK_RAW, 0)
            made.setsockopt(SOL_SOCKET, _SO_ATTACH_FILTER, program)
            made.setsockopt(SOL_SOCKET, SO_RCVBUF, 1)
            made.bind((device, _ETH_P_ALL))
            return made

        self._socket = namespace.run(make)

    def total(self) -> int:
        # A read sets the kernel's counts to zero.
        packets, _drops = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._total += packets
        return self._total

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


def _incoming() -> list[_Row]:
    # IPv4 without IGMP, and UDP over IPv6: what ends exchange, without what neighbours tell each other.
    return [
        (_LD_WORD, 0, 0, _PACKET_TYPE),
        (_JUMP_EQUAL, 8, 0, _OUTGOING),
        (_LD_HALF, 0, 0, 12),
        (_JUMP_EQUAL, 0, 2, 0x0800),
        (_LD_BYTE, 0, 0, 23),
        (_JUMP_EQUAL, 4, 3, 2),
        (_JUMP_EQUAL, 0, 3, 0x86DD),
        (_LD_BYTE, 0, 0, 20),
        (_JUMP_EQUAL, 0, 1, 17),
        (_RETURN, 0, 0, 1),
        (_RETURN, 0, 0, 0),
    ]


def _stream(port: Port, media_ports: list[int]) -> list[_Row]:
    find = [
        (_LD_WORD, 0, 0, _PACKET_TYPE),
        (_JUMP_EQUAL, _REFUSE, 0, _OUTGOING),
        (_LD_HALF, 0, 0, 12),
        (_JUMP_EQUAL, 0, 7, 0x0800),  # IPv4
        (_LD_BYTE, 0, 0, 23),
        (_JUMP_EQUAL, 0, _REFUSE, 17),
        (_LD_HALF, 0, 0, 20),
        (_JUMP_BITS, _REFUSE, 0, 0x3FFF),  # a fragment
        (_LDX_IP_HEADER, 0, 0, 14),
        (_LD_HALF_INDEXED, 0, 0, 14 + port.value),
        (_JUMP, 0, 0, 4),
        (_JUMP_EQUAL, 0, _REFUSE, 0x86DD),  # IPv6
        (_LD_BYTE, 0, 0, 20),
        (_JUMP_EQUAL, 0, _REFUSE, 17),
        (_LD_HALF, 0, 0, 54 + port.value),
    ]
    found = [(_JUMP_EQUAL, len(media_ports) - at, 0, port) for at, port in enumerate(media_ports)]
    rows = [*find, *found, (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 1)]
    refuse = len(rows) - 2

    def to(jump: int, at: int) -> int:
        return refuse - at - 1 if jump == _REFUSE else jump

    return [(code, to(yes, at), to(no, at), value) for at, (code, yes, no, value) in enumerate(rows)]
