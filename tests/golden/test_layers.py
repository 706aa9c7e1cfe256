"""The scapy layers are held to the wires' vectors: each field where it is, and what was read is written again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from punktfunk.core import _core

VECTORS = Path(__file__).parent / "vectors" / "wire_vectors.txt"
PAGE = Path(__file__).parents[2] / "docs/reference/wire/gamestream.md"
KEY = bytes(range(16))


@pytest.fixture(scope="module")
def punktfunk1() -> Any:
    from harness.dissect import punktfunk1  # scapy takes a second to load

    return punktfunk1


@pytest.fixture(scope="module")
def gamestream() -> Any:
    from harness.dissect import gamestream

    return gamestream


def wire(label: str) -> bytes:
    [line] = [line for line in VECTORS.read_text().splitlines() if line.startswith(f"{label} ")]
    return bytes.fromhex(line[len(label) + 1 :].split()[0])


def vector(pattern: str) -> bytes:
    found = re.search(pattern, PAGE.read_text(encoding="utf-8"), re.M)
    assert found is not None, pattern
    return bytes.fromhex(found[1])


def fields(packet: Any) -> dict[str, Any]:
    return {field.name: packet.getfieldval(field.name) for field in packet.fields_desc}


def held(layer: Any, raw: bytes, /, **expected: object) -> Any:
    """Read ``raw``, compare fields, and write what was read."""
    packet = layer(raw)
    found = fields(packet)
    assert {name: found[name] for name in expected} == expected
    assert bytes(packet) == raw
    # Written from its fields alone, and not because scapy remembers what it read.
    again = layer(**{name: value for name, value in found.items() if value is not None})
    assert bytes(again) == raw[: len(bytes(again))]
    return packet


MODE = {"width": 1280, "height": 720, "refresh_hz": 60}
WELCOME = (
    MODE
    | {"udp_port": 50000, "scheme": 1, "fec_percent": 20, "max_block_shards": 4096}
    | {
        "shard_bytes": 1200,
        "encrypt": 1,
        "key": KEY,
        "salt": b"pkf1",
        "frames": 300,
        "compositor": 0,
    }
)


@pytest.mark.parametrize(
    ("label", "name", "expected"),
    [
        ("Hello   framed", "Hello", MODE | {"version": 2, "compositor": 0}),
        ("Welcome framed", "Welcome", WELCOME),
        ("Start   framed", "Start", {"udp_port": 40000}),
    ],
)
def test_positional_messages_have_the_recorded_fields(
    punktfunk1: Any, label: str, name: str, expected: dict[str, object]
) -> None:
    framed = wire(label)
    head = held(punktfunk1.Framed, framed, length=len(framed) - 2)
    message = bytes(head.payload)
    assert punktfunk1.message_layer(message, from_host=name == "Welcome") is getattr(punktfunk1, name)
    held(getattr(punktfunk1, name), message, **expected)


@pytest.mark.parametrize(
    ("label", "kind", "name", "expected"),
    [
        ("Reconfigure  framed", 1, "Reconfigure", {"width": 1920, "height": 1080, "refresh_hz": 144}),
        (
            "Reconfigured framed",
            2,
            "Reconfigured",
            {"accepted": 1, "width": 1920, "height": 1080, "refresh_hz": 144},
        ),
    ],
)
def test_typed_messages_have_the_recorded_fields(
    punktfunk1: Any, label: str, kind: int, name: str, expected: dict[str, object]
) -> None:
    message = wire(label)[2:]
    assert punktfunk1.message_layer(message, from_host=True) is punktfunk1.Typed
    typed = held(punktfunk1.Typed, message, type=kind)
    assert typed.payload.name == name
    held(getattr(punktfunk1, name), message[5:], **expected)


DATAGRAMS = {
    "input MouseMove(-12,34,flags=0xABCD)": (
        "Input",
        {"kind": 2, "code": 0, "x": -12, "y": 34, "flags": 0xABCD},
    ),
    "audio seq=7 pts=1000000123 opus=aabb": (
        "Audio",
        {"sequence": 7, "pts_ns": 1_000_000_123, "opus": b"\xaa\xbb"},
    ),
    "rumble pad=1 low=0x1234 high=0xffff": ("Rumble", {"pad": 1, "low": 0x1234, "high": 0xFFFF}),
    "rich touchpad pad=1 finger=0 active x=40000 y=12345": (
        "Touchpad",
        {"pad": 1, "finger": 0, "active": 1, "x": 40000, "y": 12345},
    ),
    "rich motion pad=0 gyro=-100,200,-300 accel=16384,-8192,1": (
        "Motion",
        {"gyro_x": -100, "gyro_y": 200, "gyro_z": -300, "accel_x": 16384, "accel_y": -8192, "accel_z": 1},
    ),
}


@pytest.mark.parametrize("label", DATAGRAMS)
def test_datagrams_have_the_recorded_fields(punktfunk1: Any, label: str) -> None:
    name, expected = DATAGRAMS[label]
    data = wire(label)
    assert punktfunk1.datagram_layer(data) is getattr(punktfunk1, name)
    held(getattr(punktfunk1, name), data, **expected)


def test_hid_output_has_the_recorded_fields(punktfunk1: Any) -> None:
    [line] = [line for line in VECTORS.read_text().splitlines() if line.startswith("hid led")]
    led, player, trigger = (bytes.fromhex(word) for word in line.split()[2::2])
    held(punktfunk1.datagram_layer(led), led, pad=2, red=0xAA, green=0xBB, blue=0xCC)
    held(punktfunk1.datagram_layer(player), player, pad=0, bits=0x15)
    held(punktfunk1.datagram_layer(trigger), trigger, pad=1, which=1, effect=bytes.fromhex("2690a0ff0000"))


@pytest.mark.parametrize("at", range(3))
def test_video_headers_have_the_recorded_fields_and_are_what_the_core_opens(punktfunk1: Any, at: int) -> None:
    sealed, plain = wire(f"wire{at}"), wire(f"plain{at}")
    held(punktfunk1.Sealed, sealed, sequence=at)
    assert _core.open_sealed(KEY, b"pkf1", True, sealed) == plain
    header = held(
        punktfunk1.Video,
        plain,
        pts_ns=0x0102030405060708,
        frame_index=0,
        stream_seq=at,
        frame_bytes=40,
        user_flags=5,
        block_index=0,
        block_count=1,
        k=2,
        m=1,
        shard_index=at,
        shard_bytes=32,
        magic=0xC9,
        version=1,
        scheme=1,
        flags=[5, 1, 3][at],
    )
    assert bytes(header.payload) == plain[40:]


def test_the_video_packets_of_gamestream_have_the_recorded_fields(gamestream: Any) -> None:
    packets = [
        bytes.fromhex(line)
        for line in re.findall(r"^  W ([0-9a-f]+)$", PAGE.read_text(encoding="utf-8"), re.M)
    ]
    assert len(packets) == 5
    for at, packet in enumerate(packets):
        common = {"rtp_flags": 0x90, "payload_type": 0, "sequence": at, "timestamp": 1983, "frame_index": 1}
        place = {"last_block": 0, "block": 0, "k": 3, "shard_index": at, "fec_percent": 66, "fec_zero": 0}
        # Of recovery packets these are output of the code.
        covered = {"packet_index": at, "flags": [5, 1, 3][at], "multi_fec_flags": 0x10} if at < 3 else {}
        held(gamestream.Video, packet, **common, **place, **covered)
    held(gamestream.ShortHeader, packets[0][32:40], type=1, latency_100us=77, kind=2, last_bytes=12)


def test_encrypted_video_has_the_recorded_fields(gamestream: Any) -> None:
    sealed = vector(r"^  W0 encrypted .* : ([0-9a-f]+)$")
    held(gamestream.Encrypted, sealed, counter=0, iv_end=b"\0\0\0V", frame_index=1, tag=sealed[16:32])


def test_sound_has_the_recorded_fields(gamestream: Any) -> None:
    plain = vector(r"^ plain packet (8061[0-9a-f]+)$")
    packet = held(gamestream.Rtp, plain, payload_type=97, sequence=5, timestamp_ms=25)
    assert bytes(packet.payload).startswith(b"\xfc\x01\x02")
    for at in range(2):
        fec = held(
            gamestream.Rtp,
            vector(rf"^  fec packet {at} (807f[0-9a-f]+)$"),
            payload_type=127,
            sequence=12 + at,
        )
        held(
            gamestream.AudioFec,
            bytes(fec.payload),
            shard_index=at,
            payload_type=97,
            base_sequence=8,
            base_timestamp_ms=40,
        )


def test_control_messages_have_the_recorded_fields(gamestream: Any) -> None:
    sealed = vector(r"type 0x0302 payload 0000 V2 iv \S+ wire ([0-9a-f]+)$")
    held(gamestream.ControlWrapper, sealed, type=1, length=0x1A, sequence=0, tag=sealed[8:24])
    sealed = vector(r"seq 300 type 0x0307 payload 00 LEGACY16 iv \S+ wire ([0-9a-f]+)$")
    held(gamestream.ControlWrapper, sealed, type=1, length=0x19, sequence=300)
    status = bytes.fromhex("00000001002e000a0006002c000300260003050001")
    assert re.sub(r"\s", "", PAGE.read_text(encoding="utf-8")).count(status.hex()) == 1
    held(
        gamestream.FecStatus,
        status,
        frame_index=1,
        highest_sequence=46,
        next_sequence=10,
        missing=6,
        data=44,
        recovery=3,
        data_received=38,
        recovery_received=3,
        fec_percent=5,
        block=0,
        blocks=1,
    )


def test_encrypted_rtsp_has_the_recorded_fields(gamestream: Any) -> None:
    sealed = vector(r"plain len 91\n wire ([0-9a-f]+)$")
    held(gamestream.RtspEncrypted, sealed, encrypted=1, length=91, sequence=1, tag=sealed[8:24])


def test_the_captured_enet_handshake_is_read_command_by_command(gamestream: Any) -> None:
    page = re.sub(r"\s", "", PAGE.read_text(encoding="utf-8"))
    connect, verify = (
        bytes.fromhex(found) for found in re.findall(r"`((?:8fff025982ff|8000026183ff)[0-9a-f]+)`", page)
    )
    [(command, data)] = gamestream.enet_commands(connect)
    assert (command.kind, command.wants_ack, command.channel, command.reliable_sequence) == (2, 1, 0xFF, 1)
    assert data == b""
    held(gamestream.EnetHeader, connect[:2], has_time=1, compressed=0, session=0, peer=0xFFF)
    said = {"outgoing_peer": 0, "mtu": 900, "window": 65536, "channels": 48, "throttle_interval": 5000}
    held(
        gamestream.EnetConnect,
        connect[8:],
        **said,
        incoming_session=0xFF,
        connect_id=0x6F0117B3,
        data=0x7E6F02E3,
    )
    [(command, _data)] = gamestream.enet_commands(verify)
    assert command.kind == 3
    assert gamestream.enet_commands(connect[:-1]) is None, "a command that is cut off is none"


def test_fields_are_read_in_bulk_where_scapy_reads_them() -> None:
    from harness.dissect import gamestream, punktfunk1
    from harness.dissect.fields import header_bytes, picker

    for layer in (
        punktfunk1.Video,
        punktfunk1.Cursor,
        gamestream.Video,
        gamestream.FecStatus,
        gamestream.EnetConnect,
    ):
        names = [field.name for field in layer.fields_desc if "Signed" not in type(field).__name__]
        pick = picker(layer, *names)
        size = header_bytes(layer)
        for seed in range(8):
            data = bytes((seed * 37 + 11 * i * i + i) & 0xFF for i in range(size))
            read = layer(data)
            assert pick(data) == tuple(int(read.getfieldval(name)) for name in names), layer.__name__
