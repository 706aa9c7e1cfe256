"""What the programs of a session print: read so that they never block, and only its end kept."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from typing import Final

_KEPT_BYTES: Final = 2048
_READ_BYTES: Final = 1 << 16
_LINES: Final = 3


class ProgramOutput:
    """The reading end of a program's standard output and error, in a supervisor's selector.

    Stays until the last process that holds the other end is gone: a daemon may outlive the program that started
    it.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._tail = b""
        self._descriptor, self.writing_end = os.pipe2(os.O_CLOEXEC)
        """``writing_end`` is the program's; to be closed here once it has started."""
        os.set_blocking(self._descriptor, False)
        read: Callable[[], None] = self.read
        selector.register(self._descriptor, selectors.EVENT_READ, read)

    def read(self) -> None:
        """Take what there is."""
        while self._descriptor >= 0:
            try:
                part = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return
            if not part:
                self.close()
                return
            self._tail = (self._tail + part)[-_KEPT_BYTES:]

    def last_words(self) -> str:
        """Return the last lines that were printed."""
        self.read()
        lines = [line.strip() for line in self._tail.decode(errors="replace").splitlines()]
        return " / ".join([line for line in lines if line][-_LINES:])

    def close(self) -> None:
        """Stop reading. Closing twice is harmless."""
        if self._descriptor >= 0:
            self._selector.unregister(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
