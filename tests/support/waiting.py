"""Wait for an event with a deadline: the one way in which a test waits.

The deadline is there so that a defect does not hang the run. It decides nothing about speed, so it is generous;
who wants to know how long something takes measures it (``@pytest.mark.measures``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

PATIENCE_S: Final = 30.0
_EVERY_S: Final = 0.01

T = TypeVar("T")


def eventually(holds: Callable[[], T], what: str, within_s: float = PATIENCE_S) -> T:
    """Return the first true value of ``holds``; fail the test with ``what`` was waited for when none comes."""
    deadline = time.monotonic() + within_s
    while True:
        # Before the look: whoever got no CPU for so long looks once more.
        late = time.monotonic() > deadline
        if found := holds():
            return found
        if late:
            pytest.fail(f"waited {within_s:g} s in vain: {what}")
        time.sleep(_EVERY_S)


async def soon(holds: Callable[[], T], what: str, within_s: float = PATIENCE_S) -> T:
    """Return the first true value of ``holds`` as :func:`eventually`, while the event loop goes on."""
    deadline = time.monotonic() + within_s
    while True:
        late = time.monotonic() > deadline
        if found := holds():
            return found
        if late:
            pytest.fail(f"waited {within_s:g} s in vain: {what}")
        await asyncio.sleep(_EVERY_S)
