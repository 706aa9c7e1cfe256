"""The apps that run on a host, whatever wire their clients come by: who sees which, and when each of them is over.

The host's own desktop has one app at a time, for all who stream it. An app on a desktop of its own is its client's
alone: it is not shown to others, who may launch the same one beside it. Either goes on when its clients leave, and is
over when it is quit, or its program has ended; one that only its client could come back to is over as well when that
has not come for as long as apps are kept, or may not any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from punktfunk import log
from punktfunk.app import App
from punktfunk.ending import EndReason
from punktfunk.errors import AppRunningError, CapabilityError, CapacityFullError
from punktfunk.host.app_runner import AppRunner
from punktfunk.host.client_session import ClientSession
from punktfunk.host.config import APP_KEEP_MINUTES, HostConfig
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.units import Mode

MAX_CLIENTS_KEPT = 64
"""Who has joined an app, the latest: where trust is open, a client may come with a new certificate each time."""
END_LIMIT_S = 5.0
"""How long a client that quits waits for the sessions to end, whose clients have a second to acknowledge it."""


@dataclass(frozen=True, slots=True)
class AppPlaces:
    """Where apps run."""

    shared: DesktopPool | None
    """The desktop that all clients share, where the host streams one."""
    open_own: Callable[[App], DesktopPool]
    """Opens an empty desktop for one app; is called in a thread, and raises where that cannot be."""
    most_own: Callable[[], int]
    """How many of these there may be at once."""
    streams_over: Callable[[DesktopPool], Awaitable[None]]
    """Waits until no stream shows one of these any more."""
    keep_s: Callable[[], float] = lambda: APP_KEEP_MINUTES * 60.0
    """An app on a desktop of its own is quit when nobody has streamed it for so long: other clients do not see it."""


class RunningApp:
    """An app from its launch until it is over. Made by :class:`RunningApps`, and belongs to its event loop."""

    def __init__(self, number: int, app: App, client: str, places: AppPlaces, owner: RunningApps) -> None:
        self.number = number
        """Of this run, and of no other one of the host's."""
        self.app = app
        self.clients = {client: None}
        """Who has launched or joined it, the latest last."""
        self.sessions: set[ClientSession] = set()
        """Those on it that are not over, whether they stream yet or not."""
        self.desktop: DesktopPool | None = None
        """Its own, once it is open."""
        self._places, self._owner = places, owner
        self._runner = AppRunner(places.shared)
        self._starting: asyncio.Task[None] | None = None
        self._quitting: asyncio.Task[None] | None = None
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._left_at: float | None = None
        """When it was left by its last session, on the loop's clock."""
        self._session_ended = asyncio.Event()
        self._when_over: dict[str, Callable[[], None]] = {}

    @property
    def begun(self) -> bool:
        """Whether somebody has had it started, or it runs."""
        return self._starting is not None

    @property
    def ending(self) -> bool:
        """Whether it is being quit, or over; nobody may join it then."""
        return self._over or self._quitting is not None

    async def ready(self, mode: Mode) -> None:
        """Start it unless somebody did, on a desktop of its own with an output of that mode; wait until it runs.

        Raises ``CapabilityError`` or ``DesktopError`` where it cannot be started, or is quit meanwhile.
        """
        if self._starting is None:
            if self.ending:
                # A stream is late for it: its client has left, and nobody would close a desktop any more.
                raise CapabilityError(f"{self.app.title} is over")
            self._starting = asyncio.get_running_loop().create_task(self._start(mode))
        await asyncio.shield(self._starting)

    @property
    def on_a_desktop(self) -> bool:
        """Whether its streams show a desktop: they show what else the host streams where that is none."""
        return self.app.own_desktop or self._places.shared is not None

    async def open_desktop(self, mode: Mode) -> DesktopPool:
        """Return the desktop on which the app runs, once it does; an ``OpenDesktop`` for its streams."""
        await self.ready(mode)
        desktop = self.desktop if self.app.own_desktop else self._places.shared
        if desktop is not None and self.app.compositor == "gamescope":
            # It has one stream at a time: of a client that comes back at once the former one may still be ending.
            await self._places.streams_over(desktop)
            desktop = self.desktop
        if desktop is None:
            raise CapabilityError(f"{self.app.title} is over")
        return desktop

    def configured(self, config: HostConfig) -> HostConfig:
        """Return the configuration by which its streams are agreed on: its own desktop's, whatever else is streamed."""
        return config.model_copy(update={"source": DesktopSpec()}) if self.app.own_desktop else config

    def join(self, client: str, session: ClientSession) -> None:
        """Take note of a client's session on it."""
        self.clients.pop(client, None)
        self.clients[client] = None
        if len(self.clients) > MAX_CLIENTS_KEPT:
            del self.clients[next(iter(self.clients))]
        self.sessions.add(session)
        self._keep_time()

    def leave(self, session: ClientSession) -> None:
        """Take note of a session's end; the app goes on, unless nobody has had it started."""
        self.sessions.discard(session)
        self._session_ended.set()
        if not self.begun and not self.sessions and not self.ending:
            self._finish()
        self._keep_time()

    def when_over(self, client: str, forget: Callable[[], None]) -> None:
        """Have what is kept for a client forgotten once nobody can come back to the app, which may be now."""
        if self._over:
            forget()
        else:
            self._when_over[client] = forget

    async def quit(self) -> None:
        """End its sessions, its program and its desktop; return when all of them are gone."""
        if self._quitting is None:
            if self._over:
                return
            self._quitting = asyncio.get_running_loop().create_task(self._quit())
        await asyncio.shield(self._quitting)

    async def close(self) -> None:
        """End its program and its desktop; the host ends, and its sessions have ended."""
        self.sessions.clear()
        self._session_ended.set()
        if self._quitting is not None:
            # It has the desktop already, and who asked for it may be gone.
            await asyncio.shield(self._quitting)
            return
        try:
            await self._clear()
        finally:
            self._finish()

    async def _start(self, mode: Mode) -> None:
        try:
            await self._run(mode)
        except BaseException:
            if not self.ending:
                # Whoever waits for it is told why, and ends the sessions on it.
                self._finish()
                self._owner.keep(self._clear())
            raise

    async def _run(self, mode: Mode) -> None:
        if self.app.own_desktop:
            await self._owner.take_place()
            try:
                self.desktop = await asyncio.to_thread(self._open, mode)
            except BaseException:
                await self._owner.give_place()
                raise
            self._runner = AppRunner(self.desktop)
        if self.ending:
            raise CapabilityError(f"{self.app.title} was quit before it had begun")
        await self._runner.start(self.app, self._program_over)

    def _open(self, mode: Mode) -> DesktopPool:
        desktop = self._places.open_own(self.app)
        try:
            # Its output is kept for the stream: the program is to find a desktop of its client's size.
            desktop.give_back(desktop.lend(mode))
        except BaseException:
            desktop.close()
            raise
        return desktop

    async def _quit(self) -> None:
        self._end_sessions()
        try:
            await self._runner.end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_LIMIT_S):
                    while self.sessions:
                        self._session_ended.clear()
                        await self._session_ended.wait()
        finally:
            # A program that cannot be ended is no reason to keep a desktop and its place for ever.
            try:
                await self._clear()
            finally:
                self._finish()

    def _program_over(self) -> None:
        """End every session of an app whose program has ended by itself; one that is being quit has its own end."""
        if self.ending:
            return
        self._finish()
        self._end_sessions()
        if self.app.own_desktop:
            self._owner.keep(self._clear())

    def _end_sessions(self) -> None:
        for session in list(self.sessions):
            session.end(EndReason.APP_ENDED)

    async def _clear(self) -> None:
        """Leave neither program nor desktop, once no stream shows that any more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._runner.end()
            if self._starting is not None:
                await asyncio.wait([self._starting])
                await self._runner.end()
        finally:
            desktop, self.desktop = self.desktop, None
            if desktop is not None:
                try:
                    await self._places.streams_over(desktop)
                    await asyncio.to_thread(desktop.close)
                finally:
                    await self._owner.give_place()

    def _finish(self) -> None:
        self._over = True
        for forget in self._when_over.values():
            forget()
        self._when_over.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._owner.forget(self)

    def _keep_time(self) -> None:
        if self.sessions:
            self._left_at = None
        elif self._left_at is None:
            self._left_at = asyncio.get_running_loop().time()
        self.limit_time()

    def limit_time(self) -> None:
        """End it once nobody has streamed it for as long as apps are kept now, which may be by now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.app.own_desktop and self._left_at is not None and not self.ending:
            until = self._left_at + self._places.keep_s()
            self._timer = asyncio.get_running_loop().call_at(until, self._unstreamed)

    def _unstreamed(self) -> None:
        self._owner.log.info("app not streamed any more", app=self.app.title, limit_s=self._places.keep_s())
        self._owner.keep(self.quit())


