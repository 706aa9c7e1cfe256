"""A session that leaves nothing behind: its processes live in a PID namespace that ends with its first one.

The supervisor enters a user, a mount and a PID namespace of its own before it starts anything. It is then the
namespace's first process: when it ends, however it ends, the kernel kills every other one in it, those that
have become daemons included. Between it and the process that started it stands a keeper, the only one that
the outside sees as a child; killing the keeper kills the supervisor.

Where the kernel or a container forbids user namespaces, a supervisor without root goes on outside of them: it
adopts orphaned descendants, and asks for each child's death with its own. A process that has left its parent
can then survive a supervisor that is killed. Root cannot go on: sway refuses to run as root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Final

from punktfunk.errors import CapabilityError

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 0x4000, 1 << 19
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SESSION_UID: Final = 1000
"""Whom root is seen as inside."""


class Containment(StrEnum):
    """What holds the processes of a session together."""

    NAMESPACE = "namespace"
    DESCENT = "descent"


def enter() -> Containment:
    """Contain this process and all that it starts from now on. To be called first, with one thread.

    Returns in the process that shall go on, which is another one in a namespace. Raises CapabilityError for
    root where no user namespace can be made.
    """
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID) == 0:
        _map_ids(uid, gid)
        _fork_first_process(libc)
        _mount_proc(libc)
        return Containment.NAMESPACE
    reason = os.strerror(ctypes.get_errno())
    if uid == 0:
        raise CapabilityError(
            f"no user namespace can be made ({reason}), and a compositor does not run as root",
            "start punktfunk as an ordinary user, or allow user namespaces",
        )
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return Containment.DESCENT


def die_with_parent() -> None:
    """Ask for SIGKILL when the parent ends; to be called in a child between fork and exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _map_ids(uid: int, gid: int) -> None:
    this = Path("/proc/self")
    (this / "setgroups").write_text("deny")  # a map of one group is only accepted with this
    (this / "uid_map").write_text(f"{uid or _SESSION_UID} {uid} 1")
    (this / "gid_map").write_text(f"{gid or _SESSION_UID} {gid} 1")


def _fork_first_process(libc: ctypes.CDLL) -> None:
    """Go on as the first process of the new PID namespace; the one that called stays outside as keeper."""
    child = os.fork()
    if child == 0:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    # The end of the supervisor must be the end of file on whatever it was given.
    os.closerange(3, 1 << 16)
    while True:
        with contextlib.suppress(InterruptedError):
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _mount_proc(libc: ctypes.CDLL) -> None:
    """Show the namespace's own processes in /proc. Some containers forbid it; then the outer one stays."""
    libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None)
    libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)
