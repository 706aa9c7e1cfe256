"""SPA pods and what is asked for with them: the bytes that PipeWire's headers prescribe, and what is read back."""

from __future__ import annotations

import struct

import pytest

from punktfunk.desktop.pipewire import formats, pods
from punktfunk.desktop.pipewire.formats import VideoFormat, Wish
from punktfunk.desktop.pipewire.pods import Choice, ChoiceKind, Fraction, PodObject, PodType, Rectangle
from punktfunk.errors import MediaError
from punktfunk.units import Mode

MODE = Mode(1280, 720, 60)
CURSOR_META = formats.PARAM_META, formats.META_CURSOR
SIZE, FRAMERATE, MAX_FRAMERATE, MODIFIER, FORMAT = 0x20003, 0x20004, 0x20005, 0x20002, 0x20001


def test_a_pod_is_its_size_its_type_and_its_body_padded_to_eight_bytes() -> None:
    assert pods.integer(-2) == bytes.fromhex("0400000004000000feffffff00000000")
    assert pods.rectangle(1280, 720) == bytes.fromhex("080000000a00000000050000d0020000")
    assert pods.pod_object(0x40003, 3, {1: (8, pods.identifier(2))}) == bytes.fromhex(
        "200000000f0000000300040003000000010000000800000004000000030000000200000000000000"
    )


def test_what_is_built_is_read_back() -> None:
    built = pods.pod_object(
        7,
        9,
        {
            1: pods.identifier(5),
            2: pods.integer(-5),
            3: pods.long(-(1 << 63)),
            4: (1, pods.fraction(60)),
            5: pods.choice(
                ChoiceKind.RANGE, pods.rectangle(3, 2), pods.rectangle(1, 1), pods.rectangle(4, 4)
            ),
            6: pods.choice(ChoiceKind.FLAGS, pods.integer(12)),
            7: pods.pod(PodType.NONE, b""),
            8: pods.pod(PodType.BOOL, struct.pack("=i", 1)),
            9: pods.pod(PodType.OBJECT, b"12345678"),
            10: pods.long((1 << 64) - 1),
        },
    )
    expected = PodObject(
        7,
        9,
        {
            1: 5,
            2: -5,
            3: -(1 << 63),
            4: Fraction(60, 1),
            5: Choice(ChoiceKind.RANGE, (Rectangle(3, 2), Rectangle(1, 1), Rectangle(4, 4))),
            6: Choice(ChoiceKind.FLAGS, (12,)),
            7: None,
            8: True,
            9: b"12345678",
            10: -1,
        },
    )
    assert pods.parse_object(built) == pods.parse_object(built + b"behind it") == expected
    assert expected.fixed(5) == Rectangle(3, 2), "a choice's default is its first value"


def read_offers(wish: Wish, *modifiers: int) -> list[PodObject]:
    return [pods.parse_object(offer) for offer in formats.format_offers(wish, modifiers)]


def test_a_producer_that_takes_size_and_rate_is_offered_fixed_ones_and_others_anything() -> None:
    [exact] = read_offers(Wish.of(MODE, exact=True, hz=120))
    assert exact.properties[SIZE] == Rectangle(1280, 720)
    assert exact.properties[MAX_FRAMERATE] == Fraction(120, 1)
    assert exact.fixed(FRAMERATE) == Fraction(0, 1), "a variable rate, as desktops have"
    [other] = read_offers(Wish.of(MODE, exact=False))
    assert other.properties[SIZE] == Choice(
        ChoiceKind.RANGE, (Rectangle(1280, 720), Rectangle(1, 1), Rectangle(16384, 16384))
    )
    assert other.fixed(FRAMERATE) == Fraction(60, 1)
    assert MAX_FRAMERATE not in other.properties


def test_dma_bufs_are_offered_before_memory_and_only_where_something_imports_them() -> None:
    with_modifiers, plain = read_offers(Wish.of(MODE, exact=True), 0, 72057594037927936)
    assert with_modifiers.properties[MODIFIER] == Choice(ChoiceKind.ENUM, (0, 0, 72057594037927936))
    assert MODIFIER not in plain.properties
    [offer, _] = formats.format_offers(Wish.of(MODE, exact=True), (0,))
    at = offer.index(struct.pack("=I", MODIFIER))
    assert struct.unpack_from("=I", offer, at + 4) == (0x18,), "mandatory, and not to be fixated"
    memory, dma_buf = (formats.buffer_wishes(cursor=False, dma_buf=wanted) for wanted in (False, True))
    kinds = [pods.parse_object(wishes[0]).fixed(6) for wishes in (memory, dma_buf)]
    assert kinds == [1 << 2, 1 << 3]


def test_a_cursor_is_asked_for_where_it_is_wanted_with_room_for_what_mutter_wants_to_give() -> None:
    wanted = [pods.parse_object(wish) for wish in formats.buffer_wishes(cursor=True)]
    [cursor] = [wish for wish in wanted if (wish.id, wish.fixed(1)) == CURSOR_META]
    room = cursor.properties[2]
    assert isinstance(room, Choice)
    least, greatest = room.values[1:]
    assert isinstance(least, int)
    assert isinstance(greatest, int)
    assert least <= 28 + 20 + 384 * 384 * 4 <= greatest
    unwanted = [pods.parse_object(wish) for wish in formats.buffer_wishes(cursor=False)]
    assert CURSOR_META not in [(wish.id, wish.fixed(1)) for wish in unwanted]


def agreed(**changes: bytes) -> PodObject:
    properties = {
        "1": pods.identifier(2),
        "2": pods.identifier(1),
        str(FORMAT): pods.choice(ChoiceKind.NONE, pods.identifier(8)),
        str(SIZE): pods.rectangle(640, 480),
        str(MODIFIER): pods.long(0),
        **changes,
    }
    return pods.parse_object(
        pods.pod_object(0x40003, 4, {int(key): value for key, value in properties.items() if value})
    )


def test_a_format_that_both_agree_on_is_read() -> None:
    assert formats.read_format(agreed()) == VideoFormat("bgra", 640, 480, 0)
    assert formats.read_format(agreed(**{str(MODIFIER): b""})).modifier is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"1": pods.identifier(1)}, "no raw video"),
        ({"2": b""}, "no raw video"),
        ({str(FORMAT): pods.identifier(23)}, "unknown format 23"),
        ({str(FORMAT): b""}, "unknown format None"),
        ({str(SIZE): pods.rectangle(0, 480)}, "impossible size"),
        ({str(SIZE): pods.rectangle(640, 16385)}, "impossible size"),
        ({str(SIZE): pods.integer(640)}, "impossible size"),
    ],
)
def test_a_format_that_was_not_offered_is_refused(changes: dict[str, bytes], words: str) -> None:
    with pytest.raises(MediaError, match=words):
        formats.read_format(agreed(**changes))
