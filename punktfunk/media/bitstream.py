"""What one look at a coded picture tells: unit types and whether decoding can start at it.

Only headers are read, and reading stops at the first coded slice or frame, so the cost does not grow with the
picture. H.264 is ITU-T H.264 table 7-1, HEVC is ITU-T H.265 table 7-1, AV1 is the AV1 bitstream specification
section 5.3 (OBU) and 5.9.2 (uncompressed header).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from punktfunk.media.types import Codec

H264_IDR, H264_SEI, H264_SPS, H264_PPS = 5, 6, 7, 8
_USER_DATA = 5
"""Payload type of a SEI message that only its writer understands (H.264 annex D)."""
HEVC_IDR_W_RADL, HEVC_IDR_N_LP, HEVC_CRA = 19, 20, 21
HEVC_VPS, HEVC_SPS, HEVC_PPS = 32, 33, 34
OBU_SEQUENCE_HEADER, OBU_FRAME_HEADER, OBU_FRAME = 1, 3, 6


@dataclass(frozen=True, slots=True)
class _AccessRules:
    """How NAL unit types are coded, and which ones decoding can start at."""

    shift: int
    mask: int
    parameter_sets: frozenset[int]
    slices: range
    starts: frozenset[int]


_ACCESS_RULES = {
    Codec.H264: _AccessRules(0, 31, frozenset({H264_SPS, H264_PPS}), range(1, 6), frozenset({H264_IDR})),
    Codec.HEVC: _AccessRules(
        1,
        63,
        frozenset({HEVC_VPS, HEVC_SPS, HEVC_PPS}),
        range(32),
        frozenset({HEVC_IDR_W_RADL, HEVC_IDR_N_LP, HEVC_CRA}),
    ),
}


def _nal_headers(data: bytes) -> Iterator[int]:
    """Yield the first byte of each NAL unit of an Annex B stream."""
    position = data.find(b"\x00\x00\x01")
    while 0 <= position < len(data) - 3:
        yield data[position + 3]
        position = data.find(b"\x00\x00\x01", position + 3)


def _obus(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (type, offset of payload) of each OBU of a temporal unit in low-overhead format."""
    position = 0
    while position < len(data):
        header = data[position]
        kind, extension, has_size = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        position += 1 + extension
        if not has_size:
            yield kind, position
            return
        size = shift = 0
        while position < len(data):
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80 or shift > 56:
                break
        yield kind, position
        position += size


def unit_types(codec: Codec, data: bytes) -> list[int]:
    """Return the NAL unit types (h264, hevc) or OBU types (av1) of an access unit, in order.

    Damaged data gives whatever was readable before the damage; nothing is raised.
    """
    match codec:
        case Codec.H264:
            return [header & 31 for header in _nal_headers(data)]
        case Codec.HEVC:
            return [header >> 1 & 63 for header in _nal_headers(data)]
        case Codec.AV1:
            return [kind for kind, _ in _obus(data)]


def is_key(codec: Codec, data: bytes) -> bool:
    """Return whether decoding can start at this access unit.

    That is an IDR picture with its parameter sets in front (H.264, HEVC), or a shown key frame with its
    sequence header in front (AV1).
    """
    if codec is Codec.AV1:
        return _av1_starts(data)
    rules = _ACCESS_RULES[codec]
    missing = set(rules.parameter_sets)
    for header in _nal_headers(data):
        kind = header >> rules.shift & rules.mask
        missing.discard(kind)
        if kind in rules.slices:
            return kind in rules.starts and not missing
    return False


def _av1_starts(data: bytes) -> bool:
    sequence_header = False
    for kind, payload in _obus(data):
        sequence_header |= kind == OBU_SEQUENCE_HEADER
        if kind in {OBU_FRAME, OBU_FRAME_HEADER}:
            # show_existing_frame f(1), frame_type f(2) (0 is KEY_FRAME), show_frame f(1)
            shown_key = payload < len(data) and data[payload] >> 4 == 0b0001
            return sequence_header and shown_key
    return False


def slice_start(codec: Codec, data: bytes) -> int:
    """Return where the first slice of an Annex B picture begins, with its start code; its length where there is none.

    What stands before it are the parameter sets and messages that decoding needs first.
    """
    rules = _ACCESS_RULES[codec]
    position = data.find(b"\x00\x00\x01")
    while 0 <= position < len(data) - 3:
        if data[position + 3] >> rules.shift & rules.mask in rules.slices:
            return position - (position > 0 and data[position - 1] == 0)
        position = data.find(b"\x00\x00\x01", position + 3)
    return len(data)


def without_user_data(data: bytes) -> bytes:
    """Return an H.264 picture without the SEI messages that are for nobody but their writer."""
    end = slice_start(Codec.H264, data)
    kept, position = [], data.find(b"\x00\x00\x01", 0, end)
    if position < 0:
        return data
    start = position - (position > 0 and data[position - 1] == 0)
    while start < end:
        header = data.find(b"\x00\x00\x01", start, end) + 3
        following = data.find(b"\x00\x00\x01", header, end)
        stop = end if following < 0 else following - (data[following - 1] == 0)
        if data[header] & 31 != H264_SEI or data[header + 1] != _USER_DATA:
            kept.append(data[start:stop])
        start = stop
    return b"".join(kept) + data[end:]
