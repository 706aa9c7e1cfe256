"""QUIC links over loopback sockets with real certificates: dialects, pins, closes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.endpoint import Dialer, Listener
from punktfunk.native.quic import ALPN_MISMATCH, PIN_MISMATCH, Closed, Link, Peer
from punktfunk.native.quic_connection import client_connection
from punktfunk.native.quic_limits import MAX_UDP_PAYLOAD_BYTES
from punktfunk.trust.identity import Identity, Role
from tests.support.waiting import PATIENCE_S

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
    asyncio.run(asyncio.wait_for(test, 2 * PATIENCE_S))


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


@pytest.mark.measures
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
            noise.settimeout(PATIENCE_S)
            answer = await asyncio.to_thread(noise.recv, 2000)
            assert answer[1:5] == bytes(4)
        assert bench.hosts == []
        assert bench.listener.counters["dropped_unparsable"] + bench.listener.counters["dropped_stray"] == 8
        bench.listener.close()

    run(scenario())


def test_an_initial_with_a_shorter_connection_id_than_any_client_has_makes_no_link() -> None:
    async def scenario() -> None:
        bench = Bench()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            noise.connect(("127.0.0.1", bench.listener.port))
            for size in range(9):
                noise.send(
                    (b"\xc3\x00\x00\x00\x01" + bytes([size]) + bytes(size) + b"\x00\x00\x44\xa0").ljust(
                        1220, b"\1"
                    )
                )
            async with asyncio.timeout(PATIENCE_S):
                while bench.listener.counters["links"] == 0:
                    await asyncio.sleep(0.01)
        assert bench.listener.counters["links"] == 1
        assert bench.listener.counters["dropped_stray"] == 8
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


def test_clients_of_both_families_come_by_one_port_of_a_listener_for_all_addresses(
    lack: Callable[[str], None],
) -> None:
    if not socket.has_ipv6:
        lack("IPv6 in this kernel")

    async def scenario() -> None:
        bench = Bench("*")
        for address in ("::1", "127.0.0.1"):
            dialer, client = bench.dial(Dialect.PKF1, address=address)
            await client.established.wait()
            assert bench.hosts[-1].local == address
            dialer.link.close(0)
            await client.over.wait()
        bench.listener.close()

    run(scenario())


@pytest.mark.parametrize(
    ("bind", "address", "family", "everywhere"),
    [("0.0.0.0", "127.0.0.1", socket.AF_INET6, "::"), ("::", "::1", socket.AF_INET, "0.0.0.0")],
)
def test_a_listener_for_all_addresses_of_one_family_leaves_the_port_of_the_other_alone(
    bind: str, address: str, family: int, everywhere: str, lack: Callable[[str], None]
) -> None:
    if not socket.has_ipv6:
        lack("IPv6 in this kernel")

    async def scenario() -> None:
        bench = Bench(bind)
        with socket.socket(family, socket.SOCK_DGRAM) as other:
            if family == socket.AF_INET6:
                other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            other.bind((everywhere, bench.listener.port))
        dialer, client = bench.dial(Dialect.PKF1, address=address)
        await client.established.wait()
        assert bench.hosts[-1].local == address
        dialer.link.close(0)
        await client.over.wait()
        bench.listener.close()

    run(scenario())


def test_a_full_listener_lets_the_oldest_stranger_go_and_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("punktfunk.link_quota.MAX_STRANGERS", 2)

    async def scenario() -> None:
        bench = Bench()
        dialled = []
        for _ in range(3):
            dialled.append(bench.dial(Dialect.PKF1))
            await dialled[-1][1].established.wait()
        await dialled[0][1].over.wait()
        assert dialled[0][1].closed == Closed(0x42, CloseCode.BUSY.sentence, application=True, by_peer=True)
        assert (bench.listener.strangers, bench.listener.counters["evicted"]) == (2, 1)
        assert bench.hosts[0].closed is not None
        for dialer, recorder in dialled[1:]:
            assert recorder.closed is None
            dialer.abandon("test over")
        bench.listener.close()

    run(scenario())


def test_an_admitted_link_is_no_stranger_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("punktfunk.link_quota.MAX_STRANGERS", 1)
    monkeypatch.setattr("punktfunk.link_quota.MAX_ADMITTED_PER_CERTIFICATE", 2)

    async def scenario() -> None:
        bench = Bench()
        dialled = []
        for _ in range(3):
            dialled.append(bench.dial(Dialect.PKF1))
            await dialled[-1][1].established.wait()
            link = bench.hosts[-1].link
            assert link is not None
            link.admit("a certificate")
            link.admit("a certificate")
            assert bench.listener.strangers == 0
        # The certificate has one link too many; nobody else has lost one.
        await dialled[0][1].over.wait()
        assert dialled[1][1].closed is None
        assert (bench.listener.counters["admitted"], bench.listener.counters["evicted"]) == (3, 1)
        for dialer, _ in dialled[1:]:
            dialer.abandon("test over")
        bench.listener.close()

    run(scenario())


@pytest.mark.parametrize("dialect", list(Dialect))
def test_under_load_a_client_proves_its_address_first_and_gets_in(
    monkeypatch: pytest.MonkeyPatch, dialect: Dialect
) -> None:
    monkeypatch.setattr("punktfunk.link_quota.RETRY_FROM_STRANGERS", 0)

    async def scenario() -> None:
        bench = Bench()
        dialer, client = bench.dial(dialect, HOST.fingerprint)
        await client.established.wait()
        assert bench.listener.counters["retries"] >= 1
        assert bench.listener.counters["links"] == 1
        dialer.link.send_stream(b"hello")
        await bench.hosts[0].received.wait()
        dialer.link.close(0)
        await client.over.wait()
        bench.listener.close()

    run(scenario())


def test_a_token_that_another_host_gave_is_like_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        bench = Bench()
        recorder = Recorder()
        connection = client_connection(CLIENT, Dialect.PKF1, None)
        connection._peer_token = bytes(60)
        monkeypatch.setattr("punktfunk.native.endpoint.client_connection", lambda *_: connection)
        dialer = Dialer(("127.0.0.1", bench.listener.port), CLIENT, Dialect.PKF1, None, recorder)
        await recorder.established.wait()
        assert bench.listener.counters["retries"] == 0
        dialer.abandon("test over")
        bench.listener.close()

    run(scenario())


def test_a_handshake_that_does_not_go_on_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("punktfunk.native.endpoint.HANDSHAKE_LIMIT_S", 0.3)

    async def scenario() -> None:
        bench = Bench()
        connection = client_connection(CLIENT, Dialect.PKF1, None)
        loop = asyncio.get_running_loop()
        connection.connect(("127.0.0.1", bench.listener.port), now=loop.time())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as half_open:
            for data, to in connection.datagrams_to_send(now=loop.time()):
                half_open.sendto(data, to)
            while not bench.hosts:
                await asyncio.sleep(0.01)
            await bench.hosts[0].over.wait()
        assert bench.listener.counters["handshake_too_slow"] == 1
        assert bench.listener.strangers == 0
        bench.listener.close()

    run(scenario())


def test_a_peer_that_breaks_a_limit_is_closed_at_once_and_counted_by_the_limits_name() -> None:
    async def scenario() -> None:
        bench = Bench()
        dialer, client = bench.dial(Dialect.PKF1)
        await client.established.wait()
        dialer.link.send_stream(b"x")
        await bench.hosts[0].received.wait()
        quic = dialer.link._quic
        stream = quic._streams[0]
        stream.max_stream_data_remote = quic._remote_max_data = 1 << 30
        # What lies beyond the window that the host granted, as one byte at offset 100,000.
        stream.sender._buffer_start = stream.sender._buffer_stop = stream.sender.highest_offset = 100_000
        dialer.link.send_stream(b"x")
        await bench.hosts[0].over.wait()
        assert bench.listener.counters["quic_flow_control_error"] == 1
        await client.over.wait()
        assert client.closed is not None
        assert (client.closed.code, client.closed.by_peer) == (3, True)
        bench.listener.close()

    run(scenario())


def test_a_datagram_larger_than_what_the_host_announced_is_dropped() -> None:
    async def scenario() -> None:
        bench = Bench()
        dialer, client = bench.dial(Dialect.PKF1)
        await client.established.wait()
        dialer._send(bytes(MAX_UDP_PAYLOAD_BYTES + 1))
        dialer.link.send_datagram(b"\xc8")
        await bench.hosts[0].received.wait()
        assert bench.listener.counters["dropped_oversize"] == 1
        dialer.abandon("test over")
        bench.listener.close()

    run(scenario())


def test_datagrams_that_the_path_does_not_take_are_dropped_oldest_first() -> None:
    async def scenario() -> None:
        bench = Bench()
        dialer, client = bench.dial(Dialect.PKF1)
        await client.established.wait()
        link = dialer.link
        link._quic._loss._cc.congestion_window = 0
        for number in range(300):
            link.send_datagram(number.to_bytes(2, "big"))
        waiting = list(link._quic._datagrams_pending)
        assert len(waiting) == 256
        assert waiting[-1] == (299).to_bytes(2, "big")
        assert link.counters["datagrams_unsent"] == 300 - 256
        dialer.abandon("test over")
        bench.listener.close()

    run(scenario())


def test_a_close_does_not_last_as_long_as_the_peer_makes_the_round_trip() -> None:
    async def scenario() -> None:
        bench = Bench()
        _, client = bench.dial(Dialect.PKF1)
        await client.established.wait()
        link = bench.hosts[0].link
        assert link is not None
        link._quic._loss._rtt_smoothed = 30.0
        link.close(CloseCode.DONE, "done")
        async with asyncio.timeout(8):
            await bench.hosts[0].over.wait()
        assert bench.hosts[0].closed == Closed(0, "done", application=True, by_peer=False)
        bench.listener.close()

    run(scenario())
