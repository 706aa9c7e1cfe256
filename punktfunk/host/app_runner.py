"""The app that runs on a host's desktop: started once for all who see it, ended with everything that it has started."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from punktfunk import log
from punktfunk.app import App
from punktfunk.clock import monotonic_ns
from punktfunk.desktop import RunningProgram
from punktfunk.errors import CapabilityError, PunktfunkError
from punktfunk.host.desktop import DesktopPool

LAUNCHER_S = 5.0
"""A program that ends in order within this time has handed its work to another one, as launchers of games do: its app
goes on until it is quit."""
_NS_PER_S = 1_000_000_000


@dataclass(slots=True, eq=False)
class _Run:
    """One start of an app. Starting and ending wait for each other, or an end in between would leave a program."""

    app: App
    on_end: Callable[[], None]
    began_ns: int
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _program: RunningProgram | None = None
    over: bool = False
    """Whether it was told to end."""

    def begin(self, run: Callable[[], RunningProgram]) -> None:
        """Start the program, unless it is to be over already."""
        with self._lock:
            if not self.over:
                self._program = run()

    def end(self) -> None:
        """End the program; it is gone when this returns, and does not begin any more."""
        with self._lock:
            self.over = True
            if self._program is not None:
                self._program.end()

    def end_rest(self) -> None:
        """End what the program has left, which has ended itself."""
        with self._lock:
            if self._program is not None:
                self._program.end()


class AppRunner:
    """Run one app at a time on the desktop of a host. Belongs to one event loop."""

    def __init__(self, desktop: DesktopPool | None) -> None:
        self._desktop = desktop
        self._run: _Run | None = None
        self._rest: asyncio.Task[None] | None = None
        """Ends what the program has left that ended last."""
        self._log = log.get("host.app")

    async def start(self, app: App, on_end: Callable[[], None]) -> None:
        """Start an app; ``on_end`` is called in the event loop when its program ends by itself, after this returns.

        What that has left in its session is gone then too: nobody could quit it any more.
        An app without a program is the desktop itself, and ends with :meth:`end` alone. Raises ``CapabilityError``
        where there is no desktop that a program could run on, it cannot be started, or is ended meanwhile.
        """
        await self.end()
        if not app.command:
            return
        if self._desktop is None:
            raise CapabilityError(
                f"{app.title} needs a desktop, and this host streams none", "punktfunk serve --source desktop"
            )
        loop, run = asyncio.get_running_loop(), _Run(app, on_end, monotonic_ns())

        def ended(status: int, words: str) -> None:
            with contextlib.suppress(RuntimeError):  # the host ends, and its loop with it
                loop.call_soon_threadsafe(self._ended, run, status, words)

        folder = Path(app.folder) if app.folder else Path.home()
        desktop, self._run = self._desktop, run
        try:
            await asyncio.to_thread(run.begin, lambda: desktop.run(app.command, folder, ended))
        except BaseException:
            if self._run is run:
                self._run = None
            run.end()
            raise
        if run.over:
            raise CapabilityError(f"{app.title} was quit before it had begun")

    async def end(self) -> None:
        """End the program that runs, if there is one; it is gone when this returns."""
        run, self._run = self._run, None
        if run is not None:
            run.over = True  # at once, for a start that is just through
            await asyncio.to_thread(run.end)
        if self._rest is not None:
            await asyncio.wait([self._rest])

    def _ended(self, run: _Run, status: int, words: str) -> None:
        """Take note of an end; of a program that was told to end nobody has to hear."""
        if self._run is not run:
            return
        if status == 0 and monotonic_ns() - run.began_ns < LAUNCHER_S * _NS_PER_S:
            return
        self._run = None
        self._log.info("app ended", app=run.app.title, status=status, words=words)
        self._rest = asyncio.get_running_loop().create_task(self._end_rest(run))

    async def _end_rest(self, run: _Run) -> None:
        try:
            await asyncio.to_thread(run.end_rest)
        except PunktfunkError as error:
            self._log.warning("what an app has left goes on", app=run.app.title, cause=error.cause)
        finally:
            run.on_end()
