"""Control messages against the published wire vectors of punktfunk/1 (sections 2.1, 2.2 and 2.4)."""

from __future__ import annotations

import struct

import pytest

from punktfunk.cursor import CursorShape
from punktfunk.errors import ProtocolError
from punktfunk.native import messages
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Codecs, FecCode, Hello, Start, Welcome, WireMode

MODE = WireMode(1280, 720, 60)
HELLO = "1500504b46310200000000050000d00200003c00000000"
WELCOME = (
    "3600504b46310200000050c300050000d00200003c00000001140010b00401"
    "000102030405060708090a0b0c0d0e0f706b66312c01000000"
)
START = "0600504b4631409c"
RECONFIGURE = "1100504b466301800700003804000090000000"
CURSOR_SHAPE = "1900504b46635009000000020001000100" + "0000ff8000ff00000000"
RECONFIGURED = "1200504b46630201800700003804000090000000"


def _welcome() -> Welcome:
    return Welcome(mode=MODE, udp_port=50000, key=bytes(range(16)), frames=300)


def test_hello_of_the_first_release_matches_its_vector() -> None:
    assert frame(Hello(mode=MODE).encode()).hex() == HELLO
    assert Hello.decode(bytes.fromhex(HELLO)[2:]) == Hello(mode=MODE)


def test_welcome_of_the_first_release_matches_its_vector() -> None:
    assert frame(_welcome().encode()).hex() == WELCOME
    assert Welcome.decode(bytes.fromhex(WELCOME)[2:]) == _welcome()


def test_start_matches_its_vector() -> None:
    assert frame(Start(40000).encode()).hex() == START
    assert Start.decode(bytes.fromhex(START)[2:]) == Start(40000)


def test_reconfiguration_matches_its_vectors() -> None:
    asked = messages.Reconfigure(1920, 1080, 144)
    assert frame(asked.encode()).hex() == RECONFIGURE
    assert messages.decode(bytes.fromhex(RECONFIGURE)[2:]) == asked
    answer = messages.Reconfigured.of(True, WireMode(1920, 1080, 144))
    assert frame(answer.encode()).hex() == RECONFIGURED
    assert messages.decode(bytes.fromhex(RECONFIGURED)[2:]) == answer


def test_a_cursor_shape_and_who_draws_it_match_their_vectors() -> None:
    pixels = bytes.fromhex("ff8000ff 00000000")
    shape = messages.CursorShape(9, CursorShape(2, 1, 1, 0, pixels))
    assert frame(shape.encode()).hex() == CURSOR_SHAPE
    assert messages.decode(bytes.fromhex(CURSOR_SHAPE)[2:]) == shape
    for draws in (0, 1):
        wire = f"0600504b4663510{draws}"
        assert frame(messages.CursorRenderMode(draws).encode()).hex() == wire
        assert messages.decode(bytes.fromhex(wire)[2:]) == messages.CursorRenderMode(draws)


@pytest.mark.parametrize(
    ("width", "height", "length"), [(0, 1, 0), (1, 0, 0), (121, 1, 484), (1, 121, 484), (2, 1, 7), (2, 1, 9)]
)
def test_a_cursor_shape_of_other_sides_than_its_pixels_is_refused_both_ways(
    width: int, height: int, length: int
) -> None:
    body = struct.pack("<IHHHH", 1, width, height, 0, 0) + bytes(length)
    with pytest.raises(ProtocolError, match=f"{width}x{height}"):
        messages.decode(b"PKFc\x50" + body)
    with pytest.raises(ValueError, match="does not fit"):
        messages.CursorShape(1, CursorShape(width, height, 0, 0, bytes(length))).encode()
    with pytest.raises(ProtocolError, match="at least 17"):
        messages.decode(b"PKFc\x50" + body[:11])


def test_the_largest_cursor_shape_fits_a_control_message() -> None:
    largest = messages.CursorShape(1, CursorShape(120, 120, 119, 119, bytes(120 * 120 * 4)))
    assert messages.decode(frame(largest.encode())[2:]) == largest


