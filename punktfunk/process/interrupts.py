"""Keep a terminal's Ctrl-C from programs that are just starting: it reaches the whole process group."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let a child that is started meanwhile begin with SIGINT blocked; our own waits until the context ends.

    The child's interpreter would die of it with a traceback while it imports. :func:`ignored` is for the child
    to call once it runs.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def ignored() -> None:
    """Ignore SIGINT from now on, one that came during the start included: whoever started us decides about it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
