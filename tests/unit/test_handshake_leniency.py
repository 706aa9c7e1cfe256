"""What the decoders of Hello and Welcome let pass and what they refuse (punktfunk/1 sections 2.1, 2.4)."""

from __future__ import annotations

import pytest

from punktfunk.errors import ProtocolError, UnitError
from punktfunk.native import messages
from punktfunk.native.handshake import Cipher, Hello, Welcome, WireMode
from punktfunk.units import Mode

MODE = WireMode(1280, 720, 60)
WELCOME = Welcome(mode=MODE, udp_port=9, key=bytes(range(16)))


def test_a_hello_of_20_bytes_is_accepted_and_19_are_not() -> None:
    raw = Hello(mode=MODE, compositor=None).encode()
    assert len(raw) == 20
    assert Hello.decode(raw).compositor is None
    with pytest.raises(ProtocolError, match="at least 20 bytes"):
        Hello.decode(raw[:19])


def test_a_welcome_of_53_bytes_is_accepted_and_52_are_not() -> None:
    raw = WELCOME.encode()[:53]
    assert Welcome.decode(raw).compositor is None
    with pytest.raises(ProtocolError, match="at least 53 bytes"):
        Welcome.decode(raw[:52])


def test_an_overlong_or_broken_name_reads_as_none_and_the_next_field_still_stands() -> None:
    head = Hello(mode=MODE, bitrate_kbps=7).encode()
    for name in (b"x" * 65, b"\xff\xfe"):
        hello = Hello.decode(head + bytes([len(name)]) + name + b"\x03abc" + b"\x02")
        assert (hello.name, hello.launch, hello.video_caps) == (None, "abc", 2)
        assert hello.dropped_texts == 1


def test_texts_that_are_absent_empty_or_at_their_limit_are_not_dropped() -> None:
    head = Hello(mode=MODE, bitrate_kbps=7).encode()
    assert Hello.decode(head).dropped_texts == 0
    assert Hello.decode(head + b"\x00\x00").dropped_texts == 0
    fits = Hello.decode(head + b"\x40" + b"x" * 64 + b"\x80" + b"y" * 128)
    assert (fits.name, fits.launch, fits.dropped_texts) == ("x" * 64, "y" * 128, 0)
    both = Hello.decode(head + b"\x41" + b"x" * 65 + b"\x81" + b"y" * 129)
    assert (both.name, both.launch, both.dropped_texts) == (None, None, 2)


def test_a_name_that_runs_past_the_end_takes_everything_after_it_away() -> None:
    head = Hello(mode=MODE, bitrate_kbps=7).encode()
    hello = Hello.decode(head + b"\x20abc")
    assert (hello.bitrate_kbps, hello.name, hello.video_caps) == (7, None, None)


def test_a_long_name_is_cut_at_a_character_boundary() -> None:
    raw = Hello(mode=MODE, name="é" * 40).encode()
    assert Hello.decode(raw).name == "é" * 32


def test_a_cipher_that_no_release_defines_fails_the_client() -> None:
    raw = Welcome(mode=MODE, udp_port=9, key=bytes(16), host_caps=0).encode()
    assert Welcome.decode(raw + b"\x00").cipher is Cipher.AES_128_GCM
    assert Welcome.decode(raw + b"\x01" + bytes(32)).cipher is Cipher.CHACHA20_POLY1305
    with pytest.raises(ProtocolError, match="no release defines"):
        Welcome.decode(raw + b"\x02")
    with pytest.raises(ProtocolError, match="carries no key"):
        Welcome.decode(raw + b"\x01" + bytes(31))


def test_a_welcome_keeps_its_secrets_out_of_its_repr() -> None:
    text = repr(Welcome(mode=MODE, udp_port=9, key=b"K" * 16, salt=b"SALT"))
    assert "KKKK" not in text
    assert "SALT" not in text
    assert (b"K" * 16).hex() not in text


def test_a_pair_request_with_trailing_bytes_is_refused() -> None:
    raw = messages.PairRequest("tv", b"A" * 33).encode()
    assert messages.decode(raw) == messages.PairRequest("tv", b"A" * 33)
    with pytest.raises(ProtocolError):
        messages.decode(raw + b"\x00")


def test_a_probe_result_reads_its_packet_counts_only_when_both_are_whole() -> None:
    short = messages.ProbeResult(1, 2, 3).encode()
    assert messages.decode(short + b"\x00" * 7) == messages.ProbeResult(1, 2, 3)
    long = messages.ProbeResult(1, 2, 3, packets_sent=4, send_drops=5)
    assert messages.decode(long.encode() + b"\x00") == long


@pytest.mark.parametrize("mode", [WireMode(0, 720, 60), WireMode(1281, 720, 60), WireMode(8194, 720, 60)])
def test_zero_odd_and_huge_dimensions_are_not_allowed(mode: WireMode) -> None:
    assert not mode.dimensions_allowed
    assert WireMode(8192, 2, 0).dimensions_allowed


@pytest.mark.parametrize("mode", [Mode(2, 2, 1), Mode(8192, 8192, 1000), Mode(1280, 720, 60)])
def test_a_mode_is_written_as_it_is_and_read_as_the_same(mode: Mode) -> None:
    written = WireMode.of(mode)
    assert written.checked() == mode
    assert str(written) == str(mode)
    assert Welcome.decode(Welcome(mode=written, udp_port=9, key=bytes(16)).encode()).mode.checked() == mode
    assert messages.Reconfigured.of(True, mode) == messages.Reconfigured.of(True, written)


@pytest.mark.parametrize("mode", [(0, 720, 60), (1281, 720, 60), (8194, 720, 60), (2, 2, 0), (2, 2, 1001)])
def test_numbers_that_are_no_mode_are_read_and_told_apart(mode: tuple[int, int, int]) -> None:
    read = Hello.decode(Hello(mode=WireMode(*mode)).encode()).mode
    assert read == WireMode(*mode)
    with pytest.raises(UnitError):
        read.checked()
