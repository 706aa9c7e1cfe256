"""Promise P8 for GameStream's HTTP: strangers cost bounded memory, and keep no paired client out."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.host.gamestream.http_connection import MAX_PER_CLIENT, MAX_STRANGERS, MAX_STRANGERS_PER_SOURCE
from punktfunk.host.gamestream.pairing import MAX_HALF_OPEN, WIRE
from punktfunk.host.pending import MAX_PENDING, MAX_PENDING_PER_SOURCE
from punktfunk.trust.store import PairedClient
from tests.support.gamestream_host import UNIQUE_ID, Answer, GameStreamHost, among_clients, ask
from tests.support.moonlight import ClientKeys, PairingClient, client_keys
from tests.support.waiting import soon

PHONE, STRANGER = client_keys(), client_keys()
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
"""The beginning of one."""
MAX_ANSWER_S = 1.0
"""What a paired client waits, at most; some 20 ms are usual."""
Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def links(
    port: int, count: int, sources: int, sent: Callable[[int], bytes]
) -> AsyncIterator[list[Link]]:
    """Hold connections from as many addresses of this machine; what they send may find them cut off already."""
    held: list[Link] = []
    try:
        for n in range(count):
            source = f"127.1.{n % sources // 250}.{n % sources % 250 + 1}"
            link = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            held.append(link)
            link[1].write(sent(n))
        yield held
    finally:
        for _, writer in held:
            writer.transport.abort()


def half_open(n: int) -> bytes:
    """Return phase 1 of a client of its own: nobody checks who signed a certificate."""
    der = STRANGER.der.replace(b"NVIDIA", b"%06d" % n)
    keys = ClientKeys(lambda: (der, STRANGER.key))
    query = urlencode({"uniqueid": f"{UNIQUE_ID}{n}"} | PairingClient(keys, "1234").begin())
    return f"GET /pair?{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def resident_bytes() -> int:
    """Return what this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def paired_client_answered(host: GameStreamHost) -> float:
    """Have a paired client ask, from an address of its own; return how long it took."""
    began = time.monotonic()
    answer = await asyncio.to_thread(ask, host.ports, "/serverinfo", keys=PHONE)
    assert answer.text("PairStatus") == "1"
    return time.monotonic() - began


def with_paired(folder: Path, use: Callable[[GameStreamHost], Awaitable[None]]) -> None:
    async def run(host: GameStreamHost) -> None:
        host.pairing.trust.add(PairedClient(PHONE.fingerprint, "phone", WIRE, 0, PHONE.pem.decode()))
        await paired_client_answered(host)
        await use(host)

    among_clients(folder, run)


@pytest.mark.measures
def test_a_thousand_half_open_pairings_are_bounded_and_keep_nobody_out(tmp_path: Path) -> None:
    async def use(host: GameStreamHost) -> None:
        before = resident_bytes()
        async with links(host.ports.http, 1000, 250, half_open):
            await soon(
                lambda: host.pairing.counters["begun"] + host.pairing.counters["refused"] >= 900, "the flood"
            )
            waiting = host.pairing.waiting(monotonic_ns())
            assert len(waiting) == MAX_PENDING
            assert len(host.pairing) <= MAX_HALF_OPEN
            assert len(host.server.connections.all) <= MAX_STRANGERS + MAX_PENDING
            # Some 8 MiB on a quiet machine, of which this process has the other ends too.
            assert resident_bytes() - before < 64 << 20
            assert await paired_client_answered(host) < MAX_ANSWER_S
        await soon(lambda: not host.server.connections.all, "the links to end")
        assert len(host.pairing) == len(host.pairing.waiting(monotonic_ns())) == 0

    with_paired(tmp_path, use)


def test_one_address_takes_few_places(tmp_path: Path) -> None:
    async def use(host: GameStreamHost) -> None:
        async with links(host.ports.http, 100, 1, half_open):
            await soon(lambda: host.server.counters["http_requests"] >= 90, "the flood")
            assert len(host.pairing.waiting(monotonic_ns())) == MAX_PENDING_PER_SOURCE
            assert len(host.server.connections.all) <= MAX_STRANGERS_PER_SOURCE + MAX_PENDING_PER_SOURCE
            async with links(host.ports.http, 1, 2, lambda _: half_open(500)):
                await soon(
                    lambda: len(host.pairing.waiting(monotonic_ns())) >= MAX_PENDING_PER_SOURCE,
                    "the other device",
                )

    with_paired(tmp_path, use)


def test_pairings_that_are_begun_anew_take_no_more_places(tmp_path: Path) -> None:
    """Each is answered at once, with an error: its client reads that or does not."""

    async def use(host: GameStreamHost) -> None:
        async with links(host.ports.http, 100, 1, lambda _: half_open(7)):
            await soon(lambda: host.pairing.counters["begun"] >= 100, "the flood")
            assert len(host.pairing) == 1
            assert len(host.server.connections.all) <= MAX_STRANGERS_PER_SOURCE + 1

    with_paired(tmp_path, use)


@pytest.mark.measures
@pytest.mark.parametrize("what", [b"", b"GET /serverinfo HTTP/1.1\r\nA: "])
def test_two_hundred_slow_requests_keep_nobody_out(tmp_path: Path, what: bytes) -> None:
    async def use(host: GameStreamHost) -> None:
        async with links(host.ports.http, 200, 200, lambda _: what):
            await soon(lambda: len(host.server.connections.all) >= MAX_STRANGERS, "the flood")
            assert len(host.server.connections.all) <= MAX_STRANGERS + 1
            assert await paired_client_answered(host) < MAX_ANSWER_S
            assert (await asyncio.to_thread(ask, host.ports, "/serverinfo")).status == 200

    with_paired(tmp_path, use)


@pytest.mark.measures
def test_handshakes_are_rationed_and_a_paired_client_gets_its_own(tmp_path: Path) -> None:
    async def use(host: GameStreamHost) -> None:
        async with links(host.ports.https, 200, 100, lambda _: CLIENT_HELLO):
            await soon(lambda: host.server.counters["http_handshakes_delayed"] > 0, "the ration")
            # With a burst of 64 and half of it kept for those who come rarely.
            assert host.server.counters["http_handshakes"] <= 64 + 64 * 5
            assert len(host.server.connections.all) <= MAX_STRANGERS + 1
            assert await paired_client_answered(host) < 5 * MAX_ANSWER_S

    with_paired(tmp_path, use)


def test_a_paired_client_that_floods_loses_its_own_links(tmp_path: Path) -> None:
    async def use(host: GameStreamHost) -> None:
        host.owner.gate = asyncio.Event()
        launch = {"appid": "1", "rikey": "00" * 16, "rikeyid": "1", "localAudioPlayMode": "0"}
        loop, asked = (
            asyncio.get_running_loop(),
            functools.partial(ask, host.ports, "/launch", keys=PHONE, **launch),
        )
        with ThreadPoolExecutor(12) as threads:
            asking = [loop.run_in_executor(threads, asked) for _ in range(12)]
            await soon(lambda: host.server.counters["http_evicted"] >= 4, "the first to go")
            assert len(host.server.connections.clients) == MAX_PER_CLIENT
            host.owner.gate.set()
            done = await asyncio.gather(*asking, return_exceptions=True)
        assert sum(isinstance(answer, Answer) for answer in done) == MAX_PER_CLIENT

    with_paired(tmp_path, use)
