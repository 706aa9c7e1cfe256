"""What a host takes by HTTP: requests in pieces, targets, launches, pairing, certificates, TLS (gamestream 2 to 4)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from punktfunk.clock import monotonic_ns
from punktfunk.errors import StatusError
from punktfunk.gamestream.certificate import ClientCertificate
from punktfunk.gamestream.launch import LaunchRequest
from punktfunk.gamestream.ports import Ports
from punktfunk.gamestream.query import Target as RequestTarget
from punktfunk.host.gamestream.http_connection import Connection, Connections, HttpRequest, Reply
from punktfunk.host.gamestream.http_routes import HttpRoutes
from punktfunk.host.gamestream.pairing import MAX_HALF_OPEN, WIRE, GameStreamPairing
from punktfunk.host.gamestream.tls import TlsError, TlsServer, server_context
from punktfunk.host.pending import PendingClients
from punktfunk.trust.store import PairedClient, TrustStore
from tests.fuzz.target import Target, lines_of, pieces, refused, whole
from tests.support.gamestream_host import HOST_IDENTITY, Owner
from tests.support.moonlight import PairingClient, client_keys

PHONE = client_keys()
HOST_CERTIFICATE = HOST_IDENTITY.certificate.public_bytes(Encoding.DER)
PAIRED = PairedClient(PHONE.fingerprint, "phone", WIRE, 0, PHONE.pem.decode())
STATUSES = {200, 400, 401, 403, 404, 405, 503}
MAX_TURNS = 10_000
LOOP = asyncio.new_event_loop()
TRUST = TrustStore(Path(tempfile.gettempdir()) / "punktfunk-fuzz-has-no-clients" / "trust.json")
SOCKET = socket.socket()
TLS = server_context(HOST_IDENTITY)
PORTS = Ports()
PAIR = {"uniqueid": "0123456789ABCDEF", "uuid": "1", "devicename": "roth"}
LAUNCH = {
    "appid": "1",
    "mode": "1920x1080x60",
    "rikey": "00112233445566778899aabbccddeeff",
    "rikeyid": "-5",
    "localAudioPlayMode": "0",
    "surroundAudioInfo": "196610",
    "surroundParams": "642014523",
    "remoteControllersBitmap": "1",
    "gcpersist": "0",
    "hdrMode": "0",
    "corever": "1",
    "continuousAudio": "0",
    "sops": "1",
}
NAMES = tuple(name.encode() for name in (*PAIR, *LAUNCH, "phrase", "salt", "clientcert", "otpauth"))


class Wire(asyncio.Transport):
    """The network behind a connection, in memory."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.sent = bytearray()
        self._connection, self._closed = connection, False

    def get_extra_info(self, name: str, default: object = None) -> object:
        addresses = {"sockname": ("127.0.0.1", PORTS.http), "peername": ("127.0.0.1", 50_000)}
        return SOCKET if name == "socket" else addresses.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def write_eof(self) -> None:
        pass

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            LOOP.call_soon(self._connection.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Host:
    """A host of HTTP without its sockets."""

    def __init__(self) -> None:
        self.pairing = GameStreamPairing(PendingClients(TRUST), HOST_IDENTITY)
        # No app: pictures of them are drawn from titles, which are the host's own.
        self.routes = HttpRoutes(PORTS, Owner(TRUST, PORTS, catalogue=[]), self.pairing)

    async def answered(self, done: Callable[[], bool]) -> None:
        """Let the host answer; a person types a PIN as soon as a device waits for it."""
        for _ in range(MAX_TURNS):
            if done():
                return
            if self.pairing.waiting(monotonic_ns()):
                assert self.pairing.enter_pin("1234", None, monotonic_ns()) == "taken"
            await asyncio.sleep(0)
        raise AssertionError("the host does not answer")


def request(data: bytes) -> bool:
    """A request in pieces is answered by one document, or waits for more."""
    return LOOP.run_until_complete(_request(data))


async def _request(data: bytes) -> bool:
    host, requests = Host(), list[HttpRequest]()

    async def answer(request: HttpRequest) -> Reply:
        requests.append(request)
        return await host.routes.answer(request)

    connections = Connections(lambda _: None, answer)
    connection = Connection(connections, None)
    wire = Wire(connection)
    connection.connection_made(wire)
    for piece in pieces(data):
        connection.data_received(piece)
        await asyncio.sleep(0)
    await host.answered(lambda: bool(wire.sent) or not connections.counters["http_requests"])
    sent = bytes(wire.sent)
    connection.abort()
    await asyncio.sleep(0)
    assert not connections.all
    assert len(requests) <= 1
    if not sent:
        return False
    head, end, body = sent.partition(b"\r\n\r\n")
    assert end
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body or requests[0].method == "HEAD"
    status = _status(body) if body else 200
    return bool(requests) and status != 400


def conversation(data: bytes) -> bool:
    """Targets, one a line, of a stranger or (behind ``!``) a paired client by HTTPS: each has an answer of its own."""
    return LOOP.run_until_complete(_conversation(data))


async def _conversation(data: bytes) -> bool:
    host, understood = Host(), True
    for line in lines_of(data, 16):
        secure = line.startswith(b"!")
        try:
            target = RequestTarget.parse(line[secure:])
        except StatusError as error:
            return refused(error, 400)
        asked = HttpRequest("GET", target, PAIRED if secure else None, secure, "127.0.0.1", "127.0.0.1")
        answer = LOOP.create_task(host.routes.answer(asked))
        await host.answered(answer.done)
        assert len(host.pairing) <= MAX_HALF_OPEN
        understood = understood and _status(answer.result().body) == 200
    assert host.pairing.counters["paired"] == 0
    return understood


def _status(body: bytes) -> int:
    status = int(ElementTree.fromstring(body).attrib["status_code"])
    assert status in STATUSES
    return status


def query(data: bytes) -> bool:
    """A target is read as it is written."""
    try:
        read = RequestTarget.parse(data)
    except StatusError as error:
        return refused(error, 400)
    written = f"/x?{urlencode(read.query)}".encode()
    assert dict(RequestTarget.parse(written).query) == dict(read.query)
    return bool(read.query)


def launch(data: bytes) -> bool:
    """A launch has its ranges, and means the same when it is written again."""
    try:
        asked = RequestTarget.parse(b"/launch?" + data).query
        read = LaunchRequest.parse(asked, resume="resume" in asked)
    except StatusError as error:
        return refused(error, 400)
    assert len(read.rikey) == 16
    assert len(read.rikeyid_bytes) == 4
    assert read.mode is None or read.mode.fps < 10_000
    again = {
        **LAUNCH,
        "appid": str(read.app_id),
        "rikey": read.rikey.hex(),
        "rikeyid": str(read.rikeyid),
        "localAudioPlayMode": str(int(read.host_audio)),
        "surroundAudioInfo": str(read.surround.mask << 16 | read.surround.channels),
        "surroundParams": str(read.surround_params or ""),
        "remoteControllersBitmap": str(read.gamepads),
    }
    second = LaunchRequest.parse(again, resume=False)
    for name in ("app_id", "rikey", "rikeyid", "host_audio", "surround", "surround_params", "gamepads"):
        assert getattr(second, name) == getattr(read, name), name
    return True


def certificate(data: bytes) -> bool:
    """A certificate is read or refused, means the same when it is written again, and has not signed what it did not."""
    pem = data if data.startswith(b"-----") else ssl.DER_cert_to_PEM_cert(data).encode()
    try:
        read = ClientCertificate.parse(pem)
    except StatusError as error:
        return refused(error, 400)
    assert ClientCertificate.parse(read.pem.encode()) == read
    assert read.signature
    assert not read.has_signed(b"a secret", bytes(256))
    return True


def tls(data: bytes) -> bool:
    """Whatever comes before a handshake is over is answered shortly, and gives nobody an identity."""
    server, answered = TlsServer(TLS), 0
    for piece in pieces(data):
        try:
            assert server.receive(piece) == b""
        except TlsError:
            break
        answered += len(server.outgoing())
    answered += len(server.outgoing())
    assert answered < 8192
    assert not server.established
    assert server.fingerprint is None
    return answered > 100


def _hello() -> bytes:
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65_536)


