"""Pairing over the wire, from the PIN on the host's screen to a pinned session and its end."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import punktfunk
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.clock import monotonic_ns
from punktfunk.errors import (
    HandshakeError,
    PairingError,
    PairingRefusedError,
    RejectedError,
    UntrustedPeerError,
)
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.pending import PendingClients
from punktfunk.media import SyntheticSpec
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.messages import PairChallenge, PairResult
from punktfunk.native.pair_client import _PairingConnection
from punktfunk.native.pairing import ClientCeremony
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.store import TrustStore
from punktfunk.units import Mode
from tests.support.hosts import listener_of
from tests.support.waiting import soon


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


@asynccontextmanager
async def paired_only_host(
    folder: Path, **fields: Any
) -> AsyncIterator[tuple[punktfunk.Host, NativePairing, str]]:
    """A host that lets in nobody but paired clients; its pairing and its address."""
    identity = Identity.load_or_create(folder / "host", Role.HOST)
    pairing = NativePairing(
        PendingClients(TrustStore(folder / "host" / "trust.json")), bytes.fromhex(identity.fingerprint)
    )
    config = punktfunk.HostConfig(
        port=fields.pop("port", 0),
        source=SyntheticSpec(frame_bytes=5000),
        mode=Mode(1280, 720, 60),
        **fields,
    )
    async with punktfunk.Host(config, identity=identity, pairing=pairing) as host:
        yield host, pairing, f"127.0.0.1:{host.port}"


def device(folder: Path, name: str, **fields: Any) -> punktfunk.ClientConfig:
    return punktfunk.ClientConfig(state_dir=folder / name, name=name, **fields)


def other_than(pin: str) -> str:
    return "0000" if pin != "0000" else "1111"


@pytest.mark.parametrize("dialect", ["pkf1", "none"])
def test_the_right_pin_pairs_and_the_next_connection_is_pinned_and_let_in(
    dialect: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with paired_only_host(tmp_path, frames=30) as (host, pairing, address):
            laptop = device(tmp_path, "laptop", dialect=dialect)
            window = pairing.arm(monotonic_ns())
            assert await punktfunk.pair(address, window.pin, laptop) == host.fingerprint
            [stored] = TrustStore(pairing.trust.path).clients("native")
            assert stored.name == "laptop"
            async with punktfunk.Client(address, laptop) as client:
                assert (await client.finished()).verified is True
            assert host.reports[0].peer.fingerprint == stored.fingerprint
            assert pairing.window(monotonic_ns()) is None

    run(scenario())


def test_a_host_that_changed_its_certificate_is_not_taken_for_the_paired_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        laptop = device(tmp_path, "laptop")
        async with paired_only_host(tmp_path / "one") as (host, pairing, address):
            await punktfunk.pair(address, pairing.arm(monotonic_ns()).pin, laptop)
            port = host.port
        async with paired_only_host(tmp_path / "two", port=port) as (_, _, address):
            with pytest.raises(UntrustedPeerError, match="pinned certificate"):
                async with punktfunk.Client(address, laptop):
                    pass

    run(scenario())


@pytest.mark.parametrize("dialect", ["pkf1", "none"])
def test_a_wrong_pin_burns_the_attempt_and_stores_nothing_on_either_side(
    dialect: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with paired_only_host(tmp_path) as (_, pairing, address):
            laptop = device(tmp_path, "laptop", dialect=dialect)
            pin = pairing.arm(monotonic_ns()).pin
            with pytest.raises(PairingError, match="wrong PIN"):
                await punktfunk.pair(address, other_than(pin), laptop)
            with pytest.raises(PairingRefusedError) as refused:
                await punktfunk.pair(address, pin, laptop)
            expected = CloseCode.PAIRING_NOT_ARMED if dialect == "pkf1" else CloseCode.DONE
            assert refused.value.close_code == expected
            assert pairing.trust.clients() == ()
            assert KnownHosts(tmp_path / "laptop").all() == ()

    run(scenario())


def test_two_clients_race_for_one_window_and_one_is_told_that_it_is_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with paired_only_host(tmp_path) as (_, pairing, address):
            pin = pairing.arm(monotonic_ns()).pin
            outcomes = await asyncio.gather(
                *(punktfunk.pair(address, pin, device(tmp_path, name)) for name in ("one", "two")),
                return_exceptions=True,
            )
            [refused] = [outcome for outcome in outcomes if isinstance(outcome, PairingRefusedError)]
            assert refused.close_code == CloseCode.PAIRING_NOT_ARMED
            assert len([outcome for outcome in outcomes if isinstance(outcome, str)]) == 1
            assert len(pairing.trust.clients()) == 1
            assert pairing.counters["challenges"] == 1

    run(scenario())


@pytest.mark.measures
def test_unpairing_ends_the_live_session_within_a_second_and_the_client_stays_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with paired_only_host(tmp_path) as (host, pairing, address):
            laptop = device(tmp_path, "laptop")
            await punktfunk.pair(address, pairing.arm(monotonic_ns()).pin, laptop)
            async with punktfunk.Client(address, laptop) as client:
                await soon(lambda: host.reports and host.reports[0].state == "streaming", "a stream")
                started = time.monotonic()
                assert pairing.trust.remove(pairing.trust.clients()[0].fingerprint)
                [report] = await host.sessions_over(1)
                assert time.monotonic() - started < 1
                assert (report.reason, report.failed) == ("unpaired", False)
                summary = await client.finished()
                assert "does not know this client" in summary.reason
                assert time.monotonic() - started < 2
            with pytest.raises(RejectedError):
                async with punktfunk.Client(address, laptop):
                    pass

    run(scenario())


def test_an_unknown_client_is_refused_waits_for_a_word_and_is_let_in_after_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with paired_only_host(tmp_path, frames=10) as (host, pairing, address):
            laptop = device(tmp_path, "lap\x1b[31mtop", pin=host.fingerprint)
            with pytest.raises(RejectedError) as refused:
                async with punktfunk.Client(address, laptop):
                    pass
            assert refused.value.close_code == CloseCode.DENIED
            [waiting] = pairing.pending.all(monotonic_ns())
            assert (waiting.name, waiting.source) == ("lap[31mtop", "127.0.0.1")
            assert pairing.pending.approve(waiting.fingerprint, monotonic_ns(), int(time.time()))
            async with punktfunk.Client(address, laptop) as client:
                assert (await client.finished()).verified is True

    run(scenario())


def test_a_full_disk_at_the_host_is_a_failure_that_the_client_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def scenario() -> None:
        async with paired_only_host(tmp_path) as (_, pairing, address):
            laptop = device(tmp_path, "laptop")
            Identity.load_or_create(tmp_path / "laptop", Role.CLIENT)
            pin = pairing.arm(monotonic_ns()).pin
            with monkeypatch.context() as disk:
                disk.setattr(os, "fsync", full)
                with pytest.raises(PairingError, match="could not finish"):
                    await punktfunk.pair(address, pin, laptop)
            assert pairing.counters["store_failures"] == 1
            assert pairing.trust.clients() == TrustStore(pairing.trust.path).clients() == ()
            with pytest.raises(UntrustedPeerError):
                async with punktfunk.Client(address, laptop):
                    pass

    run(scenario())


def test_a_window_bound_to_another_device_stays_open_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with paired_only_host(tmp_path) as (_, pairing, address):
            bound = "ab" * 32
            pairing.arm(monotonic_ns(), bound_to=bound)
            with pytest.raises(PairingRefusedError) as refused:
                await punktfunk.pair(address, "0000", device(tmp_path, "stranger"))
            assert refused.value.close_code == CloseCode.WINDOW_BOUND
            assert pairing.window(monotonic_ns()) is not None

    run(scenario())


def test_a_new_connection_of_the_same_paired_client_takes_the_session_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with paired_only_host(tmp_path, max_sessions=1) as (host, pairing, address):
            laptop = device(tmp_path, "laptop")
            await punktfunk.pair(address, pairing.arm(monotonic_ns()).pin, laptop)
            async with punktfunk.Client(address, laptop) as first:
                await soon(lambda: host.reports and host.reports[0].state == "streaming", "a stream")
                async with punktfunk.Client(address, laptop) as second:
                    summary = await first.finished()
                    assert "took over" in summary.reason
                    [report] = await host.sessions_over(1)
                    assert (report.number, report.reason, report.failed) == (1, "superseded", False)
                    assert [live.number for live in host.live()] == [2]
                    assert host.live()[0].name == "laptop"
                    second.stop()
                    assert not (await second.finished()).failed

    run(scenario())


def test_clients_that_retry_find_a_restarted_host_again_still_paired(tmp_path: Path) -> None:
    refused: set[str] = set()

    async def until_let_in(address: str, config: punktfunk.ClientConfig) -> bool | None:
        while True:
            try:
                async with punktfunk.Client(address, config) as client:
                    return (await client.finished()).verified
            except HandshakeError:
                refused.add(config.name)
                await asyncio.sleep(0.05)

    async def scenario() -> None:
        devices = [device(tmp_path, name) for name in ("one", "two")]
        async with paired_only_host(tmp_path) as (host, pairing, address):
            port = host.port
            for each in devices:
                pairing._next_ns = 0
                await punktfunk.pair(address, pairing.arm(monotonic_ns()).pin, each)
            async with punktfunk.Client(address, devices[0]) as client:
                await soon(lambda: host.reports and host.reports[0].state == "streaming", "a stream")
                await host.__aexit__(None, None, None)
                assert "host stopped" in (await client.finished()).reason
        retries = [asyncio.create_task(until_let_in(address, each)) for each in devices]
        await soon(lambda: len(refused) == 2, "both have tried in vain")
        async with paired_only_host(tmp_path, port=port, frames=30):
            assert await asyncio.gather(*retries) == [True, True]

    run(scenario())


def test_whoever_has_the_attempt_of_a_pin_keeps_its_place_at_the_listener(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with paired_only_host(tmp_path) as (host, pairing, _):
            window = pairing.arm(monotonic_ns())
            host_fp = bytes.fromhex(host.fingerprint)
            identity = Identity.generate(Role.CLIENT)
            ceremony = ClientCeremony(window.pin, bytes.fromhex(identity.fingerprint), host_fp, "slow")
            connection = _PairingConnection(("127.0.0.1", host.port), identity, Dialect.PKF1)
            await connection.established()
            await soon(lambda: listener_of(host).strangers == 1, "the stranger's link")
            connection.send(ceremony.request().encode())
            challenge = await connection.message(PairChallenge)
            # It may take a minute over its proof while others flood the listener.
            assert listener_of(host).strangers == 0
            connection.send(ceremony.prove(challenge).encode())
            assert (await connection.message(PairResult)).ok
            await connection.close(CloseCode.DONE)
            connection.abandon()

    run(scenario())
