"""What the compiled core says of invalid requests."""

from __future__ import annotations

import array

import pytest

from punktfunk.core import _core
from punktfunk.errors import CryptoError, FecError, InvalidConfigError

DATA = [bytes([i] * 8) for i in range(4)]


def test_the_kernel_is_named() -> None:
    assert _core.fec_kernel() in {"scalar", "avx2", "avx512-gfni"}


def test_any_buffer_is_a_shard() -> None:
    expected = _core.fec_encode("gf16", DATA, 2)
    assert _core.fec_encode("gf16", [memoryview(d) for d in DATA], 2) == expected
    assert _core.fec_encode("gf16", [bytearray(DATA[0]), array.array("B", DATA[1]), *DATA[2:]], 2) == expected


def test_no_recovery_shards_are_no_error() -> None:
    assert _core.fec_encode("gf8", DATA, 0) == []
    assert _core.fec_decode("gf8", 4, 0, dict(enumerate(DATA))) == {}


@pytest.mark.parametrize(
    ("scheme", "shards", "recovery", "why"),
    [
        ("gf16", [], 2, "0 data and 2 recovery shards"),
        ("gf8", DATA * 50, 100, "200 data and 100 recovery shards"),
        ("gf16", [b"odd"] * 4, 2, "shards of 3 bytes"),
        ("gf16", [b""] * 4, 2, "shards of 0 bytes"),
        ("gf16", [*DATA, b"short!"], 2, "8 and 6 bytes"),
        ("gf4", DATA, 2, "no FEC scheme"),
    ],
)
def test_blocks_that_no_code_carries_are_refused(
    scheme: str, shards: list[bytes], recovery: int, why: str
) -> None:
    with pytest.raises(FecError, match=why):
        _core.fec_encode(scheme, shards, recovery)  # type: ignore[arg-type]


def test_a_shard_index_outside_of_the_block_is_refused() -> None:
    with pytest.raises(FecError, match="recovery shard 2 is out of range"):
        _core.fec_decode("gf16", 4, 2, {0: DATA[0], 1: DATA[1], 2: DATA[2], 6: DATA[3]})


def test_a_geometry_that_no_header_can_say_is_refused() -> None:
    with pytest.raises(InvalidConfigError, match="65535"):
        _core.StreamConfig(shard_bytes=64, max_block_shards=1)
    config = _core.StreamConfig(max_frame_bytes=1000)
    assert _core.geometry(config, 1000) == [(1, 1)]
    with pytest.raises(InvalidConfigError, match="an access unit of 1001 bytes exceeds max_frame_bytes 1000"):
        _core.geometry(config, 1001)


def test_packets_too_short_to_be_sealed_are_refused() -> None:
    with pytest.raises(CryptoError, match="23 bytes"):
        _core.open_sealed(bytes(range(16)), b"pkf1", True, bytes(23))


def test_a_key_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="key must have 16 bytes, not 15"):
        _core.seal(bytes(15), b"pkf1", True, 0, b"")


def test_packets_carry_the_numbers_they_were_given() -> None:
    config = _core.StreamConfig(shard_bytes=64, fec_percent=50)
    packets = _core.packetize(config, bytes(200), 7, 5, 3, 100)
    assert [int.from_bytes(p[12:16], "little") for p in packets] == list(range(100, 106))
    assert {int.from_bytes(p[8:12], "little") for p in packets} == {3}
