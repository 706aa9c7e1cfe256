"""What a host takes by RTSP, sealed or not, and as pings; and what a client takes (gamestream sections 5 and 6)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from punktfunk.errors import CryptoError, StatusError
from punktfunk.gamestream.announce import Announced, parse_announce
from punktfunk.gamestream.describe import CodecModes, Description, Features
from punktfunk.gamestream.ping import Ping, PingBook
from punktfunk.gamestream.ports import Ports
from punktfunk.gamestream.rtsp import (
    MAX_MESSAGE_BYTES,
    REASONS,
    Headers,
    RequestReader,
    RtspRequest,
    RtspResponse,
)
from punktfunk.gamestream.rtsp_cipher import FrameReader, RtspCipher, RtspFrame
from punktfunk.gamestream.rtsp_exchange import RtspExchange, SessionFacts
from punktfunk.gamestream.surround import SurroundParams, advertised
from punktfunk.host.gamestream.rtsp_server import RtspServer
from tests.fuzz.target import Target, chunked, chunks, pieces, refused, whole
from tests.support.gamestream_announce import MODERN, payload

KEY = bytes(range(16))
LOOP = asyncio.new_event_loop()
DESCRIPTION = Description.of(
    CodecModes.H264 | CodecModes.HEVC, surround=advertised(SurroundParams.parse("642014523"))
)
FACTS = SessionFacts(DESCRIPTION, Ports(), "0123456789ABCDEF", 0x7E6F_02E3)
ANNOUNCE = payload(MODERN)
HEADERS = (
    b"CSeq:",
    b"Content-length:",
    b"Content-type:",
    b"Host:",
    b"X-GS-ClientVersion:",
    b"Session:",
    b"Transport:",
)
METHODS = (
    b"OPTIONS ",
    b"DESCRIBE ",
    b"SETUP streamid=video/0/0 ",
    b"ANNOUNCE ",
    b"PLAY / ",
    b" RTSP/1.0\r\n",
)


def request(data: bytes) -> bool:
    """A request is the same in pieces as in one, and when it is written again."""
    reader, raw, found, status = RequestReader(), b"", None, 200
    for piece in pieces(data):
        if found is not None:
            return False
        raw += piece
        try:
            found = reader.feed(piece)
        except StatusError as error:
            status = error.status
            break
    try:
        at_once = RtspRequest.decode(raw)
    except StatusError as error:
        assert found is None
        assert status in {200, 400, 413}
        return refused(error, 400, 413)
    assert status == 200
    assert at_once == found
    if len(again := at_once.encode()) <= MAX_MESSAGE_BYTES and b"\xef\xbf\xbd" not in again:
        assert RtspRequest.decode(again) == at_once
    assert at_once.sequence is None or int(at_once.sequence) >= 0
    return True


@dataclass
class Session:
    """A session that takes whatever can be read."""

    cipher: RtspCipher | None
    remote_address: str = "127.0.0.1"
    played: list[Announced] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exchange = RtspExchange(FACTS, on_announce=lambda _: None, on_play=self.played.append)


@dataclass
class Owner:
    """Knows one session, or one with a key and one without."""

    sessions: list[Session]

    def rtsp_sessions(self) -> list[Session]:
        return self.sessions


def server(data: bytes) -> bool:
    """Whatever comes, one connection after the other, has one answer of a known status, sealed where it came so.

    The first byte of each chunk says how it comes: sealed by whom has the key, or as it is.
    """
    return LOOP.run_until_complete(_server(data))


async def _server(data: bytes) -> bool:
    sealed, plain, client = Session(RtspCipher(KEY, "host")), Session(None), RtspCipher(KEY, "client")
    host = RtspServer("127.0.0.1", 0, Owner([sealed, plain]))
    understood = False
    for number, chunk in enumerate(chunks(data)):
        if number == 32:
            break
        with_key, message = bool(chunk[:1] and chunk[0] & 1), chunk[1:]
        reader = asyncio.StreamReader()
        for piece in [client.seal(message)] if with_key else pieces(message):
            reader.feed_data(piece)
        reader.feed_eof()
        try:
            answer = await host._answer(reader, "127.0.0.1")
        except (StatusError, CryptoError):
            understood = False
            continue
        understood = answer is not None and _status(answer, client if with_key else None) == 200
    assert len(sealed.played) <= 1
    assert len(plain.played) <= 1
    return understood


def _status(answer: bytes, client: RtspCipher | None) -> int:
    if client is not None:
        frame = FrameReader().feed(answer)
        assert frame is not None
        answer = client.open(frame)
    answer.partition(b"\r\n\r\n")[0].decode("ascii")
    read = RtspResponse.decode(answer)
    assert read.status in REASONS
    return read.status


def announce(data: bytes) -> bool:
    """What is announced is in its ranges or refused with 400; nothing else of a body does anything."""
    try:
        read = parse_announce(data)
    except StatusError as error:
        return refused(error, 400)
    assert read.packet_bytes % 16 == 0
    assert 256 <= read.packet_bytes <= 1456
    assert read.mode.resolution.width % 2 == read.mode.resolution.height % 2 == 0
    assert 1 <= read.slices <= 8
    assert read.packet_ms in {5, 10}
    for percent in (0, 20, 255):
        assert 1 <= read.video_kbps(percent, high_quality_sound=True) <= 2_000_000
    assert read.channel_mask
    return True


def sealed(data: bytes) -> bool:
    """Nothing is opened that was not sealed, each message once; what is sealed comes back."""
    host, client = RtspCipher(KEY, "host"), RtspCipher(KEY, "client")
    reader, frame = FrameReader(), None
    for piece in pieces(data):
        try:
            frame = reader.feed(piece)
        except StatusError as error:
            return refused(error, 400, 413)
        if frame is not None:
            break
    again = FrameReader().feed(client.seal(data))
    assert again is not None
    assert host.open(again) == data
    opened = [each for each in (again, frame) if each is not None and _opens(host, each)]
    assert not opened, "twice, or without the key"
    return frame is not None


def _opens(cipher: RtspCipher, frame: RtspFrame) -> bool:
    try:
        cipher.open(frame)
    except CryptoError:
        return False
    return True


def ping(data: bytes) -> bool:
    """A ping is 20 bytes and of the session whose payload it has; layouts and descriptions are read as written."""
    book = PingBook[str]()
    book.expect("one", payload="0123456789ABCDEF", address=None)
    book.expect("old", payload="FEDCBA9876543210", address="10.0.0.1")
    read = Ping.decode(data)
    assert read is None or read.encode() == data
    owner = book.session_of(data, "10.0.0.1")
    expected = {b"0123456789ABCDEF": "one", b"FEDCBA9876543210": "old"}.get(data[:16] if read else b"")
    assert owner == ("old" if data == b"PING" else expected)
    assert book.session_of(data, "10.0.0.2") == expected
    return owner is not None


def surround(data: bytes) -> bool:
    """A layout is read as it is written, and scrambling it is undone."""
    text = data.decode("utf-8", "replace")
    read = SurroundParams.parse(text)
    if read is None:
        return False
    assert str(read) == text
    assert read.channels == 2 or read.scrambled().unscrambled() == read
    return True


def response(data: bytes) -> bool:
    """A client's reading of an answer: written again it is the same."""
    try:
        read = RtspResponse.decode(data)
    except StatusError as error:
        return refused(error, 400, 502)
    again = RtspResponse.decode(read.encode())
    assert (again.status, again.headers, again.body) == (read.status, read.headers, read.body)
    return True


