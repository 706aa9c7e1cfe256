"""Buffers of a producer and what comes along: nothing outside the memory that there is, and no nonsense, is taken."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from punktfunk.desktop.pipewire import library
from punktfunk.desktop.pipewire.buffers import (
    Cursor,
    MappedBuffer,
    Rectangle,
    companions,
    copied_chunk,
)
from punktfunk.desktop.pipewire.formats import VideoFormat
from punktfunk.errors import MediaError

VIDEO = VideoFormat("bgra", 8, 4, None)
SIZE = 8 * 4 * 4
HEADER, CROP, DAMAGE, CURSOR = 1, 2, 3, 5


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("pictures")
    os.ftruncate(descriptor, 8192)
    os.pwrite(descriptor, bytes(range(256)) * 32, 0)
    yield descriptor
    os.close(descriptor)


def spa_buffer(metas: dict[int, bytes] | None = None, **data: Any) -> library.SpaBuffer:
    """Return a buffer as the library hands it over; what it points to lives as long as it does."""
    listed = (library.Meta * len(metas or {}))()
    kept: list[object] = [listed]
    for meta, (kind, value) in zip(listed, (metas or {}).items(), strict=True):
        copy = ctypes.create_string_buffer(value, len(value))
        kept.append(copy)
        meta.type, meta.size, meta.data = kind, len(value), ctypes.addressof(copy)
    chunk = library.Chunk(**data.pop("chunk", {}))
    datas = (library.Data * 1)(library.Data(chunk=ctypes.pointer(chunk), **data))
    buffer = library.SpaBuffer(len(listed), 1 if data else 0, listed, datas)
    buffer.kept = (*kept, chunk, datas)
    return buffer


def test_a_picture_is_seen_where_it_lies_whatever_its_place_and_rows(memory: int) -> None:
    mapped = MappedBuffer(spa_buffer(type=2, fd=memory, mapoffset=4100, maxsize=4000))
    pixels = mapped.pixels(library.Chunk(offset=12, size=1000, stride=40), VIDEO)
    assert pixels is not None
    assert not pixels.flags.writeable
    content = np.frombuffer(bytes(range(256)) * 32, np.uint8)[4112:]
    assert [row.tobytes() for row in pixels] == [content[at : at + 32].tobytes() for at in (0, 40, 80, 120)]
    os.pwrite(memory, b"\xee", 4112)
    assert pixels[0, 0, 0] == 0xEE, "it is no copy"
    packed = mapped.pixels(library.Chunk(offset=0, size=SIZE, stride=0), VIDEO)
    assert packed is not None
    assert packed.strides == (32, 4, 1)


@pytest.mark.parametrize(
    "chunk",
    [
        {"offset": 0, "size": SIZE - 1, "stride": 32},
        {"offset": 129, "size": SIZE, "stride": 32},
        {"offset": 2**32 - 1, "size": SIZE, "stride": 32},
        {"offset": 0, "size": 2**32 - 1, "stride": 75},
        {"offset": 0, "size": 2**32 - 1, "stride": 2**31 - 1},
        {"offset": 0, "size": SIZE, "stride": 31},
        {"offset": 96, "size": SIZE, "stride": -32},
    ],
)
def test_a_picture_that_would_reach_outside_its_buffer_is_not_there(
    memory: int, chunk: dict[str, int]
) -> None:
    mapped = MappedBuffer(spa_buffer(type=2, fd=memory, mapoffset=0, maxsize=256))
    assert mapped.pixels(library.Chunk(**chunk), VIDEO) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "without memory"),
        ({"type": 1}, "unknown kind 1"),
        ({"type": 3}, "DMA-BUFs only"),
        ({"maxsize": 0}, "0 bytes"),
        ({"maxsize": (1 << 30) + 1}, "1073741825 bytes"),
        ({"maxsize": 8193}, "larger than the memory"),
        ({"mapoffset": 2**32 - 1}, "larger than the memory"),
        ({"fd": -1}, "cannot be mapped"),
        ({"fd": 1 << 40}, "cannot be mapped"),
    ],
)
def test_memory_that_is_not_there_is_refused(memory: int, data: dict[str, int], words: str) -> None:
    given = {"type": 2, "fd": memory, "mapoffset": 0, "maxsize": 256, **data} if data else {}
    with pytest.raises(MediaError, match=words):
        MappedBuffer(spa_buffer(**given))


def test_a_chunk_is_read_once() -> None:
    buffer = spa_buffer(type=2, chunk={"size": 7})
    copy = copied_chunk(buffer)
    buffer.datas[0].chunk.contents.size = 9
    assert copy.size == 7
    assert copied_chunk(spa_buffer()).size == 0


def region(*values: int) -> bytes:
    return struct.pack("=iiII", *values)


def test_time_number_crop_and_damage_come_along() -> None:
    about = companions(
        spa_buffer(
            {
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
    assert companions(spa_buffer({DAMAGE: region(0, 0, 1, 1) * 2}), VIDEO).damage == (Rectangle(0, 0, 8, 4),)
    assert companions(spa_buffer({DAMAGE: bytes(32)}), VIDEO).damage is None


def test_a_part_that_is_all_of_the_picture_is_no_part() -> None:
    assert companions(spa_buffer({CROP: region(0, 0, 8, 4)}), VIDEO).crop is None
    assert companions(spa_buffer({CROP: region(-1, -1, 100, 100)}), VIDEO).crop is None


def pointed(identity: int = 1, offset: int = 28, bitmap: bytes = b"") -> bytes:
    return struct.pack("=IIiiiiI", identity, 0, 10, 20, 1, 2, offset) + bitmap


def bitmap(
    pixels: bytes, *, kind: int = 12, width: int = 2, height: int = 1, stride: int = 8, at: int = 20
) -> bytes:
    return struct.pack("=IIIiI", kind, width, height, stride, at) + pixels


def test_a_pointer_has_its_place_and_its_bitmap_in_the_order_of_its_colours() -> None:
    cursor = companions(spa_buffer({CURSOR: pointed(bitmap=bitmap(b"\1\2\3\4\5\6\7\x08"))}), VIDEO).cursor
    assert cursor is not None
    assert (cursor.visible, cursor.x, cursor.y) == (True, 10, 20)
    assert cursor.bitmap is not None
    assert (cursor.bitmap.hot_x, cursor.bitmap.hot_y) == (1, 2)
    assert cursor.bitmap.pixels.tolist() == [[[3, 2, 1, 4], [7, 6, 5, 8]]]
    moved = companions(spa_buffer({CURSOR: pointed(offset=0)}), VIDEO).cursor
    assert moved == Cursor(True, 10, 20)
    assert moved.after(cursor).bitmap is cursor.bitmap, "one that has not been seen yet is kept"
    assert companions(spa_buffer({CURSOR: pointed(identity=0)}), VIDEO).cursor == Cursor(visible=False)
    empty = companions(spa_buffer({CURSOR: pointed(bitmap=bitmap(b"", width=0))}), VIDEO).cursor
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
    cursor = companions(spa_buffer({CURSOR: meta}), VIDEO).cursor
    assert cursor is None or cursor.bitmap is None


@pytest.mark.parametrize("kind", [HEADER, CROP, DAMAGE, CURSOR])
def test_a_meta_that_is_too_short_says_nothing(kind: int) -> None:
    about: Callable[[bytes], object] = lambda value: companions(spa_buffer({kind: value}), VIDEO)  # noqa: E731
    assert about(b"\xff" * 15 if kind != DAMAGE else b"") is not None
    short = companions(spa_buffer({kind: b"\xff" * 15}), VIDEO)
    assert (short.stamp_ns, short.crop, short.cursor) == (0, None, None)
