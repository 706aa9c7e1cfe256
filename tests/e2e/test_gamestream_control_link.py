"""The client's control connection against an ENet host: connect data, sealed messages, what it drops, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from punktfunk.client.gamestream.control import ControlConnection
from punktfunk.clock import monotonic_ns
from punktfunk.core._core import EnetEndpoint, EnetEvent
from punktfunk.gamestream.control import (
    ClientMessage,
    FecStatus,
    HostMessage,
    IdrRequest,
    Ignored,
    Ping,
    StartB,
    Termination,
    decode_from_client,
    encode_from_host,
)
from punktfunk.gamestream.control_cipher import ControlCipher
from punktfunk.input import Rumble
from tests.support.waiting import soon

KEY = bytes(range(16))
CONNECT_DATA = 0x7E6F02E3


class Host(asyncio.DatagramProtocol):
    """An ENet host that opens what its client says, and says what it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, ClientMessage | Ignored]] = []
        self.events: list[EnetEvent] = []
        self.address = ("", 0)
        self._cipher = ControlCipher(KEY, "host", v2=True)
        self._enet = EnetEndpoint(peers=4, seed=1, admit=lambda data, _address: data == CONNECT_DATA)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        for event in self._enet.feed(data, address, now_ns=monotonic_ns()):
            self.events.append(event)
            if event.kind == "received":
                self.heard.append((event.channel, decode_from_client(self._cipher.open(event.payload))))
        self._flush()

    def say(self, message: HostMessage) -> None:
        inner = encode_from_host(message)
        assert inner is not None
        self.say_raw(self._cipher.seal(inner))

    def say_raw(self, payload: bytes) -> None:
        self._enet.send(self.events[0].peer, 0, payload, now_ns=monotonic_ns())
        self._flush()

    def hang_up(self) -> None:
        self._enet.disconnect(self.events[0].peer, now_ns=monotonic_ns())
        self._flush()

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def _flush(self) -> None:
        assert self._transport is not None
        for datagram, address, _ in self._enet.datagrams():
            self._transport.sendto(datagram, address)


def beside_a_host(use: Callable[[Host], Awaitable[None]]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        _, host = await loop.create_datagram_endpoint(Host, local_addr=("127.0.0.1", 0))
        try:
            await use(host)
        finally:
            host.close()

    asyncio.run(run())


@pytest.mark.conformance(72)
@pytest.mark.conformance(74)
def test_start_pings_requests_and_an_end_in_order_reach_the_host_and_what_it_says_comes_back() -> None:
    async def use(host: Host) -> None:
        said: list[HostMessage] = []
        control = await ControlConnection.open(host.address, KEY, CONNECT_DATA)
        control.on_message = said.append
        control.start()
        control.request_idr()
        status = FecStatus(1, 46, 10, 6, 44, 3, 38, 3, 5, 0, 1)
        control.send(status, 0)
        await soon(lambda: (0, Ping()) in host.heard and (0, status) in host.heard, "a ping and a status")
        assert host.heard[:2] == [(0, IdrRequest()), (0, StartB())]
        assert (1, IdrRequest()) in host.heard
        host.say(Rumble(1, 2, 3))
        host.say_raw(b"not sealed")
        host.say(Termination())
        await soon(lambda: len(said) == 2, "two messages")
        assert said == [Rumble(1, 2, 3), Termination()]
        assert control.counters["dropped_sealed"] == 1
        await control.close()
        assert host.events[-1].kind == "disconnected"
        assert control.counters["unacknowledged_end"] == 0

    beside_a_host(use)


def test_a_host_that_hangs_up_is_told_of_once_and_nothing_is_sent_behind_it() -> None:
    async def use(host: Host) -> None:
        ends: list[str] = []
        control = await ControlConnection.open(host.address, KEY, CONNECT_DATA)
        control.on_closed = ends.append
        control.start()
        await soon(lambda: bool(host.heard), "a connection")
        host.hang_up()
        await soon(lambda: bool(ends), "the end")
        control.request_idr()
        await control.close()
        assert ends == ["the host closed the control connection"]

    beside_a_host(use)
