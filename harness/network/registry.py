"""The registry of live runs: who owns which namespace and process.

A registration is two files in one folder: ``ID.lock``, held by ``flock`` for as long as its process lives,
and ``ID.json``, which names what the run makes *before* it makes it. The kernel drops the lock however the
process ends, so "the lock can be taken" is exactly "that run is dead".

Processes are found by three marks, any of which suffices: the environment variable :data:`RUN_VARIABLE`
carrying the registration's id (children of children inherit it), living in a namespace of the run, or a
recorded pid with the recorded start time (a reused pid has another).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from punktfunk.errors import HarnessError

RUN_VARIABLE = "PUNKTFUNK_LAB_RUN"
"""Environment variable that every process of a run carries."""

FOLDER_VARIABLE = "PUNKTFUNK_LAB_DIR"
"""Overrides the registry's folder (the tests use one of their own)."""

NAME_PREFIX = "pfl-"
"""Every namespace of ours is called ``pfl-<registration id>-<role>``."""


def registry_folder() -> Path:
    """Return the registry's folder and make it, mode 0700.

    ``/run/punktfunk-lab`` where /run is writable (root), else under ``XDG_RUNTIME_DIR``, else under the
    temporary folder with the user's id. Raises :class:`HarnessError` when the folder belongs to someone
    else.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if named:
        folder = Path(named)
    elif os.access("/run", os.W_OK):
        folder = Path("/run/punktfunk-lab")
    elif runtime:
        folder = Path(runtime) / "punktfunk-lab"
    else:
        folder = Path(f"/tmp/punktfunk-lab-{os.getuid()}")  # noqa: S108 - owner and mode are checked below
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise HarnessError(f"{folder} is not a folder of this user", f"set {FOLDER_VARIABLE} to one that is")
    return folder


def namespace_folder() -> Path:
    """Return where namespaces are named.

    iproute2's folder where it can be used, so that ``ip netns`` shows them; inside a user namespace, where
    /run stays the real root's, a folder of the registry.
    """
    if os.access("/run", os.W_OK):
        return Path("/run/netns")
    folder = registry_folder() / "netns"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def start_time(pid: int) -> int | None:
    """Return when process ``pid`` started, in clock ticks since boot (proc(5), field 22); None if gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The command name may hold spaces and parentheses: count from behind its closing one.
    return int(text.rpartition(")")[2].split()[19])


@dataclass
class Record:
    """What a registration says of its run."""

    id: str
    owner_pid: int
    owner_start: int | None
    started: float
    namespaces: list[str] = field(default_factory=list)
    """Paths of the names."""
    processes: list[tuple[str, int, int | None]] = field(default_factory=list)
    """Role, pid, start time."""

    def to_json(self) -> str:
        """Return the record as one JSON object."""
        return json.dumps(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record; one that a crash cut short reads as empty."""
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(
                id=str(data["id"]),
                owner_pid=int(data["owner_pid"]),
                owner_start=data["owner_start"],
                started=float(data["started"]),
                namespaces=[str(name) for name in data["namespaces"]],
                processes=[(str(role), int(pid), start) for role, pid, start in data["processes"]],
            )
        except (ValueError, KeyError, TypeError):
            return cls(id="", owner_pid=-1, owner_start=None, started=0.0)


class Registration:
    """One live run's entry; a context manager. Its removal is the last step of a tidy end.

    ``id`` is the run id cut to what a name may hold plus four random hex digits, so that cases running beside
    each other in one run, and two runs with the same id, stay apart.
    """

    def __init__(self, run_id: str) -> None:
        base = re.sub(r"[^a-z0-9]+", "-", run_id.lower()).strip("-")[:48] or "run"
        self.id = f"{base}-{secrets.token_hex(2)}"
        folder = registry_folder()
        self._json = folder / f"{self.id}.json"
        self._lock = folder / f"{self.id}.lock"
        self._fd = _create_locked(self._lock)
        self.record = Record(self.id, os.getpid(), start_time(os.getpid()), time.time())
        self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def environment(self) -> dict[str, str]:
        """Return the mark that every process of the run carries in its environment."""
        return {RUN_VARIABLE: self.id}

    def name(self, role: str) -> str:
        """Return the namespace name of ``role`` in this run."""
        return f"{NAME_PREFIX}{self.id}-{role}"

    def add_namespace(self, path: Path) -> None:
        """Record a namespace; call this before it is made."""
        self.record.namespaces.append(str(path))
        self._write()

    def add_process(self, role: str, pid: int) -> None:
        """Record a process."""
        self.record.processes.append((role, pid, start_time(pid)))
        self._write()

    def close(self) -> None:
        """Remove the entry and let go of the lock."""
        if self._fd < 0:
            return
        self._json.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1

    def _write(self) -> None:
        # Write beside and rename: a reader sees the old record or the new one, never half of one.
        fresh = self._json.with_suffix(".new")
        fresh.write_text(self.record.to_json(), encoding="utf-8")
        fresh.rename(self._json)


def _create_locked(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        # A cleaner may have taken the file for a dead run's between open and flock, and unlinked it.
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


@contextlib.contextmanager
def take_dead(folder: Path) -> Iterator[list[Record]]:
    """Lock and yield the records of all dead runs in ``folder``; nobody else can take them meanwhile."""
    with contextlib.ExitStack() as stack:
        records = []
        for lock in sorted(folder.glob("*.lock")):
            try:
                fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            stack.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its run lives
            if not os.fstat(fd).st_nlink:
                continue  # it ended tidily between our open and our lock
            try:
                record = Record.from_json(lock.with_suffix(".json").read_text(encoding="utf-8"))
            except FileNotFoundError:
                record = Record.from_json("")
            record.id = lock.stem
            records.append(record)
        yield records


def forget(folder: Path, run: str) -> None:
    """Remove the entry of a dead run; call this while :func:`take_dead` holds it."""
    for suffix in (".json", ".new", ".lock"):
        (folder / f"{run}{suffix}").unlink(missing_ok=True)
