"""Key pictures are told from the bytes alone, and damaged bytes are read as far as they go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punktfunk.media import Codec
from punktfunk.media.bitstream import is_key, unit_types

_START = b"\x00\x00\x00\x01"


def _h264(*kinds: int) -> bytes:
    return b"".join(_START + bytes([0x60 | kind]) + b"\x88\x84" for kind in kinds)


def _hevc(*kinds: int) -> bytes:
    return b"".join(_START + bytes([kind << 1, 1]) + b"\x88\x84" for kind in kinds)


def _obu(kind: int, payload: bytes, *, extension: bool = False) -> bytes:
    header = bytes([kind << 3 | extension << 2 | 2]) + (b"\x00" if extension else b"")
    return header + bytes([len(payload) & 0x7F | 0x80, len(payload) >> 7]) + payload


_DELIMITER, _SEQUENCE = _obu(2, b""), _obu(1, b"\x0a\x0b")
_KEY_FRAME, _INTER_FRAME, _SHOW_EXISTING = _obu(6, b"\x10" * 200), _obu(6, b"\x30" * 200), _obu(3, b"\x90")


@pytest.mark.parametrize(
    ("codec", "data", "key"),
    [
        (Codec.H264, _h264(7, 8, 5), True),
        (Codec.H264, _h264(9, 7, 8, 6, 5, 5), True),
        (Codec.H264, _h264(5), False),  # an IDR without parameter sets starts nothing
        (Codec.H264, _h264(7, 5, 8), False),  # they come too late
        (Codec.H264, _h264(7, 8, 1), False),
        (Codec.H264, _h264(1, 7, 8, 5), False),
        (Codec.HEVC, _hevc(32, 33, 34, 39, 20), True),
        (Codec.HEVC, _hevc(32, 33, 34, 21), True),
        (Codec.HEVC, _hevc(33, 34, 20), False),
        (Codec.HEVC, _hevc(32, 33, 34, 1), False),
        (Codec.AV1, _DELIMITER + _SEQUENCE + _KEY_FRAME, True),
        (Codec.AV1, _DELIMITER + _obu(1, b"\x0a", extension=True) + _KEY_FRAME, True),
        (Codec.AV1, _DELIMITER + _KEY_FRAME, False),
        (Codec.AV1, _DELIMITER + _SEQUENCE + _INTER_FRAME, False),
        (Codec.AV1, _DELIMITER + _SEQUENCE + _SHOW_EXISTING, False),
    ],
)
def test_decoding_can_start_only_at_a_complete_key_picture(codec: Codec, data: bytes, key: bool) -> None:
    assert is_key(codec, data) is key


def test_unit_types_come_in_order() -> None:
    assert unit_types(Codec.H264, _h264(7, 8, 5, 5)) == [7, 8, 5, 5]
    assert unit_types(Codec.HEVC, _hevc(32, 33, 34, 20)) == [32, 33, 34, 20]
    assert unit_types(Codec.AV1, _DELIMITER + _SEQUENCE + _KEY_FRAME) == [2, 1, 6]


@given(st.sampled_from(Codec), st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(codec: Codec, data: bytes) -> None:
    assert isinstance(is_key(codec, data), bool)
    assert len(unit_types(codec, data)) <= len(data)


@given(st.sampled_from(Codec), st.integers(0, 400))
def test_a_cut_access_unit_is_read_without_an_error(codec: Codec, length: int) -> None:
    whole = {
        Codec.H264: _h264(7, 8, 5),
        Codec.HEVC: _hevc(32, 33, 34, 20),
        Codec.AV1: _DELIMITER + _SEQUENCE + _KEY_FRAME,
    }[codec]
    cut = whole[:length]
    assert unit_types(codec, cut) == unit_types(codec, whole)[: len(unit_types(codec, cut))]
