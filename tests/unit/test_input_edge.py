"""Events of input at the edge of punktfunk/1: what its one field for surface and pad holds, and what it refuses."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punktfunk.host.peripherals.gamepads import PadStates
from punktfunk.input import (
    MAX_PADS,
    PAD_KINDS,
    WIRE_INPUT_KINDS,
    InputEvent,
    InputKind,
    PadAxis,
    SurfaceSize,
)
from punktfunk.native import datagrams
from punktfunk.native.datagrams import Ignored

POSITIONS = (InputKind.MOUSE_ABSOLUTE, InputKind.TOUCH_DOWN, InputKind.TOUCH_MOVE)


def on_wire(kind: int, flags: int) -> bytes:
    return struct.pack("<BBIiiI", 0xC8, kind, 3, -4, 5, flags)


@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize(
    ("surface", "flags"),
    [
        (SurfaceSize(1, 1), 0x0001_0001),
        (SurfaceSize(1, 65535), 0x0001_FFFF),
        (SurfaceSize(65535, 1), 0xFFFF_0001),
        (SurfaceSize(65535, 65535), 0xFFFF_FFFF),
        (SurfaceSize(0, 65535), 0x0000_FFFF),
        (SurfaceSize(65535, 0), 0xFFFF_0000),
        (None, 0),
    ],
)
def test_a_surface_is_the_width_above_the_height(
    kind: InputKind, surface: SurfaceSize | None, flags: int
) -> None:
    event = InputEvent(kind, 3, -4, 5, surface)
    assert datagrams.encode(event) == on_wire(kind, flags)
    assert datagrams.decode_from_client(on_wire(kind, flags)) == event


@pytest.mark.parametrize(
    "surface", [SurfaceSize(65536, 1), SurfaceSize(1, 65536), SurfaceSize(-1, 1), SurfaceSize(1, -1)]
)
def test_a_surface_beyond_16_bits_is_not_sent_as_another(surface: SurfaceSize) -> None:
    with pytest.raises(ValueError, match="does not fit the wire"):
        datagrams.encode(InputEvent(InputKind.MOUSE_ABSOLUTE, surface=surface))


def test_a_surface_is_empty_where_either_side_is_nothing() -> None:
    sizes = [SurfaceSize(0, 0), SurfaceSize(0, 1), SurfaceSize(1, 0), SurfaceSize(-1, 1), SurfaceSize(1, 1)]
    assert [size.empty for size in sizes] == [True, True, True, True, False]


@pytest.mark.parametrize("kind", sorted(PAD_KINDS))
@pytest.mark.parametrize("pad", [0, 1, MAX_PADS - 1, MAX_PADS, 0xFFFF_FFFF])
def test_a_pads_index_stands_where_others_have_the_surface(kind: InputKind, pad: int) -> None:
    event = InputEvent(kind, 3, -4, 5, pad=pad)
    assert datagrams.encode(event) == on_wire(kind, pad)
    assert datagrams.decode_from_client(on_wire(kind, pad)) == event


@pytest.mark.parametrize("pad", [-1, 1 << 32])
def test_an_index_that_is_none_is_not_sent_and_is_no_pad(pad: int) -> None:
    event = InputEvent(InputKind.PAD_AXIS, PadAxis.LEFT_X, 1, pad=pad)
    with pytest.raises(ValueError, match="does not fit the wire"):
        datagrams.encode(event)
    assert PadStates().take(event) is None


@pytest.mark.parametrize("number", [0, MAX_PADS - 1])
def test_the_first_and_the_last_pad_of_a_client_are_pads(number: int) -> None:
    taken = PadStates().take(InputEvent(InputKind.PAD_AXIS, PadAxis.LEFT_X, 1, pad=number))
    assert taken is not None
    assert taken[0] == number


@pytest.mark.parametrize("kind", sorted(WIRE_INPUT_KINDS))
def test_an_event_that_has_both_is_not_sent_as_one_that_has_either(kind: InputKind) -> None:
    with pytest.raises(ValueError, match=r"does not fit the wire with a (surface|pad)"):
        datagrams.encode(InputEvent(kind, surface=SurfaceSize(1, 1), pad=1))


@pytest.mark.parametrize("kind", sorted(set(InputKind) - WIRE_INPUT_KINDS))
def test_what_other_wires_have_beyond_it_is_neither_sent_nor_taken(kind: InputKind) -> None:
    with pytest.raises(ValueError, match="it has no place there"):
        datagrams.encode(InputEvent(kind))
    assert datagrams.decode_from_client(on_wire(kind, 0)) == Ignored("unknown_kind")


def test_an_event_of_no_kind_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="12 is not a valid InputKind"):
        InputEvent(12)  # type: ignore[arg-type]


@given(st.integers(0, 255), st.integers(0, 0xFFFF_FFFF))
def test_whatever_a_client_sends_is_an_event_of_the_same_bytes_or_ignored(kind: int, flags: int) -> None:
    decoded = datagrams.decode_from_client(on_wire(kind, flags))
    if kind not in WIRE_INPUT_KINDS:
        assert decoded == Ignored("unknown_kind")
    else:
        assert isinstance(decoded, InputEvent)
        assert isinstance(decoded.kind, InputKind)
        assert datagrams.encode(decoded) == on_wire(kind, flags)
