"""What is mapped and what is copied, and what a device is told before and after its memory is read."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

import pytest

from punktfunk.errors import DmaBufError, MediaError
from punktfunk.media import shared_memory
from punktfunk.media.shared_memory import Scratch, can_shrink, is_dma_buf, open_memory
from tests.support.memory import memory_file, open_descriptors, opened_since

SYNC = 0x40086200
BEGIN, END = 1, 1 | 4
CONTENT = bytes(range(200))


def test_memory_files_can_be_shortened_unless_they_are_sealed_against_it() -> None:
    with memory_file(CONTENT, sealed=False) as descriptor:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
        assert can_shrink(descriptor), "another seal"
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        assert not can_shrink(descriptor)
        assert not is_dma_buf(descriptor)


def test_files_without_seals_can_be_shortened(tmp_path: object) -> None:
    with open(f"{tmp_path}/file", "wb") as plain:  # noqa: PTH123 - of a descriptor
        assert can_shrink(plain.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        is_dma_buf(1 << 20)


def test_a_dma_buf_cannot_be_shortened_and_is_told_by_its_file_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fstatfs(_descriptor: int, into: object) -> int:
        struct.pack_into("@l", into, 0, 0x444D4142)  # type: ignore[arg-type]
        return 0

    with open("/proc/self/stat", "rb") as not_sealable:  # noqa: PTH123 - of a descriptor
        assert can_shrink(not_sealable.fileno())
        monkeypatch.setattr(shared_memory._libc(), "fstatfs", fstatfs)
        assert is_dma_buf(not_sealable.fileno())
        assert not can_shrink(not_sealable.fileno())


class Device:
    """Takes the place of the kernel's answers to DMA_BUF_IOCTL_SYNC: fails as often as it has ``refusals``."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.refusals: list[int] = []

    def ioctl(self, _descriptor: int, request: int, argument: bytes) -> int:
        assert request == SYNC
        self.told.append(struct.unpack("=Q", argument)[0])
        if self.refusals:
            number = self.refusals.pop(0)
            raise OSError(number, os.strerror(number))
        return 0


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(shared_memory.fcntl, "ioctl", made.ioctl)
    return made


def test_a_device_is_told_before_and_after_each_reading_and_memory_is_not(device: Device) -> None:
    with memory_file(CONTENT, sealed=True) as descriptor:
        scratch = Scratch()
        plain = open_memory(descriptor, 0, 100)
        with plain.reading(3, 50, scratch) as (buffer, start):
            assert bytes(buffer[start : start + 50]) == CONTENT[3:53]
        assert device.told == []
        memory = open_memory(descriptor, 10, 100, dma_buf=True)
        with memory.reading(3, 50, scratch) as (buffer, start):
            assert device.told == [BEGIN]
            assert bytes(buffer[start : start + 50]) == CONTENT[13:63]
        assert device.told == [BEGIN, END]
        with pytest.raises(ZeroDivisionError), memory.reading(0, 1, scratch):
            raise ZeroDivisionError
        assert device.told == [BEGIN, END] * 2


def test_a_device_that_is_interrupted_is_asked_again_but_not_for_ever(device: Device) -> None:
    with memory_file(CONTENT, sealed=True) as descriptor:
        memory = open_memory(descriptor, 0, 100, dma_buf=True)
        device.refusals = [errno.EINTR, errno.EAGAIN]
        with memory.reading(0, 1, Scratch()):
            assert device.told == [BEGIN] * 3
        device.told.clear()
        device.refusals = [errno.EAGAIN] * 1000
        with pytest.raises(DmaBufError, match="not ready"), memory.reading(0, 1, Scratch()):
            pytest.fail("read without the device's word")
        assert len(device.told) == 100


def test_a_device_that_refuses_is_not_read_and_a_memory_file_in_its_place_is(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memory_file(CONTENT, sealed=True) as descriptor:
        memory = open_memory(descriptor, 0, 100, dma_buf=True)
        device.refusals = [errno.EIO]
        with pytest.raises(DmaBufError, match="Input/output error"), memory.reading(0, 1, Scratch()):
            pytest.fail("read without the device's word")
        assert device.told == [BEGIN]
        device.refusals = [errno.ENOTTY, errno.ENOTTY]
        with memory.reading(0, 1, Scratch()) as (buffer, start):
            assert buffer[start] == 0
        monkeypatch.setattr(shared_memory, "is_dma_buf", lambda _descriptor: True)
        device.refusals = [errno.ENOTTY]
        with pytest.raises(DmaBufError, match="not ready"), memory.reading(0, 1, Scratch()):
            pytest.fail("read without the device's word")


def test_a_memory_file_that_poses_as_a_dma_buf_is_tolerated_by_the_real_kernel() -> None:
    for sealed in (True, False):
        with memory_file(CONTENT, sealed=sealed) as descriptor:
            memory = open_memory(descriptor, 10, 100, dma_buf=True)
            assert memory.is_copied is not sealed
            with memory.reading(3, 50, Scratch()) as (buffer, start):
                assert bytes(buffer[start : start + 50]) == CONTENT[13:63]


def test_a_part_that_ends_with_the_file_is_read_and_one_byte_more_is_not() -> None:
    for sealed in (True, False):
        with memory_file(CONTENT, sealed=sealed) as descriptor:
            memory = open_memory(descriptor, 100, 100)
            assert memory.size == 100
            with pytest.raises(MediaError, match="larger than the memory"):
                open_memory(descriptor, 101, 100)


def test_what_a_mapping_keeps_open_goes_with_the_last_view_of_it() -> None:
    before = open_descriptors()
    with memory_file(CONTENT, sealed=True) as descriptor:
        memory = open_memory(descriptor, 0, 200)
        with memory.reading(0, 200, Scratch()) as (buffer, start):
            view = memoryview(buffer)[start : start + 200]
        del memory, buffer
    assert bytes(view) == CONTENT, "although everything else has gone"
    view.release()
    assert opened_since(before) == []


def test_a_device_whose_memory_cannot_be_mapped_is_told_from_other_memory() -> None:
    reading, writing = os.pipe()
    try:
        cases: list[tuple[bool, type[MediaError]]] = [(True, DmaBufError), (False, MediaError)]
        for dma_buf, kind in cases:
            with pytest.raises(MediaError) as refused:
                open_memory(-1, 0, 100, dma_buf=dma_buf)
            assert type(refused.value) is kind
        with pytest.raises(MediaError, match="larger than"):
            open_memory(reading, 0, 1)
    finally:
        os.close(reading)
        os.close(writing)


def test_scratch_grows_and_leaves_earlier_views_alone() -> None:
    scratch = Scratch()
    first = scratch.room(10)
    assert scratch.room(5) is first
    larger = scratch.room(11)
    assert larger is not first
    assert len(larger) >= 11
