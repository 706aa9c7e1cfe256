"""Undo what a media library does to the scheduling of its caller."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def scheduling_kept() -> Iterator[None]:
    """Give this thread, and those that were begun within, the scheduling that this thread had before.

    SVT-AV1 makes the thread that opens it and all threads of its own SCHED_FIFO at the highest priority, where the
    process may (root, CAP_SYS_NICE). An encoder would then take the CPUs from the thread that sends its frames, from
    the desktop, and from every process that its caller starts afterwards: they inherit it. Threads that others begin
    meanwhile with a priority of their own below the highest keep it.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    threads = _threads()
    try:
        yield
    finally:
        if (os.sched_getscheduler(0), os.sched_getparam(0)) != before:
            os.sched_setscheduler(0, *before)
        highest = os.sched_get_priority_max(os.SCHED_FIFO)
        for thread in _threads() - threads:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                if os.sched_getparam(thread).sched_priority == highest:
                    os.sched_setscheduler(thread, *before)


def _threads() -> set[int]:
    return {int(task.name) for task in _TASKS.iterdir()}
