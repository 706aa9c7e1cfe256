"""What strangers do cannot turn a host's log over, and what a known client does is written whole (P16)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import punktfunk
from punktfunk.log_limit import LINES_OF_A_SOURCE
from punktfunk.log_ring import LogRing
from punktfunk.media import SyntheticSpec
from punktfunk.native.dialect import Dialect
from punktfunk.native.endpoint import Dialer
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Hello, WireMode
from punktfunk.native.quic import Closed, Peer
from punktfunk.trust.identity import Identity, Role

STRANGER, FRIEND = Identity.generate(Role.CLIENT), Identity.generate(Role.CLIENT)
HOST_IDENTITY = Identity.generate(Role.HOST)
HELLO = frame(Hello(mode=WireMode(1280, 720, 60), name="stranger").encode())
OF_ANOTHER_WIRE = frame(Hello(mode=WireMode(1280, 720, 60), name="friend", version=99).encode())
VISITS = 40
"""More than twice the lines that a source has, on a machine of any speed."""


@dataclass
class Visitor:
    """A link handler that says Hello and waits for the end."""

    hello: bytes
    over: asyncio.Event = field(default_factory=asyncio.Event)
    dialer: Dialer | None = None

    def link_established(self, peer: Peer) -> None:
        assert self.dialer is not None
        self.dialer.link.send_stream(self.hello)

    def stream_received(self, data: bytes) -> None: ...

    def stream_ended(self) -> None: ...

    def datagram_received(self, data: bytes) -> None: ...

    def link_closed(self, closed: Closed) -> None:
        self.over.set()


async def visit(host: punktfunk.Host, identity: Identity, hello: bytes) -> None:
    visitor = Visitor(hello)
    visitor.dialer = Dialer(("127.0.0.1", host.port), identity, Dialect.PKF1, None, visitor)
    await visitor.over.wait()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 120))


def events(ring: LogRing) -> Counter[str]:
    return Counter(entry.event for entry in ring.entries() if entry.concern == "host")


def test_a_stranger_that_comes_again_and_again_has_a_few_lines_and_a_count(ring: LogRing) -> None:
    async def scenario() -> None:
        config = punktfunk.HostConfig(
            port=0, source=SyntheticSpec(frame_bytes=2000), trusted_clients=[FRIEND.fingerprint]
        )
        async with punktfunk.Host(config, identity=HOST_IDENTITY) as host:
            for _ in range(VISITS):
                await visit(host, STRANGER, HELLO)
            assert host.stranger_log.left_out >= VISITS
            for _ in range(2 * LINES_OF_A_SOURCE):
                await visit(host, FRIEND, OF_ANOTHER_WIRE)
            friends = [
                entry for entry in ring.entries() if entry.fields.get("fingerprint") == FRIEND.fingerprint
            ]
            assert len(friends) == 2 * LINES_OF_A_SOURCE, "a known client's lines are all there"
            assert events(ring)["client refused"] == 3 * LINES_OF_A_SOURCE

    run(scenario())
    seen = events(ring)
    assert seen["client connected"] == 3 * LINES_OF_A_SOURCE
    assert seen[f"client refused ({VISITS - LINES_OF_A_SOURCE} times more in 60 s)"] == 1
    assert sum(seen.values()) < VISITS + 10


def test_wrong_passwords_and_tickets_of_the_console_are_counted_too(
    managed: Callable[..., Any],
) -> None:
    host = managed("host", log_level="debug")
    page = host.page()
    for _ in range(VISITS):
        assert page.post("/console/login", json={"ticket": "of another time"}).status_code == 401

    def lines() -> list[str]:
        return [entry.event for entry in host.serving.log.entries() if "sign-in failed" in entry.event]

    assert host.call(lines) == ["console sign-in failed"] * LINES_OF_A_SOURCE
    metrics = host.program().get("/metrics").text
    assert f"punktfunk_log_lines_limited_total {VISITS - LINES_OF_A_SOURCE}.0\n" in metrics
    host.end()
    assert lines()[-1] == f"console sign-in failed ({VISITS - LINES_OF_A_SOURCE} times more in 60 s)"