def describe(data: bytes) -> bool:
    """A description is something always; a host's is read as it was written."""
    read = Description.decode(data)
    assert len(read.surround) <= 16
    again = Description.decode(read.encode())
    assert again == read
    return bool(read.supported)


def _request(first: str, body: bytes = b"", **headers: str) -> bytes:
    fields = {"CSeq": "1", "X-GS-ClientVersion": "14", "Host": "10.0.0.1", **headers}
    if body:
        fields |= {"Content-type": "application/sdp", "Content-length": str(len(body))}
    method, _, target = first.partition(" ")
    return RtspRequest(method, target, Headers(fields), body).encode()


def _conversation(how: bytes) -> bytes:
    requests = (
        _request("OPTIONS rtsp://10.0.0.1:48010"),
        _request("DESCRIBE rtsp://10.0.0.1:48010", Accept="application/sdp"),
        *(
            _request(f"SETUP streamid={kind}/0/0", Transport="unicast")
            for kind in ("audio", "video", "control")
        ),
        _request("ANNOUNCE streamid=control/13/0", ANNOUNCE),
        _request("PLAY /"),
    )
    return chunked(*(how + each for each in requests))


TARGETS = (
    Target(
        "rtsp_request",
        request,
        lambda: [whole(_request("PLAY /")), whole(_request("ANNOUNCE streamid=control/13/0", ANNOUNCE))],
        (*METHODS, *HEADERS, b"\r\n\r\n", b"\r", b"\xd9\xa1"),
        longest=4096,
    ),
    Target(
        "rtsp_server",
        server,
        lambda: [
            _conversation(b"\1"),
            _conversation(b"\0\0"),
            chunked(b"\1" + _request("PLAY /"), b"\1" + _request("OPTIONS /")),
        ],
        (*METHODS, *HEADERS, b"\r\n\r\n", b"a=x-nv-video[0].packetSize:"),
        longest=8192,
    ),
    Target(
        "announce",
        announce,
        lambda: [ANNOUNCE],
        (*(f"a={name}:".encode() for name in MODERN), b"\r\n", b"4294967295", b"\xe2\x80\xa8"),
        longest=4096,
    ),
    Target(
        "rtsp_sealed",
        sealed,
        lambda: [
            whole(RtspCipher(KEY, "client").seal(b"")),
            whole(RtspCipher(bytes(16), "client").seal(b"PLAY")),
        ],
        (b"\x80\x00\x00\x00", b"\x80\x00\xff\xff"),
        longest=1024,
    ),
    Target(
        "ping",
        ping,
        lambda: [Ping(b"0123456789ABCDEF", 1).encode(), b"PING"],
        (b"FEDCBA9876543210",),
        longest=32,
    ),
    Target(
        "surround", surround, lambda: [b"642014523", b"88001234567", b"21101"], (b"\xd9\xa0",), longest=32
    ),
    Target(
        "rtsp_response",
        response,
        lambda: [RtspResponse(200, Headers({"CSeq": "1", "Session": "a;timeout = 90"}), b"body").encode()],
        (b"RTSP/1.0 200 OK\r\n", b"\r\n\r\n", b"\xd9\xa2"),
    ),
    Target(
        "describe",
        describe,
        lambda: [DESCRIPTION.encode(), Description.of(CodecModes.AV1, features=Features(3)).encode()],
        (
            b"a=fmtp:97 surround-params=",
            b"a=x-ss-general.featureFlags:",
            b"AV1/90000",
            b"sprop-parameter-sets=AAAAAU",
        ),
    ),
)
