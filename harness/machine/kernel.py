"""What the kernel counts of waiting: pressure (PSI), quota, steal, and the run-queue delay of threads.

Each function returns None where this kernel, container or user has no such figure. Nothing here judges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.machine.load import TICKS_PER_S

STAMPING_PREFIX: Final = "pf-"
"""Names of the core's threads, which stamp packets; the first thread of a process stamps frames."""
_MAX_THREADS: Final = 4096
"""Threads that are followed at a time; more are a fork bomb and not a session."""
LEAST_S: Final = 1.0
"""A thread of less has mostly started: programs that start use a CPU and wait for it."""
PROC: Final = Path("/proc")


def stalled_s(file: Path) -> float | None:
    """Return for how long some task has waited for a CPU so far, from a file in the form of ``/proc/pressure/cpu``."""
    try:
        found = re.search(r"^some .*\btotal=(\d+)", file.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:  # no PSI in this kernel, or switched off (EOPNOTSUPP)
        return None
    return int(found[1]) / 1e6 if found else None


def throttled_s(file: Path) -> float | None:
    """Return for how long a quota has stopped this cgroup so far, summed over CPUs, from its ``cpu.stat``."""
    try:
        found = re.search(r"^throttled_usec (\d+)", file.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) / 1e6 if found else None


def own_cgroup(proc: Path = PROC) -> Path | None:
    """Return the folder of this process's cgroup (version 2); None where there is none to be seen."""
    try:
        path = re.search(r"^0::(/.*)$", (proc / "self/cgroup").read_text(), re.MULTILINE)
        mounts = (proc / "self/mountinfo").read_text()
    except OSError:
        return None
    mounted = re.search(r"^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup2 ", mounts, re.MULTILINE)
    if path is None or mounted is None:
        return None
    root, where = mounted[1].rstrip("/"), Path(mounted[2])
    # In a container the mount shows a part of the hierarchy, named as it is outside.
    below = path[1].removeprefix(root) if path[1].startswith(root + "/") else path[1] if not root else ""
    folder = where / below.strip("/")
    return folder if folder.is_dir() else where


def steal_s(stat: str, cpus: Iterable[int]) -> float:
    """Return the CPU seconds that a hypervisor has given to others so far, in the text of ``/proc/stat``."""
    wanted = {f"cpu{number}" for number in cpus}
    ticks = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name in wanted and len(fields) > 7:
            ticks += int(fields[7])
    return ticks / TICKS_PER_S


@dataclass(slots=True)
class _Thread:
    name: str
    from_s: float
    """When it was looked at last before it was first seen, or first seen in the first look."""
    until_s: float
    """When it was last seen."""
    began_ns: int
    """What it had waited then; 0 for one that has started since."""
    waited_ns: int

    @property
    def share(self) -> float:
        """The part of its time in which it waited."""
        return (self.waited_ns - self.began_ns) / 1e9 / max(self.until_s - self.from_s, 1e-9)


@dataclass(slots=True)
class RunDelay:
    """How long the threads that stamp waited for a CPU although they could run (``schedstat``)."""

    proc: Path = PROC
    _threads: dict[tuple[int, int], _Thread] = field(default_factory=dict)
    _read_s: float | None = None
    """When threads were read last."""

    def read(self, pids: Iterable[int], now_s: float) -> None:
        """Read the threads of ``pids``; those of the first call count from then on, later ones from their start."""
        for pid in pids:
            try:
                tasks = list((self.proc / str(pid) / "task").iterdir())
            except OSError:  # it has ended
                continue
            for task in tasks:
                self._look(pid, task, now_s)
        self._read_s = now_s

    def _look(self, pid: int, task: Path, now_s: float) -> None:
        key = (pid, int(task.name))
        known = self._threads.get(key)
        try:
            if known is None:
                name = (task / "comm").read_text(errors="replace").strip()
                if task.name != str(pid) and not name.startswith(STAMPING_PREFIX):
                    return
            waited_ns = int((task / "schedstat").read_text().split()[1])
        except (OSError, IndexError):
            return
        if known is not None:
            known.until_s, known.waited_ns = now_s, waited_ns
        elif len(self._threads) < _MAX_THREADS:
            first = self._read_s is None
            from_s = now_s if self._read_s is None else self._read_s
            self._threads[key] = _Thread(name, from_s, now_s, waited_ns if first else 0, waited_ns)

    def worst(self) -> tuple[float, str] | None:
        """Return the share of its time that the thread waited which waited most, and its name.

        Threads that were there for less than :data:`LEAST_S` say nothing; None where there are no others.
        """
        shares = [
            (thread.share, thread.name)
            for thread in self._threads.values()
            if thread.until_s - thread.from_s >= LEAST_S
        ]
        return max(shares, default=None)
