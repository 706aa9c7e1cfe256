"""When a peer was last heard: what its key has sealed counts, nothing else that comes from its address."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from punktfunk.native.dialect import Dialect
from punktfunk.native.identity import Identity, Role
from punktfunk.native.quic import Link
from punktfunk.native.quic_connection import client_connection, host_connection

CLIENT, HOST = ("192.0.2.1", 1000), ("192.0.2.2", 2000)


class Deaf:
    """A handler that does nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments: None


class Pair:
    """A host's and a client's link with two queues between them instead of sockets."""

    def __init__(self, host_identity: Identity, client_identity: Identity) -> None:
        self.to_host: deque[bytes] = deque()
        self.to_client: deque[bytes] = deque()
        quic = client_connection(client_identity, Dialect.PKF1, None)
        self.client = Link(quic, Deaf(), lambda data, _to: self.to_host.append(data))
        self.client.connect(HOST)
        self.host = Link(
            host_connection(host_identity, quic.original_destination_connection_id),
            Deaf(),
            lambda data, _to: self.to_client.append(data),
        )
        self.deliver()
        assert self.host.peer is not None

    def deliver(self) -> None:
        while self.to_host or self.to_client:
            while self.to_host:
                self.host.receive(self.to_host.popleft(), CLIENT)
            while self.to_client:
                self.client.receive(self.to_client.popleft(), HOST)

    def end(self) -> None:
        for link in (self.client, self.host):
            link.abandon("the test is over")


@pytest.fixture(scope="module")
def identities() -> tuple[Identity, Identity]:
    return Identity.generate(Role.HOST), Identity.generate(Role.CLIENT)


def test_a_packet_that_the_peer_has_sealed_is_heard_and_no_copy_or_forgery_of_it(
    identities: tuple[Identity, Identity],
) -> None:
    async def scenario() -> None:
        pair = Pair(*identities)
        pair.host.heard_ns = 0
        pair.client.ask()
        [sealed] = pair.to_host
        for forged in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:-1], bytes(1200), b"\x40" + bytes(40)):
            pair.host.receive(forged, CLIENT)
            assert pair.host.heard_ns == 0, forged
        pair.host.receive(sealed, CLIENT)
        heard_ns = pair.host.heard_ns
        assert heard_ns > 0
        pair.host.heard_ns = 0
        pair.host.receive(sealed, CLIENT)
        assert pair.host.heard_ns == 0, "a replay is no sign of life"
        pair.end()

    asyncio.run(scenario())


def test_a_peer_that_is_asked_answers_although_its_program_says_nothing(
    identities: tuple[Identity, Identity],
) -> None:
    async def scenario() -> None:
        pair = Pair(*identities)
        pair.host.heard_ns = 0
        pair.host.ask()
        pair.deliver()
        # The acknowledgement may wait for its timer; it is 20 ms here and 25 at most.
        async with asyncio.timeout(10):
            while pair.host.heard_ns == 0:
                await asyncio.sleep(0)
                pair.deliver()
        pair.end()

    asyncio.run(scenario())
