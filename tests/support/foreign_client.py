"""Another author's client of punktfunk/1, which shares nothing with ours.

It drives a plain aioquic connection, writes its messages by offset from the specification and opens packets with
``cryptography``.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import socket
import ssl
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import punktfunk
from punktfunk.media import SyntheticSpec
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from tests.support.waiting import PATIENCE_S

HELLO = struct.pack("<4sIIIIB", b"PKF1", 2, 1280, 720, 60, 0)
HOST_IDENTITY = Identity.generate(Role.HOST)
"""Of every host here, because an RSA key takes its time; how a host got it is no matter of the wire."""
NO_ALPN_OVERLAP = 0x178
WAIT_S = PATIENCE_S

Certificate = tuple[x509.Certificate, Any]


def self_signed(key: Any) -> Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "foreign")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin.replace(year=2040))
    return builder.sign(key, algorithm), key


def der_sha256(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


class Foreign:
    """Another author's client: QUIC by aioquic, nothing else done for it and no keep-alive of its own."""

    def __init__(
        self, port: int, alpn: list[str] | None, certificate: Certificate | None, idle_s: float
    ) -> None:
        configuration = QuicConfiguration(
            alpn_protocols=alpn,
            idle_timeout=idle_s,
            is_client=True,
            max_datagram_frame_size=65535,
            server_name="punktfunk",
            verify_mode=ssl.CERT_NONE,
        )
        if certificate is not None:
            configuration.certificate, configuration.private_key = certificate
        self.quic = QuicConnection(configuration=configuration)
        self.alpn: str | None = None
        self.established = False
        self.inbox = bytearray()
        self.closed: tuple[int, str] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._change = asyncio.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.connect(("127.0.0.1", port))
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self.quic.connect(("127.0.0.1", port), now=self._loop.time())
        self._pump()

    async def until(self, what: Any, limit_s: float = WAIT_S) -> None:
        async with asyncio.timeout(limit_s):
            while not what():
                self._change.clear()
                await self._change.wait()

    def send(self, payload: bytes) -> None:
        """Write one control message: u16le length, then the payload."""
        self.send_raw(struct.pack("<H", len(payload)) + payload)

    def send_raw(self, data: bytes) -> None:
        self.quic.send_stream_data(0, data)
        self._pump()

    async def message(self) -> bytes:
        await self.until(lambda: len(self.inbox) >= 2 and len(self.inbox) >= 2 + self._length())
        length = self._length()
        payload = bytes(self.inbox[2 : 2 + length])
        del self.inbox[: 2 + length]
        return payload

    async def refused(self) -> tuple[int, str]:
        await self.until(lambda: self.closed is not None)
        assert self.closed is not None
        return self.closed

    def close(self) -> None:
        self.quic.close(error_code=0, reason_phrase="done")
        self._pump()
        self.vanish()

    def vanish(self) -> None:
        """Go without a word, as a process that is killed."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        if self._timer is not None:
            self._timer.cancel()

    def _length(self) -> int:
        return int.from_bytes(self.inbox[:2], "little")

    def _readable(self) -> None:
        try:
            data = self._socket.recv(65535)
        except OSError:
            return
        self.quic.receive_datagram(data, self._socket.getpeername(), now=self._loop.time())
        self._pump()

    def _fire(self) -> None:
        self.quic.handle_timer(now=self._loop.time())
        self._pump()

    def _pump(self) -> None:
        while (event := self.quic.next_event()) is not None:
            match event:
                case events.HandshakeCompleted(alpn_protocol=alpn):
                    self.established, self.alpn = True, alpn
                case events.StreamDataReceived(data=data, stream_id=0):
                    self.inbox += data
                case events.ConnectionTerminated(error_code=code, reason_phrase=reason):
                    self.closed = self.closed or (code, reason)
                case _:
                    pass
        if self._socket.fileno() < 0:
            return
        for data, _ in self.quic.datagrams_to_send(now=self._loop.time()):
            self._socket.send(data)
        # aioquic tells of the peer's close only after its draining period.
        if self.closed is None and (close := self.quic._close_event) is not None:
            self.closed = (close.error_code, close.reason_phrase)
        if self._timer is not None:
            self._timer.cancel()
        at = self.quic.get_timer()
        self._timer = None if at is None else self._loop.call_at(at, self._fire)
        self._change.set()


class Video:
    """The data plane by sections 4.2 to 4.5: announced first, bound when ``bind`` is called, never sent on."""

    def __init__(self, welcome: bytes) -> None:
        self.port, self.percent, self.block, self.shard = (
            struct.unpack_from("<H", welcome, 8)[0],
            welcome[23],
            struct.unpack_from("<H", welcome, 24)[0],
            struct.unpack_from("<H", welcome, 26)[0],
        )
        self.key, self.salt = welcome[29:45], welcome[45:49]
        (self.frames,) = struct.unpack_from("<I", welcome, 49)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.own_port = int(probe.getsockname()[1])
        self.wire: list[bytes] = []
        self._socket: socket.socket | None = None

    def start(self) -> bytes:
        return b"PKF1" + struct.pack("<H", self.own_port)

    def bind(self, punch: bool = False) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self._socket.bind(("127.0.0.1", 0 if punch else self.own_port))
        # Connected, so that the kernel drops what comes from another address or port than was announced.
        self._socket.connect(("127.0.0.1", self.port))
        if punch:
            self._socket.send(b"PFpunch1")

    async def receive(self, enough: Any, limit_s: float = WAIT_S) -> None:
        """Read packets until ``enough(self)``, then close the socket."""
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit_s):
                while not enough(self):
                    self.wire.append(await loop.sock_recv(self._socket, 2048))
        finally:
            self._socket.close()

    def open(self, packet: bytes, direction: int = 0) -> bytes:
        salt = bytes([(self.salt[0] & 0x7F) | direction << 7]) + self.salt[1:]
        return AESGCM(self.key).decrypt(salt + packet[:8], packet[8:], packet[:8])

    def plain(self) -> list[bytes]:
        return [self.open(packet) for packet in self.wire]

    def access_units(self) -> dict[int, bytes]:
        """Put frames together from data shards alone; only whole ones are returned."""
        parts: dict[int, dict[int, bytes]] = defaultdict(dict)
        sizes: dict[int, int] = {}
        for plain in self.plain():
            frame, _, size, _, block, _, k, _, shard = struct.unpack_from("<IIIIHHHHH", plain, 8)
            sizes[frame] = size
            if shard < k:
                parts[frame][block * self.block + shard] = plain[40:]
        whole = {}
        for frame, shards in parts.items():
            data = b"".join(shards[at] for at in sorted(shards))
            if len(data) >= sizes[frame]:
                whole[frame] = data[: sizes[frame]]
        return whole


def content(index: int, size: int) -> bytes:
    """Bytes 0..3 are the index, byte i from 4 on is (index + i) mod 256 (section 7.2)."""
    return struct.pack("<I", index) + bytes((index + at) & 255 for at in range(4, size))


def all_frames(video: Video) -> bool:
    """The last packet that came ends the last frame; loopback keeps the order of one sender's packets."""
    if not video.wire:
        return False
    plain = video.open(video.wire[-1])
    return struct.unpack_from("<I", plain, 8)[0] == video.frames - 1 and bool(plain[39] & 2)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 3 * PATIENCE_S))


@asynccontextmanager
async def a_host(frame_bytes: int = 2000, **fields: Any) -> AsyncIterator[punktfunk.Host]:
    config = punktfunk.HostConfig(
        **{"trust": OpenTrust.LOOPBACK, "port": 0, "frames": 12, "shard_bytes": 1200} | fields,
        source=SyntheticSpec(frame_bytes=frame_bytes),
    )
    async with punktfunk.Host(config, identity=HOST_IDENTITY) as host:
        yield host


@asynccontextmanager
async def dial(
    host: punktfunk.Host,
    alpn: list[str] | None = None,
    certificate: Certificate | None = None,
    idle_s: float = 30.0,
) -> AsyncIterator[Foreign]:
    client = Foreign(host.port, alpn, certificate, idle_s)
    try:
        await client.until(lambda: client.established or client.closed is not None)
        yield client
    finally:
        client.close()


async def welcomed(client: Foreign, hello: bytes = HELLO) -> Video:
    client.send(hello)
    return Video(await client.message())


async def stream(client: Foreign, enough: Any = all_frames) -> Video:
    """Take a stream as the first release does: Start, then bind, then nothing but reading."""
    video = await welcomed(client)
    client.send(video.start())
    video.bind()
    await video.receive(enough)
    return video
