"""Promises P8 and P15 of the API: slow, silent, deaf and babbling peers hold nothing, and what they cost is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from punktfunk.host.config import HostConfig
from punktfunk.host.serve import Serving
from punktfunk.host.serve_config import ServeConfig
from punktfunk.media import SyntheticSpec
from punktfunk.mgmt import connection_limits as limits
from punktfunk.mgmt.connection import Connection
from punktfunk.mgmt.server import ManagementServer
from punktfunk.trust.identity import Identity, Role
from tests.support.waiting import PATIENCE_S

LIMIT_S = 0.4
HEAD = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's identity, made once."""
    folder = tmp_path_factory.mktemp("identity")
    Identity.load_or_create(folder, Role.HOST)
    return folder


@pytest.fixture
def folder(tmp_path: Path, identity: Path) -> Path:
    """The state folder of a host."""
    shutil.copytree(identity, tmp_path / "host")
    return tmp_path / "host"


def with_server(
    folder: Path,
    test: Callable[[ManagementServer], Coroutine[Any, Any, None]],
    *,
    request_limit_s: float = LIMIT_S,
    write_limit_s: float = LIMIT_S,
) -> None:
    """Run a test beside a server whose patience is short."""

    async def both() -> None:
        host = HostConfig(state_dir=folder, source=SyntheticSpec())
        config = ServeConfig(
            host=host, native=False, gamestream=False, announce=False, mgmt_bind="127.0.0.1:0"
        )
        async with Serving(config) as serving:
            assert serving.management is not None
            serving.management.connections.request_limit_s = request_limit_s
            serving.management.connections.write_limit_s = write_limit_s
            await test(serving.management)

    asyncio.run(asyncio.wait_for(both(), 120))


def connections_of(server: ManagementServer) -> list[Connection]:
    return [one for one in server.connections.state.connections if isinstance(one, Connection)]


