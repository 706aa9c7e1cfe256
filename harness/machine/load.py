"""What others took of the machine while something was measured; ``watch`` beside it says whether that matters.

The CPU time of every CPU that this process may use (``/proc/stat``, steal included) less that of this process and
of all that it started (``/proc/PID/stat``). What the code under test burns itself is its own and excuses nothing.
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path

WINDOW_S = 0.5
"""Long enough for clock ticks of 10 ms to tell a share, short enough to see a burst that delays a few frames."""
BUSY_ON_AVERAGE = 0.15
BUSY_IN_A_WINDOW = 0.40
"""Of all CPUs together; on a quiet machine of two, everything that is not the test stays below 0.05."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds until one moment: of all CPUs that may be used, and the part that is our own."""

    at_s: float
    all_s: float
    own_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """Shares (0 to 1, of all CPUs together) that others took over a test and in the worst window of it."""

    average: float
    worst: float
    cpus: int


def load_between(readings: list[Reading], cpus: int) -> Load:
    """Return the load that successive readings show; two at least."""
    shares = []
    for before, after in itertools.pairwise(readings):
        others = (after.all_s - before.all_s) - (after.own_s - before.own_s)
        shares.append((max(others, 0.0), after.at_s - before.at_s))
    time_s = sum(took for _, took in shares)
    average = sum(others for others, _ in shares) / (time_s * cpus) if time_s > 0 else 0.0
    # What is left at the end is too short for ticks to tell a share.
    whole = [others / (took * cpus) for others, took in shares if took >= WINDOW_S / 2]
    return Load(min(average, 1.0), min(max(whole, default=0.0), 1.0), cpus)


class Tree:
    """The CPU time of a process and of all that it started, also of those whose parent has ended since."""

    def __init__(self, root: int, proc: Path = Path("/proc")) -> None:
        self._root = root
        self._proc = proc
        self._known: dict[int, _Process] = {}
        self._ended_orphans = 0.0

    def seconds(self) -> float:
        """Return the CPU seconds of the tree until now; they never become less."""
        seen: dict[int, _Process] = {}
        waiting = [self._root, *self._known]
        while waiting:
            pid = waiting.pop()
            if pid in seen:
                continue
            found = self._read(pid)
            known = self._known.get(pid)
            if found is None or (known is not None and known.start != found.start):
                continue
            seen[pid] = found
            waiting += self._children(pid)
        for pid, known in self._known.items():
            # A parent of ours has the time of the children that it waited for; nobody has an orphan's.
            if pid not in seen and known.parent not in self._known:
                self._ended_orphans += known.seconds
        self._known = seen
        return self._ended_orphans + sum(process.seconds for process in seen.values())

    @property
    def pids(self) -> frozenset[int]:
        """Return the processes that were of the tree when its seconds were read last."""
        return frozenset(self._known)

    def _read(self, pid: int) -> _Process | None:
        try:
            fields = (self._proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # proc(5), counted from the field after the name: 1 ppid, 11 to 14 the times, 19 the start.
        return _Process(int(fields[1]), int(fields[19]), sum(map(int, fields[11:15])) / TICKS_PER_S)

    def _children(self, pid: int) -> list[int]:
        found: list[int] = []
        try:
            for task in (self._proc / str(pid) / "task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended meanwhile, and so has what it was asked for
        return found


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    start: int
    seconds: float


def busy_seconds(stat: str, cpus: set[int]) -> float:
    """Return the CPU seconds of those CPUs in the text of ``/proc/stat``; interrupts are nobody's and left out."""
    ticks = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cpus:
            user, nice, system, steal = (int(fields[at]) for at in (0, 1, 2, 7))
            ticks += user + nice + system + steal
    return ticks / TICKS_PER_S


def cpus_in(stat: str) -> set[int]:
    """Return the numbers of all CPUs in the text of ``/proc/stat``."""
    names = (line.partition(" ")[0] for line in stat.splitlines())
    return {int(name[3:]) for name in names if name.startswith("cpu") and name[3:].isdigit()}


class Reader:
    """Take readings of this process's CPUs and of its tree."""

    def __init__(self) -> None:
        self._cpus = os.sched_getaffinity(0)
        self.tree = Tree(os.getpid())

    @property
    def cpus(self) -> int:
        """Return how many CPUs are read."""
        return len(self._cpus)

    def read(self) -> Reading:
        """Return a reading of now."""
        # Own time first: what is used between the two readings counts as somebody else's, never as less.
        own = self.tree.seconds()
        return Reading(time.monotonic(), busy_seconds(Path("/proc/stat").read_text(), self._cpus), own)
