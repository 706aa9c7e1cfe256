"""A stream worker that says what it holds: ``python metered_worker.py client|host`` with ``--channel FD`` as usual.

The worker's own ``main`` runs. Each byte that comes on the descriptor in METER is answered with a line: the bytes
that are allocated in this process after a collection, by glibc's own count. With PYTHONMALLOC=malloc in its
environment that is every byte of Python, of the core and of the codecs, and none that an allocator merely keeps.

It takes seconds what otherwise takes half an hour: a host's frame clock runs in virtual time, where nothing is waited
for, so that each report is about 60 frames as it is at 60 Hz; a client's worker reports every REPORT_MS milliseconds.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import socket
import sys
import threading
import time

from punktfunk.host.native.sender import SENDER
from punktfunk.host.stream.handle import sender_arguments


class VirtualTime:
    """A clock that stands still but for the sleeps of the frame clock, which are over at once."""

    def __init__(self) -> None:
        self._now_ns = time.monotonic_ns()

    def now(self) -> int:
        """Return the time."""
        return self._now_ns

    def sleep_until(self, deadline_ns: int, _stopping: threading.Event) -> None:
        """Be there."""
        self._now_ns = max(self._now_ns, deadline_ns)


MALLINFO2_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class Mallinfo2(ctypes.Structure):
    """What ``mallinfo2`` returns (mallinfo(3), glibc 2.33)."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2_FIELDS]


mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2


def held() -> int:
    """Return the bytes that are allocated: in all heaps, and in mappings of their own."""
    gc.collect()
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


def answer(meter: socket.socket) -> None:
    """Answer until the other end is gone."""
    while meter.recv(1):
        meter.sendall(b"%d\n" % held())


WORKERS = {"host": "punktfunk.host.stream.worker", "client": "punktfunk.client.worker"}


def main() -> int:
    """Run the worker of the given side."""
    side = sys.argv.pop(1)
    worker = importlib.import_module(WORKERS[side])
    if side == "host":
        clock = VirtualTime()
        sys.argv += sender_arguments([SENDER])
        worker.monotonic_ns, worker.sleep_until = clock.now, clock.sleep_until
    else:
        worker.S = int(os.environ["REPORT_MS"]) * 1_000_000
    meter = socket.socket(fileno=int(os.environ["METER"]))
    threading.Thread(target=answer, args=(meter,), name="meter", daemon=True).start()
    status: int = worker.main()
    return status


if __name__ == "__main__":
    ended = main()
    sys.stderr.flush()
    os._exit(ended)