class RunningApps:
    """The apps that run on one host; belongs to one event loop. ``catalogue`` gives what may be launched."""

    def __init__(self, catalogue: Callable[[], Sequence[App]], places: AppPlaces) -> None:
        self.all = catalogue
        """Returns what can be launched, the desktop first."""
        self.log = log.get("host.app")
        self._places = places
        self._shared: RunningApp | None = None
        self._own: dict[str, RunningApp] = {}
        """By the client whose they are: the fingerprint of its certificate."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0
        """Desktops of apps, those included that begin or close: an app may be over long before its desktop."""
        self._room = asyncio.Condition()
        self._numbers = itertools.count(1)

    def running(self) -> list[RunningApp]:
        """Return all that run, in the order of their launches."""
        shared = [] if self._shared is None else [self._shared]
        return sorted((*self._own.values(), *shared), key=lambda running: running.number)

    def find(self, number: int) -> App | None:
        """Return the app of that number."""
        return next((app for app in self.all() if app.id == number), None)

    def named(self, name: str) -> App | None:
        """Return the app that a client names: by its number, or else by its title, in whatever letters."""
        wanted = " ".join(name.split()).casefold()
        for names in (lambda app: str(app.id), lambda app: app.title.casefold()):
            found = next((app for app in self.all() if names(app) == wanted), None)
            if found is not None:
                return found
        return None

    def seen_by(self, client: str | None) -> RunningApp | None:
        """Return what runs as far as one client goes: its own, or else the one on the shared desktop.

        That one is not shown to clients that have nothing to do with it while others stream it: they may launch one on
        a desktop of its own, and are not asked to quit the others' before. ``None`` as client is one that is not known.
        """
        own = None if client is None else self._own.get(client)
        shared = self._shared
        if own is not None or shared is None or client is None:
            return own or shared
        return shared if client in shared.clients or not shared.sessions else None

    def of(self, client: str) -> RunningApp | None:
        """Return what a client quits: its own, or else the one on the shared desktop, whoever streams it."""
        return self._own.get(client) or self._shared

    def launch(self, app: App, client: str) -> RunningApp:
        """Return an app that runs for a client as soon as it is :meth:`RunningApp.ready`.

        The one that is on the shared desktop already is joined. Raises ``AppRunningError`` when another one is in its
        place, ``CapacityFullError`` for one desktop too many, and ``CapabilityError`` for a program without a desktop.
        """
        if app.own_desktop:
            return self._launch_own(app, client)
        if app.command and self._places.shared is None:
            raise CapabilityError(
                f"{app.title} needs a desktop, and this host streams none",
                "give it a desktop of its own, or punktfunk serve --source desktop",
            )
        running = self._shared
        if running is None:
            running = self._shared = self._begin(app, client)
            self.log.info("app launched", app=app.title)
        elif running.app.id != app.id:
            raise AppRunningError(
                f"{running.app.title} runs on this host's desktop",
                "start that one, or quit it, or start an app with a desktop of its own",
            )
        return running

    def revoke(self, client: str) -> None:
        """Quit what an unpaired client alone could have come back to."""
        running = self._own.get(client)
        if running is not None:
            self.keep(running.quit())

    def limit_times(self) -> None:
        """Take note that apps are kept for another time than before, those included that nobody streams now."""
        for running in list(self._own.values()):
            running.limit_time()

    async def close(self) -> None:
        """End all programs, and the desktops that are theirs alone; raise what one of them met once all are through."""
        closing = (*(each.close() for each in self.running()), *self._tasks)
        met = await asyncio.gather(*closing, return_exceptions=True)
        failures = [each for each in met if isinstance(each, BaseException)]
        for failure in failures:
            self.log.error("app not ended in order", cause=repr(failure))
        if failures:
            raise failures[0]

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the event loop's other work; :meth:`close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def take_place(self) -> None:
        """Wait until there may be one desktop of an app more; those that close take a second or two."""
        async with self._room:
            await self._room.wait_for(lambda: self._open < max(1, self._places.most_own()))
            self._open += 1

    async def give_place(self) -> None:
        """Take note that a desktop of an app is gone."""
        async with self._room:
            self._open -= 1
            self._room.notify_all()

    def forget(self, running: RunningApp) -> None:
        """Take note that an app is over."""
        if self._shared is running:
            self._shared = None
        for client in running.clients:
            if self._own.get(client) is running:
                del self._own[client]
        self.log.info("app over", app=running.app.title)

    def _begin(self, app: App, client: str) -> RunningApp:
        return RunningApp(next(self._numbers), app, client, self._places, self)

    def _launch_own(self, app: App, client: str) -> RunningApp:
        running = self._own.get(client)
        if running is not None:
            if running.app.id == app.id:
                return running
            raise AppRunningError(f"{running.app.title} runs for this client", "resume it, or quit it first")
        most = self._places.most_own()
        if len(self._own) >= most:
            raise CapacityFullError(
                f"{most} apps with desktops of their own run already",
                "quit one of them, or let more sessions run at the same time",
            )
        running = self._own[client] = self._begin(app, client)
        self.log.info("app launched", app=app.title, desktop="its own", compositor=app.compositor)
        return running
