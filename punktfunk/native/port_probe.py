"""Ask a UDP port whether a punktfunk/1 host is behind it, without beginning anything there.

A QUIC server answers what is of a version that it does not know with the list of those that it knows (RFC 9000 section
6.1), keeps nothing for it and asks for no certificate.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

from punktfunk.clock import monotonic_ns
from punktfunk.native.endpoint import connected_socket
from punktfunk.reachability import NetworkError, Unreached, network_errors

PROBE_BYTES: Final = 1200
"""Servers do not answer shorter ones (RFC 9000 section 14.1)."""
_RESERVED_VERSION: Final = 0x1A2A_3A4A
"""One of those that no version will ever be (RFC 9000 section 15)."""
_CONNECTION_ID_BYTES: Final = 8
_PAUSES_S: Final = (0.2, 0.4, 0.8, 1.6)
_LONG_HEADER: Final = 0x80
_READ_BYTES: Final = 2048
_MAX_DATAGRAMS: Final = 16


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What came of a probe."""

    unreached: NetworkError | None
    """Why nothing answered; ``None`` where a host did."""
    round_trip_ms: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether a host is there."""
        return self.unreached is None


async def probe_port(address: tuple[str, int], limit_s: float) -> ProbeAnswer:
    """Ask the port at ``address`` and return what came of it within ``limit_s``.

    Raises ``HandshakeError`` where there is no way to send at all.
    """
    connected, _ = connected_socket(address)
    try:
        async with asyncio.timeout(limit_s):
            return await _asked(connected)
    except TimeoutError:
        return ProbeAnswer(NetworkError(Unreached.SILENT))
    finally:
        connected.close()


async def _asked(connected: socket.socket) -> ProbeAnswer:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connected.fileno(), readable.set)
    theirs, ours = os.urandom(_CONNECTION_ID_BYTES), os.urandom(_CONNECTION_ID_BYTES)
    began_ns = monotonic_ns()
    try:
        for pause_s in chain(_PAUSES_S, repeat(_PAUSES_S[-1])):
            with suppress(OSError):  # what the network says of an earlier one is in the error queue, too
                connected.send(_probe(theirs, ours))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await readable.wait()
            errors = network_errors(connected)
            if errors:
                return ProbeAnswer(errors[0])
            if any(_answers(datagram, theirs, ours) for datagram in _datagrams(connected)):
                return ProbeAnswer(None, (monotonic_ns() - began_ns) / 1e6)
            if readable.is_set():  # by something else: whoever sends that is not asked any faster
                readable.clear()
                await asyncio.sleep(pause_s)
    finally:
        loop.remove_reader(connected.fileno())
    raise AssertionError("the pauses never end")


def _probe(theirs: bytes, ours: bytes) -> bytes:
    """Return a packet like an Initial of a version that nobody speaks; the rest of it is zeros."""
    head = struct.pack(">BI", 0xC0, _RESERVED_VERSION)
    ids = b"".join(bytes([len(each)]) + each for each in (theirs, ours))
    token = b"\0"
    left = PROBE_BYTES - len(head) - len(ids) - len(token) - 2
    # The length is a variable-length integer of two bytes (RFC 9000 section 16).
    return head + ids + token + struct.pack(">H", 0x4000 | left) + bytes(left)


def _answers(datagram: bytes, theirs: bytes, ours: bytes) -> bool:
    """Return whether this is the Version Negotiation packet for that probe: version 0, the IDs turned round."""
    ids = b"".join(bytes([len(each)]) + each for each in (ours, theirs))
    return (
        len(datagram) > 5 + len(ids)
        and bool(datagram[0] & _LONG_HEADER)
        and datagram[1:].startswith(bytes(4) + ids)
    )


def _datagrams(connected: socket.socket) -> Iterator[bytes]:
    for _ in range(_MAX_DATAGRAMS):
        try:
            yield connected.recv(_READ_BYTES)
        except OSError:
            return
