"""Whether another process yields the CPU to us at once: work that the kernel runs only where nobody else wants to.

Two kinds of it: processes of the policy ``SCHED_IDLE`` (``chrt --idle``) beside ours in a cgroup, and whole cgroups
with ``cpu.idle``. What cannot be read does not count as yielding.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_MOUNT: Final = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$", re.MULTILINE)
_MAX_GROUPS: Final = 10_000
"""Cgroups whose ``cpu.idle`` is read in a look; processes of further ones do not count as yielding."""


@dataclass(frozen=True, slots=True)
class _Hierarchy:
    """Where the cgroups are mounted that share out the CPU."""

    folder: Path
    root: str
    """What of the hierarchy is mounted there; a container sees a part."""
    line: re.Pattern[str]
    """Finds a process's path in its ``/proc/PID/cgroup``."""


def _hierarchy(proc: Path) -> _Hierarchy | None:
    try:
        mounts = _MOUNT.findall((proc / "self/mountinfo").read_text())
    except OSError:
        return None
    for root, where, kind, options in mounts:  # version 1 has the CPU where it is mounted at all
        if kind == "cgroup" and "cpu" in options.split(","):
            return _Hierarchy(
                Path(where), root, re.compile(r"^\d+:(?:\w+,)*cpu(?:,\w+)*:(/.*)$", re.MULTILINE)
            )
    for root, where, kind, _options in mounts:
        if kind == "cgroup2":
            return _Hierarchy(Path(where), root, re.compile(r"^0::(/.*)$", re.MULTILINE))
    return None


@dataclass(slots=True)
class Priority:
    """Tells which processes yield to the one that makes it."""

    proc: Path = PROC
    idle: bool | None = None
    """Whether we are of the policy ``SCHED_IDLE`` ourselves; None: asked of the kernel."""
    _where: _Hierarchy | None = None
    _own: tuple[str, ...] | None = None
    _own_autogroup: str = ""
    _idle_groups: dict[tuple[str, ...], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.idle is None:
            self.idle = os.sched_getscheduler(0) == os.SCHED_IDLE
        self._where = _hierarchy(self.proc)
        self._own = self._group("self")
        self._own_autogroup = self._autogroup("self")

    def look_again(self) -> None:
        """Forget which cgroups were idle: that may have changed."""
        self._idle_groups.clear()

    def yields(self, pid: int, policy: int) -> bool:
        """Return whether this process, of that scheduling policy, runs only where none of ours wants to."""
        theirs = self._group(str(pid))
        if theirs is None or self._own is None:
            # No cgroups here (or none to be seen): policies are compared directly.
            return theirs is self._own and self._yields_beside(str(pid), policy)
        shared = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(theirs, self._own, strict=False))
        )
        if len(theirs) == len(self._own) == shared:
            return self._yields_beside(str(pid), policy)
        # The kernel compares what stands side by side: the two groups, or a group and a process.
        if shared < len(theirs):
            return self._is_idle(theirs[: shared + 1]) and not self._we_are_idle(shared)
        return False

    def _we_are_idle(self, shared: int) -> bool:
        assert self._own is not None
        return self._is_idle(self._own[: shared + 1]) if shared < len(self._own) else bool(self.idle)

    def _yields_beside(self, pid: str, policy: int) -> bool:
        if policy != os.SCHED_IDLE or self.idle:
            return False
        # An autogroup stands for a session in the root cgroup, and has a share whatever is in it.
        return bool(self._own) or self._autogroup(pid) == self._own_autogroup

    def _group(self, pid: str) -> tuple[str, ...] | None:
        if self._where is None:
            return None
        try:
            found = self._where.line.search((self.proc / pid / "cgroup").read_text())
        except OSError:
            return None
        if found is None:
            return None
        path, root = found[1], self._where.root.rstrip("/")
        if root and not (path + "/").startswith(root + "/"):
            return None
        parts = tuple(part for part in path.removeprefix(root).split("/") if part)
        return None if ".." in parts else parts

    def _is_idle(self, group: tuple[str, ...]) -> bool:
        known = self._idle_groups.get(group)
        if known is None:
            assert self._where is not None
            if len(self._idle_groups) >= _MAX_GROUPS:
                return False
            try:
                text = self._where.folder.joinpath(*group, "cpu.idle").read_text()
            except OSError:  # before Linux 5.15, or not ours to read
                text = ""
            known = self._idle_groups[group] = text.strip() == "1"
        return known

    def _autogroup(self, pid: str) -> str:
        try:
            return (self.proc / pid / "autogroup").read_text().partition(" ")[0]
        except OSError:  # this kernel has none
            return ""
