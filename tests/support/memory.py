"""Memory files as processes share them, and how many descriptors this process has open."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def memory_file(content: bytes, *, sealed: bool) -> Iterator[int]:
    """Give a memory file with that content, which cannot be shortened where it is ``sealed``."""
    descriptor = os.memfd_create("pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.pwrite(descriptor, content, 0)
        if sealed:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        yield descriptor
    finally:
        os.close(descriptor)


def open_descriptors() -> list[str]:
    """Return what this process has open, without the numbers of the descriptors."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(entry.readlink()))
    return sorted(found)


def opened_since(before: list[str]) -> list[str]:
    """Return what this process has open now and had not before; what other tests have left may be closed meanwhile."""
    return sorted((Counter(open_descriptors()) - Counter(before)).elements())
