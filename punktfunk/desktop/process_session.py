"""What a program leaves that has ended itself: processes of the session that it led, as launchers of games leave games.

A session's number is its first process's, and the kernel gives it to no other process while one of the session is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from punktfunk.clock import monotonic_ns

_POLL_S: Final = 0.02
_PROCESSES: Final = Path("/proc")


def left_of(leader: int) -> list[int]:
    """Return the processes of the session that ``leader`` led, which has ended and been waited for.

    None where a process has that number again: then nothing of the session was left before.
    """
    if (_PROCESSES / str(leader)).exists():
        return []
    left = []
    for entry in _PROCESSES.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # In bytes: a program's name, which stands in it, need not be text.
                stat = (entry / "stat").read_bytes()
                state, _parent, _group, session = stat.rpartition(b")")[2].split()[:4]
                if int(session) == leader and state != b"Z":
                    left.append(int(entry.name))
    return left


def end_rest_of(leader: int, grace_s: float) -> None:
    """Ask what is left of a session to end, and kill what has not within ``grace_s``.

    What runs as another user, as under ``sudo`` or ``pkexec``, is not ours to end, and is not waited for.
    """
    theirs: set[int] = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left_of(leader):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            except PermissionError:
                theirs.add(pid)
        deadline = monotonic_ns() + round(grace_s * 1e9)
        while not theirs.issuperset(left_of(leader)):
            if monotonic_ns() >= deadline:
                break
            time.sleep(_POLL_S)
        else:
            return
