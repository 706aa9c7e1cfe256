"""When a peer was last heard: what its key has sealed counts, nothing else that comes from its address."""

from __future__ import annotations

import asyncio

import pytest

from punktfunk.trust.identity import Identity, Role
from tests.support.links import CLIENT, Pair


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
