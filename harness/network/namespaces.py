"""Network namespaces, entered by a thread so that the caller's own namespace never changes.

``setns(2)`` and ``unshare(2)`` with ``CLONE_NEWNET`` act on the calling thread alone. Every step that must
happen inside a namespace (opening a socket, a netlink conversation, opening a TUN) therefore runs in a
thread made for it, which ends in that namespace; descriptors it opened stay valid for the whole process.
Nothing forks, so this is safe beside other threads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from punktfunk.errors import HarnessError, PrivilegeError

_T = TypeVar("_T")

CLONE_NEWNET = 0x40000000
"""``linux/sched.h``; ``os.CLONE_NEWNET`` exists from Python 3.12 on."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EPERM:
        raise PrivilegeError(
            f"{call} for a network namespace is not permitted",
            "run as root, or where the kernel allows user namespaces: unshare -Urnm COMMAND",
        )
    raise OSError(number, f"{call}: {os.strerror(number)}")


def setns(fd: int) -> None:
    """Move the calling thread into the network namespace behind ``fd``.

    Raises :class:`PrivilegeError` without ``CAP_SYS_ADMIN`` over that namespace, :class:`OSError` otherwise.
    """
    _check(_libc.setns(fd, CLONE_NEWNET), "setns")


class _Call(threading.Thread, Generic[_T]):
    """A thread whose result or exception reaches the one who joins it."""

    def __init__(self, function: Callable[[], _T]) -> None:
        super().__init__(name="namespace", daemon=True)
        self._function = function
        self._result: _T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - handed to the caller by result()
            self._error = error

    def result(self) -> _T:
        self.join()
        if self._error is not None:
            raise self._error
        return cast(_T, self._result)


def in_thread(function: Callable[[], _T]) -> _T:
    """Run ``function`` in a thread of its own and return or raise what it does."""
    call = _Call(function)
    call.start()
    return call.result()


class Namespace:
    """A named network namespace of ours.

    ``path`` is the bind mount that names it, ``fd`` an open descriptor of it. Removing the name destroys the
    namespace and all devices and qdiscs in it as soon as no process and no descriptor is left inside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def create(cls, path: Path) -> Namespace:
        """Make a namespace and name it ``path``; its loopback is up.

        Raises :class:`PrivilegeError` without the right to, :class:`HarnessError` when the name exists.
        """

        from pyroute2 import netns  # a tenth of a second of CPU, which only those pay who make one

        def make() -> None:
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            try:
                # /proc/thread-self/ns/net: the new namespace is this thread's, not the process's.
                netns.attach(str(path), "thread-self")
            except FileExistsError as error:
                raise HarnessError(f"the network namespace {path.name} exists already") from error
            except OSError as error:
                if error.errno in (errno.EPERM, errno.EACCES):
                    raise PrivilegeError(
                        f"a network namespace cannot be named in {path.parent}",
                        "run as root, or in a user and mount namespace of your own: unshare -Urnm COMMAND",
                    ) from error
                raise

        in_thread(make)
        namespace = cls(path)
        namespace.run(_loopback_up)
        return namespace

    def run(self, function: Callable[[], _T]) -> _T:
        """Run ``function`` in a thread inside the namespace; return or raise what it does."""

        def inside() -> _T:
            setns(self.fd)
            return function()

        return in_thread(inside)

    def inode(self) -> int:
        """Return the namespace's inode, which ``/proc/PID/ns/net`` of its processes shows too."""
        return os.fstat(self.fd).st_ino

    def close(self) -> None:
        """Close the descriptor; the name stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def remove(self) -> None:
        """Close the descriptor and remove the name. Never raises for a name that is gone."""
        self.close()
        remove_name(self.path)


def remove_name(path: Path) -> None:
    """Unmount and unlink the name of a namespace; a name that does not exist is no error."""
    from pyroute2 import netns

    try:
        netns.remove(str(path))
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise


def _loopback_up() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        ip.link("set", index=1, state="up")


def netlink(namespace: Namespace, talk: Callable[[Any], _T]) -> _T:
    """Hold a route-netlink conversation inside ``namespace``: ``talk`` is given an open ``IPRoute``."""
    from pyroute2 import IPRoute

    def inside() -> _T:
        with IPRoute() as ip:
            return talk(ip)

    return namespace.run(inside)
