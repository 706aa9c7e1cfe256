"""Promises P1, P4, P9 on a live client: hostile datagrams change nothing but the counter that is named for them.

A real receive thread on a real socket gets a stream; scapy puts forged datagrams between its packets, with the
host's own address, so that the kernel's filter of a connected socket does not help.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from punktfunk.core import ClientStream, StreamConfig
from punktfunk.core._core import packetize, seal

pytestmark = pytest.mark.root

KEY = bytes(range(16))
SALT = b"pkf1"
SHARD = 200
SEED = 20261122
SETTLE_S = 30.0


def header(**fields: int) -> bytes:
    """The plain header of a packet, as scapy writes it."""
    from harness.dissect.punktfunk1 import Video as Header

    return bytes(Header(**{"shard_bytes": SHARD, **fields}))


@dataclass
class Rig:
    """A live client, the host's socket, and a raw socket that speaks with the host's address."""

    stream: ClientStream
    host: socket.socket
    raw: Any
    source: tuple[str, int]
    target: tuple[str, int]
    seq: int = 0
    frame: int = 0

    def frame_packets(self, size: int = 2000) -> tuple[bytes, list[bytes]]:
        """Return the next access unit and its sealed packets, in order."""
        unit = bytes((self.frame + i) & 255 for i in range(size))
        plain = packetize(
            StreamConfig(shard_bytes=SHARD), unit, 1 + self.frame * 16_000_000, 5, self.frame, self.seq
        )
        sealed = [self.sealed(p) for p in plain]
        self.frame += 1
        return unit, sealed

    def sealed(self, plain: bytes) -> bytes:
        packet = seal(KEY, SALT, True, self.seq, plain)
        self.seq += 1
        return packet

    def forge(self, payload: bytes, **udp: int) -> None:
        """Put a datagram on the wire that claims to come from the host."""
        from scapy.layers.inet import IP, UDP
        from scapy.packet import Raw

        ip = IP(src=self.source[0], dst=self.target[0])
        self.raw.send(ip / UDP(sport=self.source[1], dport=self.target[1], **udp) / Raw(payload))

    def counters(self) -> dict[str, int]:
        """Return what hostile packets could move; packets that come after their block is whole are one thing here,
        whether the frame was handed out before (late) or not yet (surplus)."""
        stats = self.stream.stats()
        prefixes = ("rejected_", "frames_", "data_shards_", "kernel_")
        picked = {k: v for k, v in stats.items() if k.startswith(prefixes)}
        picked["packets_received"] = stats["packets_received"]
        picked["packets_duplicate"] = stats["packets_duplicate"]
        picked["packets_taken"] = stats["packets_used"] + stats["packets_late"]
        return picked

    def settled(self, received: int, dropped: int = 0) -> dict[str, int]:
        """Wait until the receive thread has told of so many packets, and so many of the kernel's drops, in all.

        Return the counters. Drops are told a little later than the packets that came with them.
        """
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            counters = self.counters()
            if counters["packets_received"] >= received and counters["kernel_dropped"] >= dropped:
                break
            time.sleep(0.002)
        return counters

    def changed_by(self, hostile: Iterable[bytes], expected: dict[str, int], **udp: int) -> None:
        """Check that the datagrams move exactly the expected counters, and that the next frame comes through."""
        before = self.counters()
        for payload in hostile:
            self.forge(payload, **udp)
        unit, packets = self.frame_packets()
        for packet in packets:
            self.host.send(packet)
        got = self.stream.next_frame(SETTLE_S)
        assert got is not None, "the frame after the hostile datagrams did not arrive"
        assert bytes(got) == unit
        clean = {"packets_received": len(packets), "packets_taken": len(packets)}
        clean |= dict.fromkeys(("frames_complete", "frames_decodable", "frames_released"), 1)
        total = {k: clean.get(k, 0) + expected.get(k, 0) for k in {*clean, *expected}}
        after = self.settled(
            before["packets_received"] + total["packets_received"],
            before["kernel_dropped"] + total.get("kernel_dropped", 0),
        )
        moved = {k: after[k] - before[k] for k in after if after[k] != before[k]}
        assert moved == {k: v for k, v in total.items() if v}


@pytest.fixture
def rig() -> Iterator[Rig]:
    import scapy.layers.inet  # noqa: F401 - by which scapy knows the interfaces
    from scapy.supersocket import L3RawSocket

    host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    host.bind(("127.0.0.1", 0))
    client.bind(("127.0.0.1", 0))
    host.connect(client.getsockname())
    client.connect(host.getsockname())
    raw = L3RawSocket(iface="lo")
    stream = ClientStream(StreamConfig(key=KEY, shard_bytes=SHARD), client.fileno())
    try:
        yield Rig(stream, host, raw, host.getsockname(), client.getsockname())
    finally:
        stream.close()
        raw.close()
        host.close()
        client.close()


def _rejected(reason: str, count: int) -> dict[str, int]:
    return {"packets_received": count, f"rejected_{reason}": count}


def test_noise_of_any_length_is_unauthentic_or_too_short(rig: Rig) -> None:
    draw = random.Random(SEED)
    noise = [draw.randbytes(n) for n in (0, 1, 8, 23)]
    rig.changed_by(noise, _rejected("too_short", 4))
    rig.changed_by([draw.randbytes(n) for n in (24, 64, 264, 1400, 2048)], _rejected("auth", 5))


def test_datagrams_longer_than_any_packet_are_dropped_unopened(rig: Rig) -> None:
    draw = random.Random(SEED)
    rig.changed_by([draw.randbytes(n) for n in (9217, 16_384, 60_000)], _rejected("too_long", 3))


def test_truncated_packets_do_not_authenticate(rig: Rig) -> None:
    _, packets = rig.frame_packets()
    for packet in packets:
        rig.host.send(packet)
    assert rig.stream.next_frame(SETTLE_S) is not None
    rig.settled(len(packets))
    cuts = [packets[0][:n] for n in (24, 40, 63, 64, 200, len(packets[0]) - 1)]
    rig.changed_by(cuts, _rejected("auth", len(cuts)))


def test_every_flipped_bit_is_noticed(rig: Rig) -> None:
    draw = random.Random(SEED)
    packet = rig.sealed(header(frame_bytes=SHARD) + bytes(SHARD))
    flipped = []
    for bit in draw.sample(range(len(packet) * 8), 64):
        forged = bytearray(packet)
        forged[bit // 8] ^= 1 << bit % 8
        flipped.append(bytes(forged))
    rig.changed_by(flipped, _rejected("auth", 64))


def test_replayed_packets_are_taken_once(rig: Rig) -> None:
    _, packets = rig.frame_packets()
    for packet in packets:
        rig.host.send(packet)
    assert rig.stream.next_frame(SETTLE_S) is not None
    rig.settled(len(packets))
    rig.changed_by(packets * 3, _rejected("replay", 3 * len(packets)))


def test_a_packet_sealed_with_the_clients_direction_is_refused(rig: Rig) -> None:
    reflected = seal(KEY, SALT, False, 1_000_000, header(frame_bytes=SHARD) + bytes(SHARD))
    rig.changed_by([reflected], _rejected("auth", 1))


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"magic": 0}, "magic"),
        ({"shard_bytes": SHARD + 2}, "shard_bytes"),
        ({"k": 0}, "geometry"),
        ({"k": 4097}, "geometry"),
        ({"k": 4096, "m": 65535}, "geometry"),
        ({"k": 2, "m": 1, "shard_index": 3}, "geometry"),
        ({"block_count": 0}, "geometry"),
        ({"block_count": 65535}, "geometry"),
        ({"block_count": 2, "block_index": 2}, "geometry"),
        ({"frame_bytes": 64 * 1024 * 1024 + 1}, "frame_bytes"),
        ({"frame_bytes": 0xFFFFFFFF}, "frame_bytes"),
    ],
)
def test_a_host_that_lies_in_an_authentic_header_is_refused_by_name(
    rig: Rig, field: dict[str, int], reason: str
) -> None:
    lie = header(**{"frame_index": 0, "frame_bytes": SHARD, **field})
    rig.changed_by([rig.sealed(lie + bytes(SHARD))], _rejected(reason, 1))
    # What one honest frame of twelve shards needs, twice; 64 MiB or 65535 blocks would show.
    assert rig.stream.stats()["memory_peak_bytes"] <= 16_384


def test_an_authentic_header_without_its_shard_is_too_short(rig: Rig) -> None:
    plain = header(frame_bytes=SHARD) + bytes(SHARD - 1)
    rig.changed_by([rig.sealed(plain), rig.sealed(plain[:39]), rig.sealed(b"")], _rejected("too_short", 3))


def test_reordered_packets_are_neither_lost_nor_rejected(rig: Rig) -> None:
    draw = random.Random(SEED)
    before = rig.counters()
    lost = rig.stream.stats()["packets_lost"]
    sent = 0
    for _ in range(20):
        unit, packets = rig.frame_packets()
        draw.shuffle(packets)
        for packet in packets:
            rig.forge(packet)
        sent += len(packets)
        got = rig.stream.next_frame(SETTLE_S)
        assert got is not None
        assert bytes(got) == unit
    after = rig.settled(sent)
    moved = {k: after[k] - before[k] for k in after if after[k] != before[k]}
    # Whether a shard is rebuilt before it comes depends on the order; none may be called lost.
    moved = {k: v for k, v in moved.items() if not k.startswith("data_shards_")}
    assert moved == {
        "packets_received": sent,
        "packets_taken": sent,
        **dict.fromkeys(("frames_complete", "frames_decodable", "frames_released"), 20),
    }
    assert rig.stream.stats()["packets_lost"] == lost


def test_what_the_kernel_can_refuse_never_reaches_the_session(rig: Rig) -> None:
    _, packets = rig.frame_packets()
    rig.changed_by(packets, {"kernel_dropped": len(packets)}, chksum=0x1234)
    rig.source = (rig.source[0], rig.source[1] ^ 1)
    rig.changed_by(packets, {})


def test_a_flood_of_forgeries_costs_no_memory(rig: Rig) -> None:
    draw = random.Random(SEED)
    peak = rig.stream.stats()["memory_peak_bytes"]
    forged = [draw.randbytes(264) for _ in range(2000)]
    rig.changed_by(forged, _rejected("auth", 2000))
    assert rig.stream.stats()["memory_peak_bytes"] <= peak + 2 * 12 * 264
