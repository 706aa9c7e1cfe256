"""The RTSP server on loopback: whose request it is, one answer a connection, and what it bears."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from punktfunk.errors import CapabilityError, StatusError
from punktfunk.gamestream.announce import Announced
from punktfunk.gamestream.describe import CodecModes, Description
from punktfunk.gamestream.ports import Ports
from punktfunk.gamestream.rtsp import RtspResponse
from punktfunk.gamestream.rtsp_cipher import RtspCipher
from punktfunk.gamestream.rtsp_exchange import RtspExchange, SessionFacts
from punktfunk.host.gamestream import rtsp_server
from punktfunk.host.gamestream.rtsp_server import MAX_CONNECTIONS_PER_SOURCE, RtspServer
from tests.support.gamestream import RtspClient, exchange, free_ports
from tests.support.gamestream_announce import NEEDED, payload
from tests.support.waiting import soon

KEY = bytes(range(16))
FACTS = SessionFacts(Description.of(CodecModes.H264), Ports(48989), "0123456789ABCDEF", 305419896)


@dataclass
class Session:
    cipher: RtspCipher | None
    remote_address: str = "127.0.0.1"
    happened: list[str] = field(default_factory=list)
    refuse: StatusError | None = None

    def __post_init__(self) -> None:
        self.exchange = RtspExchange(FACTS, on_announce=self.announced, on_play=self.played)

    def announced(self, announced: Announced) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.happened.append(f"announce {announced.mode}")

    def played(self, announced: Announced) -> None:
        self.happened.append(f"play {announced.mode}")


class Owner:
    def __init__(self, *sessions: Session) -> None:
        self.sessions = sessions

    def rtsp_sessions(self) -> tuple[Session, ...]:
        return self.sessions


@asynccontextmanager
async def serving(*sessions: Session) -> AsyncIterator[tuple[RtspServer, tuple[str, int]]]:
    port = free_ports().rtsp
    server = RtspServer("127.0.0.1", port, Owner(*sessions))
    await server.open()
    try:
        yield server, ("127.0.0.1", port)
    finally:
        server.close()


class WatchedLoop(asyncio.SelectorEventLoop):
    """Keeps which timers went off: what a server waits for, and not for its peer."""

    def __init__(self) -> None:
        super().__init__()
        self.went_off: list[object] = []

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        def go_off(*given: Any) -> None:
            self.went_off.append(callback)
            callback(*given)

        return super().call_at(when, go_off, *args, context=context)


def with_server(
    use: Callable[[RtspServer, tuple[str, int]], None],
    *sessions: Session,
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> dict[str, int]:
    """Run what blocks beside a server; return its counters."""

    async def run() -> dict[str, int]:
        async with serving(*sessions) as (server, address):
            await asyncio.to_thread(use, server, address)
            return dict(server.counters)

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(run())


class TimedClient(RtspClient):
    """Keeps the CPU time of this process, server and client, of each request."""

    def __init__(self, address: tuple[str, int], key: bytes | None) -> None:
        super().__init__(address, key)
        self.spent_s: list[float] = []

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> RtspResponse:
        began_s = time.process_time()
        answer = super().ask(method, target, body, **headers)
        self.spent_s.append(time.process_time() - began_s)
        return answer


@pytest.mark.conformance(40)
@pytest.mark.conformance(44)
@pytest.mark.parametrize("key", [None, KEY])
def test_seven_requests_each_on_a_connection_that_the_host_closes(key: bytes | None) -> None:
    session = Session(None if key is None else RtspCipher(key, "host"))
    loop = WatchedLoop()
    clients: list[TimedClient] = []

    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        client = TimedClient(address, key)
        clients.append(client)
        url = f"rtsp://127.0.0.1:{address[1]}"
        assert client.ask("OPTIONS", url).status == 200
        assert client.ask("DESCRIBE", url, Accept="application/sdp").body == FACTS.description.encode()
        for stream, port in (("audio", 49000), ("video", 48998)):
            answer = client.ask("SETUP", f"streamid={stream}/0/0")
            assert answer.headers["Session"] == "DEADBEEFCAFE;timeout = 90"
            assert answer.headers["Transport"] == f"server_port={port}"
            assert answer.headers["X-SS-Ping-Payload"] == "0123456789ABCDEF"
        answer = client.ask("SETUP", "streamid=control/13/0")
        assert answer.headers["Transport"] == "server_port=48999"
        assert answer.headers["X-SS-Connect-Data"] == "305419896"
        assert client.ask("ANNOUNCE", "streamid=control/13/0", payload(NEEDED)).status == 200
        answer = client.ask("PLAY", "/")
        assert (answer.status, answer.headers["CSeq"]) == (200, "7")

    counters = with_server(use, session, loop=lambda: loop)
    assert session.happened == ["announce 1280x720@60", "play 1280x720@60"]
    assert counters == {"rtsp_requests": 7}
    # Under 50 ms each: it computes for a millisecond, and waits for nothing but its client. Time that other programs
    # take from this one is in neither.
    [client] = clients
    assert len(client.spent_s) == 7
    assert max(client.spent_s) < 0.05
    assert loop.went_off == []


@pytest.mark.conformance(42)
def test_a_client_that_sends_one_byte_at_a_time_is_answered() -> None:
    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        client = RtspClient(address, KEY)
        raw = client.request("ANNOUNCE", "streamid=control/13/0", payload(NEEDED))
        assert client.read(exchange(address, raw, pieces=1)).status == 200

    with_server(use, Session(RtspCipher(KEY, "host")))


def test_a_session_is_found_by_its_key_among_several_of_one_address() -> None:
    keys = [bytes([number]) * 16 for number in range(3)]
    sessions = [Session(RtspCipher(key, "host")) for key in keys]

    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        assert RtspClient(address, keys[1]).ask("ANNOUNCE", "streamid=video", payload(NEEDED)).status == 200

    with_server(use, *sessions)
    assert [len(session.happened) for session in sessions] == [0, 1, 0]


@pytest.mark.conformance(41)
def test_a_wrong_key_a_replay_and_plain_words_to_an_encrypted_session_get_nothing() -> None:
    session = Session(RtspCipher(KEY, "host"))

    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        assert exchange(address, RtspClient(address, bytes(16)).request("OPTIONS", "/")) == b""
        client = RtspClient(address, KEY)
        raw = client.request("OPTIONS", "/")
        assert client.read(exchange(address, raw)).status == 200
        assert exchange(address, raw) == b"", "the same once more"
        assert RtspClient(address, None).ask("OPTIONS", "/").status == 454

    assert with_server(use, session) == {"rtsp_requests": 2, "rtsp_unmatched": 3}


@pytest.mark.conformance(32)
def test_a_session_without_encryption_is_for_the_address_that_launched_it() -> None:
    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        assert RtspClient(address, None).ask("OPTIONS", "/").status == 200

    with_server(use, Session(None, "192.0.2.1"), Session(None, "127.0.0.1"))

    def refused(_server: RtspServer, address: tuple[str, int]) -> None:
        assert RtspClient(address, None).ask("OPTIONS", "/").status == 454

    with_server(refused, Session(None, "192.0.2.1"))


def test_a_refusal_has_its_status_and_its_words_for_the_client_to_show() -> None:
    session = Session(None, refuse=StatusError("no encoder makes AV1 here", status=400))

    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        client = RtspClient(address, None)
        answer = client.ask("ANNOUNCE", "streamid=video", payload(NEEDED))
        assert (answer.status, answer.reason) == (400, "no encoder makes AV1 here")
        assert client.ask("PLAY", "/").status == 455
        assert client.ask("TEARDOWN", "/").status == 501
        assert client.ask("SETUP", "streamid=mic/0/0").status == 404

    with_server(use, session)
    assert session.happened == []


def test_what_was_announced_last_is_played_and_playing_begins_once() -> None:
    session = Session(None)

    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        client = RtspClient(address, None)
        client.ask("ANNOUNCE", "streamid=video", payload(NEEDED))
        client.ask("ANNOUNCE", "streamid=video", payload({**NEEDED, "x-nv-video[0].maxFPS": "30"}))
        assert client.ask("PLAY", "streamid=video").status == 200
        assert client.ask("PLAY", "streamid=audio").status == 200
        assert client.ask("ANNOUNCE", "streamid=video", payload(NEEDED)).status == 455

    with_server(use, session)
    assert session.happened == ["announce 1280x720@60", "announce 1280x720@30", "play 1280x720@30"]


@pytest.mark.conformance(45)
@pytest.mark.parametrize(("host", "high"), [("127.0.0.1", True), ("0.0.0.0", False), ("[::1]", True)])
def test_quality_of_stereo_is_what_the_host_header_says(host: str, high: bool) -> None:
    session = Session(None)

    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        RtspClient(address, None, host=host).ask("SETUP", "streamid=audio/0/0")

    with_server(use, session)
    assert session.exchange.high_quality_stereo is high


def test_probes_without_a_word_are_closed_without_one() -> None:
    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        with socket.create_connection(address, 10) as probe:
            probe.shutdown(socket.SHUT_WR)
            assert probe.recv(10) == b""

    assert with_server(use) == {}


def test_garbage_is_answered_with_a_status_and_cut_requests_too() -> None:
    def use(_server: RtspServer, address: tuple[str, int]) -> None:
        assert exchange(address, b"GET / HTTP/1.1\r\n\r\n").startswith(b"RTSP/1.0 400 ")
        assert exchange(address, b"x" * 9000).startswith(b"RTSP/1.0 413 ")
        with socket.create_connection(address, 10) as cut:
            cut.sendall(b"PLAY / RTSP/1.0\r\n")
            cut.shutdown(socket.SHUT_WR)
            assert cut.recv(100).startswith(b"RTSP/1.0 400 ")

    assert with_server(use, Session(None)) == {"rtsp_malformed": 3}


def slow_peers(address: tuple[str, int], count: int) -> list[socket.socket]:
    peers = []
    for _ in range(count):
        peers.append(socket.create_connection(address, 10))
        with contextlib.suppress(OSError):
            peers[-1].sendall(b"PLAY")
    return peers


def test_a_client_is_answered_beside_slow_peers_of_its_own_address_and_they_run_out_of_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rtsp_server, "REQUEST_LIMIT_S", 2.0)

    async def run() -> None:
        async with serving(Session(None)) as (server, address):
            slow = await asyncio.to_thread(slow_peers, address, 200)
            await soon(
                lambda: server.counters["rtsp_evicted"] >= 200 - MAX_CONNECTIONS_PER_SOURCE, "most have gone"
            )
            # What was cancelled is gone a turn of the event loop later, in which many may have come.
            await soon(
                lambda: len(server._tasks) <= MAX_CONNECTIONS_PER_SOURCE, "the evicted ones have closed"
            )
            client = RtspClient(address, None)
            answer = await asyncio.to_thread(client.ask, "OPTIONS", "/")
            assert answer.status == 200
            await soon(lambda: not server._tasks, "the others were too slow")
            assert server.counters["rtsp_late"] == MAX_CONNECTIONS_PER_SOURCE - 1
            for each in slow:
                each.close()

    asyncio.run(run())


def test_a_port_that_is_taken_is_said_with_a_way_out() -> None:
    async def run() -> None:
        async with serving() as (_, address):
            with pytest.raises(CapabilityError, match="RTSP of GameStream") as error:
                await RtspServer("127.0.0.1", address[1], Owner()).open()
            assert "--gamestream-port" in error.value.hint

    asyncio.run(run())
