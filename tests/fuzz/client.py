"""What this project's own GameStream client takes of a host: answers by HTTP, documents, pairing, SETUP."""

from __future__ import annotations

import asyncio
import ssl

from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk.app import App
from punktfunk.client.gamestream import http, rtsp
from punktfunk.client.gamestream.exchange import PairingExchange, Secrets
from punktfunk.client.gamestream.host import RtspPlace
from punktfunk.client.gamestream.reply import MAX_APPS, Reply, ServerInfo, apps_of
from punktfunk.errors import CryptoError, HandshakeError, PairingError, ProtocolError, StatusError
from punktfunk.gamestream import serverinfo, xml
from punktfunk.gamestream.certificate import ClientCertificate
from punktfunk.gamestream.pairing import (
    BeginPairing,
    ChallengeAnswer,
    ClientChallenge,
    HostPairing,
    parse_pair,
)
from punktfunk.gamestream.rtsp import Headers, RtspResponse
from punktfunk.gamestream.rtsp_cipher import RtspCipher
from punktfunk.printable import is_printable
from punktfunk.trust.identity import Identity, Role
from tests.fuzz.target import Target, chunked, chunks, lines_of, pieces, whole
from tests.support.gamestream_host import HOST_IDENTITY

LOOP = asyncio.new_event_loop()
HOST_PEM = HOST_IDENTITY.certificate.public_bytes(Encoding.PEM)
CLIENT = Identity.generate(Role.GAMESTREAM_CLIENT)
DRAWN = Secrets(bytes(16), bytes(range(16)), bytes(range(16, 32)))
PIN = "1234"
KEY = bytes(range(16))
PLACE = RtspPlace("10.0.0.1:48010", 48010, encrypted=False)
INFO = serverinfo.ServerInfo(
    "pc", "0123456789ABCDEF", 47984, 47989, 0x101, 7, "10.0.0.1", paired=True
).document()
APPS = xml.app_list([App(1, "Desktop"), App(7, "Tom & Jerry")], hdr=True)
ELEMENTS = (
    b'<root status_code="200">',
    b"</root>",
    b"<App>",
    b"</App>",
    b"<ID>",
    b"<AppTitle>",
    b'<?xml version="1.0" encoding="utf-16"?>',
    b'encoding="gb18030"',
    b'encoding="idna"',
    b'<!DOCTYPE a [<!ENTITY a "aaaa">]>',
    b"&#x10FFFF;",
    b"&amp;",
    b"<![CDATA[",
    b"]]>",
    b"<appversion>7.1.431.-1</appversion>",
)


def document(data: bytes) -> bool:
    """A document is what a host is, or apps, or a place, whose texts are printable; or it is refused."""
    try:
        reply = Reply.decode(data)
    except ProtocolError:
        return False
    assert is_printable(reply.message)
    understood = False
    for read in (ServerInfo.of, apps_of, lambda found: RtspPlace.of(found.root.value("sessionUrl0"))):
        try:
            found = read(reply)
        except (ProtocolError, StatusError):
            continue
        if isinstance(found, ServerInfo):
            assert is_printable(found.name + found.unique_id + found.state)
            assert found.https_port <= 65535
        elif isinstance(found, RtspPlace):
            assert found.url.isascii()
            assert " " not in found.url
        else:
            assert len(found) <= MAX_APPS
            assert all(is_printable(app.title) and 0 < app.id < 1 << 31 for app in found)
        understood = True
    return understood


def written(data: bytes) -> bool:
    """What a host writes, its own client reads: a message, a path and titles of any text."""
    message, path, *titles = (line.decode("utf-8", "replace") for line in lines_of(data + b"\n\n", 12))
    reply = Reply.decode(xml.reply([("paired", message)], status=400, message=message, query=path))
    assert reply.status == 400
    assert reply.root.value("paired").split() == xml._legal(message).split()
    apps = Reply.decode(
        xml.app_list([App(n + 1, title) for n, title in enumerate(titles)], hdr=False)
    ).root.children
    assert [app.value("AppTitle").split() for app in apps] == [xml._legal(title).split() for title in titles]
    assert [app.number("ID") for app in apps] == list(range(1, len(titles) + 1))
    return b"\n" in data


def answer(data: bytes) -> bool:
    """An HTTP answer in pieces is a body within bounds, or refused."""
    return LOOP.run_until_complete(_answer(data))


async def _answer(data: bytes) -> bool:
    reader = asyncio.StreamReader(limit=http.MAX_HEAD_BYTES)
    for piece in pieces(data):
        reader.feed_data(piece)
    reader.feed_eof()
    try:
        body = await http._body(reader)
        Reply.decode(body)
    except (ProtocolError, EOFError):
        return False
    return len(body) <= http.MAX_BYTES


def pairing(data: bytes) -> bool:
    """Documents, one a chunk, as a host's answers to each phase: only who knows the PIN comes to the end."""
    exchange = PairingExchange(CLIENT, PIN, DRAWN)
    exchange.hello()
    steps = (exchange.challenge, exchange.response, exchange.secret, exchange.end)
    for number, (step, chunk) in enumerate(zip(steps, chunks(data), strict=False)):
        try:
            step(Reply.decode(chunk))
        except (ProtocolError, PairingError):
            return False
        if number == 0:
            assert exchange.certificate_pem
    return True


