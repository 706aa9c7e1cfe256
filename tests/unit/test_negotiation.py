"""What a host answers to which Hello (punktfunk/1 sections 2.4 to 2.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from punktfunk.clock import SessionClock
from punktfunk.errors import ConfigError, RejectedError
from punktfunk.host.config import HostConfig
from punktfunk.host.native.negotiation import negotiate, stream_spec
from punktfunk.host.native.sender import NativeTransport
from punktfunk.host.stream.messages import Prepare
from punktfunk.host.stream.spec import Pacing, RecordOptions, SendOptions, StreamLimits, StreamSpec
from punktfunk.media import EncoderConfig, EncoderName, FileSpec, SyntheticSpec, TestCardSpec
from punktfunk.native.client import parse_host_port
from punktfunk.native.control import check_welcome
from punktfunk.native.dialect import CloseCode
from punktfunk.native.handshake import ClientCaps, Codecs, FecCode, Hello, Welcome, WireMode
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode

MODE = WireMode(1280, 720, 60)
ALL = Codecs.H264 | Codecs.HEVC | Codecs.AV1


def answer(hello: Hello, address: str = "127.0.0.1", **fields: Any) -> Welcome:
    welcome = negotiate(HostConfig(trust=OpenTrust.LOOPBACK, **fields), hello, 50000, address)
    check_welcome(welcome)
    return welcome


@pytest.mark.parametrize(
    ("caps", "tells", "cursor", "promised"),
    [
        (ClientCaps.CURSOR, True, "auto", True),
        (ClientCaps.CURSOR | 0x80, True, "separate", True),
        (ClientCaps.CURSOR, True, "painted", False),
        (ClientCaps.CURSOR, False, "auto", False),
        (0xFE, True, "auto", False),
        (None, True, "auto", False),
    ],
)
def test_a_client_is_left_the_pointer_if_it_asks_and_the_desktop_tells_it_and_nobody_wants_it_painted(
    caps: int | None, tells: bool, cursor: str, promised: bool
) -> None:
    config = HostConfig(trust=OpenTrust.LOOPBACK, cursor=cursor)
    hello = Hello(mode=MODE, bitrate_kbps=0, codecs=Codecs.H264, client_caps=caps)
    welcome = negotiate(config, hello, 50000, "127.0.0.1", tells_cursor=tells)
    assert welcome.host_caps == (0x08 if promised else 0)
    assert Welcome.decode(welcome.encode()).host_caps == welcome.host_caps
    assert stream_spec(config, hello, welcome, SessionClock.start()).separate_cursor is promised


def test_a_client_of_the_first_release_gets_54_bytes_and_later_ones_68() -> None:
    assert len(answer(Hello(mode=MODE)).encode()) == 54
    assert len(answer(Hello(mode=MODE, bitrate_kbps=0)).encode()) == 68


def test_every_session_has_a_key_of_its_own() -> None:
    assert len({answer(Hello(mode=MODE)).key for _ in range(8)}) == 8


def test_the_wire_version_of_the_client_is_echoed() -> None:
    assert answer(Hello(mode=MODE, version=3)).version == 3


def test_the_mode_follows_the_client_unless_the_operator_says_otherwise() -> None:
    asked = WireMode(1920, 1080, 120)
    assert answer(Hello(mode=asked)).mode == asked
    assert answer(Hello(mode=asked), mode=Mode(640, 480, 30)).mode == WireMode(640, 480, 30)
    assert answer(Hello(mode=WireMode(1920, 1080, 0))).mode.refresh_hz == 60


def test_an_absurd_refresh_rate_is_refused() -> None:
    with pytest.raises(RejectedError) as refused:
        answer(Hello(mode=WireMode(1920, 1080, 2**32 - 1)))
    assert refused.value.close_code == CloseCode.SETUP_FAILED


@pytest.mark.parametrize("source", [TestCardSpec(), FileSpec(path=Path("film.mkv"))])
def test_a_mode_that_the_source_has_no_room_for_is_refused_with_the_reason(
    source: TestCardSpec | FileSpec,
) -> None:
    small = Hello(mode=WireMode(320, 240, 30), codecs=ALL)
    for fields in ({}, {"mode": Mode(320, 240, 30)}):
        with pytest.raises(RejectedError, match="320x240 has no room for the frame marker") as refused:
            answer(small, source=source, **fields)
        assert refused.value.close_code == CloseCode.SETUP_FAILED
    assert answer(small, source=SyntheticSpec()).mode == small.mode
    assert answer(small, source=FileSpec(path=Path("film.mkv"), strip=False)).mode == small.mode


@pytest.mark.parametrize(
    ("wish", "config", "kbps"),
    [
        (None, None, 20_000),
        (0, None, 20_000),
        (1, None, 500),
        (2**32 - 1, None, 2_000_000),
        (30_000, None, 30_000),
        (30_000, Bitrate(5_000_000), 5_000),
    ],
)
def test_the_bitrate_is_clamped_and_the_operator_wins(
    wish: int | None, config: Bitrate | None, kbps: int
) -> None:
    assert answer(Hello(mode=MODE, bitrate_kbps=wish, name="n"), bitrate=config).bitrate_kbps == kbps


@pytest.mark.parametrize("bits_per_second", [1000, 5_000_000_000])
def test_a_host_is_not_set_to_a_bitrate_that_no_encoder_is_opened_for(bits_per_second: int) -> None:
    with pytest.raises(ValidationError, match="out of range"):
        HostConfig(trust=OpenTrust.LOOPBACK, bitrate=Bitrate(bits_per_second))


@pytest.mark.parametrize(
    ("offered", "preferred", "configured", "codec"),
    [
        (ALL, None, "auto", Codecs.H264),
        (ALL, Codecs.AV1, "auto", Codecs.AV1),
        (Codecs.HEVC, Codecs.AV1, "auto", Codecs.HEVC),
        (None, None, "auto", Codecs.HEVC),
        (Codecs(0), None, "auto", Codecs.HEVC),
        (None, None, "h264", Codecs.H264),
        (ALL, Codecs.AV1, "h264", Codecs.H264),
    ],
)
def test_the_codec_is_one_that_the_client_decodes(
    offered: Codecs | None, preferred: Codecs | None, configured: str, codec: Codecs
) -> None:
    hello = Hello(mode=MODE, name="n", codecs=offered, preferred_codec=preferred)
    assert answer(hello, codec=configured).codec == codec


def test_a_client_that_decodes_none_of_ours_is_refused() -> None:
    with pytest.raises(RejectedError):
        answer(Hello(mode=MODE, codecs=Codecs.PYROWAVE))
    with pytest.raises(RejectedError, match="does not decode h264"):
        answer(Hello(mode=MODE, codecs=Codecs.AV1), codec="h264")


def test_shards_fill_a_packet_of_each_family_and_respect_the_clients_limit() -> None:
    assert answer(Hello(mode=MODE), address="10.0.0.1").shard_bytes == 1408
    assert answer(Hello(mode=MODE), address="::ffff:10.0.0.1").shard_bytes == 1408
    assert answer(Hello(mode=MODE), address="fd00::1").shard_bytes == 1388
    assert answer(Hello(mode=MODE, max_shard_bytes=1201)).shard_bytes == 1200
    assert answer(Hello(mode=MODE, max_shard_bytes=0)).shard_bytes == 1408
    assert answer(Hello(mode=MODE, max_shard_bytes=9152)).shard_bytes == 1408
    assert answer(Hello(mode=MODE), shard_bytes=1000).shard_bytes == 1000


def test_a_client_that_takes_only_tiny_shards_is_refused_unless_the_operator_sends_such() -> None:
    assert answer(Hello(mode=MODE, max_shard_bytes=512)).shard_bytes == 512
    for limit in (1, 2, 511):
        with pytest.raises(RejectedError, match="none below 512"):
            answer(Hello(mode=MODE, max_shard_bytes=limit))
    assert answer(Hello(mode=MODE, max_shard_bytes=300), shard_bytes=200).shard_bytes == 200


@pytest.mark.parametrize(
    ("limit", "kbps"), [(None, 2_000_000), (9152, 2_000_000), (512, 737_752), (694, 1_000_000)]
)
def test_small_shards_lower_the_highest_bitrate_so_that_they_make_no_more_packets(
    limit: int | None, kbps: int
) -> None:
    hello = Hello(mode=MODE, name="n", bitrate_kbps=2**32 - 1, max_shard_bytes=limit)
    welcome = answer(hello)
    assert welcome.bitrate_kbps == kbps
    config = HostConfig(trust=OpenTrust.LOOPBACK, source=FileSpec(path=Path("film.mkv")))
    spec = stream_spec(config, hello, welcome, SessionClock(5, 1))
    assert (spec.rate_kbps, spec.limits.probe_kbps) == (kbps, kbps // 2)


def test_frames_are_announced_only_where_they_can_be_verified() -> None:
    hello = Hello(mode=MODE)
    assert answer(hello, source=SyntheticSpec(), frames=300).frames == 300
    assert answer(hello, source=SyntheticSpec(), seconds=1.5).frames == 90
    assert answer(hello, source=SyntheticSpec()).frames == 0
    assert answer(hello, frames=300).frames == 0


def test_gf8_blocks_stay_within_its_field_with_the_most_fec() -> None:
    welcome = answer(Hello(mode=MODE), fec_scheme="gf8", fec_percent=50)
    assert (welcome.fec, welcome.max_block_shards) == (FecCode.GF8, 170)
    with pytest.raises(ValidationError, match="do not fit gf8"):
        HostConfig(trust=OpenTrust.LOOPBACK, fec_scheme="gf8", max_block_shards=250)


def test_the_workers_order_carries_the_key_and_hides_it() -> None:
    config = HostConfig(
        trust=OpenTrust.LOOPBACK, source=FileSpec(path=Path("film.mkv")), bitrate=Bitrate(8_000_000)
    )
    hello = Hello(mode=MODE)
    welcome = negotiate(config, hello, 1, "127.0.0.1")
    spec = stream_spec(config, hello, welcome, SessionClock(5, 1))
    order = Prepare(spec.model_dump(mode="json"))
    assert welcome.key.hex() not in f"{spec} {spec!r} {order!r}"
    received = StreamSpec.model_validate(order.spec)
    assert received == spec
    assert bytes.fromhex(received.transport.values["key"]) == welcome.key
    assert (received.rate_kbps, received.source) == (8000, config.source)


def test_encryption_is_switched_off_only_where_nobody_else_can_listen() -> None:
    assert not answer(Hello(mode=MODE), encrypt=False).encrypt
    with pytest.raises(ValidationError, match="loopback and lab trust only"):
        HostConfig(trusted_clients=["ab" * 32], encrypt=False)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.168.1.20", ("192.168.1.20", 9777)),
        ("192.168.1.20:1234", ("192.168.1.20", 1234)),
        ("[fd00::20]:1234", ("fd00::20", 1234)),
        ("[::1]", ("::1", 9777)),
        ("fd00::20", ("fd00::20", 9777)),
        ("[fe80::20%lo]:1234", ("fe80::20%lo", 1234)),
        ("fe80::20%1", ("fe80::20%1", 9777)),
    ],
)
def test_addresses_are_read_with_and_without_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_host_port(text) == address


@pytest.mark.parametrize("text", ["", "host.example", "1.2.3.4:0", "1.2.3.4:70000", "[fd00::20", "1.2.3.4:x"])
def test_what_is_no_address_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_host_port(text)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("fe80::20", "is the address of a link, and which one is not said"),
        ("[fe80::20%no-such-if]:9777", "this machine has no interface 'no-such-if'"),
        ("[fe80::20%99999999999]", "this machine has no interface '99999999999'"),
    ],
)
def test_a_link_local_address_names_an_interface_that_is_there(text: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause) as raised:
        parse_host_port(text)
    assert "fe80::20%" in raised.value.hint


def test_a_stream_is_described_as_the_host_was_configured() -> None:
    pacing = Pacing(burst_packets=7, packets_per_ms=8, rate_factor=9.0)
    given: dict[str, Any] = {
        "source": TestCardSpec(), "pacing": pacing, "queue_frames": 3, "gso": False, "send_buffer_bytes": 5000,
        "realtime": False, "vbv_frames": 4.0, "key_interval": 30, "encoder_threads": 2, "codec": "h264",
        "encoder": "x264", "bitrate": Bitrate(3_000_000), "frames": 50, "seconds": 2.5, "fec_percent": 33,
        "fec_scheme": "gf8", "probe_limit": Bitrate(9_000_000),
    }  # fmt: skip
    config = HostConfig(trust=OpenTrust.LOOPBACK, **given)
    hello, clock = Hello(mode=MODE, codecs=ALL), SessionClock(11, 12)
    welcome = negotiate(config, hello, 50000, "127.0.0.1")
    records = RecordOptions(folder=Path("records"), frames=False)
    spec = stream_spec(config, hello, welcome, clock, records=records)
    assert spec == StreamSpec(
        source=TestCardSpec(),
        encoder=EncoderConfig(
            encoder=EncoderName.X264, mode=Mode(1280, 720, 60), bitrate=Bitrate(3_000_000), vbv_frames=4.0,
            key_interval=30, threads=2,
        ),
        transport=NativeTransport(
            key=welcome.key.hex(), salt=welcome.salt.hex(), fec_scheme="gf8", max_block_shards=170, shard_bytes=1408
        ).transport(),
        rate_kbps=3000,
        fec_percent=33,
        pacing=pacing,
        queue_frames=3,
        send=SendOptions(gso=False, send_buffer_bytes=5000, realtime=False),
        clock=clock,
        limits=StreamLimits(frames=50, seconds=2.5, probe_kbps=9000),
        records=records,
    )  # fmt: skip


def test_a_stream_that_is_verified_ends_with_its_frames_drops_none_and_has_no_filler() -> None:
    config = HostConfig(trust=OpenTrust.LOOPBACK, source=SyntheticSpec(), seconds=2.0)
    hello = Hello(mode=MODE)
    welcome = negotiate(config, hello, 50000, "127.0.0.1")
    spec = stream_spec(config, hello, welcome, SessionClock(0, 0))
    assert spec.limits == StreamLimits(frames=120, seconds=None, probe_kbps=0)
    assert spec.queue_frames == 512
    assert spec.records is None
