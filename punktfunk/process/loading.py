"""Start and end a program without collecting garbage: what it loads stays, and what it leaves goes with its process.

`punktfunk serve` makes some 160,000 objects before it does anything, and keeps them. Python's collector looks through
them again and again while they are made, and once more at the end: a quarter of the CPU time of a start and an end.
"""

from __future__ import annotations

import atexit
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOADED: Final = 1_000_000
"""Objects that may be made before the first collection; more than any program of ours loads."""

_usual: tuple[int, int, int] | None = None
_more = threading.Lock()


def begin() -> None:
    """Collect nothing until :func:`ready`, nor when the program ends; for a program's first line."""
    global _usual  # noqa: PLW0603 - the collector is the process's, and so is this
    _usual = _usual or gc.get_threshold()
    gc.set_threshold(LOADED)
    # The interpreter's end looks for cycles in all that is left, of which the kernel would free every page at once.
    atexit.register(gc.freeze)


def ready() -> None:
    """Collect as usual from now on, but never look at what is there already; nothing without :func:`begin`."""
    global _usual  # noqa: PLW0603 - see begin
    if _usual is not None:
        gc.freeze()
        gc.set_threshold(*_usual)
        _usual = None


@contextmanager
def more() -> Iterator[None]:
    """Collect nothing while something large is loaded by a program that runs; one thread after the other."""
    with _more:
        usual = gc.get_threshold()
        gc.set_threshold(LOADED)
        try:
            yield
        finally:
            gc.set_threshold(*usual)
