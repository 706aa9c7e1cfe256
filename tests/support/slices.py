"""The slices of threads under the kernel's fair scheduler (EEVDF), as sched(7) and sched_setattr(2) have them."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Numbers of sched_setattr and sched_getattr, for which no C library of today has a function."""
_ATTRIBUTES = struct.Struct("<IIQiIQQQ")
"""``struct sched_attr`` of its first version: size, policy, flags, nice, priority, runtime, deadline, period."""
_RUNTIME = 5


def slice_ns(thread: int) -> int:
    """Return the slice of a thread, ns; 0 where it is real-time or the kernel (before 6.12) has none of its own."""
    return int(_read(thread)[_RUNTIME])


def set_slice(thread: int, ns: int) -> None:
    """Give a thread a slice of its own, ns; 0 gives it back the kernel's. Policy and nice value stay."""
    fields = list(_read(thread))
    fields[_RUNTIME] = ns
    _call(0, thread, ctypes.create_string_buffer(_ATTRIBUTES.pack(*fields)), 0)


def threads_named(name: str) -> list[int]:
    """Return the threads of this process that have this name."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(task.name) for task in tasks if (task / "comm").read_text().strip() == name]


def _read(thread: int) -> tuple[int, ...]:
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    _call(1, thread, buffer, _ATTRIBUTES.size, 0)
    return _ATTRIBUTES.unpack(buffer.raw)


def _call(which: int, thread: int, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(_CALLS[platform.machine()][which], thread, *arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
