"""Enter a network namespace, tie this process's life to its parent's, and become another program.

Run as ``python -S -I enter.py NAMESPACE PARENT_PID PROGRAM ARGUMENT…`` with nothing but the standard
library, so that it takes some tens of milliseconds. A launcher instead of ``preexec_fn``, which is not safe
in a process with threads; and the parent-death signal is tied to the *thread* that forked, which here is
the one that waits.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000


def main() -> None:
    """Do what the module says; exits with 126 when the namespace cannot be entered."""
    namespace, parent, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("enter: the parent died before this process was tied to it")
    if namespace != "-":
        fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        if libc.setns(fd, CLONE_NEWNET):
            number = ctypes.get_errno()
            sys.stderr.write(f"enter: {namespace}: {os.strerror(number)}\n")
            sys.exit(126)
    os.execvp(command[0], command)  # noqa: S606 - becoming the program is the purpose


if __name__ == "__main__":
    main()
