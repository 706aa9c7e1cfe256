"""Find and remove what dead runs left behind, and nothing else (promise P17).

A run that ends tidily leaves nothing. One that was killed with SIGKILL leaves namespaces (with the veths,
TUNs and qdiscs in them) and perhaps processes. Each start of the runner calls :func:`clean`; ``doctor
--leftovers`` shows :func:`find`. Only runs whose registry lock is free are touched (see
:mod:`harness.network.registry`): a run that lives, another program's namespace and a reused pid are left alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.network.registry import (
    NAME_PREFIX,
    RUN_VARIABLE,
    Record,
    forget,
    namespace_folder,
    registry_folder,
    start_time,
    take_dead,
)

_KILL_WAIT_S = 5.0
"""How long a killed process may take to go; one in an uninterruptible sleep is reported instead."""


Processes = Sequence[tuple[str, int, int | None]]
"""Role, pid and start time of recorded processes."""


@dataclass(frozen=True)
class Leftover:
    """One thing of a dead run. ``kind`` is ``process``, ``namespace`` or ``record``."""

    kind: str
    name: str
    run: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of run {self.run}"


def find() -> list[Leftover]:
    """Return what dead runs left, without touching it."""
    with take_dead(registry_folder()) as records:
        return [item for record in records for item in _of(record)]


def clean() -> list[Leftover]:
    """Remove what dead runs left and return what was removed.

    A thing that cannot be removed (a process stuck in the kernel) keeps its record, so :func:`find` shows it.
    """
    folder = registry_folder()
    removed = []
    with take_dead(folder) as records:
        if not records:
            return []
        # Only now: a run without namespaces of its own need not load the netlink library.
        from harness.network.namespaces import remove_name

        for record in records:
            found = _of(record)
            # Processes first: a descriptor in one of them keeps a namespace alive behind its removed name.
            kill_processes(record.id, _namespaces(record), record.processes)
            for path in _namespaces(record):
                remove_name(path)
            left = [item for item in _of(record) if item.kind != "record"]
            if not left:
                forget(folder, record.id)
            removed += [item for item in found if item not in left]
    return removed


def processes_of(run: str, namespaces: list[Path], recorded: Processes) -> list[int]:
    """Return the pids that carry the run's mark, live in a namespace of it, or are recorded and the same."""
    inodes = set()
    for path in namespaces:
        with contextlib.suppress(OSError):
            inodes.add(path.stat().st_ino)
    known = {pid for _role, pid, start in recorded if start is not None and start_time(pid) == start}
    mark = f"{RUN_VARIABLE}={run}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        if pid == os.getpid() or _is_zombie(pid):
            continue
        if pid in known or _carries(entry, mark) or _inside(entry, inodes):
            found.append(pid)
    return sorted(found)


def kill_processes(run: str, namespaces: list[Path], recorded: Processes) -> list[int]:
    """Kill the run's processes and wait for their end; return the pids that would not go within seconds."""
    stuck = []
    # Twice: one of them may have started another between the look and the kill.
    for _round in range(2):
        found = processes_of(run, namespaces, recorded)
        if not found:
            return []
        stuck = [pid for pid in found if not _kill(pid, run, namespaces, recorded)]
    return stuck


def _kill(pid: int, run: str, namespaces: list[Path], recorded: Processes) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # The descriptor pins this process: if it still bears the run's mark now, no other can be hit.
        if pid not in processes_of(run, namespaces, recorded):
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(_KILL_WAIT_S * 1000))
    finally:
        os.close(fd)


def _of(record: Record) -> list[Leftover]:
    namespaces = _namespaces(record)
    items = []
    for pid in processes_of(record.id, namespaces, record.processes):
        command = _command(pid)
        items.append(Leftover("process", f"{pid} {command}".strip(), record.id))
    items += [Leftover("namespace", path.name, record.id) for path in namespaces if _exists(path)]
    items.append(Leftover("record", record.id, record.id))
    return items


def _namespaces(record: Record) -> list[Path]:
    recorded = [Path(name) for name in record.namespaces]
    # The record's file may have been lost in the crash; the name carries the run too.
    by_name = namespace_folder().glob(f"{NAME_PREFIX}{record.id}-*")
    return sorted({*recorded, *by_name})


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _carries(entry: Path, mark: bytes) -> bool:
    try:
        return mark in (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _inside(entry: Path, inodes: set[int]) -> bool:
    if not inodes:
        return False
    try:
        return (entry / "ns" / "net").stat().st_ino in inodes
    except OSError:
        return False


def _is_zombie(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return " ".join(raw.decode(errors="replace").split("\0")[:4]).strip()
