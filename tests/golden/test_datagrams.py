"""Input, audio and feedback channels against the published wire vectors (punktfunk/1 section 3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punktfunk.input import (
    PAD_KINDS,
    WIRE_INPUT_KINDS,
    InputEvent,
    InputKind,
    Lightbar,
    Mic,
    Motion,
    PlayerLeds,
    Rumble,
    SurfaceSize,
    Touchpad,
    TriggerEffect,
)
from punktfunk.native import datagrams
from punktfunk.native.datagrams import Audio, CursorFlag, CursorState, Datagram, Ignored

FROM_CLIENT: list[tuple[Datagram, str]] = [
    (
        InputEvent(InputKind.MOUSE_MOVE, 0, -12, 34, SurfaceSize(0, 0xABCD)),
        "c80200000000f4ffffff22000000cdab0000",
    ),
    (Mic(7, 1_000_000_123, b"\xaa\xbb"), "cb070000007bca9a3b00000000aabb"),
    (Touchpad(1, 0, True, 40000, 12345), "cc01010001409c3930"),
    (Motion(0, (-100, 200, -300), (16384, -8192, 1)), "cc02009cffc800d4fe004000e00100"),
]
FROM_HOST: list[tuple[Datagram, str]] = [
    (Audio(7, 1_000_000_123, b"\xaa\xbb"), "c9070000007bca9a3b00000000aabb"),
    (Rumble(1, 0x1234, 0xFFFF), "ca01003412ffff"),
    (Lightbar(2, 0xAA, 0xBB, 0xCC), "cd0102aabbcc"),
    (PlayerLeds(0, 0x15), "cd020015"),
    (TriggerEffect(1, 1, bytes.fromhex("2690a0ff0000")), "cd0301012690a0ff0000"),
    (CursorState(7, CursorFlag.VISIBLE, -3, 400), "d00700000001fdffffff90010000"),
    (CursorState(0xFFFFFFFE, 0, 0, 0), "d0feffffff000000000000000000"),
]


@pytest.mark.parametrize(("datagram", "wire"), FROM_CLIENT)
def test_a_clients_datagrams_match_their_vectors_both_ways(datagram: Datagram, wire: str) -> None:
    assert datagrams.encode(datagram).hex() == wire
    assert datagrams.decode_from_client(bytes.fromhex(wire)) == datagram
    assert datagrams.decode_from_host(bytes.fromhex(wire)) == Ignored("unknown_tag")


@pytest.mark.parametrize(("datagram", "wire"), FROM_HOST)
def test_a_hosts_datagrams_match_their_vectors_both_ways(datagram: Datagram, wire: str) -> None:
    assert datagrams.encode(datagram).hex() == wire
    assert datagrams.decode_from_host(bytes.fromhex(wire)) == datagram
    assert datagrams.decode_from_client(bytes.fromhex(wire)) == Ignored("unknown_tag")


@pytest.mark.parametrize("kind", sorted(WIRE_INPUT_KINDS))
def test_every_kind_of_input_goes_both_ways(kind: InputKind) -> None:
    event = InputEvent(kind, 0xFFFFFFFF, -(2**31), 2**31 - 1, SurfaceSize(1920, 1080))
    if kind in PAD_KINDS:
        event = replace(event, surface=None, pad=0x0780_0438)
    wire = datagrams.encode(event)
    assert wire == bytes([0xC8, kind]) + bytes.fromhex("ffffffff 00000080 ffffff7f 38048007")
    assert datagrams.decode_from_client(wire) == event
    assert datagrams.decode_from_client(wire + b"later") == event


@pytest.mark.parametrize("kind", [12, 13, 14, 15, 255])
def test_kinds_of_later_releases_are_ignored(kind: int) -> None:
    assert datagrams.decode_from_client(bytes([0xC8, kind]) + bytes(16)) == Ignored("unknown_kind")


def test_rumble_of_later_releases_is_read_by_its_prefix() -> None:
    assert datagrams.decode_from_host(bytes.fromhex("ca01003412ffff" + "070000")) == Rumble(1, 0x1234, 0xFFFF)


def test_a_cursor_state_keeps_bits_that_later_releases_define_and_is_read_by_its_prefix() -> None:
    told = datagrams.decode_from_host(bytes.fromhex("d007000000fefdffffff90010000") + b"later")
    assert told == CursorState(7, 0xFE, -3, 400)
    assert not told.visible


@pytest.mark.parametrize("wire", [wire for _, wire in FROM_CLIENT + FROM_HOST])
def test_a_datagram_that_is_cut_short_is_ignored(wire: str) -> None:
    raw = bytes.fromhex(wire)
    least = {0xC8: 18, 0xCB: 13, 0xC9: 13, 0xCA: 7, 0xD0: 14}.get(raw[0]) or {
        (0xCC, 1): 9,
        (0xCC, 2): 15,
        (0xCD, 1): 6,
        (0xCD, 2): 4,
        (0xCD, 3): 4,
    }[raw[0], raw[1]]
    decode = datagrams.decode_from_client if raw[0] in (0xC8, 0xCB, 0xCC) else datagrams.decode_from_host
    assert not isinstance(decode(raw[:least]), Ignored)
    for length in range(1, least):
        assert decode(raw[:length]) == Ignored("short")


@given(st.binary(max_size=64))
def test_no_bytes_make_a_decoder_raise(data: bytes) -> None:
    for decode in (datagrams.decode_from_client, datagrams.decode_from_host):
        result = decode(data)
        if not isinstance(result, Ignored):
            assert decode(datagrams.encode(result)) == result


def test_what_does_not_fit_a_packet_or_a_field_is_not_sent() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        datagrams.encode(Audio(0, 0, bytes(1200)))
    with pytest.raises(ValueError, match="does not fit"):
        datagrams.encode(Rumble(0, 70_000, 0))
