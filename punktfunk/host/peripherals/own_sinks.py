"""The sink of our own of a host that is to have one: there while somebody listens to the user's own session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from punktfunk import log
from punktfunk.desktop.audio import SoundPlace
from punktfunk.desktop.audio.own_sink import OwnSink, restore_left
from punktfunk.errors import PunktfunkError

_END_LIMIT_S: Final = 1.5


class OwnSinks:
    """Makes the sink with the first who listens, and takes it away with the last; belongs to one event loop.

    ``note`` is the file that :class:`OwnSink` leaves; ``wanted`` is the setting. A sink that cannot be made is said so,
    and what the speakers play is recorded as without the setting.
    """

    def __init__(self, note: Path, wanted: Callable[[], bool]) -> None:
        self._note = note
        self._wanted = wanted
        self._work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="own-sink")
        self._sink: OwnSink | None = None
        """Of the thread."""
        self._ready = False
        self._asked = False
        self._times = 0
        """How often one was asked for."""
        self._log = log.get("host.sound")

    def restore(self) -> None:
        """Put back what a host that was killed has left."""
        self._later(lambda: restore_left(self._note))

    def takes(self, place: SoundPlace | None) -> bool:
        """Return whether what would be heard at ``place`` plays into the sink, or soon will."""
        return self._asked and _users(place)

    def place(self, place: SoundPlace | None) -> SoundPlace | None:
        """Return where to record what would be heard at ``place``."""
        return OwnSink.place if self._ready and _users(place) else place

    def begin(self, place: SoundPlace | None, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` once the sink is there, or cannot be; at once where none is wanted for ``place``."""
        if self._ready or not _users(place) or not self._wanted():
            go_on()
            return
        loop = asyncio.get_running_loop()
        if not self._asked:
            self._asked = True
            self._times += 1
            self._later(self._make)

        asked = self._times

        def made() -> None:
            # Of one that was given up meanwhile nothing follows for the one that was asked for since.
            if asked == self._times:
                self._ready = self._asked and self._sink is not None
                self._asked = self._ready
            go_on()

        self._later(lambda: loop.call_soon_threadsafe(made))

    def renew(self, go_on: Callable[[], None]) -> None:
        """Make it anew, for nothing can be recorded of it: its server has ended, and perhaps begun again."""
        if self._ready:
            self._ready = self._asked = False
            self._later(self._take_away)
            self.begin(OwnSink.place, go_on)

    def end(self) -> None:
        """Take it away: nobody listens any more."""
        if self._asked:
            self._asked = self._ready = False
            self._later(self._take_away)

    async def close(self) -> None:
        """Take it away and wait for that."""
        self.end()
        done = self._work.submit(lambda: None)
        self._work.shutdown(wait=False)
        await asyncio.wait([asyncio.wrap_future(done)], timeout=_END_LIMIT_S)

    def _make(self) -> None:
        try:
            self._sink = OwnSink(self._note)
        except PunktfunkError as error:
            self._log.warning("no sink of our own", cause=error.cause, hint=error.hint)
        else:
            self._log.info("programs play into a sink of our own")

    def _take_away(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()
            self._log.info("programs play on the speakers again")

    def _later(self, work: Callable[[], object]) -> None:
        self._work.submit(work).add_done_callback(_raise_defect)


def _users(place: SoundPlace | None) -> bool:
    """Return whether that is in the user's own sound server."""
    return place is not None and not place.server


def _raise_defect(done: Future[object]) -> None:
    """Raise what nobody foresaw, so that ``concurrent.futures`` logs it: nobody asks for the result."""
    done.result()
