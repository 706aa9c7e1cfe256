"""Clients that ask for streams and leave, again and again: what a host starts for them is bounded (P8, P15).

A real host in a process of its own; its workers are counted from outside, as children in ``/proc``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from punktfunk.host.capacity import RESERVATIONS_KEPT
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.endpoint import Dialer
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Start
from punktfunk.native.messages import ClockProbe
from punktfunk.trust.identity import Identity, Role
from tests.support.host_process import REPOSITORY, HostProcess
from tests.support.raw_client import HELLO, Wire, first_packet, refusal, welcomed

HELLO_BYTES = frame(HELLO.encode())
START = frame(Start(40000).encode())
MAX_SESSIONS = 4
MAX_WORKERS = MAX_SESSIONS + 2
WORKERS_AT_ONCE, WORKERS_PER_S = 8, 2
"""As docs/promises.md has them."""
CLIENT_WORKERS_AT_ONCE, CLIENT_WORKERS_PER_S = 4, 1
ATTACK_S = 8.0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    started = HostProcess(tmp_path, max_sessions=MAX_SESSIONS)
    yield started
    started.end()


@pytest.fixture
def host_for_one(tmp_path: Path) -> Iterator[HostProcess]:
    started = HostProcess(tmp_path, max_sessions=1)
    yield started
    started.end()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 90))


async def come_and_leave(port: int, identity: Identity, *, start: bool, until: float) -> int:
    """Ask for a stream (and start it), leave, and come again; return how often the host said Welcome."""
    welcomes = 0
    while time.monotonic() < until:
        wire = Wire()
        dialer = Dialer(("127.0.0.1", port), identity, Dialect.PKF1, None, wire)
        try:
            async with asyncio.timeout(5):
                await wire.established.wait()
                dialer.link.send_stream(HELLO_BYTES)
                await wire.received.wait()
                if wire.closed is None:
                    welcomes += 1
                    if start:
                        dialer.link.send_stream(START)
                        await asyncio.sleep(0.02)
        except TimeoutError:
            pass  # the listener has its own limits
        dialer.link.close(0, "done")
        dialer.abandon("left")
    return welcomes


@pytest.mark.parametrize("start", [False, True], ids=["Hello", "Hello and Start"])
@pytest.mark.parametrize("clients", [1, 6])
def test_workers_alive_and_started_are_bounded_whatever_clients_ask_for(
    host: HostProcess, clients: int, start: bool
) -> None:
    identities = [Identity.generate(Role.CLIENT) for _ in range(clients)]

    async def scenario() -> None:
        began = time.monotonic()
        until = began + ATTACK_S
        attacks = [come_and_leave(host.port, one, start=start, until=until) for one in identities]
        welcomes = sum(await asyncio.gather(*attacks))
        took = time.monotonic() - began
        print(
            f"\n{clients} clients, {'Hello and Start' if start else 'Hello'}: {welcomes} welcomes in {took:.1f} s, "
            f"{len(host.workers)} workers started ({len(host.workers) / took:.1f} a second), "
            f"at most {host.most_workers} alive, host at {host.resident_mb:.0f} MB"
        )
        assert welcomes > MAX_WORKERS
        assert host.most_workers <= MAX_WORKERS
        allowed = min(
            WORKERS_AT_ONCE + took * WORKERS_PER_S,
            clients * (CLIENT_WORKERS_AT_ONCE + took * CLIENT_WORKERS_PER_S),
        )
        assert len(host.workers) <= allowed + 1
        if not start:
            assert host.workers == set()

    run(scenario())


def test_hellos_without_start_keep_no_client_out(host_for_one: HostProcess) -> None:
    async def scenario() -> None:
        waiting = [await welcomed(host_for_one.port) for _ in range(6)]
        began = time.monotonic()
        dialer, wire = await welcomed(host_for_one.port)
        await first_packet(dialer, wire)
        print(f"\nfirst packet beside six reservations after {time.monotonic() - began:.2f} s")
        assert len(host_for_one.workers) == 1
        for idle, _ in waiting:
            idle.link.close(0, "done")
        dialer.link.close(0, "done")

    run(scenario())


def test_hellos_without_start_that_crowd_the_host_are_over_after_three_seconds_and_few_may_take_longer(
    host_for_one: HostProcess,
) -> None:
    async def scenario() -> None:
        began = time.monotonic()
        waiting = [await welcomed(host_for_one.port) for _ in range(RESERVATIONS_KEPT + 4)]
        for number, (_, idle) in enumerate(waiting):
            async with asyncio.timeout(40):
                await idle.over.wait()
            took = time.monotonic() - began
            assert idle.closed is not None
            assert idle.closed.code == CloseCode.SETUP_FAILED
            assert took < 10 or number >= 4
        print(f"\n{len(waiting)} reservations over after {took:.1f} s")
        assert took > 10, "those that crowd nobody have the protocol's 10 s"
        assert host_for_one.workers == set()

    run(scenario())


def test_of_two_that_were_welcomed_the_first_to_start_streams_and_the_other_is_told(
    host_for_one: HostProcess,
) -> None:
    async def scenario() -> None:
        slow, quick = await welcomed(host_for_one.port), await welcomed(host_for_one.port)
        quick[1].received.clear()
        quick[0].link.send_stream(START + frame(ClockProbe(1).encode()))
        async with asyncio.timeout(20):
            await quick[1].received.wait()  # the echo, which only a client that has started gets
        with pytest.raises(ConnectionError):
            await first_packet(*slow)
        assert slow[1].closed is not None
        assert slow[1].closed.code == CloseCode.BUSY
        assert await refusal(host_for_one.port) == CloseCode.BUSY
        quick[0].link.close(0, "done")

    run(scenario())


def test_a_client_with_a_certificate_takes_its_own_place_over_when_it_starts_and_not_before(
    host_for_one: HostProcess,
) -> None:
    identity = Identity.generate(Role.CLIENT)

    async def scenario() -> None:
        first, first_wire = await welcomed(host_for_one.port, identity)
        await first_packet(first, first_wire)
        again, again_wire = await welcomed(host_for_one.port, identity)
        assert first_wire.closed is None
        await first_packet(again, again_wire)
        async with asyncio.timeout(20):
            await first_wire.over.wait()
        assert first_wire.closed is not None
        assert first_wire.closed.code == CloseCode.SUPERSEDED
        assert host_for_one.most_workers <= 1 + 2
        again.link.close(0, "done")

    run(scenario())


def test_a_client_that_was_killed_gets_its_place_back_at_once_and_nobody_else_gets_it(
    host_for_one: HostProcess, tmp_path: Path
) -> None:
    config = {"address": host_for_one.address, "trust": "loopback", "state_dir": str(tmp_path / "client")}
    (tmp_path / "client.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "punktfunk.client", "--config", str(tmp_path / "client.json")]

    async def scenario() -> None:
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as client:
            assert client.stdout is not None
            while json.loads(await asyncio.to_thread(client.stdout.readline))["event"] != "second":
                pass
            client.kill()
        assert await refusal(host_for_one.port) == CloseCode.BUSY
        again = await welcomed(host_for_one.port, Identity.load_or_create(tmp_path / "client", Role.CLIENT))
        await first_packet(*again)
        assert host_for_one.process.stdout is not None
        session = json.loads(await asyncio.to_thread(host_for_one.process.stdout.readline))
        assert (session["event"], session["reason"]) == ("session", "superseded")
        again[0].link.close(0, "done")

    run(scenario())
