"""The way back of a stream's pictures, once what showed them has gone: another screen from the desktop, or the end.

Belongs to the host's event loop. Meanwhile the stream shows its last picture (``media/sources/still.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from punktfunk.clock import monotonic_ns
from punktfunk.errors import DesktopError, PunktfunkError, SharingStoppedError
from punktfunk.host.stream.sources import Shown

PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""Before each try; a compositor that is started again takes a second or two, one that a person starts longer."""
_TAKEN_LIMIT_S: Final = 15.0
"""For a worker to open what it was told, and to get a first picture of it."""
_MOST: Final = 5
_WITHIN_NS: Final = 120_000_000_000
"""So many losses within so long are one that lasts."""


class Returning:
    """Brings the pictures of one stream back.

    ``renew`` has the desktop give another screen, ``use`` tells the worker of it. ``back`` is called when there are
    pictures again, and ``given_up`` where none came.
    """

    def __init__(
        self,
        renew: Callable[[], Awaitable[Shown]],
        use: Callable[[Shown], None],
        *,
        back: Callable[[], None],
        given_up: Callable[[PunktfunkError], None],
    ) -> None:
        self._renew = renew
        self._use = use
        self._back = back
        self._given_up = given_up
        self._losses: list[int] = []
        self._answer: asyncio.Future[PunktfunkError | None] | None = None
        self._lost_again: PunktfunkError | None = None
        """Why the screen that a worker has just taken is gone already: both may be told at once."""
        self._task: asyncio.Task[None] | None = None
        self._renewing: asyncio.Future[Shown] | None = None

    def lost(self, error: PunktfunkError) -> None:
        """Begin: the worker has no more pictures."""
        now_ns = monotonic_ns()
        self._losses = [each for each in self._losses if now_ns - each < _WITHIN_NS]
        self._losses.append(now_ns)
        self._lost_again = error
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._bring_back(error))
            self._task.add_done_callback(self._ended)

    def taken(self, error: PunktfunkError | None) -> None:
        """Take the worker's word on the screen that it was told of: why it has no picture of that, ``None``: it has."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(error)

    def cancel(self) -> None:
        """Try no more: the stream ends."""
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """End the stream where something went wrong that nobody foresaw, and raise it for the loop to log."""
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._given_up(DesktopError(f"the desktop was not brought back: {defect}"))
            raise defect

    async def _bring_back(self, error: PunktfunkError) -> None:
        while len(self._losses) <= _MOST:
            self._lost_again = None
            failed = await self._tries(error)
            if failed is not None:
                error = failed
                break
            again = self._gone_again()
            if again is None:
                self._back()
                return
            error = again
        self._given_up(error)

    def _gone_again(self) -> PunktfunkError | None:
        """Return why what was shown just now has gone already; ``None``: it is there."""
        return self._lost_again

    async def _tries(self, error: PunktfunkError) -> PunktfunkError | None:
        """Have screens made until one is shown; return why the last was not."""
        failed: PunktfunkError | None = error
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            failed = await self._try()
            # A person at the desktop wants it so.
            if failed is None or isinstance(failed, SharingStoppedError):
                break
        return failed

    async def _try(self) -> PunktfunkError | None:
        """Have one more screen made and shown; return why that failed."""
        self._answer = asyncio.get_running_loop().create_future()
        # Not cancelled with the rest: an output that is being made has to be given back by whoever lent it. Nor is it
        # shielded: a shield logs what fails for a stream that is over.
        renewing = self._renewing = asyncio.ensure_future(self._renew())
        try:
            try:
                await asyncio.wait({renewing})
            except asyncio.CancelledError:
                renewing.add_done_callback(_close)
                raise
            self._use(renewing.result())
            async with asyncio.timeout(_TAKEN_LIMIT_S):
                return await self._answer
        except TimeoutError:
            return DesktopError("the desktop's new output gives no picture")
        except PunktfunkError as error:
            return error


def _close(renewed: asyncio.Future[Shown]) -> None:
    """Close what was made for a stream that has ended meanwhile; why it was not made is of no interest any more."""
    if not renewed.cancelled() and renewed.exception() is None:
        renewed.result().close()
