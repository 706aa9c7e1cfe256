"""Memory that is shared with a compositor: what it may do to it."""

from __future__ import annotations

import fcntl
import os
from typing import Any

import pytest

from punktfunk.desktop.wayland.shm import Buffers


class Compositor:
    """Takes a pool as a compositor does: with a descriptor of its own."""

    def __init__(self) -> None:
        self.descriptor = -1

    def bind(self, interface: str, _version: int) -> Any:
        assert interface == "wl_shm"
        return self

    def create_pool(self, descriptor: int, size: int) -> Any:
        assert os.fstat(descriptor).st_size == size
        self.descriptor = os.dup(descriptor)
        return self

    def create_buffer(self, *_: int) -> Any:
        return self

    def destroy(self) -> None:
        pass


def test_a_compositor_cannot_shorten_memory_that_is_read_here_but_writes_into_it() -> None:
    pytest.importorskip("pywayland")
    compositor: Any = Compositor()
    buffers = Buffers(compositor, 3, format_code=1, width=8, height=4, stride=48)
    descriptor = compositor.descriptor
    for size in (0, 3 * 48 * 4 - 1, 3 * 48 * 4 + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    os.pwrite(descriptor, b"\xee", 48 * 4 + 48)
    assert buffers.pixels[1][1, 0, 0] == 0xEE
    buffers.close()
    os.close(descriptor)
