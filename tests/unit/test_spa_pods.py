"""SPA pods and what is asked for with them: the bytes that PipeWire's headers prescribe, and what is read back."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from punktfunk.desktop.pipewire import formats, pods
from punktfunk.desktop.pipewire.formats import VideoFormat, Wish
from punktfunk.desktop.pipewire.pods import Choice, ChoiceKind, Fraction, PodObject, PodType, Rectangle
from punktfunk.errors import MediaError
from punktfunk.media.dma_buf import ARGB8888, LINEAR, NV12, XRGB8888
from punktfunk.media.handover import DmaBufOffers
from punktfunk.units import Mode

MODE = Mode(1280, 720, 60)
TILED = 72057594037927937
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


def read_offers(wish: Wish) -> list[PodObject]:
    return [pods.parse_object(offer) for offer in formats.format_offers(wish)]


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


def test_imported_dma_bufs_are_offered_before_memory_and_mapped_ones_behind_it() -> None:
    dma_bufs = DmaBufOffers(((NV12, (TILED,)), (XRGB8888, (TILED, LINEAR))), (XRGB8888, ARGB8888))
    offers = read_offers(Wish.of(MODE, exact=False, dma_bufs=dma_bufs))
    assert [offer.properties.get(MODIFIER) for offer in offers] == [
        Choice(ChoiceKind.ENUM, (TILED, TILED)),
        Choice(ChoiceKind.ENUM, (TILED, TILED, LINEAR)),
        None,
        Choice(ChoiceKind.ENUM, (LINEAR, LINEAR)),
    ]
    named = [offer.properties[FORMAT] for offer in offers]
    assert all(isinstance(each, Choice) for each in named)
    assert [set(each.values) for each in named if isinstance(each, Choice)] == [
        {23},
        {8},
        {7, 8, 11, 12},
        {8, 12},
    ]
    whole = Rectangle(1280, 720)
    assert [offer.properties[SIZE] == whole for offer in offers] == [True, True, False, False], "not scaled"
    [offer, *_] = formats.format_offers(Wish.of(MODE, exact=True, dma_bufs=dma_bufs))
    at = offer.index(struct.pack("=I", MODIFIER))
    assert struct.unpack_from("=I", offer, at + 4) == (0x18,), "mandatory, and not to be fixated"


def test_buffers_are_asked_for_in_memory_of_one_plane_or_as_dma_bufs_of_as_many_as_they_have() -> None:
    memory, dma_buf = (
        pods.parse_object(formats.buffer_wishes(cursor=False, dma_buf=wanted)[0]) for wanted in (False, True)
    )
    assert [wishes.fixed(6) for wishes in (memory, dma_buf)] == [1 << 2, 1 << 3]
    assert [wishes.fixed(2) for wishes in (memory, dma_buf)] == [1, None]


def test_a_producer_that_gives_what_it_has_is_asked_for_other_dma_bufs_alone() -> None:
    former = Wish.of(MODE, exact=False)
    smaller = Wish.of(Mode(640, 360, 60), exact=False)
    assert not former.is_asked_after(former)
    assert not smaller.is_asked_after(former)
    mapped = DmaBufOffers((), (XRGB8888,))
    assert replace(former, dma_bufs=mapped).is_asked_after(former)
    assert not replace(smaller, dma_bufs=mapped).is_asked_after(replace(former, dma_bufs=mapped))
    imported = DmaBufOffers(((XRGB8888, (LINEAR,)),))
    assert replace(smaller, dma_bufs=imported).is_asked_after(replace(former, dma_bufs=imported))
    assert not replace(former, dma_bufs=imported, hz=30).is_asked_after(replace(former, dma_bufs=imported))
    assert replace(smaller, exact=True).is_asked_after(replace(former, exact=True))
    assert not replace(former, exact=True).is_asked_after(replace(former, exact=True))


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
        str(MODIFIER): pods.long(LINEAR),
        **changes,
    }
    return pods.parse_object(
        pods.pod_object(0x40003, 4, {int(key): value for key, value in properties.items() if value})
    )


def test_a_format_that_both_agree_on_is_read() -> None:
    assert formats.read_format(agreed()) == VideoFormat(XRGB8888, 640, 480, LINEAR)
    in_memory = formats.read_format(agreed(**{str(MODIFIER): b""}))
    assert in_memory == VideoFormat(XRGB8888, 640, 480, None)
    named = agreed(**{str(MODIFIER): pods.long((1 << 64) - 3), str(FORMAT): pods.identifier(23)})
    assert formats.read_format(named) == VideoFormat(NV12, 640, 480, (1 << 64) - 3)
    one = pods.choice(ChoiceKind.ENUM, *[pods.long(TILED)] * 2)
    assert formats.read_format(agreed(**{str(MODIFIER): one})) == VideoFormat(XRGB8888, 640, 480, TILED)


def test_a_format_whose_modifier_its_producer_has_yet_to_choose_is_none_yet() -> None:
    open_choice = pods.choice(ChoiceKind.ENUM, *map(pods.long, (TILED, TILED, LINEAR)))
    assert formats.read_format(agreed(**{str(MODIFIER): open_choice})) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"1": pods.identifier(1)}, "no raw video"),
        ({"2": b""}, "no raw video"),
        ({str(FORMAT): pods.identifier(23), str(MODIFIER): b""}, "unknown format 23"),
        ({str(FORMAT): pods.identifier(24)}, "unknown format 24"),
        ({str(MODIFIER): pods.rectangle(1, 1)}, "impossible modifier"),
        ({str(FORMAT): b""}, "unknown format None"),
        ({str(SIZE): pods.rectangle(0, 480)}, "impossible size"),
        ({str(SIZE): pods.rectangle(640, 16385)}, "impossible size"),
        ({str(SIZE): pods.integer(640)}, "impossible size"),
    ],
)
def test_a_format_that_was_not_offered_is_refused(changes: dict[str, bytes], words: str) -> None:
    with pytest.raises(MediaError, match=words):
        formats.read_format(agreed(**changes))
