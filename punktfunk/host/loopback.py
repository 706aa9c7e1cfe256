"""Access units through the core and back over loopback, with flow control: each waits for the one before to return.

A link drops what its receiver is too slow for, and so does loopback where a busy machine gives the receiver no time; a
proof that everything comes through may not count that as damage. So one access unit is on its way at a time, and one
that does not come back is sent again.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from typing import Final, Self

from punktfunk.clock import monotonic_ns
from punktfunk.core import FLAG_KEY, FLAG_PICTURE, ClientStream, HostStream, StreamConfig
from punktfunk.media import AccessUnit

_FEC_PERCENT: Final = 20
_SHARD_BYTES: Final = 1408
_RATE_KBPS: Final = 1_000_000
"""Loopback has room for bursts that a link has not: the rate is no limit here."""
_RETURN_NS: Final = 250_000_000
"""How long an access unit may take there and back, some hundred times what it does on a machine that has time."""
_SENDS: Final = 20
"""How often an access unit is sent at most, 5 s in all."""

Pair = tuple[socket.socket, socket.socket]
Write = Callable[[bytes, int, bool], None]
"""Takes an access unit that came back as it was sent: its bytes, its capture time, and whether it is a key one."""


def loopback_pair() -> Pair:
    """Return two UDP sockets that are connected with each other."""
    ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for end in ends:
        end.bind(("127.0.0.1", 0))
    ends[0].connect(ends[1].getsockname())
    ends[1].connect(ends[0].getsockname())
    return ends[0], ends[1]


class Loopback:
    """A host stream and a client stream of the core that are joined; ``pair`` gives the sockets of both."""

    def __init__(self, write: Write, pair: Callable[[], Pair] = loopback_pair) -> None:
        self.intact = 0
        """Access units that came back byte for byte."""
        self.corrupt = 0
        """What came back otherwise, or was never sent."""
        self.sent_again = 0
        """Times that an access unit had not come back and was sent again."""
        self._write = write
        self._unit: AccessUnit | None = None
        """What is on its way."""
        self._sends = self._due_ns = 0
        self._numbers: set[int] = set()
        """The frames that it was sent as."""
        self._former: set[int] = set()
        """Of access units that were sent more than once and are done: late copies say nothing new."""
        self._sockets = pair()
        sender, receiver = self._sockets
        config = StreamConfig(
            key=secrets.token_bytes(16),
            salt=os.urandom(4),
            fec_percent=_FEC_PERCENT,
            shard_bytes=_SHARD_BYTES,
            # What follows a lost frame is wanted as well: the lost one is sent again.
            hold_undecodable=False,
        )
        self._client = ClientStream(config, receiver.fileno())
        self._host = HostStream(config, sender.fileno(), rate_kbps=_RATE_KBPS)

    @property
    def packets(self) -> int:
        """Packets that were sent, recovery included."""
        return self._host.stats()["packets_sent"]

    def send(self, unit: AccessUnit) -> None:
        """Send an access unit, once the one before has come back or been given up."""
        self.settle()
        self._unit, self._sends = unit, 0
        self._submit(unit)
        self.take(0.0)

    def take(self, timeout_s: float) -> None:
        """Take what has come back, waiting for the first; send again what is overdue."""
        frame = self._client.next_frame(timeout_s)
        while frame is not None:
            self._came(frame.index, bytes(frame), frame.pts_ns, frame.key)
            frame = self._client.next_frame(0.0)
        if self._unit is not None and monotonic_ns() >= self._due_ns:
            if self._sends < _SENDS:
                self.sent_again += 1
                self._submit(self._unit)
            else:
                self._done()

    def wait_until(self, deadline_ns: int) -> None:
        """Take what comes back until then."""
        while (left_ns := deadline_ns - monotonic_ns()) > 0:
            due_ns = _RETURN_NS if self._unit is None else max(0, self._due_ns - monotonic_ns())
            self.take(min(left_ns, due_ns) / 1e9)

    def settle(self) -> None:
        """Wait until nothing is on its way any more."""
        while self._unit is not None:
            self.take(max(0, self._due_ns - monotonic_ns()) / 1e9)

    def close(self) -> None:
        """End both streams."""
        self._host.close()
        self._client.close()
        for end in self._sockets:
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, unit: AccessUnit) -> None:
        flags = FLAG_PICTURE | (FLAG_KEY if unit.key else 0)
        self._numbers.add(self._host.submit(unit.data, unit.pts_ns, flags))
        self._sends += 1
        self._due_ns = monotonic_ns() + _RETURN_NS

    def _came(self, number: int, data: bytes, pts_ns: int, key: bool) -> None:
        unit = self._unit
        if number in self._former:
            return
        if unit is None or number not in self._numbers:
            self.corrupt += 1
        elif (data, pts_ns, key) == (unit.data, unit.pts_ns, unit.key):
            self.intact += 1
            self._write(data, pts_ns, key)
            self._done()
        else:
            self.corrupt += 1
            self._done()

    def _done(self) -> None:
        if len(self._numbers) > 1:
            self._former |= self._numbers
        self._numbers = set()
        self._unit = None
