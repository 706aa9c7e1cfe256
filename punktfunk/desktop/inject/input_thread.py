"""Input put in by a thread of its own, so that an event loop never waits for a compositor that hangs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

from punktfunk.errors import DesktopError
from punktfunk.input import InputEvent

MAX_WAITING: Final = 1024
"""Events that a compositor has not taken yet, a second of a fast mouse; of more, none is taken."""
_LOOK_S: Final = 0.5


class InputThread:
    """Puts events in, one by one in the order in which they came, until it is closed.

    ``put_in`` is called in the thread and may block. What it raises, the next :meth:`inject` raises.
    """

    def __init__(self, put_in: Callable[[InputEvent], None]) -> None:
        self._put_in = put_in
        self._waiting: queue.SimpleQueue[InputEvent | threading.Event | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="desktop-input", daemon=True)
        self._thread.start()

    def inject(self, event: InputEvent) -> None:
        """Have an event put in, without waiting for that.

        Raises what an earlier event has met, once, and DesktopError where too many wait; either loses this one.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if self._waiting.qsize() >= MAX_WAITING:
            raise DesktopError("more input comes than the compositor takes")
        self._waiting.put(event)

    def forget_failure(self) -> None:
        """Raise nothing of what went wrong so far: what events are put into now is another compositor."""
        self._failure = None

    def settle(self) -> None:
        """Wait until every event so far has been put in, or has failed."""
        settled = threading.Event()
        self._waiting.put(settled)
        while not settled.wait(_LOOK_S) and self._thread.is_alive():
            pass

    def close(self) -> None:
        """Put nothing more in, and wait for what is being put in. Closing twice is harmless."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            if isinstance(waiting, threading.Event):
                waiting.set()
            elif not self._closed:
                try:
                    self._put_in(waiting)
                except Exception as error:  # noqa: BLE001 - raised again where events come from
                    self._failure = error