def certificate(data: bytes) -> bool:
    """A host's certificate of any kind: the pairing goes on until it has to prove something, or ends."""
    exchange = PairingExchange(CLIENT, PIN, DRAWN)
    exchange.hello()
    pem = ssl.DER_cert_to_PEM_cert(data).encode().hex()
    answers = (
        (exchange.challenge, ("plaincert", pem)),
        (exchange.response, ("challengeresponse", bytes(48).hex())),
        (exchange.secret, ("pairingsecret", bytes(16 + 256).hex())),
    )
    read = False
    for step, field in answers:
        try:
            step(Reply.decode(xml.reply([("paired", 1), field])))
        except (PairingError, ProtocolError):
            return read
        read = True
    raise AssertionError("nobody has signed that")


class Negotiation(rtsp.RtspSession):
    """A negotiation with a host that says what it is fed."""

    def __init__(self, said: list[bytes], *, sealed: bool) -> None:
        place = RtspPlace(PLACE.url, PLACE.port, encrypted=sealed)
        super().__init__("10.0.0.1", place, KEY, high_quality_sound=False, source="10.0.0.2")
        self._said = said

    async def _exchange(self, method: str, message: bytes) -> bytes:
        if not self._said:
            raise HandshakeError("the host does not answer")
        return self._said.pop(0)


def negotiation(data: bytes) -> bool:
    """Answers, one a chunk, to all requests up to SETUP, in the open or (first byte odd) as frames."""
    return LOOP.run_until_complete(_negotiation(data))


async def _negotiation(data: bytes) -> bool:
    session = Negotiation(list(chunks(data[1:])), sealed=bool(data[:1] and data[0] & 1))
    try:
        description = await session.describe()
        agreed = await session.set_up()
    except (ProtocolError, StatusError, CryptoError, HandshakeError):
        return False
    assert len(description.surround) <= 16
    for port in (agreed.audio.port, agreed.video.port, agreed.control_port):
        assert 0 < port <= 65535
    assert len(agreed.audio.ping) == len(agreed.video.ping) == 16
    assert 0 <= agreed.connect_data < 1 << 32
    return True


def _phases() -> bytes:
    """What a host answers that has the right PIN typed in."""
    exchange = PairingExchange(CLIENT, PIN, DRAWN)
    first = parse_pair(exchange.hello())
    assert isinstance(first, BeginPairing)
    host = HostPairing(HOST_IDENTITY, first.salt, ClientCertificate.parse(first.certificate))
    host.enter_pin(PIN)
    pem = ClientCertificate.parse(HOST_PEM).pem.encode().hex()
    said = [xml.reply([("paired", 1), ("plaincert", pem)])]
    second = parse_pair(exchange.challenge(Reply.decode(said[-1])))
    assert isinstance(second, ClientChallenge)
    said.append(xml.reply([("paired", 1), ("challengeresponse", host.challenge(second).hex())]))
    third = parse_pair(exchange.response(Reply.decode(said[-1])))
    assert isinstance(third, ChallengeAnswer)
    said.append(xml.reply([("paired", 1), ("pairingsecret", host.answer(third).hex())]))
    return chunked(*said, xml.reply([("paired", 1)]))


def _negotiated(*, sealed: bool) -> bytes:
    host = RtspCipher(KEY, "host")
    media = {
        "Session": "DEADBEEFCAFE;timeout = 90",
        "Transport": "server_port=47998",
        "X-SS-Ping-Payload": "0123456789ABCDEF",
    }
    answers = (
        RtspResponse(200, Headers({"CSeq": "1"})),
        RtspResponse(200, Headers({"CSeq": "2"}), b"a=x-ss-general.featureFlags:3\r\n"),
        RtspResponse(200, Headers({"CSeq": "3", **media})),
        RtspResponse(200, Headers({"CSeq": "4", **media})),
        RtspResponse(200, Headers({"CSeq": "5", "Transport": "server_port=47999", "X-SS-Connect-Data": "7"})),
    )
    raw = [each.encode() for each in answers]
    return bytes([sealed]) + chunked(*(map(host.seal, raw) if sealed else raw))


TARGETS = (
    Target(
        "client_document",
        document,
        lambda: [INFO, APPS, xml.reply([("sessionUrl0", "rtspenc://10.0.0.1:48010"), ("gamesession", 1)])],
        ELEMENTS,
        longest=4096,
    ),
    Target(
        "client_written",
        written,
        lambda: ["no\n/pair\nTom & Jerry\n<a>\n€".encode(), b"\x00\n\xff\n]]>"],
        (b"\r", b"\xef\xbf\xbf", b"&#0;", b"]]>", b"\xed\xa0\x80"),
    ),
    Target(
        "client_answer",
        answer,
        lambda: [
            whole(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(INFO) + INFO),
            whole(b"HTTP/1.0 404 Not Found\r\n\r\n" + xml.reply(status=404)),
        ],
        (b"HTTP/1.1 ", b"Content-Length:", b"\r\n\r\n", b"Transfer-Encoding: chunked", *ELEMENTS),
        longest=4096,
    ),
    Target(
        "client_pairing",
        pairing,
        lambda: [_phases()],
        (b"<plaincert>", b"<pairingsecret>", *ELEMENTS),
        longest=8192,
    ),
    Target(
        "client_certificate",
        certificate,
        lambda: [HOST_IDENTITY.certificate.public_bytes(Encoding.DER)],
        (b"\x02\x01\x00", b"\xa0\x03\x02\x01", b"\x30\x82", b"\x02\x03\x01\x00\x01", b"\x06\x09\x2a\x86\x48"),
        longest=4096,
    ),
    Target(
        "client_negotiation",
        negotiation,
        lambda: [_negotiated(sealed=False), _negotiated(sealed=True)],
        (
            b"server_port=",
            b"X-SS-Ping-Payload: ",
            b"X-SS-Connect-Data: ",
            b"Session: ",
            b"RTSP/1.0 200 OK\r\n",
        ),
        longest=4096,
    ),
)
