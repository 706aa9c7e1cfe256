"""Count packets where they arrive, by a filter in the kernel that copies nothing to us."""

from __future__ import annotations

import contextlib
import ctypes
import struct
from socket import AF_PACKET, SO_RCVBUF, SOCK_RAW, SOL_SOCKET, socket

from harness.network.namespaces import Namespace

_ETH_P_ALL = 0x0003
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_STATISTICS = 263, 6

# Classic BPF (linux/filter.h)
_LD_WORD, _LD_HALF, _LD_BYTE, _LD_HALF_INDEXED = 0x20, 0x28, 0x30, 0x48
_LDX_IP_HEADER, _JUMP_EQUAL, _RETURN = 0xB1, 0x15, 0x06
_PACKET_TYPE = 0xFFFFF000 + 4
"""SKF_AD_OFF + SKF_AD_PKTTYPE"""
_OUTGOING = 4
"""PACKET_OUTGOING (linux/if_packet.h)"""


class PacketCounter:
    """Counts the IP packets that arrive at an Ethernet device: all of them, and those of the stream.

    The stream's are UDP from and to other ports than ``control_port``. A packet that the socket's tiny
    buffer has no room for is counted too (``PACKET_STATISTICS``, packet(7)).
    """

    def __init__(self, namespace: Namespace, device: str, control_port: int) -> None:
        self._all = _Filtered(namespace, device, _incoming())
        self._stream = _Filtered(namespace, device, _stream(control_port))

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
    def __init__(self, namespace: Namespace, device: str, rows: list[tuple[int, int, int, int]]) -> None:
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


def _incoming() -> list[tuple[int, int, int, int]]:
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


def _stream(control_port: int) -> list[tuple[int, int, int, int]]:
    return [
        (_LD_WORD, 0, 0, _PACKET_TYPE),
        (_JUMP_EQUAL, 17, 0, _OUTGOING),
        (_LD_HALF, 0, 0, 12),
        (_JUMP_EQUAL, 0, 7, 0x0800),  # IPv4
        (_LD_BYTE, 0, 0, 23),
        (_JUMP_EQUAL, 0, 13, 17),
        (_LDX_IP_HEADER, 0, 0, 14),
        (_LD_HALF_INDEXED, 0, 0, 14),
        (_JUMP_EQUAL, 10, 0, control_port),
        (_LD_HALF_INDEXED, 0, 0, 16),
        (_JUMP_EQUAL, 8, 7, control_port),
        (_JUMP_EQUAL, 0, 7, 0x86DD),  # IPv6
        (_LD_BYTE, 0, 0, 20),
        (_JUMP_EQUAL, 0, 5, 17),
        (_LD_HALF, 0, 0, 54),
        (_JUMP_EQUAL, 3, 0, control_port),
        (_LD_HALF, 0, 0, 56),
        (_JUMP_EQUAL, 1, 0, control_port),
        (_RETURN, 0, 0, 1),
        (_RETURN, 0, 0, 0),
    ]
