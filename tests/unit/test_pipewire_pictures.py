"""Buffers of a producer: nothing outside the memory behind them is read, and each descriptor is closed once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from punktfunk.desktop.pipewire import library
from punktfunk.desktop.pipewire.buffers import Rectangle
from punktfunk.desktop.pipewire.formats import VideoFormat
from punktfunk.desktop.pipewire.pictures import Picture, PictureBuffer, Place
from punktfunk.errors import DmaBufError, MediaError
from punktfunk.media.dma_buf import LINEAR, NV12, XRGB8888
from punktfunk.media.shared_memory import Scratch
from tests.support.memory import memory_file, open_descriptors, opened_since
from tests.support.spa import spa_buffer

TILED = (1 << 56) + 2
VIDEO = VideoFormat(XRGB8888, 8, 4, None)
LINEAR_VIDEO, TILED_VIDEO = (VideoFormat(XRGB8888, 8, 4, modifier) for modifier in (LINEAR, TILED))
SIZE = 8 * 4 * 4
CONTENT = bytes(range(256)) * 32


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert opened_since(before) == []


@pytest.fixture(params=[True, False], ids=["sealed", "not sealed"])
def memory(request: pytest.FixtureRequest) -> Iterator[int]:
    with memory_file(CONTENT, sealed=request.param) as descriptor:
        yield descriptor


def chunk(**fields: int) -> list[library.Chunk]:
    return [library.Chunk(**fields)]


def read(buffer: PictureBuffer, place: Place) -> np.ndarray:
    with buffer.reading(place, Scratch()) as pixels:
        return pixels.copy()


def test_a_picture_is_read_whatever_its_place_and_rows(memory: int) -> None:
    buffer = PictureBuffer(spa_buffer({"type": 2, "fd": memory, "mapoffset": 4100, "maxsize": 4000}), VIDEO)
    [place] = buffer.places(chunk(offset=12, size=1000, stride=40)) or ()
    rows = [CONTENT[4112 + at : 4112 + at + 32] for at in (0, 40, 80, 120)]
    assert [row.tobytes() for row in read(buffer, place)] == rows
    os.pwrite(memory, b"\xee", 4112)
    assert read(buffer, place)[0, 0, 0] == 0xEE
    assert buffer.places(chunk(offset=0, size=SIZE, stride=0)) == (Place(0, 32),)
    buffer.let_go()


def test_what_cannot_be_shortened_is_seen_where_it_lies_and_anything_else_copied() -> None:
    for sealed in (True, False):
        with memory_file(CONTENT, sealed=sealed) as descriptor:
            buffer = PictureBuffer(spa_buffer({"type": 2, "fd": descriptor, "maxsize": 256}), VIDEO)
            assert buffer.is_copied is not sealed
            with buffer.reading(Place(0, 32), Scratch()) as pixels:
                os.pwrite(descriptor, b"\xee", 0)
                assert (int(pixels[0, 0, 0]) == 0xEE) is sealed
            buffer.let_go()


def test_memory_that_is_shortened_while_it_is_read_ends_the_reading_with_words() -> None:
    with memory_file(CONTENT, sealed=False) as descriptor:
        buffer = PictureBuffer(spa_buffer({"type": 2, "fd": descriptor, "maxsize": 8192}), VIDEO)
        assert read(buffer, Place(8000, 32)).shape == (4, 8, 4)
        os.ftruncate(descriptor, 8000 + SIZE - 1)
        with pytest.raises(MediaError, match="became shorter"):
            read(buffer, Place(8000, 32))
        os.ftruncate(descriptor, 0)
        with pytest.raises(MediaError, match="became shorter"):
            read(buffer, Place(0, 32))
        buffer.let_go()


def test_only_the_rows_that_are_wanted_are_copied() -> None:
    with memory_file(CONTENT, sealed=False) as descriptor:
        buffer = PictureBuffer(spa_buffer({"type": 2, "fd": descriptor, "maxsize": 256}), VIDEO)
        scratch = Scratch()
        with buffer.reading(Place(0, 32), scratch) as pixels:
            assert pixels.tobytes() == CONTENT[:SIZE]
        os.pwrite(descriptor, bytes(256), 0)
        with buffer.reading(Place(0, 32), scratch, rows=slice(1, 3)) as pixels:
            assert pixels.shape == (4, 8, 4)
            assert not pixels[1:3].any()
            assert pixels[0].tobytes() == CONTENT[:32], "as before"
            assert pixels[3].tobytes() == CONTENT[96:128], "as before"
        buffer.let_go()


def test_a_part_is_cut_out(memory: int) -> None:
    buffer = PictureBuffer(spa_buffer({"type": 2, "fd": memory, "maxsize": 256}), VIDEO)
    picture = Picture(buffer, (Place(0, 32),), Rectangle(2, 1, 5, 2), 0, 0, None, 0)
    assert picture.size == (5, 2)
    with picture.reading(Scratch()) as pixels:
        assert [row.tobytes() for row in pixels] == [CONTENT[at : at + 20] for at in (40, 72)]
    buffer.let_go()


@pytest.mark.parametrize(
    "fields",
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
def test_a_picture_that_would_reach_outside_its_buffer_is_not_there(fields: dict[str, int]) -> None:
    with memory_file(CONTENT, sealed=True) as descriptor:
        buffer = PictureBuffer(spa_buffer({"type": 2, "fd": descriptor, "maxsize": 256}), VIDEO)
        assert buffer.places(chunk(**fields)) is None
        buffer.let_go()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "without memory"),
        ({"type": 1}, "unknown kind 1"),
        ({"type": 3}, "were not agreed on"),
        ({"maxsize": 0}, "0 bytes"),
        ({"maxsize": (1 << 30) + 1}, "1073741825 bytes"),
        ({"maxsize": 8193}, "larger than the memory"),
        ({"mapoffset": 2**32 - 1}, "larger than the memory"),
        ({"fd": -1}, "cannot be mapped"),
        ({"fd": 1 << 40}, "cannot be mapped"),
    ],
)
def test_memory_that_is_not_there_is_refused(memory: int, data: Mapping[str, Any] | None, words: str) -> None:
    given = [] if data is None else [{"type": 2, "fd": memory, "mapoffset": 0, "maxsize": 256, **data}]
    with pytest.raises(MediaError, match=words):
        PictureBuffer(spa_buffer(*given), VIDEO)


def test_a_dma_buf_has_descriptors_of_its_own_for_as_long_as_somebody_holds_it(memory: int) -> None:
    planes = [{"type": 3, "fd": memory, "mapoffset": 100, "maxsize": 1}, {"type": 3, "fd": memory}]
    buffer = PictureBuffer(spa_buffer(*planes), TILED_VIDEO)
    places = buffer.places([library.Chunk(offset=7, stride=96), library.Chunk(offset=5000, stride=48)])
    assert places == (Place(107, 96), Place(5000, 48))
    picture = buffer.dma_buf(places)
    assert (picture.width, picture.height, picture.fourcc, picture.modifier) == (8, 4, XRGB8888, TILED)
    assert [(plane.offset, plane.stride, plane.size) for plane in picture.planes] == [
        (107, 96, 8192),
        (5000, 48, 8192),
    ]
    numbers = [plane.descriptor for plane in picture.planes]
    assert len({memory, *numbers}) == 3
    assert {os.fstat(number).st_ino for number in numbers} == {os.fstat(memory).st_ino}
    buffer.hold()
    buffer.let_go()
    assert all(os.get_inheritable(number) is False for number in numbers), "still open, and for us alone"
    buffer.let_go()
    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
    with pytest.raises(DmaBufError, match="has gone"):
        buffer.hold()
    with pytest.raises(RuntimeError, match="more often"):
        buffer.let_go()


def test_a_linear_dma_buf_is_read_like_memory_whoever_imports_it_or_not(memory: int) -> None:
    buffer = PictureBuffer(spa_buffer({"type": 3, "fd": memory, "mapoffset": 4}), LINEAR_VIDEO)
    [place] = buffer.places(chunk(offset=8, stride=40)) or ()
    rows = [CONTENT[12 + at : 12 + at + 32] for at in (0, 40, 80, 120)]
    for _ in range(2):
        assert [row.tobytes() for row in read(buffer, place)] == rows
    buffer.let_go()


@pytest.mark.parametrize(
    ("video", "fields", "there"),
    [
        (LINEAR_VIDEO, {"offset": 8192 - SIZE, "stride": 32}, True),
        (LINEAR_VIDEO, {"offset": 8193 - SIZE, "stride": 32}, False),
        (LINEAR_VIDEO, {"offset": 0, "stride": 31}, False),
        (LINEAR_VIDEO, {"offset": 0, "stride": 0}, False),
        (LINEAR_VIDEO, {"offset": 2**32 - 1, "stride": 32}, False),
        (TILED_VIDEO, {"offset": 8191, "stride": 1}, True),
        (TILED_VIDEO, {"offset": 8192, "stride": 1}, False),
        (TILED_VIDEO, {"offset": 0, "stride": -1}, False),
        (VideoFormat(NV12, 8, 4, LINEAR), {"offset": 8100, "stride": 8}, True),
    ],
)
def test_a_dma_buf_has_the_size_that_the_kernel_says(
    video: VideoFormat, fields: dict[str, int], there: bool
) -> None:
    with memory_file(CONTENT, sealed=True) as descriptor:
        buffer = PictureBuffer(spa_buffer({"type": 3, "fd": descriptor, "maxsize": 2**32 - 1}), video)
        assert (buffer.places(chunk(**fields)) is not None) is there
        buffer.let_go()


def test_planes_that_no_picture_has_are_refused_and_leave_nothing_open() -> None:
    with memory_file(CONTENT, sealed=True) as descriptor:
        plane = {"type": 3, "fd": descriptor}
        for planes, words in (
            ([plane] * 5, "planes that no picture has"),
            ([plane, {**plane, "type": 2}], "planes that no picture has"),
            ([plane, {**plane, "fd": -1}], "cannot be kept open"),
            ([plane, {**plane, "fd": 1 << 40}], "cannot be kept open"),
            ([{**plane, "type": 2, "maxsize": 64}], "in memory where a DMA-BUF"),
        ):
            with pytest.raises(MediaError, match=words):
                PictureBuffer(spa_buffer(*planes), TILED_VIDEO)
        PictureBuffer(spa_buffer(*[plane] * 4), TILED_VIDEO).let_go()
