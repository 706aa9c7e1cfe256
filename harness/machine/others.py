"""Who else used the CPUs: processes outside of our own tree, by their CPU time over a span."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.machine.load import TICKS_PER_S
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


@dataclass(slots=True)
class _Process:
    start: int
    began_s: float
    now_s: float
    comm: str
    name: str = ""

    @property
    def used_s(self) -> float:
        return self.now_s - self.began_s


@dataclass(slots=True)
class Others:
    """Processes that are not ours. Those that begin and end between two readings are seen by nobody."""

    proc: Path = Path("/proc")
    _running: dict[int, _Process] = field(default_factory=dict)
    _ended: dict[str, float] = field(default_factory=dict)
    _read: bool = False

    def read(self, own: Collection[int]) -> None:
        """Read every process that may be seen and is not among ``own``."""
        seen: dict[int, _Process] = {}
        for entry in self.proc.iterdir():
            if not entry.name.isdigit() or int(entry.name) in own:
                continue
            pid = int(entry.name)
            found = self._look(pid, self._running.get(pid))
            if found is not None:
                seen[pid] = found
        for pid, process in self._running.items():
            if (pid not in seen or seen[pid].start != process.start) and pid not in own:
                self._keep(process)
        self._running = seen
        self._read = True

    def _look(self, pid: int, known: _Process | None) -> _Process | None:
        try:
            text = (self.proc / str(pid) / "stat").read_text(errors="replace")
        except OSError:  # it has ended
            return None
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        start, now_s = int(fields[19]), sum(map(int, fields[11:13])) / TICKS_PER_S
        if known is None or known.start != start:
            known = _Process(start, 0.0 if self._read else now_s, now_s, head.partition("(")[2])
        known.now_s = now_s
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
        if process.used_s > 0 and (process.name in self._ended or len(self._ended) < _MAX_NAMES):
            self._ended[process.name] = self._ended.get(process.name, 0.0) + process.used_s

    def most(self, count: int) -> list[User]:
        """Return the ``count`` that used most, by name, the greediest first."""
        seconds = dict(self._ended)
        pids: dict[str, list[int]] = {name: [] for name in self._ended}
        for pid, process in self._running.items():
            if process.used_s > 0:
                seconds[process.name] = seconds.get(process.name, 0.0) + process.used_s
                pids.setdefault(process.name, []).append(pid)
        order = sorted(seconds, key=lambda name: -seconds[name])[:count]
        return [User(name, tuple(sorted(pids[name])), seconds[name]) for name in order]
