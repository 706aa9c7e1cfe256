"""Reading a picture from memory that another process shares, which may change it, and even take it away, meanwhile.

A mapping of a file that is shortened ends its reader by SIGBUS. So only what cannot be shortened is mapped: a memory
file sealed against it (``F_SEAL_SHRINK``), or a DMA-BUF, whose size is fixed. Anything else is read by ``preadv``,
which says where the file ends; that costs a copy. What a descriptor is, the kernel says, and not who gave it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Final, Protocol

from punktfunk.errors import DmaBufError, MediaError

MAX_BYTES: Final = 1 << 30
"""Of one picture: 16384 × 16384 pixels of four bytes."""
_DMA_BUF_MAGIC: Final = 0x444D4142
_SYNC: Final = 0x4008_6200
"""``DMA_BUF_IOCTL_SYNC``, with ``struct dma_buf_sync``: 64 bits of flags."""
_SYNC_READ, _SYNC_END = 1, 4
_SYNC_TRIES: Final = 100
_STATFS_BYTES: Final = 256

_ALL: Final = slice(None)

Buffer = mmap.mmap | bytearray
"""What a part of the memory can be read from."""


class Scratch:
    """Room for what cannot be read where it lies; grows to the largest picture. For one reader at a time."""

    def __init__(self) -> None:
        self._room = bytearray()

    def room(self, length: int) -> bytearray:
        """Return at least so many bytes, with whatever was in them."""
        if len(self._room) < length:
            # A fresh one: views of the one before may still be about.
            self._room = bytearray(length)
        return self._room


class SharedMemory(Protocol):
    """A part of another process's memory, which begins at 0 and ends at ``size``."""

    @property
    def size(self) -> int:
        """Bytes that may be read."""
        ...

    @property
    def is_copied(self) -> bool:
        """Whether each reading is a copy."""
        ...

    def reading(
        self, offset: int, length: int, scratch: Scratch, wanted: slice = _ALL
    ) -> AbstractContextManager[tuple[Buffer, int]]:
        """Give access to ``length`` bytes from ``offset`` on: a buffer, and where in it they begin.

        Bytes of them that are not ``wanted`` may be anything. The part lies within ``size``, which the caller has
        checked. Raises MediaError where it is not there any more, and DmaBufError where a device refuses.
        """
        ...


def open_memory(descriptor: int, offset: int, size: int, *, dma_buf: bool = False) -> SharedMemory:
    """Return ``size`` bytes from ``offset`` on of the memory behind a descriptor, which is the caller's as before.

    Where ``dma_buf`` says so, each reading begins and ends with DMA_BUF_IOCTL_SYNC. A memory that is copied reads by
    the descriptor, which has to stay open for as long; any other keeps it open itself. Raises MediaError for a size
    that no picture has or that is not there, and for what cannot be mapped; DmaBufError where that is a DMA-BUF.
    """
    if not 0 < size <= MAX_BYTES:
        raise MediaError(f"the desktop gave a buffer of {size} bytes")
    try:
        # In this order: what is sealed cannot be shortened after its size was asked for.
        copied = can_shrink(descriptor)
        if os.fstat(descriptor).st_size < offset + size:
            raise MediaError("the desktop gave a buffer that is larger than the memory behind it")
        if copied:
            return _Copied(descriptor, offset, size)
        return _Mapped(descriptor, offset, size, synchronized=dma_buf)
    except (OSError, ValueError, OverflowError) as error:
        kind, what = (DmaBufError, "DMA-BUF") if dma_buf else (MediaError, "buffer")
        raise kind(f"a {what} of the desktop cannot be mapped: {error}") from error


def is_dma_buf(descriptor: int) -> bool:
    """Return whether a descriptor is of a DMA-BUF; raise OSError for one that is not open."""
    room = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc().fstatfs(descriptor, room) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    # struct statfs begins with the kind of file system, a long on all 64-bit machines of Linux but s390.
    magic: int = struct.unpack_from("@l", room)[0]
    return magic == _DMA_BUF_MAGIC


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def can_shrink(descriptor: int) -> bool:
    """Return whether memory behind a descriptor may get shorter; raise OSError for one that is not open."""
    try:
        return not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return not is_dma_buf(descriptor)


class _Mapped:
    """Memory that cannot get shorter, mapped for as long as somebody has a view of it."""

    is_copied = False

    def __init__(self, descriptor: int, offset: int, size: int, *, synchronized: bool) -> None:
        before = offset % mmap.ALLOCATIONGRANULARITY
        self._memory = mmap.mmap(
            descriptor, before + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset - before
        )
        self._before, self.size = before, size
        self._descriptor = descriptor if synchronized else None

    def reading(
        self,
        offset: int,
        length: int,
        scratch: Scratch,
        wanted: slice = _ALL,
    ) -> AbstractContextManager[tuple[Buffer, int]]:
        """Give access to a part where it lies."""
        part = self._memory, self._before + offset
        return nullcontext(part) if self._descriptor is None else self._synchronized(self._descriptor, part)

    @contextlib.contextmanager
    def _synchronized(self, descriptor: int, part: tuple[Buffer, int]) -> Iterator[tuple[Buffer, int]]:
        _synchronize(descriptor, _SYNC_READ)
        try:
            yield part
        finally:
            _synchronize(descriptor, _SYNC_READ | _SYNC_END)


class _Copied:
    """Memory that may get shorter, read by system calls alone."""

    is_copied = True

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor, self._offset, self.size = descriptor, offset, size

    @contextlib.contextmanager
    def reading(
        self, offset: int, length: int, scratch: Scratch, wanted: slice = _ALL
    ) -> Iterator[tuple[Buffer, int]]:
        """Give access to a copy of a part."""
        room = scratch.room(length)
        begin, end, _ = wanted.indices(length)
        with memoryview(room)[begin:end] as part:
            _read(self._descriptor, part, self._offset + offset + begin)
        yield room, 0


def _read(descriptor: int, into: memoryview, offset: int) -> None:
    done = 0
    while done < len(into):
        try:
            count = os.preadv(descriptor, [into[done:]], offset + done)
        except OSError as error:
            raise MediaError(f"a picture's memory cannot be read: {error}") from error
        if not count:
            raise MediaError(
                "the memory of a picture became shorter while it was read", "capture the screen again"
            )
        done += count


def _synchronize(descriptor: int, flags: int) -> None:
    """Inform the device of a DMA-BUF that the processor begins or ends to read; a memory file in its place has none."""
    refusal = ""
    for _ in range(_SYNC_TRIES):
        try:
            fcntl.ioctl(descriptor, _SYNC, struct.pack("=Q", flags))
        except OSError as error:
            refusal = str(error)
            if error.errno in {errno.EINTR, errno.EAGAIN}:
                continue
            if error.errno == errno.ENOTTY and not is_dma_buf(descriptor):
                return
            break
        else:
            return
    raise DmaBufError(f"a DMA-BUF is not ready to be read: {refusal}")
