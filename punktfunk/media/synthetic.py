"""Access units without an encoder, whose every byte the receiver can check.

The content is the reference host's (punktfunk/1, "synthetic source"): bytes 0..3 are the frame index,
little-endian, and byte i from 4 on is (index + i) mod 256.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from typing_extensions import Buffer

from punktfunk.errors import UsageError

MIN_BYTES = 4
"""A test frame holds at least its index."""


@lru_cache(maxsize=8)
def _ramp(length: int) -> bytes:
    return bytes(range(256)) * (length // 256 + 2)


def test_frame(index: int, length: int) -> bytes:
    """Return the content of frame ``index`` (u32, wraps) with ``length`` bytes, at least 4."""
    if length < MIN_BYTES:
        raise UsageError(f"a test frame of {length} bytes cannot hold its index", f"use {MIN_BYTES} or more")
    start = index & 0xFF
    return struct.pack("<I", index & 0xFFFFFFFF) + _ramp(length)[start + MIN_BYTES : start + length]


test_frame.__test__ = False  # type: ignore[attr-defined]  # the wire's name, not a test for pytest to collect


def is_test_frame(index: int, data: Buffer) -> bool:
    """Return whether ``data`` is exactly the test frame ``index`` of its own length."""
    view = memoryview(data)
    return view.nbytes >= MIN_BYTES and view == test_frame(index, view.nbytes)
