"""Hold a program and all that it starts in a PID namespace, and become its keeper.

Run as ``python -S -I contain.py PROGRAM ARGUMENT…`` behind ``enter.py``, with nothing but the standard library. The
namespace's first process starts the program, hands on signals and ends with the program's status; when it ends,
however it ends, the kernel kills everything else in the namespace, daemons included. Between it and the runner stands
this process: killing it kills the first one, and so the whole tree.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 1 << 18
PR_SET_PDEATHSIG = 1
MAX_FILE_BYTES = 4 << 30
"""Of a file that the program writes, a core dump excepted, of which there is none."""
HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
CANNOT = 126
"""Exit status where the namespace cannot be made or the program cannot be started."""


def main() -> None:
    """Do what the module says; exits with 126 and a word on standard error where it cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWPID | CLONE_NEWNS):
        _cannot(f"no PID namespace: {os.strerror(ctypes.get_errno())}")
    first = os.fork()
    if first:
        sys.exit(_keep(first))
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Its own processes in /proc, as a program expects that looks itself up there; where a container forbids that,
    # the outer ones stay.
    libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
    program = os.fork()
    if program == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, _at_most(resource.RLIMIT_FSIZE, MAX_FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - becoming the program is the purpose
        except OSError as error:
            _cannot(f"{sys.argv[1]}: {error.strerror}")
    os._exit(_keep(program))


def _keep(child: int) -> int:
    """Hand signals on to ``child``, bury orphans, and return its exit status, 128 + n for signal n."""

    def hand_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in HANDED_ON:
        signal.signal(number, hand_on)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def _at_most(limit: int, value: int) -> tuple[int, int]:
    """Return a soft and a hard limit that are no higher than ``value`` and what is allowed already."""
    soft, hard = (
        value if each == resource.RLIM_INFINITY else min(each, value) for each in resource.getrlimit(limit)
    )
    return soft, hard


def _cannot(why: str) -> None:
    sys.stderr.write(f"contain: {why}\n")
    sys.stderr.flush()
    os._exit(CANNOT)


if __name__ == "__main__":
    main()
