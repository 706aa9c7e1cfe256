"""QUIC links over loopback sockets with real certificates: dialects, pins, closes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.endpoint import Dialer, Listener
from punktfunk.native.identity import Identity, Role
from punktfunk.native.quic import ALPN_MISMATCH, PIN_MISMATCH, Closed, Link, Peer, client_connection

HOST = Identity.generate(Role.HOST)
CLIENT = Identity.generate(Role.CLIENT)


@dataclass
class Recorder:
    """A link handler that keeps what it is told."""

    link: Link | None = None
    local: str = ""
    peer: Peer | None = None
    data: bytearray = field(default_factory=bytearray)
    datagrams: list[bytes] = field(default_factory=list)
    ended: bool = False
    established: asyncio.Event = field(default_factory=asyncio.Event)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    closed: Closed | None = None

    def link_made(self, link: Link, local_address: str) -> None:
        self.link, self.local = link, local_address

    def link_established(self, peer: Peer) -> None:
        self.peer = peer
        self.established.set()

    def stream_received(self, data: bytes) -> None:
        self.data += data
        self.received.set()

    def stream_ended(self) -> None:
        self.ended = True

    def datagram_received(self, data: bytes) -> None:
        self.datagrams.append(data)
        self.received.set()

    def link_closed(self, closed: Closed) -> None:
        assert self.closed is None
        self.closed = closed
        self.over.set()


class Bench:
    """A listener on 127.0.0.1 whose handlers are kept."""

    def __init__(self, bind: str = "127.0.0.1") -> None:
        self.hosts: list[Recorder] = []
        self.listener = Listener(bind, 0, HOST, self._handler)

    def _handler(self) -> Recorder:
        self.hosts.append(Recorder())
        return self.hosts[-1]

    def dial(
        self, dialect: Dialect, pin: str | None = None, address: str = "127.0.0.1"
    ) -> tuple[Dialer, Recorder]:
        recorder = Recorder()
        return Dialer((address, self.listener.port), CLIENT, dialect, pin, recorder), recorder


def discard(_value: object) -> None:
    return None


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("pin", [None, HOST.fingerprint], ids=["unpinned", "pinned"])
def test_one_listener_serves_clients_with_and_without_alpn(dialect: Dialect, pin: str | None) -> None:
    async def scenario() -> None:
        bench = Bench()
        dialer, client = bench.dial(dialect, pin)
        await client.established.wait()
        assert client.peer is not None
        assert client.peer.fingerprint == HOST.fingerprint
        assert client.peer.dialect is dialect
        [host] = bench.hosts
        dialer.link.send_stream(b"hello")
        await host.received.wait()
        assert host.peer is not None
        assert (host.peer.fingerprint, host.peer.dialect) == (CLIENT.fingerprint, dialect)
        assert host.local == "127.0.0.1"
        assert bytes(host.data) == b"hello"
        assert host.link is not None
        host.link.send_stream(b"welcome")
        await client.received.wait()
        assert bytes(client.data) == b"welcome"
        assert dialer.link.rtt_ns > 0
        dialer.link.close(CloseCode.DONE, "done")
        await host.over.wait()
        assert host.closed == Closed(0, "done", application=True, by_peer=True)
        await client.over.wait()
        assert client.closed == Closed(0, "done", application=True, by_peer=False)
        bench.listener.close()

    run(scenario())


def test_a_client_of_another_protocol_is_refused_in_the_handshake() -> None:
    async def scenario() -> None:
        bench = Bench()
        recorder = Recorder()
        connection = client_connection(CLIENT, Dialect.PKF1, None)
        connection.configuration.alpn_protocols = ["pkf2"]
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.connect(("127.0.0.1", bench.listener.port))
        link = Link(connection, recorder, lambda data, _to: discard(sock.send(data)))
        loop.add_reader(sock.fileno(), lambda: link.receive(sock.recv(65535), sock.getpeername()))
        link.connect(sock.getpeername())
        await recorder.over.wait()
        assert recorder.closed is not None
        assert recorder.closed.code == ALPN_MISMATCH
        assert not recorder.closed.application
        loop.remove_reader(sock.fileno())
        sock.close()
        bench.listener.close()

    run(scenario())


def test_a_host_with_another_certificate_than_the_pinned_one_never_sees_the_clients() -> None:
    async def scenario() -> None:
        bench = Bench()
        _, client = bench.dial(Dialect.PKF1, "ab" * 32)
        await client.over.wait()
        assert client.closed is not None
        assert client.closed.code == PIN_MISMATCH
        assert not client.closed.by_peer
        [host] = bench.hosts
        await host.over.wait()
        assert host.peer is None
        assert host.closed is not None
        assert host.closed.code == PIN_MISMATCH
        bench.listener.close()

    run(scenario())


def test_typed_close_codes_reach_the_client_at_once() -> None:
    async def scenario() -> None:
        bench = Bench()
        dialer, client = bench.dial(Dialect.PKF1)
        await client.established.wait()
        dialer.link.send_stream(b"x")
        await bench.hosts[0].received.wait()
        assert bench.hosts[0].link is not None
        bench.hosts[0].link.close(CloseCode.BUSY, "busy")
        await client.over.wait()
        assert client.closed == Closed(0x42, "busy", application=True, by_peer=True)
        assert "as many sessions" in client.closed.sentence
        bench.listener.close()

    run(scenario())


def test_datagrams_pass_both_ways_and_other_streams_are_ignored() -> None:
    async def scenario() -> None:
        bench = Bench()
        dialer, client = bench.dial(Dialect.PLAIN)
        await client.established.wait()
        dialer.link._quic.send_stream_data(2, b"unidirectional", end_stream=True)
        dialer.link.send_datagram(b"\xc8input")
        host = bench.hosts[0]
        await host.received.wait()
        assert host.datagrams == [b"\xc8input"]
        assert host.link is not None
        host.link.send_datagram(b"\xc9audio")
        await client.received.wait()
        assert client.datagrams == [b"\xc9audio"]
        assert bytes(host.data) == b""
        assert not host.ended
        dialer.link.close(0)
        await host.over.wait()
        bench.listener.close()

    run(scenario())


def test_a_port_where_nothing_listens_fails_at_once() -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        recorder = Recorder()
        started = asyncio.get_running_loop().time()
        Dialer(("127.0.0.1", port), CLIENT, Dialect.PKF1, None, recorder)
        await recorder.over.wait()
        assert recorder.closed is not None
        assert "nothing listens" in recorder.closed.reason
        assert asyncio.get_running_loop().time() - started < 2

    run(scenario())


def test_noise_on_the_port_is_counted_and_makes_no_links() -> None:
    async def scenario() -> None:
        bench = Bench()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            noise.bind(("127.0.0.1", 0))
            noise.connect(("127.0.0.1", bench.listener.port))
            for size in (0, 1, 20, 1200):
                noise.send(bytes(size))
                noise.send(b"\x40" + bytes(size))
            unknown_version = (
                b"\xc0" + (0x1A2A3A4A).to_bytes(4, "big") + b"\x08" + bytes(8) + b"\x08" + bytes(8)
            )
            noise.send(unknown_version.ljust(1200, b"\0"))
            noise.settimeout(5)
            answer = await asyncio.to_thread(noise.recv, 2000)
            assert answer[1:5] == bytes(4)
        assert bench.hosts == []
        assert bench.listener.counters["dropped_unparsable"] + bench.listener.counters["dropped_stray"] == 8
        bench.listener.close()

    run(scenario())


def test_a_wildcard_listener_answers_from_the_address_that_was_dialled() -> None:
    async def scenario() -> None:
        bench = Bench("0.0.0.0")
        dialer, client = bench.dial(Dialect.PKF1, address="127.0.0.5")
        await client.established.wait()
        assert bench.hosts[0].local == "127.0.0.5"
        dialer.link.close(0)
        await client.over.wait()
        bench.listener.close()

    run(scenario())


def test_ipv6_and_mapped_ipv4_clients_share_a_dual_stack_listener() -> None:
    if not socket.has_ipv6:
        pytest.skip("this kernel has no IPv6")

    async def scenario() -> None:
        bench = Bench("::")
        for address, local in (("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")):
            dialer, client = bench.dial(Dialect.PKF1, address=address)
            await client.established.wait()
            assert bench.hosts[-1].local == local
            dialer.link.close(0)
            await client.over.wait()
        bench.listener.close()

    run(scenario())


def test_a_listener_holds_at_most_64_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("punktfunk.native.endpoint.MAX_LINKS", 2)

    async def scenario() -> None:
        bench = Bench()
        dialled = [bench.dial(Dialect.PKF1) for _ in range(3)]
        await dialled[0][1].established.wait()
        await dialled[1][1].established.wait()
        assert bench.listener.counters["links"] == 2
        assert bench.listener.counters["dropped_full"] >= 1
        dialled[0][0].link.close(0)
        await dialled[2][1].established.wait()
        for dialer, _ in dialled:
            dialer.abandon("test over")
        bench.listener.close()

    run(scenario())
