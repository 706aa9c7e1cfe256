"""Notices that the loop of a worker stands still in a call that does not return, such as one of a codec's library."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

LOOK_S: Final = 0.5
LOOKS: Final = 40
"""Together more than any wait of a worker's loop that has a limit of its own: for a first picture, up to 14 s."""
IDLE_SHARE: Final = 0.1
"""A process that uses more of a CPU than this computes: then it is slow, and does not stand still."""


class Stall:
    """Tells a loop that stands still from one that waits its turn for the CPU, by looks at it in equal intervals.

    It stands still when ``looks`` of them in a row saw the same beat, and a process that used next to no CPU
    (under ``idle_ns`` between two). A process that was stopped was not looked at meanwhile.
    """

    def __init__(self, looks: int, idle_ns: int) -> None:
        self._looks = looks
        self._idle_ns = idle_ns
        self._beat = -1
        self._cpu_ns = 0
        self._same = 0

    def look(self, beat: int, cpu_ns: int) -> bool:
        """Take the loop's beat and the CPU time of its process; return whether it has stood still for long enough."""
        still = beat == self._beat and cpu_ns - self._cpu_ns < self._idle_ns
        self._beat, self._cpu_ns = beat, cpu_ns
        self._same = self._same + 1 if still else 0
        return self._same >= self._looks


class StallWatch:
    """Calls ``stalled`` once, in a thread of its own, where the loop between ``with`` and its end stands still.

    The loop calls :meth:`beat` each time round. ``stalled`` is called after about LOOK_S x LOOKS seconds, and never
    while the loop is asked to stop: that has a limit of its own.
    """

    def __init__(self, stalled: Callable[[], None]) -> None:
        self._stalled = stalled
        self._beats = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)

    def beat(self) -> None:
        """Note that the loop goes on."""
        self._beats += 1

    def __enter__(self) -> StallWatch:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Watch no more."""
        self._over.set()

    def _watch(self) -> None:
        stall = Stall(LOOKS, round(LOOK_S * IDLE_SHARE * 1e9))
        while not self._over.wait(LOOK_S):
            if stall.look(self._beats, time.process_time_ns()):
                self._stalled()
                return
