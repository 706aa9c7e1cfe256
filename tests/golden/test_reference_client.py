"""A client that follows the specification of the first release and nothing of our own client code.

It speaks to our host byte by byte (punktfunk/1 sections 2.2, 4.2 to 4.5 and 7.3): Hello by its vector, no
ALPN, no clock rounds, a data socket that is bound late, AEAD through ``cryptography``; the packets have to be
those of the published vector.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import punktfunk
from punktfunk.media import SyntheticSpec
from punktfunk.native.dialect import Dialect
from punktfunk.native.endpoint import Dialer
from punktfunk.native.quic import Closed, Peer
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode

HELLO = bytes.fromhex("1500504b46310200000000050000d00200003c00000000")
PLAIN_FRAME_0_SHA256 = "1274b36e4991009dd197c5c5b5f884f0f0fddd44383f2c7340bab971b0f0c583"
WIRE_FRAME_0_SHA256 = "bf9ebb43644713546cbcf0ae10ffcc385759ff316a4b11e33ddaa5a3ad7ec450"
FRAMES = 5
_SO_RCVBUFFORCE = 33


@dataclass
class Wire:
    """The QUIC side, bytes only."""

    data: bytearray = field(default_factory=bytearray)
    established: asyncio.Event = field(default_factory=asyncio.Event)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    closed: Closed | None = None

    def link_established(self, peer: Peer) -> None:
        assert peer.dialect is Dialect.PLAIN
        self.established.set()

    def stream_received(self, data: bytes) -> None:
        self.data += data
        self.received.set()

    def stream_ended(self) -> None: ...

    def datagram_received(self, data: bytes) -> None: ...

    def link_closed(self, closed: Closed) -> None:
        self.closed = closed
        self.over.set()


@pytest.fixture(scope="module")
def conversation() -> tuple[bytes, list[bytes], Closed]:
    """Return Welcome's payload, every UDP payload and how the host ended it."""
    return asyncio.run(asyncio.wait_for(_converse(), 60))


async def _converse() -> tuple[bytes, list[bytes], Closed]:
    config = punktfunk.HostConfig(
        trust=OpenTrust.LOOPBACK,
        port=0,
        source=SyntheticSpec(frame_bytes=65536),
        frames=FRAMES,
        mode=Mode(1280, 720, 60),
        shard_bytes=1200,
        fec_percent=20,
    )
    async with punktfunk.Host(config) as host:
        wire = Wire()
        dialer = Dialer(("127.0.0.1", host.port), Identity.generate(Role.CLIENT), Dialect.PLAIN, None, wire)
        await wire.established.wait()
        dialer.link.send_stream(HELLO)
        while len(wire.data) < 56:
            wire.received.clear()
            await wire.received.wait()
        welcome = bytes(wire.data[2:56])
        (data_port,) = struct.unpack_from("<H", welcome, 8)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            announced = probe.getsockname()
        dialer.link.send_stream(struct.pack("<H", 6) + b"PKF1" + struct.pack("<H", announced[1]))
        # The reference client binds again only now; the host has to leave it the time.
        await asyncio.sleep(0.05)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as data:
            # All that is sent, should this client get no time for it: the host repeats nothing.
            for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
                with contextlib.suppress(PermissionError):
                    data.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
            data.bind(announced)
            data.connect(("127.0.0.1", data_port))
            packets: list[bytes] = []
            loop = asyncio.get_running_loop()
            while len(packets) < 66 * FRAMES:
                packets.append(await asyncio.wait_for(loop.sock_recv(data, 2048), 30))
        await wire.over.wait()
        assert len(wire.data) == 56
        assert wire.closed is not None
        return welcome, packets, wire.closed


def _plain(welcome: bytes, packets: list[bytes]) -> list[bytes]:
    key, salt = welcome[29:45], welcome[45:49]
    opened = []
    for packet in packets:
        nonce = bytes([salt[0] & 0x7F]) + salt[1:] + packet[:8]
        opened.append(AESGCM(key).decrypt(nonce, packet[8:], packet[:8]))
    return sorted(opened, key=lambda plain: struct.unpack_from("<I", plain, 12))


def test_the_welcome_to_a_client_of_the_first_release_has_its_54_bytes(
    conversation: tuple[bytes, list[bytes], Closed],
) -> None:
    welcome, _, _ = conversation
    expected = bytearray(bytes.fromhex("504b46310200000050c300050000d00200003c00000001140010b00401"))
    expected[8:10] = welcome[8:10]
    assert welcome[:29] == bytes(expected)
    assert welcome[29:45] != bytes(16)
    assert welcome[45:] == b"pkf1" + struct.pack("<I", FRAMES) + b"\x00"


def test_the_packets_of_a_synthetic_frame_are_those_of_the_vector(
    conversation: tuple[bytes, list[bytes], Closed],
) -> None:
    welcome, packets, _ = conversation
    assert {len(packet) for packet in packets} == {1264}
    assert sorted(int.from_bytes(packet[:8], "big") for packet in packets) == list(range(66 * FRAMES))
    first = [bytes(8) + plain[8:] for plain in _plain(welcome, packets)[:66]]
    assert hashlib.sha256(b"".join(first)).hexdigest() == PLAIN_FRAME_0_SHA256
    key = bytes(range(16))
    sealed = [
        struct.pack(">Q", seq)
        + AESGCM(key).encrypt(b"pkf1" + struct.pack(">Q", seq), plain, struct.pack(">Q", seq))
        for seq, plain in enumerate(first)
    ]
    assert hashlib.sha256(b"".join(sealed)).hexdigest() == WIRE_FRAME_0_SHA256


def test_every_frame_carries_its_index_its_content_and_a_clock_that_does_not_go_back(
    conversation: tuple[bytes, list[bytes], Closed],
) -> None:
    welcome, packets, _ = conversation
    shards: dict[int, dict[int, bytes]] = defaultdict(dict)
    stamps: dict[int, int] = {}
    for plain in _plain(welcome, packets):
        pts, index, _, size, flags, block, blocks, k, m, shard, width = struct.unpack_from(
            "<QIIIIHHHHHH", plain
        )
        assert (size, flags, block, blocks, k, m, width) == (65536, 5, 0, 1, 55, 11, 1200)
        stamps[index] = pts
        if shard < k:
            shards[index][shard] = plain[40:]
    assert sorted(shards) == list(range(FRAMES))
    for index, parts in shards.items():
        frame = b"".join(parts[number] for number in range(55))[:65536]
        expected = struct.pack("<I", index) + bytes((index + at) & 255 for at in range(4, 65536))
        assert frame == expected
    times = [stamps[index] for index in range(FRAMES)]
    assert times == sorted(times)
    assert times[0] > 1_700_000_000_000_000_000


def test_the_host_ends_with_code_0_done_and_sent_no_other_control_message(
    conversation: tuple[bytes, list[bytes], Closed],
) -> None:
    _, _, closed = conversation
    assert closed == Closed(0, "done", application=True, by_peer=True)
