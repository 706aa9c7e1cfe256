"""Whatever bytes come to a GameStream host's HTTP and HTTPS, in whatever pieces: a reply that is XML, or an end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import example, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from punktfunk.host.gamestream.tls import TlsError, TlsServer, server_context
from tests.support.gamestream_host import HOST_IDENTITY, GameStreamHost, among_clients
from tests.support.waiting import PATIENCE_S

CONTEXT = server_context(HOST_IDENTITY)


def client_hello() -> bytes:
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65_536)


HELLO = client_hello()


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6))
def test_what_is_no_tls_is_refused_and_nothing_else(pieces: list[bytes]) -> None:
    tls = TlsServer(CONTEXT)
    with contextlib.suppress(TlsError):
        for piece in pieces:
            assert tls.receive(piece) == b""
    assert not tls.established
    assert tls.fingerprint is None
    assert len(tls.outgoing()) < 100


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255), st.integers(0, len(HELLO)))
def test_a_changed_client_hello_is_refused_or_answered(at: int, byte: int, length: int) -> None:
    changed = bytearray(HELLO)
    changed[at] = byte
    tls = TlsServer(CONTEXT)
    with contextlib.suppress(TlsError):
        assert tls.receive(bytes(changed)[:length]) == b""
    assert not tls.established
    assert len(tls.outgoing()) < 4096


REQUESTS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda method, target, rest: method + b" " + target + rest,
        st.sampled_from([b"GET", b"HEAD", b"POST", b"get", b"\x00"]),
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([b"/serverinfo", b"/pair?", b"/unpair?uniqueid=%00", b"/applist"]),
        ),
        st.sampled_from(
            [b" HTTP/1.1\r\nHost: a\r\n\r\n", b" HTTP/1.0\r\n\r\n", b"\r\n\r\n", b" HTTP/9.9\r\n\r\n"]
        ),
    ),
)


async def answer(port: int, raw: bytes, cut: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in (raw[:cut], raw[cut:]):
        writer.write(piece)
        await asyncio.sleep(0)
    writer.write_eof()
    said = b""
    with contextlib.suppress(ConnectionError):
        said = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    return said


@settings(max_examples=20)
@given(st.lists(st.tuples(REQUESTS, st.integers(0, 300)), min_size=1, max_size=10))
@example([(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 3)])
def test_any_bytes_are_answered_by_a_document_or_not_at_all(requests: list[tuple[bytes, int]]) -> None:
    async def use(host: GameStreamHost) -> None:
        for raw, cut in requests:
            said = await answer(host.ports.http, raw, cut)
            if not said:
                continue
            head, _, body = said.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            if body:
                root = ElementTree.fromstring(body)
                assert int(root.attrib["status_code"]) in {200, 400, 401, 404, 405, 503}

    with tempfile.TemporaryDirectory() as folder:
        among_clients(Path(folder), use)
