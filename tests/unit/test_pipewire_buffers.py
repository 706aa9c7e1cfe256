"""What comes along with a producer's pictures: nothing outside the memory that there is, and no nonsense, is taken."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from punktfunk.desktop.pipewire.buffers import Cursor, Rectangle, companions, copied_chunks
from punktfunk.desktop.pipewire.formats import VideoFormat
from punktfunk.media.dma_buf import XRGB8888
from tests.support.spa import spa_buffer

VIDEO = VideoFormat(XRGB8888, 8, 4, None)
HEADER, CROP, DAMAGE, CURSOR = 1, 2, 3, 5


def test_chunks_are_read_once_and_as_many_as_there_are() -> None:
    buffer = spa_buffer({"type": 2, "chunk": {"size": 7}}, {"type": 2, "chunk": {"size": 8}})
    copies = copied_chunks(buffer, 3)
    buffer.datas[0].chunk.contents.size = buffer.datas[1].chunk.contents.size = 9
    assert [each.size for each in copies] == [7, 8, 0]
    assert [each.size for each in copied_chunks(buffer, 1)] == [9]
    assert [each.size for each in copied_chunks(spa_buffer(), 1)] == [0]


def region(*values: int) -> bytes:
    return struct.pack("=iiII", *values)


def test_time_number_crop_and_damage_come_along() -> None:
    about = companions(
        spa_buffer(
            metas={
                HEADER: struct.pack("=IIqqQ", 0, 0, 123, 0, 45),
                CROP: region(2, 1, 4, 2),
                DAMAGE: region(0, 0, 1, 1) + region(6, 2, 100, 100) + region(50, 50, 1, 1) + bytes(16),
            }
        ),
        VIDEO,
    )
    assert (about.stamp_ns, about.sequence, about.corrupted) == (123, 45, False)
    assert about.crop == Rectangle(2, 1, 4, 2)
    assert about.damage == (Rectangle(0, 0, 1, 1), Rectangle(6, 2, 2, 2))
    nothing = companions(spa_buffer(), VIDEO)
    assert (nothing.stamp_ns, nothing.crop, nothing.damage, nothing.cursor) == (0, None, None, None)


def test_a_list_of_damage_without_an_end_is_the_whole_picture_and_an_empty_one_says_nothing() -> None:
    assert companions(spa_buffer(metas={DAMAGE: region(0, 0, 1, 1) * 2}), VIDEO).damage == (
        Rectangle(0, 0, 8, 4),
    )
    assert companions(spa_buffer(metas={DAMAGE: bytes(32)}), VIDEO).damage is None


def test_a_part_that_is_all_of_the_picture_is_no_part() -> None:
    assert companions(spa_buffer(metas={CROP: region(0, 0, 8, 4)}), VIDEO).crop is None
    assert companions(spa_buffer(metas={CROP: region(-1, -1, 100, 100)}), VIDEO).crop is None


def pointed(identity: int = 1, offset: int = 28, bitmap: bytes = b"") -> bytes:
    return struct.pack("=IIiiiiI", identity, 0, 10, 20, 1, 2, offset) + bitmap


def bitmap(
    pixels: bytes, *, kind: int = 12, width: int = 2, height: int = 1, stride: int = 8, at: int = 20
) -> bytes:
    return struct.pack("=IIIiI", kind, width, height, stride, at) + pixels


def test_a_pointer_has_its_place_and_its_bitmap_in_the_order_of_its_colours() -> None:
    cursor = companions(
        spa_buffer(metas={CURSOR: pointed(bitmap=bitmap(b"\1\2\3\4\5\6\7\x08"))}), VIDEO
    ).cursor
    assert cursor is not None
    assert (cursor.visible, cursor.x, cursor.y) == (True, 10, 20)
    assert cursor.bitmap is not None
    assert (cursor.bitmap.hot_x, cursor.bitmap.hot_y) == (1, 2)
    assert cursor.bitmap.pixels.tolist() == [[[3, 2, 1, 4], [7, 6, 5, 8]]]
    moved = companions(spa_buffer(metas={CURSOR: pointed(offset=0)}), VIDEO).cursor
    assert moved == Cursor(True, 10, 20)
    assert moved.after(cursor).bitmap is cursor.bitmap, "one that has not been seen yet is kept"
    assert companions(spa_buffer(metas={CURSOR: pointed(identity=0)}), VIDEO).cursor == Cursor(visible=False)
    empty = companions(spa_buffer(metas={CURSOR: pointed(bitmap=bitmap(b"", width=0))}), VIDEO).cursor
    assert empty is not None
    assert empty.bitmap is not None
    assert empty.bitmap.pixels.size == 0


@pytest.mark.parametrize(
    "meta",
    [
        pointed()[:27],
        pointed(offset=2**32 - 1),
        pointed(offset=27, bitmap=b"\xff" * 30),
        pointed(bitmap=bitmap(bytes(7))),
        pointed(bitmap=bitmap(bytes(8), kind=99)),
        pointed(bitmap=bitmap(bytes(8), width=1025, stride=4100)),
        pointed(bitmap=bitmap(bytes(8), height=2**32 - 1)),
        pointed(bitmap=bitmap(bytes(8), stride=7)),
        pointed(bitmap=bitmap(bytes(8), stride=-8)),
        pointed(bitmap=bitmap(bytes(8), at=2**32 - 1)),
    ],
)
def test_a_pointer_that_would_reach_outside_its_meta_has_no_bitmap(meta: bytes) -> None:
    cursor = companions(spa_buffer(metas={CURSOR: meta}), VIDEO).cursor
    assert cursor is None or cursor.bitmap is None


@pytest.mark.parametrize("kind", [HEADER, CROP, DAMAGE, CURSOR])
def test_a_meta_that_is_too_short_says_nothing(kind: int) -> None:
    about: Callable[[bytes], object] = lambda value: companions(spa_buffer(metas={kind: value}), VIDEO)  # noqa: E731
    assert about(b"\xff" * 15 if kind != DAMAGE else b"") is not None
    short = companions(spa_buffer(metas={kind: b"\xff" * 15}), VIDEO)
    assert (short.stamp_ns, short.crop, short.cursor) == (0, None, None)
