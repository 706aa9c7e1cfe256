"""The end of a link is told more than once: one packet is lost easily, and an end in order is no failure."""

from __future__ import annotations

import asyncio

import pytest

from punktfunk.native.dialect import CloseCode
from punktfunk.trust.identity import Identity, Role
from tests.support.links import CLIENT, Pair


@pytest.fixture(scope="module")
def identities() -> tuple[Identity, Identity]:
    return Identity.generate(Role.HOST), Identity.generate(Role.CLIENT)


def test_a_close_that_was_lost_is_told_again_to_whoever_still_sends(
    identities: tuple[Identity, Identity],
) -> None:
    async def scenario() -> None:
        pair = Pair(*identities)
        pair.host.close(CloseCode.DONE, "done")
        assert len(pair.to_client) == 1
        pair.to_client.clear()
        pair.client.ask()
        pair.deliver()
        assert pair.client.closed is not None
        assert (pair.client.closed.by_peer, pair.client.closed.reason) == (True, "done")
        pair.end()

    asyncio.run(scenario())


def test_a_close_is_told_once_more_when_the_link_is_forgotten(identities: tuple[Identity, Identity]) -> None:
    async def scenario() -> None:
        pair = Pair(*identities)
        pair.host.close(CloseCode.DONE, "done")
        pair.to_client.clear()
        pair.host.abandon("the host has ended")
        pair.deliver()
        assert pair.client.closed is not None
        assert (pair.client.closed.by_peer, pair.client.closed.loss) == (True, None)
        pair.end()

    asyncio.run(scenario())


def test_nobody_makes_a_closing_link_say_more_than_four_times_that_it_closes(
    identities: tuple[Identity, Identity],
) -> None:
    async def scenario() -> None:
        pair = Pair(*identities)
        pair.host.close(CloseCode.DONE, "done")
        for _ in range(50):
            pair.host.receive(b"\x40" + bytes(40), CLIENT)
        pair.host.abandon("enough")
        assert len(pair.to_client) == 4
        pair.client.abandon("the test is over")

    asyncio.run(scenario())


def test_who_is_thrown_out_is_told_once(identities: tuple[Identity, Identity]) -> None:
    async def scenario() -> None:
        pair = Pair(*identities)
        pair.host.expel(CloseCode.BUSY)
        assert len(pair.to_client) == 1
        pair.deliver()
        assert pair.client.closed is not None
        assert pair.client.closed.code == CloseCode.BUSY
        pair.end()

    asyncio.run(scenario())