def test_welcome_of_v0_2_1_is_64_bytes_and_a_plain_later_one_68() -> None:
    middle = Welcome(
        mode=MODE,
        udp_port=50000,
        key=bytes(16),
        fec_percent=10,
        shard_bytes=1452,
        compositor=0,
        gamepad=0,
        bitrate_kbps=20000,
        bit_depth=8,
        colour=(1, 1, 1, 0),
    )
    raw = middle.encode()
    assert len(raw) == 64
    assert raw[54:].hex() == "00" + "204e0000" + "08" + "01010100"
    assert Welcome.decode(raw) == middle
    late = Welcome(mode=MODE, udp_port=1, key=bytes(16), codec=Codecs.H264, host_caps=0)
    assert len(late.encode()) == 68
    assert late.encode()[54:].hex() == "00" + "00000000" + "08" + "01010100" + "01" + "02" + "01" + "00"


def test_hello_places_fields_after_name_and_launch_by_their_length_bytes() -> None:
    hello = Hello(mode=MODE, gamepad=2, bitrate_kbps=30000, name="séance", launch="steam:570", video_caps=3)
    raw = hello.encode()
    assert (
        raw[21:].hex()
        == "02" + "30750000" + "07" + "séance".encode().hex() + "09" + b"steam:570".hex() + "03"
    )
    assert Hello.decode(raw) == hello
    # A later field forces empty texts before it; an empty text reads as none.
    bare = Hello(mode=MODE, video_caps=1)
    assert bare.encode()[21:].hex() == "00" + "00000000" + "00" + "00" + "01"
    assert Hello.decode(bare.encode()).name is None
    assert Hello.decode(bare.encode()).video_caps == 1
    # With none of them the message stays 26 bytes.
    assert len(Hello(mode=MODE, bitrate_kbps=0).encode()) == 26


def test_hello_of_v0_31_carries_its_optional_block_only_when_28_bytes_are_left() -> None:
    hello = Hello(
        mode=MODE,
        name="a",
        codecs=Codecs.H264 | Codecs.HEVC,
        preferred_codec=Codecs.H264,
        client_caps=5,
        max_shard_bytes=1408,
        audio_rate_hz=48000,
        audio_bits=16,
    )
    plain = Hello.decode(hello.encode())
    assert plain.hdr_display is None
    assert (plain.client_caps, plain.max_shard_bytes, plain.audio_rate_hz) == (5, 1408, 48000)
    assert plain.codecs == Codecs.H264 | Codecs.HEVC
    block = bytes(range(28))
    with_block = Hello(mode=MODE, preferred_codec=Codecs.AV1, hdr_display=block, max_shard_bytes=1200)
    read = Hello.decode(with_block.encode())
    assert (read.hdr_display, read.client_caps, read.max_shard_bytes) == (block, 0, 1200)


@pytest.mark.parametrize(
    ("message", "raw"),
    [
        (messages.RequestKeyframe(), "504b466303"),
        (messages.LossReport(50_000), "504b46630450c30000"),
        (messages.SetBitrate(8000), "504b466305401f0000"),
        (messages.BitrateChanged(500), "504b466306f4010000"),
        (messages.ProbeRequest(1_000_000, 5000), "504b46632040420f0088130000"),
        (messages.ProbeResult(1, 2, 3), "504b466321" + "0100000000000000" + "02000000" + "03000000"),
        (messages.ClockProbe(1), "504b4663300100000000000000"),
        (
            messages.ClockEcho(1, 2, 3),
            "504b466331" + "0100000000000000" + "0200000000000000" + "0300000000000000",
        ),
        (messages.PairRequest("tv", b"A" * 33), "504b466310" + "02" + "7476" + "2100" + "41" * 33),
        (messages.PairChallenge(b"B" * 33, b"m" * 32), "504b466311" + "2100" + "42" * 33 + "6d" * 32),
        (messages.PairProof(b"m" * 32), "504b466312" + "6d" * 32),
        (messages.PairResult(1), "504b46631301"),
    ],
)
def test_typed_messages_have_exactly_these_bytes(message: messages.TypedMessage, raw: str) -> None:
    assert not isinstance(message, messages.Unknown)
    assert message.encode().hex() == raw
    assert messages.decode(bytes.fromhex(raw)) == message


def test_any_fec_byte_but_one_is_read_as_gf8() -> None:
    raw = bytearray(_welcome().encode())
    for value in (0, 2, 255):
        raw[22] = value
        assert Welcome.decode(bytes(raw)).fec is FecCode.GF8
