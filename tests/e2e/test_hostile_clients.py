"""Clients that break the control protocol against a live host: refused or ignored, never felt by others (P1, P8)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

import punktfunk
from punktfunk.errors import RejectedError
from punktfunk.host.capacity import CLIENT_WORKERS_BURST
from punktfunk.media import SyntheticSpec
from punktfunk.native import messages
from punktfunk.native.dialect import CloseCode
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Hello, Start, Welcome, WireMode
from punktfunk.native.host import HostSession
from punktfunk.native.quic import Closed
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.support.hosts import listener_of, server_of
from tests.support.raw_client import dial
from tests.support.waiting import soon

IDENTITY = Identity.generate(Role.CLIENT)
HELLO = frame(Hello(mode=WireMode(1280, 720, 60), name="hostile").encode())


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def a_host(**fields: Any) -> punktfunk.Host:
    source = SyntheticSpec(frame_bytes=2000)
    mode = Mode(1280, 720, 60)
    return punktfunk.Host(
        punktfunk.HostConfig(trust=OpenTrust.LOOPBACK, port=0, source=source, mode=mode, **fields)
    )


@pytest.mark.parametrize("seed", range(4))
def test_noise_on_the_control_stream_is_refused_and_a_good_client_is_served_meanwhile(seed: int) -> None:
    noise = random.Random(seed)

    async def scenario() -> None:
        async with a_host(frames=30) as host:
            dialer, wire = await dial(host.port, IDENTITY)
            dialer.link.send_stream(frame(noise.randbytes(noise.randrange(0, 300))))
            dialer.link.send_datagram(noise.randbytes(100))
            await wire.over.wait()
            assert wire.closed == Closed(
                CloseCode.SETUP_FAILED, CloseCode.SETUP_FAILED.sentence, application=True, by_peer=True
            )
            async with punktfunk.Client(
                f"127.0.0.1:{host.port}", punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
            ) as client:
                assert (await client.finished()).verified is True

    run(scenario())


def test_pairing_without_an_armed_host_gets_its_own_close_code() -> None:
    async def scenario() -> None:
        async with a_host() as host:
            dialer, wire = await dial(host.port, IDENTITY)
            dialer.link.send_stream(frame(messages.PairRequest("tv", b"A" * 33).encode()))
            await wire.over.wait()
            assert wire.closed is not None
            assert wire.closed.code == CloseCode.PAIRING_NOT_ARMED
            assert host.reports == []

    run(scenario())


def test_a_flood_of_control_messages_does_not_disturb_the_stream_of_another_client() -> None:
    async def scenario() -> None:
        async with a_host(frames=90) as host:
            dialer, wire = await dial(host.port, IDENTITY)
            dialer.link.send_stream(HELLO)
            await wire.received.wait()
            dialer.link.send_stream(frame(Start(40000).encode()))
            unknown, short = frame(b"PKFc\x77" + bytes(50)), frame(b"PKFc\x01")
            keyframe = frame(messages.RequestKeyframe().encode())
            dialer.link.send_stream((unknown + short + keyframe) * 2000)
            async with punktfunk.Client(
                f"127.0.0.1:{host.port}", punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
            ) as client:
                assert (await client.finished()).verified is True
            dialer.link.close(0)
            hostile, _ = await host.sessions_over(2)
            assert hostile.counters.get("keyframe_requests", 0) <= 700
            assert not hostile.failed

    run(scenario())


def test_streams_that_end_before_they_had_a_worker_are_reported_like_any_other() -> None:
    async def scenario() -> None:
        async with a_host() as host:
            began = CLIENT_WORKERS_BURST + 2
            for number in range(1, began + 1):
                dialer, wire = await dial(host.port, IDENTITY)
                dialer.link.send_stream(HELLO)
                await wire.received.wait()
                dialer.link.send_stream(frame(Start(40000).encode()))
                await soon(lambda number=number: len(host.reports) == number, "the stream")
                dialer.link.close(0, "done")
            reports = await host.sessions_over(began)
            assert {(report.stream_reason, report.failed) for report in reports} == {("stopped", False)}
            assert host.live() == []
            assert host.counters["workers_started"] >= CLIENT_WORKERS_BURST
            assert host.sessions._requests == {}

    run(scenario())


@pytest.mark.parametrize("said", [[], [HELLO], [HELLO, frame(Start(40000).encode())]])
def test_a_host_holds_nothing_of_clients_that_came_and_left(said: list[bytes]) -> None:
    async def scenario() -> None:
        async with a_host() as host:
            server = server_of(host)
            for links in (1, 2):
                dialer, wire = await dial(host.port, IDENTITY)
                for message in said:
                    wire.received.clear()
                    dialer.link.send_stream(message)
                    if message is HELLO:
                        await wire.received.wait()
                        assert len(server._agreed) == 1
                await soon(lambda links=links: host.counters["links"] == links, "the link at the host")
                assert len(server.connected) == 1
                dialer.link.close(0, "done")
                await soon(lambda: not server.connected, "its end")
                assert server._agreed == {}
            await host.sessions_over(2 * (len(said) == 2))
            assert (host.sessions.all(), host.sessions._requests) == ([], {})

    run(scenario())


def test_the_end_of_the_control_stream_does_not_end_the_session() -> None:
    async def scenario() -> None:
        async with a_host() as host:
            dialer, wire = await dial(host.port, IDENTITY)
            dialer.link.send_stream(HELLO)
            await wire.received.wait()
            dialer.link.send_stream(frame(Start(40000).encode()))
            dialer.link._quic.send_stream_data(0, b"", end_stream=True)
            dialer.link.send_datagram(b"\xc8")
            await soon(lambda: host.reports, "the stream")
            await asyncio.sleep(0.5)
            assert wire.closed is None
            assert host.reports[0].reason == ""
            dialer.link.close(0, "done")
            [report] = await host.sessions_over(1)
            assert report.reason == "client left: the session ended (done)"

    run(scenario())


@pytest.mark.parametrize("finished", [False, True], ids=["stopped", "stopped and finished"])
def test_a_client_that_closes_its_ear_gets_its_frames_and_no_answers(finished: bool) -> None:
    async def scenario() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
        async with a_host(frames=30) as host:
            dialer, wire = await dial(host.port, IDENTITY)
            dialer.link.send_stream(HELLO)
            await wire.received.wait()
            dialer.link.send_stream(frame(Start(40000).encode()))
            before = len(wire.data)
            # The host's answer to this comes from its worker, when the stream cannot take it any more.
            dialer.link.send_stream(frame(messages.Reconfigure(640, 360, 60).encode()))
            dialer.link._quic.stop_stream(0, 7)
            if finished:
                dialer.link._quic.send_stream_data(0, b"", end_stream=True)
            dialer.link.send_datagram(b"\xc8")
            [report] = await host.sessions_over(1)
            assert report.stream_reason == "frames"
            assert (report.failed, report.counters["frames_sent"]) == (False, 30)
            await wire.over.wait()
            assert wire.closed == Closed(0, "done", application=True, by_peer=True)
            assert len(wire.data) == before
        assert failures == []

    run(scenario())


def test_a_host_that_closes_the_clients_ear_does_not_trip_its_requests() -> None:
    async def scenario() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
        config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
        async with (
            a_host(frames=90) as host,
            punktfunk.Client(f"127.0.0.1:{host.port}", config) as client,
        ):
            [session] = server_of(host).connected
            assert session._link is not None
            session._link._quic.stop_stream(0, 0)
            session._link.send_datagram(b"\xc9")
            await asyncio.sleep(0.3)
            client.request_bitrate(Bitrate.from_kbps(5000))
            assert (await client.finished()).verified is True
        assert failures == []

    run(scenario())


def test_a_host_that_welcomes_and_closes_at_once_is_reported_and_not_waited_for() -> None:
    async def scenario() -> None:
        config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
        async with a_host() as host:
            welcome = server_of(host).reserve_stream

            def welcome_and_close(session: HostSession, hello: Hello, udp_port: int) -> Welcome:
                asyncio.get_running_loop().call_soon(session.stream_failed, "the desktop has gone")
                return welcome(session, hello, udp_port)

            server_of(host).reserve_stream = welcome_and_close  # type: ignore[method-assign]
            for _ in range(3):
                with pytest.raises(RejectedError, match="data plane failed"):
                    async with punktfunk.Client(f"127.0.0.1:{host.port}", config):
                        pass

    run(scenario())


def test_a_client_that_says_nothing_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("punktfunk.native.host_control.HANDSHAKE_BUDGET_NS", 2_000_000_000)

    async def scenario() -> None:
        async with a_host() as host:
            _, wire = await dial(host.port, IDENTITY)
            await wire.over.wait()
            assert wire.closed is not None
            assert (wire.closed.code, wire.closed.by_peer) == (CloseCode.SETUP_FAILED, True)
            await soon(lambda: listener_of(host).strangers == 0, "its link gone")

    run(scenario())


def test_open_trust_makes_nobody_less_of_a_stranger_before_it_streams() -> None:
    async def scenario() -> None:
        async with a_host() as host:
            dialer, wire = await dial(host.port, IDENTITY)
            await soon(lambda: host.counters.get("links") == 1, "the link at the host")
            assert listener_of(host).strangers == 1
            dialer.link.send_stream(HELLO)
            await wire.received.wait()
            assert listener_of(host).strangers == 1
            dialer.link.send_stream(frame(Start(40000).encode()))
            await soon(lambda: host.counters.get("admitted") == 1, "the client admitted")
            assert listener_of(host).strangers == 0
            dialer.link.close(0)
            await host.sessions_over(1)

    run(scenario())


def test_a_known_certificate_is_no_stranger_once_its_key_is_proven() -> None:
    async def scenario() -> None:
        async with a_host(trusted_clients=[IDENTITY.fingerprint]) as host:
            await dial(host.port, IDENTITY)
            await soon(lambda: host.counters.get("admitted") == 1, "the client admitted")
            assert listener_of(host).strangers == 0

    run(scenario())
