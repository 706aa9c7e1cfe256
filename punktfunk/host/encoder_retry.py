"""Asks encoders of GPUs again when a stream begins, where what they answered may have changed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Final

from punktfunk import log
from punktfunk.errors import PunktfunkError
from punktfunk.media.encoders import ANSWERS, EncoderName

LIMIT_S: Final = 3.0
"""A stream waits no longer for the answer: a GPU that works takes a second for it. What comes later is the next's."""


class EncoderRetry:
    """Asks in a thread of its own, once at a time; no host waits for a GPU. Belongs to one event loop."""

    def __init__(self) -> None:
        self._answered: asyncio.Event | None = None
        """Set once those who are asked now have answered; None while nobody is asked."""
        self._log = log.get("host")

    @property
    def due(self) -> bool:
        """Whether a stream that begins has something to wait for."""
        return self._answered is not None or ANSWERS.due

    async def settle(self) -> None:
        """Ask for what is due, and wait for the answer, for a short time at most."""
        if not self.due:
            return
        if self._answered is None:
            self._answered = asyncio.Event()
            loop = asyncio.get_running_loop()
            # A daemon: no host waits with its end for a driver that hangs.
            threading.Thread(target=self._ask, args=[loop], name="encoder-retry", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                await self._answered.wait()

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs in the thread."""
        told: dict[EncoderName, PunktfunkError | None] = {}
        try:
            told = ANSWERS.ask_again()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._take, told)

    def _take(self, told: dict[EncoderName, PunktfunkError | None]) -> None:
        if self._answered is not None:
            self._answered.set()
        self._answered = None
        for name, error in told.items():
            if error is None:
                self._log.info("encoder works again", encoder=name)
        refused = {name: error.cause for name, error in told.items() if error is not None}
        if refused:
            self._log.info("encoders asked again", refused="; ".join(dict.fromkeys(refused.values())))