async def answer(server: ManagementServer, sent: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    status, body = await read_answer(reader)
    writer.close()
    return status, body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return int(head.split()[1]), await reader.readexactly(length)


async def seconds_until_cut_off(reader: asyncio.StreamReader) -> float:
    began = time.monotonic()
    try:
        while await asyncio.wait_for(reader.read(4096), PATIENCE_S):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /api/v1/health HTTP/1.1\r\nHost: loc",
        b"POST /console/login HTTP/1.1\r\nHost: localhost\r\nX-Punktfunk-Console: 1\r\n"
        b"Sec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        HEAD + b"POST /console/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
        HEAD + b"GET /api/v1/health HTTP/1.1\r\nHost: loc",
        HEAD * 20 + b"GET /api/v1/health HTTP/1.1\r\nHost: loc",
    ],
    ids=[
        "silent",
        "half a head",
        "half a body",
        "half a body behind a whole request",
        "half a head behind a whole request",
        "half a head behind twenty whole requests",
    ],
)
def test_who_does_not_finish_a_request_is_cut_off_on_time_however_it_dribbles(
    begun: bytes, folder: Path
) -> None:
    async def test(server: ManagementServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(begun)

        async def dribble() -> None:
            while begun and not writer.is_closing():
                await asyncio.sleep(0.05)
                writer.write(b"x")

        dribbling = asyncio.create_task(dribble())
        took = await seconds_until_cut_off(reader)
        dribbling.cancel()
        writer.close()
        # What dribbles on would never be cut off if a byte bought time: a busy machine is late by less.
        assert took < PATIENCE_S
        assert server.counters["slow_requests"] == 1
        assert (await answer(server, HEAD))[0] == 200

    with_server(folder, test)


HALF_A_BODY = b"POST /console/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"


@pytest.mark.parametrize(
    "begun",
    [HEAD[:-10], HALF_A_BODY, HEAD + HALF_A_BODY, HEAD * 20 + HALF_A_BODY],
    ids=["half a head", "half a body", "half a body behind a whole request", "behind twenty"],
)
def test_who_falls_silent_within_a_request_is_cut_off(begun: bytes, folder: Path) -> None:
    """All comes in one piece: no later byte reminds the host of what is missing."""

    async def test(server: ManagementServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(begun)
        await seconds_until_cut_off(reader)
        writer.close()
        assert server.counters["slow_requests"] == 1

    with_server(folder, test)


def test_an_idle_kept_alive_connection_is_closed_and_a_used_one_lives_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("punktfunk.mgmt.server.KEEP_ALIVE_S", keep_alive_s := 2)

    async def test(server: ManagementServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(4):
            asked = time.monotonic()
            writer.write(HEAD)
            assert (await read_answer(reader))[0] == 200
            # Longer in all than a request may take: the time is a request's, not a connection's.
            await asyncio.sleep(LIMIT_S / 2)
        await seconds_until_cut_off(reader)
        assert time.monotonic() - asked >= keep_alive_s
        writer.close()
        assert server.counters["slow_requests"] == 0

    with_server(folder, test)


def test_who_asks_and_does_not_read_is_cut_off(folder: Path) -> None:
    async def test(server: ManagementServer) -> None:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, ("127.0.0.1", server.port))
        asked = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400
        sending = asyncio.create_task(loop.sock_sendall(deaf, asked))
        while not server.counters["slow_readers"]:
            await asyncio.sleep(0.05)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        deaf.close()
        assert (await answer(server, HEAD))[0] == 200

    with_server(folder, test, request_limit_s=20)


def test_a_reader_that_catches_up_is_served_on(folder: Path) -> None:
    async def test(server: ManagementServer) -> None:
        # A small buffer before the handshake, so that the kernel cannot take all of the answers.
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", server.port))
        asked = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
        sending = asyncio.create_task(loop.sock_sendall(slow, asked))
        while not any(one._write_timer for one in connections_of(server)):
            await asyncio.sleep(0.01)
        [connection] = connections_of(server)
        timer = connection._write_timer
        assert timer is not None
        reader, writer = await asyncio.open_connection(sock=slow)
        for _ in range(100):
            assert (await read_answer(reader))[0] == 200
        await sending
        assert timer.cancelled(), "it would cut off a peer that reads again"
        assert connection._write_timer is None
        writer.write(HEAD)
        assert (await read_answer(reader))[0] == 200
        assert server.counters["slow_readers"] == 0
        writer.close()

    with_server(folder, test, request_limit_s=20, write_limit_s=20)


def test_requests_and_answers_have_ten_seconds(folder: Path) -> None:
    """The tests here have hosts of less patience; this one has a host as it is started."""
    assert limits.REQUEST_LIMIT_S == limits.WRITE_LIMIT_S == 10.0

    async def test() -> None:
        host = HostConfig(state_dir=folder, source=SyntheticSpec())
        config = ServeConfig(
            host=host, native=False, gamestream=False, announce=False, mgmt_bind="127.0.0.1:0"
        )
        async with Serving(config) as serving:
            server = serving.management
            assert server is not None
            loop = asyncio.get_running_loop()
            before = loop.time()
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            while not connections_of(server):
                await asyncio.sleep(0)
            [connection] = connections_of(server)
            after = loop.time()
            assert connection._request_timer is not None
            assert before + 10 <= connection._request_timer.when() <= after + 10
            connection.pause_writing()
            assert connection._write_timer is not None
            assert after + 10 <= connection._write_timer.when() <= loop.time() + 10
            writer.close()

    asyncio.run(asyncio.wait_for(test(), 120))


def test_connections_are_counted_of_each_address_and_in_all_and_those_beyond_closed_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Those that came first shall still be there when the last one comes, however slow this machine is.
    monkeypatch.setattr("punktfunk.mgmt.server.KEEP_ALIVE_S", 60)
    share, cap = limits.MAX_CONNECTIONS_PER_SOURCE, limits.MAX_CONNECTIONS
    assert (share, cap) == (64, 256)

    async def test(server: ManagementServer) -> None:
        held: dict[str, list[asyncio.StreamWriter]] = {}

        async def come(source: str) -> bool:
            """Connect from an address; return whether that was let in, which an answer shows."""
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(source, 0))
            writer.write(HEAD)
            try:
                status, _ = await read_answer(reader)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                writer.close()
                return False
            held.setdefault(source, []).append(writer)
            return status == 200

        assert [await come("127.0.0.1") for _ in range(share + 1)] == [True] * share + [False]
        assert server.counters["refused_full"] == 1
        others = [f"127.0.0.{n}" for n in range(2, 2 + cap // share - 1)]
        assert all([await come(source) for source in others for _ in range(share)])
        assert not await come("127.0.1.1"), "from an address that has none, the host being full"
        assert server.counters["refused_full"] == 2
        assert server.counters["taken"] == cap
        for writer in held["127.0.0.1"]:
            writer.close()
        while len(connections_of(server)) > cap - share:
            await asyncio.sleep(0.01)
        assert [await come("127.0.1.1") for _ in range(share + 1)] == [True] * share + [False], (
            "what is given back can be had again"
        )
        for writers in held.values():
            for writer in writers:
                writer.close()

    with_server(folder, test, request_limit_s=60)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 401),
    ],
    ids=["TLS", "two hosts", "no host", "HTTP/1.0", "long head", "negative length", "two lengths", "proxy"],
)
def test_what_is_no_decent_request_is_refused_in_the_apis_own_form(
    sent: bytes, status: int, folder: Path
) -> None:
    async def test(server: ManagementServer) -> None:
        got, body = await answer(server, sent)
        assert got == status
        assert body.startswith(b'{"error": "')
        assert (await answer(server, HEAD))[0] == 200

    with_server(folder, test)


