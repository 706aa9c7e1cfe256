"""The frame clock of a stream worker: absolute deadlines on CLOCK_MONOTONIC, missed ones skipped."""

from __future__ import annotations

import ctypes
import threading
import time

from punktfunk.clock import monotonic_ns

_PR_SET_TIMERSLACK = 29
_LONGEST_SLEEP_NS = 100_000_000
"""Sleeps are cut to this, so that the end of the stream is noticed."""


class FrameClock:
    """Give the deadline of each frame at a constant rate.

    Deadlines are multiples of the interval from the first one, so that no error adds up. A frame that is more
    than one interval late takes the next deadline that lies ahead: a stall costs its own frames and is not
    followed by a burst.
    """

    def __init__(self, refresh_hz: int, first_ns: int) -> None:
        self.skipped = 0
        """Deadlines that passed without a frame."""
        self._refresh_hz = refresh_hz
        self._first_ns = first_ns
        self._tick = 0

    def next_deadline(self, now_ns: int) -> int:
        """Return when the next frame is due, at most one interval in the past."""
        deadline = self._at(self._tick)
        if now_ns - deadline > 1_000_000_000 // self._refresh_hz:
            missed = (now_ns - deadline) * self._refresh_hz // 1_000_000_000
            self.skipped += missed
            self._tick += missed
            deadline = self._at(self._tick)
        self._tick += 1
        return deadline

    def _at(self, tick: int) -> int:
        return self._first_ns + tick * 1_000_000_000 // self._refresh_hz


def sleep_until(deadline_ns: int, stopping: threading.Event) -> None:
    """Sleep to a CLOCK_MONOTONIC time, or until ``stopping`` is seen."""
    while not stopping.is_set():
        left = deadline_ns - monotonic_ns()
        if left <= 0:
            return
        time.sleep(min(left, _LONGEST_SLEEP_NS) / 1e9)


def wake_precisely() -> None:
    """Ask the kernel not to round this thread's sleeps (timer slack 1 ns instead of 50 µs)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
