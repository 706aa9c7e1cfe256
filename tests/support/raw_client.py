"""A client that says what it likes: links, control messages by hand, and a data socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field

from punktfunk.native.control import PUNCH
from punktfunk.native.dialect import Dialect
from punktfunk.native.endpoint import Dialer
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Hello, Start, WireMode
from punktfunk.native.quic import Closed, Peer
from punktfunk.trust.identity import Identity, Role

HELLO = Hello(mode=WireMode(1280, 720, 60), name="hostile")


@dataclass
class Wire:
    """A link handler that sees how far the host goes along."""

    data: bytearray = field(default_factory=bytearray)
    established: asyncio.Event = field(default_factory=asyncio.Event)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    closed: Closed | None = None

    def link_established(self, peer: Peer) -> None:
        self.established.set()

    def stream_received(self, data: bytes) -> None:
        self.data += data
        self.received.set()

    def stream_ended(self) -> None: ...

    def datagram_received(self, data: bytes) -> None: ...

    def link_closed(self, closed: Closed) -> None:
        self.closed = closed
        for happened in (self.established, self.received, self.over):
            happened.set()


async def dial(port: int, identity: Identity | None = None) -> tuple[Dialer, Wire]:
    wire = Wire()
    identity = identity or Identity.generate(Role.CLIENT)
    dialer = Dialer(("127.0.0.1", port), identity, Dialect.PKF1, None, wire)
    async with asyncio.timeout(20):
        await wire.established.wait()
    assert dialer.link.peer is not None, wire.closed
    return dialer, wire


async def welcomed(port: int, identity: Identity | None = None, hello: Hello = HELLO) -> tuple[Dialer, Wire]:
    """Come with a Hello and get as far as Welcome."""
    dialer, wire = await dial(port, identity)
    dialer.link.send_stream(frame(hello.encode()))
    async with asyncio.timeout(20):
        await wire.received.wait()
    assert wire.closed is None, wire.closed
    return dialer, wire


async def refusal(port: int, hello: Hello = HELLO) -> int:
    """Come with a Hello as somebody new, and return the code that the host closes with instead of a Welcome."""
    dialer, wire = await dial(port)
    dialer.link.send_stream(frame(hello.encode()))
    async with asyncio.timeout(20):
        await wire.over.wait()
    assert wire.closed is not None
    assert not wire.data
    return wire.closed.code


async def first_packet(dialer: Dialer, wire: Wire) -> None:
    """Start a stream after its Welcome, and wait for its first packet; raise ``ConnectionError`` when refused."""
    [data_port] = struct.unpack_from("<H", wire.data, 2 + 8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as data:
        data.connect(("127.0.0.1", data_port))
        data.send(PUNCH)
        dialer.link.send_stream(frame(Start(data.getsockname()[1]).encode()))
        arrives = asyncio.ensure_future(_packet(data))
        ends = asyncio.ensure_future(wire.over.wait())
        async with asyncio.timeout(30):
            await asyncio.wait([arrives, ends], return_when=asyncio.FIRST_COMPLETED)
        arrived = arrives.done()
        arrives.cancel()
        ends.cancel()
        # The loop lets go of the socket's number only when the task is over: closed before, its next owner would lose
        # its reader.
        await asyncio.gather(arrives, ends, return_exceptions=True)
        if not arrived:
            raise ConnectionError(wire.closed)


async def _packet(data: socket.socket) -> None:
    while True:
        try:
            await asyncio.get_running_loop().sock_recv(data, 2048)
        except ConnectionRefusedError:
            continue  # the host has closed its data port, and will say why
        return