@contextmanager
def memory_growth() -> Iterator[Callable[[], int]]:
    def kib() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    before = kib()
    yield lambda: kib() - before


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_cap_is_refused_and_not_kept(chunked: bool, folder: Path) -> None:
    async def test(server: ManagementServer) -> None:
        token = (folder / "mgmt-token").read_text().strip()
        body = b'{"ttl_secs": 20, "x": "' + b"a" * 65_536 + b'"}'
        sent = (
            b"POST /api/v1/native/pair/arm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        )
        sent += b"Authorization: Bearer " + token.encode() + b"\r\n"
        if chunked:
            pieces = [body[n : n + 8192] for n in range(0, len(body), 8192)]
            sent += b"Transfer-Encoding: chunked\r\n\r\n"
            sent += b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        else:
            sent += b"Content-Length: %d\r\n\r\n" % len(body) + body
        status, text = await answer(server, sent)
        assert status == 413
        assert b"65536 bytes" in text

    with_server(folder, test, request_limit_s=10)


def test_an_announced_gigabyte_is_neither_waited_for_nor_kept(folder: Path) -> None:
    async def test(server: ManagementServer) -> None:
        with memory_growth() as grown_kib:
            sent = b"POST /api/v1/native/pair/arm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
            status, _ = await answer(server, sent + b"a" * 500)
            assert status == 401
            assert grown_kib() < 16_384

    with_server(folder, test, request_limit_s=10)


def test_a_thousand_strangers_in_a_row_leave_nothing_behind(folder: Path) -> None:
    async def test(server: ManagementServer) -> None:
        refused = b"GET /api/v1/host HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer guess\r\n\r\n"
        for _ in range(50):
            await answer(server, refused)
        with memory_growth() as grown_kib:
            for _ in range(50):
                got = await asyncio.gather(*(answer(server, refused) for _ in range(20)))
                assert {status for status, _ in got} == {401}
            assert server.counters["refused_401"] == 1050
            assert grown_kib() < 4096
        assert not server.connections._per_source or server.connections._per_source.total() <= 20

    with_server(folder, test, request_limit_s=10)


def test_json_that_nests_deeply_or_counts_without_end_is_malformed(folder: Path) -> None:
    async def test(server: ManagementServer) -> None:
        token = (folder / "mgmt-token").read_text().strip()
        for body in (
            b"[" * 60_000,
            b'{"ttl_secs": ' + b"9" * 60_000 + b"}",
            b"\xff\xfe",
            b"NaN garbage",
            b"",
        ):
            sent = (
                b"POST /api/v1/native/pair/arm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (token.encode(), len(body))
            )
            status, text = await answer(server, sent + body)
            assert (status, text) == (400, b'{"error":"the body is not valid JSON"}'), body[:20]

    with_server(folder, test, request_limit_s=10)


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head(folder: Path) -> None:
    async def test(server: ManagementServer) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while not server.connections.state.connections:
            await asyncio.sleep(0)
        [connection] = server.connections.state.connections
        peer = connection.transport.get_extra_info("socket")
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        writer.close()

    with_server(folder, test)


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_requests_are_answered_or_cut_off_and_never_a_fault(seed: int, folder: Path) -> None:
    random = Random(seed)

    def mutated(token: str) -> bytes:
        body = b'{"pin": "1234"}'
        request = bytearray(
            b"POST /api/v1/pair/pin HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Cookie: punktfunk=1\r\nX-Punktfunk-Console: 1\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
            % (token.encode(), len(body), body)
        )
        for _ in range(random.randint(1, 6)):
            place = random.randrange(len(request))
            match random.randrange(3):
                case 0:
                    request[place] = random.randrange(256)
                case 1:
                    del request[place : place + random.randint(1, 8)]
                case 2:
                    request[place:place] = random.choice(
                        [b"\r\n", b"\0", b" ", b"%00", b"\xff", b":", b"../"]
                    )
        return bytes(request)

    async def test(server: ManagementServer) -> None:
        token = (folder / "mgmt-token").read_text().strip()
        statuses: set[bytes] = set()

        async def send(request: bytes) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request)
            with contextlib.suppress(ConnectionResetError):
                statuses.add((await asyncio.wait_for(reader.read(4096), PATIENCE_S))[9:12])
            writer.close()

        for _ in range(8):
            await asyncio.gather(*(send(mutated(token)) for _ in range(50)))
        assert not [status for status in statuses if status.startswith(b"5")], f"seed {seed}"
        assert {b"409", b"400", b"401"} <= statuses, "the mutations are neither too wild nor too tame"
        assert server.counters["failed"] == 0
        assert (await answer(server, HEAD))[0] == 200

    with_server(folder, test, request_limit_s=0.2)
