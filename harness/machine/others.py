"""Who else used the CPUs: processes outside of our own tree, by their CPU time over a span."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.machine.load import TICKS_PER_S
from harness.machine.priority import Priority
from punktfunk.printable import printable

NAME_CHARACTERS: Final = 40
_MAX_NAMES: Final = 1000
"""Names of ended processes that are remembered; the time of further ones is nobody's."""
_INTERPRETERS: Final = ("python", "node", "perl", "ruby", "bash", "sh")


@dataclass(frozen=True, slots=True)
class User:
    """Processes of one name and the CPU seconds that they used."""

    name: str
    pids: tuple[int, ...]
    """Those that still run."""
    seconds: float
    yields: bool = False
    """Whether they yield the CPU to us: idle priority."""


@dataclass(slots=True)
class _Process:
    start: int
    began_s: float
    comm: str
    now_s: float = 0.0
    tree_s: float = 0.0
    """Its own CPU time and that of the children that it has waited for."""
    parent: int = 0
    policy: int = os.SCHED_OTHER
    name: str = ""
    yields: bool = False
    """Whether it yielded the CPU to us when it last used one."""

    @property
    def used_s(self) -> float:
        return self.now_s - self.began_s


@dataclass(slots=True)
class Others:
    """Processes that are not ours. Those that begin and end between two readings are seen by nobody."""

    proc: Path = Path("/proc")
    priority: Priority | None = None
    """By which it is told who yields to us; None: of this process."""
    yielding_s: float = 0.0
    """CPU time so far of those that yield to us, of the children included that they have waited for."""
    _running: dict[int, _Process] = field(default_factory=dict)
    _ended: dict[tuple[str, bool], float] = field(default_factory=dict)
    _read: bool = False

    def read(self, own: Collection[int]) -> None:
        """Read every process that may be seen and is not among ``own``."""
        seen: dict[int, _Process] = {}
        gained: dict[int, float] = {}
        for entry in self.proc.iterdir():
            if not entry.name.isdigit() or int(entry.name) in own:
                continue
            pid = int(entry.name)
            known = self._running.get(pid)
            before_s = known.tree_s if known is not None else 0.0
            found = self._look(pid, known)
            if found is not None:
                seen[pid] = found
                gained[pid] = found.tree_s - (before_s if found is known else 0.0)
        for pid, process in self._running.items():
            if (pid not in seen or seen[pid].start != process.start) and pid not in own:
                self._keep(process)
                if process.parent in gained:  # which has waited for it, and so has what it had used before
                    gained[process.parent] -= process.tree_s
        if self._read:
            self._count_yielding(seen, gained)
        self._running = seen
        self._read = True

    def _count_yielding(self, seen: dict[int, _Process], gained: dict[int, float]) -> None:
        self.priority = self.priority or Priority(self.proc)
        self.priority.look_again()
        for pid, seconds in gained.items():
            if seconds > 0:
                seen[pid].yields = self.priority.yields(pid, seen[pid].policy)
                self.yielding_s += seconds if seen[pid].yields else 0.0

    def _look(self, pid: int, known: _Process | None) -> _Process | None:
        try:
            text = (self.proc / str(pid) / "stat").read_text(errors="replace")
        except OSError:  # it has ended
            return None
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        # proc(5), counted from the field after the name: 1 ppid, 11 to 14 the times, 19 the start, 38 the policy.
        start, now_s = int(fields[19]), sum(map(int, fields[11:13])) / TICKS_PER_S
        if known is None or known.start != start:
            known = _Process(start, 0.0 if self._read else now_s, head.partition("(")[2])
        known.now_s = now_s
        known.tree_s = now_s + sum(map(int, fields[13:15])) / TICKS_PER_S
        known.parent = int(fields[1])
        if len(fields) > 38:
            known.policy = int(fields[38])
        if not known.name and known.used_s > 0:
            known.name = self._name(pid, known.comm)
        return known

    def _name(self, pid: int, comm: str) -> str:
        """Return the program's name, for an interpreter with what it runs; no other argument, which may be secret."""
        name = comm
        if comm.startswith(_INTERPRETERS):
            try:
                words = (self.proc / str(pid) / "cmdline").read_text(errors="replace").split("\0")[1:3]
            except OSError:
                words = []
            if len(words) > 1 and words[0] == "-m":
                name = f"{comm} -m {words[1]}"
            elif words and words[0] and not words[0].startswith("-"):
                name = f"{comm} {Path(words[0]).name}"
        return printable(name, NAME_CHARACTERS)

    def _keep(self, process: _Process) -> None:
        key = process.name, process.yields
        if process.used_s > 0 and (key in self._ended or len(self._ended) < _MAX_NAMES):
            self._ended[key] = self._ended.get(key, 0.0) + process.used_s

    def most(self, count: int) -> list[User]:
        """Return the ``count`` that used most, by name, the greediest first and those that yield to us last."""
        seconds = dict(self._ended)
        pids: dict[tuple[str, bool], list[int]] = {key: [] for key in self._ended}
        for pid, process in self._running.items():
            if process.used_s > 0:
                key = process.name, process.yields
                seconds[key] = seconds.get(key, 0.0) + process.used_s
                pids.setdefault(key, []).append(pid)
        order = sorted(seconds, key=lambda key: (key[1], -seconds[key]))[:count]
        return [User(key[0], tuple(sorted(pids[key])), seconds[key], key[1]) for key in order]
