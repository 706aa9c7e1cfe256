"""Pings of clients, which show where media has to go, and whose they are (gamestream section 6)."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from punktfunk.addresses import parse_address

PAYLOAD_BYTES = 16
PING_BYTES = PAYLOAD_BYTES + 4
LEGACY = b"PING"
"""What clients send that were given no payload."""
INTERVAL_S = 0.5
"""Between two pings of a client."""

S = TypeVar("S", bound=Hashable)


def new_payload() -> str:
    """Return the 16 characters by which a session's pings are known, never twice the same."""
    return secrets.token_hex(PAYLOAD_BYTES // 2).upper()


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping of one session; ``count`` is from 1 on."""

    payload: bytes
    count: int

    def encode(self) -> bytes:
        """Return its bytes."""
        return self.payload + struct.pack(">I", self.count & 0xFFFF_FFFF)

    @classmethod
    def decode(cls, datagram: bytes) -> Ping | None:
        """Read one; ``None`` for anything else."""
        if len(datagram) != PING_BYTES:
            return None
        return cls(datagram[:PAYLOAD_BYTES], struct.unpack_from(">I", datagram, PAYLOAD_BYTES)[0])


class PingBook(Generic[S]):
    """Which session a ping belongs to: by its payload, or for clients without one by where it comes from.

    A session is in it until it is told to forget it, so that there are as many as the owner lets in.
    """

    def __init__(self) -> None:
        self._by_payload: dict[bytes, S] = {}
        self._by_address: dict[str, list[S]] = {}

    def expect(self, session: S, *, payload: str, address: str | None) -> None:
        """Know a session by its payload, and where an ``address`` is given by pings without one from there."""
        self._by_payload[payload.encode()] = session
        if address is not None:
            self._by_address.setdefault(str(parse_address(address)), []).append(session)

    def forget(self, session: S) -> None:
        """Know a session no longer; one that is not here is none."""
        self._by_payload = {payload: known for payload, known in self._by_payload.items() if known != session}
        for address, sessions in list(self._by_address.items()):
            self._by_address[address] = [known for known in sessions if known != session]
            if not self._by_address[address]:
                del self._by_address[address]

    def session_of(self, datagram: bytes, address: str) -> S | None:
        """Return whose ping this is; ``None`` for what is none.

        Of several sessions that are known by one address it is the latest, for what went before is being left.
        """
        ping = Ping.decode(datagram)
        if ping is not None:
            return self._by_payload.get(ping.payload)
        if datagram == LEGACY:
            sessions = self._by_address.get(str(parse_address(address)))
            return sessions[-1] if sessions else None
        return None