def _pairing() -> bytes:
    """A client that has another PIN goes through all phases."""
    client = PairingClient(PHONE, "9999")
    phases = (
        client.begin(),
        client.challenge(),
        {"serverchallengeresp": "ab" * 32},
        client.secret(),
    )
    return b"\n".join(f"/pair?{urlencode({**PAIR, **phase})}".encode() for phase in phases)


def _get(target: str) -> bytes:
    return whole(f"GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n".encode())


TARGETS = (
    Target(
        "http_request",
        request,
        lambda: [
            _get(f"/serverinfo?{urlencode(PAIR)}"),
            _get(f"/pair?{urlencode({**PAIR, **PairingClient(PHONE, '1').begin()})}"),
            _get("/unpair?uniqueid=1"),
            b"\x20HEAD /serverinfo HTTP/1.0\r\n\r\n",
        ],
        (b"HTTP/1.1", b"HTTP/1.0", b"\r\n\r\n", b"Host:", b"Transfer-Encoding: chunked", b"Content-Length:"),
        longest=6144,
    ),
    Target(
        "http_conversation",
        conversation,
        lambda: [
            _pairing(),
            b"!/serverinfo\n/serverinfo\n!/applist",
            f"!/launch?{urlencode(LAUNCH)}\n!/resume?{urlencode(LAUNCH)}\n!/cancel".encode(),
            f"!/pair?{urlencode({**PAIR, 'phrase': 'pairchallenge'})}\n/unpair?uniqueid=1".encode(),
        ],
        (*NAMES, b"/pair?", b"/launch?", b"/appasset?appid=", b"\n!/", b"getservercert", b"clientchallenge"),
        longest=8192,
    ),
    Target(
        "query",
        query,
        lambda: [f"/launch?{urlencode(LAUNCH)}".encode(), b"/a?b=%ff&b=+&c=%E2%82%AC"],
        (b"%00", b"%ed%a0%80", b"&", b"=", *NAMES),
    ),
    Target(
        "launch",
        launch,
        lambda: [urlencode(LAUNCH).encode(), urlencode({**LAUNCH, "resume": "1", "appid": ""}).encode()],
        (*NAMES, b"&resume=", b"4294967295", b"-2147483648", b"%D9%A1"),
        longest=1024,
    ),
    Target(
        "certificate",
        certificate,
        lambda: [PHONE.der, PHONE.pem, client_keys(1).der, HOST_CERTIFICATE],
        (b"\x02\x01\x00", b"\xa0\x03\x02\x01", b"\x30\x82", b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01"),
        longest=4096,
    ),
    Target(
        "tls", tls, lambda: [whole(_hello())], (b"\x16\x03\x01", b"\x14\x03\x03\x00\x01\x01"), longest=4096
    ),
)
