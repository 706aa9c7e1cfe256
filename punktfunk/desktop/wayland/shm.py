"""Shared memory between a client and its compositor."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from punktfunk.desktop.wayland.connection import Connection

Pixels = NDArray[np.uint8]
"""A picture of packed four-byte pixels, shape (height, width, 4)."""


_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Buffers:
    """Equal picture buffers in one memory file: what the compositor fills or shows, and numpy views of it."""

    def __init__(
        self, connection: Connection, count: int, *, format_code: int, width: int, height: int, stride: int
    ) -> None:
        size = stride * height
        self._pool: Any
        descriptor = os.memfd_create("punktfunk-pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size * count)
            # The compositor has it too: shortened, it would end us by SIGBUS when we read.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            self._memory = mmap.mmap(descriptor, size * count)
            shm = connection.bind("wl_shm", 1)
            pool = self._pool = shm.create_pool(descriptor, size * count)
        finally:
            os.close(descriptor)
        self._make: Callable[[int], Any] = lambda index: pool.create_buffer(
            index * size, width, height, stride, format_code
        )
        self.proxies: list[Any] = [self._make(index) for index in range(count)]
        """``wl_buffer`` proxies, one a picture."""
        rows = np.frombuffer(self._memory, np.uint8).reshape(count, height, stride)
        self.pixels: list[Pixels] = [
            rows[index, :, : width * 4].reshape(height, width, 4) for index in range(count)
        ]
        """The pictures, views of the memory that the compositor sees."""

    def renew(self, index: int) -> Any:
        """Return another ``wl_buffer`` of the same picture, in place of the one that there was."""
        self.proxies[index].destroy()
        self.proxies[index] = self._make(index)
        return self.proxies[index]

    def close(self) -> None:
        """Give the memory back; views must not be used afterwards."""
        for proxy in self.proxies:
            proxy.destroy()
        self._pool.destroy()
        self.proxies.clear()
        self.pixels.clear()
        with contextlib.suppress(
            BufferError
        ):  # a picture still held elsewhere keeps the memory until it goes
            self._memory.close()
