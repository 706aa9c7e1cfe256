"""A ping makes a socket to its client, which leaves from where it was pinged; strangers get none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from punktfunk.errors import CapabilityError
from punktfunk.gamestream.ping import LEGACY, Ping, PingBook
from punktfunk.host.gamestream.media_ports import MediaPort
from punktfunk.host.gamestream.traffic_class import mark_traffic
from tests.support.gamestream import free_ports
from tests.support.waiting import PATIENCE_S, soon

PAYLOADS = ["0123456789ABCDEF", "FEDCBA9876543210"]


class Port:
    """A port on loopback with a book of sessions, and what it latched."""

    def __init__(self, bind: str) -> None:
        self.book = PingBook[int]()
        self.latched: list[tuple[int, socket.socket]] = []
        self.number = free_ports().video
        self.port = MediaPort(bind, self.number, "video", self.book, self._latched)

    def _latched(self, session: int, connected: socket.socket) -> None:
        self.latched.append((session, connected))

    def close(self) -> None:
        self.port.close()
        for _, connected in self.latched:
            connected.close()


@asynccontextmanager
async def opened(bind: str = "127.0.0.1") -> AsyncIterator[Port]:
    port = Port(bind)
    for session, payload in enumerate(PAYLOADS):
        port.book.expect(session, payload=payload, address="127.0.0.1" if session else None)
    port.port.open()
    try:
        yield port
    finally:
        port.close()


def client(address: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 0))
    made.settimeout(PATIENCE_S)
    return made


def ping(session: int, count: int = 1) -> bytes:
    return Ping(PAYLOADS[session].encode(), count).encode()


def test_each_session_gets_a_socket_of_its_own_and_packets_leave_from_the_pinged_port() -> None:
    async def run() -> None:
        async with opened() as port:
            with client() as first, client() as second:
                first.sendto(ping(0), ("127.0.0.1", port.number))
                await soon(lambda: len(port.latched) == 1, "the first ping is heard")
                # Two more of the first client, which its socket gets now, and the second client's.
                first.sendto(ping(0, 2), ("127.0.0.1", port.number))
                second.sendto(ping(1), ("127.0.0.1", port.number))
                await soon(lambda: len(port.latched) == 2, "the second ping is heard")
                assert [session for session, _ in port.latched] == [0, 1]
                for (_, connected), end in zip(port.latched, (first, second), strict=True):
                    connected.send(b"frame")
                    assert end.recvfrom(100) == (b"frame", ("127.0.0.1", port.number))
                assert port.latched[0][1].recv(100) == ping(0, 2)
                assert not port.port.counters

    asyncio.run(run())


def test_a_second_source_of_a_session_changes_nothing_until_it_is_forgotten() -> None:
    async def run() -> None:
        async with opened() as port:
            with client() as first, client() as second:
                first.sendto(ping(0), ("127.0.0.1", port.number))
                await soon(lambda: port.latched, "the first ping is heard")
                second.sendto(ping(0), ("127.0.0.1", port.number))
                second.sendto(b"x", ("127.0.0.1", port.number))
                await soon(lambda: port.port.counters["pings_unmatched"], "all was read")
                assert len(port.latched) == 1
                port.port.forget(0)
                second.sendto(ping(0), ("127.0.0.1", port.number))
                await soon(lambda: len(port.latched) == 2, "a session of the same name is another one")

    asyncio.run(run())


def test_strangers_get_no_socket_and_are_counted() -> None:
    async def run() -> None:
        async with opened() as port:
            with client() as stranger:
                for datagram in (b"", b"PINGPING", bytes(20), ping(0)[:-1], ping(0) + b"\0", bytes(1400)):
                    stranger.sendto(datagram, ("127.0.0.1", port.number))
                await soon(lambda: port.port.counters["pings_unmatched"] == 6, "all were read")
                assert not port.latched

    asyncio.run(run())


def test_an_old_client_is_known_by_its_address() -> None:
    async def run() -> None:
        async with opened() as port:
            with client("127.0.0.2") as other, client() as own:
                other.sendto(LEGACY, ("127.0.0.1", port.number))
                own.sendto(LEGACY, ("127.0.0.1", port.number))
                await soon(lambda: port.latched, "the ping is heard")
                session, connected = port.latched[0]
                assert (session, connected.getpeername()) == (1, own.getsockname())
                assert len(port.latched) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("bind", "dialled"), [("*", "127.0.0.3"), ("*", "::1"), ("0.0.0.0", "127.0.0.3"), ("::", "::1")]
)
def test_what_is_sent_leaves_from_the_address_that_the_client_dialled(bind: str, dialled: str) -> None:
    if ":" in dialled and not socket.has_ipv6:
        pytest.skip("no IPv6")

    async def run() -> None:
        async with opened(bind) as port:
            with client("::1" if ":" in dialled else "127.0.0.1") as end:
                end.sendto(ping(0), (dialled, port.number))
                await soon(lambda: port.latched, "the ping is heard")
                connected = port.latched[0][1]
                mark_traffic(connected, 40)
                connected.send(b"frame")
                data, source = end.recvfrom(100)
                assert (data, source[:2]) == (b"frame", (dialled, port.number))
                if ":" in dialled:
                    assert connected.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 160
                else:
                    assert connected.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 160

    asyncio.run(run())


def test_a_port_that_another_host_has_is_told_though_sessions_share_it() -> None:
    async def run() -> None:
        async with opened() as port:
            other = MediaPort("127.0.0.1", port.number, "video", port.book, port._latched)
            with pytest.raises(CapabilityError, match="video of GameStream"):
                other.open()

    asyncio.run(run())
