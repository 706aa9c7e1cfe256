"""DMA-BUFs of the kernel itself, where it has vgem: in the machine of ``nox -s netem-vm -- --prove dma-buf``."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.network.pace import EMULATED
from punktfunk.desktop.pipewire import library
from punktfunk.desktop.pipewire.formats import VideoFormat
from punktfunk.desktop.pipewire.pictures import PictureBuffer
from punktfunk.media import shared_memory
from punktfunk.media.conversion import in_memory
from punktfunk.media.dma_buf import LINEAR, XRGB8888
from punktfunk.media.planes import plane_view
from punktfunk.media.shared_memory import Scratch, can_shrink, is_dma_buf
from tests.support.memory import open_descriptors
from tests.support.spa import spa_buffer

WIDTH, HEIGHT = 100, 36
VIDEO = VideoFormat(XRGB8888, WIDTH, HEIGHT, LINEAR)
_CREATE_DUMB, _PRIME_HANDLE_TO_FD = 0xC02064B2, 0xC00C642D
_DUMB, _PRIME = struct.Struct("=IIIIIIQ"), struct.Struct("=IIi")


class Allocated(NamedTuple):
    """A buffer of the driver's: its descriptor, and the bytes from one row to the next."""

    descriptor: int
    stride: int
    size: int


def _node() -> Path | None:
    for card in sorted(Path("/sys/class/drm").glob("card*")):
        if "vgem" in str(card.resolve()):
            return Path("/dev/dri") / card.name
    return None


@pytest.fixture
def allocated() -> Iterator[Allocated]:
    node = _node()
    if node is None:
        assert not EMULATED, "the machine's kernel has no vgem"
        pytest.skip("the kernel's driver vgem is not loaded; proven by nox -s netem-vm -- --prove dma-buf")
    before = open_descriptors()
    card = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(card, _CREATE_DUMB, _DUMB.pack(HEIGHT, WIDTH, 32, 0, 0, 0, 0))
        *_, handle, stride, size = _DUMB.unpack(answer)
        asked = _PRIME.pack(handle, os.O_RDWR | os.O_CLOEXEC, -1)
        descriptor = _PRIME.unpack(fcntl.ioctl(card, _PRIME_HANDLE_TO_FD, asked))[2]
    finally:
        os.close(card)
    with mmap.mmap(descriptor, size) as memory:
        for row in range(HEIGHT):
            memory[row * stride : row * stride + WIDTH * 4] = bytes([row * 7]) * (WIDTH * 4)
    yield Allocated(descriptor, stride, size)
    os.close(descriptor)
    assert open_descriptors() == before


def test_the_kernel_tells_a_dma_buf_from_a_file_and_how_large_it_is(allocated: Allocated) -> None:
    assert is_dma_buf(allocated.descriptor)
    assert not can_shrink(allocated.descriptor)
    assert os.fstat(allocated.descriptor).st_size == allocated.size
    with pytest.raises(OSError, match=r"."):
        os.ftruncate(allocated.descriptor, 0)


def test_a_dma_buf_is_mapped_between_the_driver_s_begin_and_end(
    allocated: Allocated, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    kernel = fcntl.ioctl

    def ioctl(descriptor: int, request: int, argument: bytes) -> object:
        answer = kernel(descriptor, request, argument)
        told.append(struct.unpack("=Q", argument)[0])
        return answer

    monkeypatch.setattr(shared_memory.fcntl, "ioctl", ioctl)
    buffer = PictureBuffer(spa_buffer({"type": 3, "fd": allocated.descriptor}), VIDEO)
    assert not buffer.is_copied
    [place] = buffer.places([library.Chunk(stride=allocated.stride)]) or ()
    with buffer.reading(place, Scratch()) as pixels:
        assert told == [1]
        assert [set(row.ravel()) for row in pixels] == [{row * 7} for row in range(HEIGHT)]
    assert told == [1, 5], "both of which the kernel took"
    beyond = library.Chunk(offset=allocated.size - allocated.stride * (HEIGHT - 1), stride=allocated.stride)
    assert buffer.places([beyond]) is None
    buffer.let_go()


def test_a_dma_buf_that_is_handed_on_outlives_who_gave_it(allocated: Allocated) -> None:
    given = os.dup(allocated.descriptor)
    buffer = PictureBuffer(spa_buffer({"type": 3, "fd": given}), VIDEO)
    [place] = buffer.places([library.Chunk(stride=allocated.stride)]) or ()
    picture = buffer.dma_buf([place])
    picture.memory.hold()
    os.close(given)
    buffer.let_go()
    luma = plane_view(in_memory(picture), 0)
    assert [int(row.mean()) for row in luma[2:-2]] == pytest.approx(
        [16 + row * 7 * 219 / 255 for row in range(2, HEIGHT - 2)], abs=1.5
    )
    picture.memory.let_go()
    assert not picture.memory.is_open
