"""``punktfunk.Host``: a host: its sessions, and the wires that bring them, started, changed and ended together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from punktfunk import log
from punktfunk.app import DESKTOP, App
from punktfunk.errors import ConfigError
from punktfunk.host.config import HostConfig
from punktfunk.host.describe import try_encoders
from punktfunk.host.desktop import DesktopPool, own_backend
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.native.server import NativeServer
from punktfunk.host.peripherals.router import InputSink
from punktfunk.host.protocol_server import HostServices, ProtocolFactory, ProtocolServer
from punktfunk.host.running_apps import AppPlaces, RunningApps
from punktfunk.host.session_report import SessionReport
from punktfunk.host.sessions import Sessions
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.log_limit import StrangerLog
from punktfunk.trust.identity import Identity, Role
from punktfunk.units import Bitrate

CHANGEABLE = frozenset(
    {
        "adaptive_fec",
        "app_keep_minutes",
        "bitrate",
        "codec",
        "cursor",
        "encoder",
        "fec_min_percent",
        "fec_percent",
        "fec_scheme",
        "max_sessions",
        "mode",
        "outputs",
    }
)
"""Fields of the configuration that :meth:`Host.reconfigure` takes."""


def native(pairing: NativePairing | None) -> ProtocolFactory:
    """Return what makes a server of punktfunk/1."""
    return lambda services: NativeServer(services, pairing)


class Host:
    """Serve punktfunk/1, or the wires of ``protocols``, until the context ends.

    Raises ``ConfigError`` for a desktop that was not given, and what :meth:`ProtocolServer.open` of the wires raises.
    Belongs to one event loop, whose thread has to live as long as the host.

    ``input_sink`` gets the input of every client that streams, in place of ``desktop``; see
    :class:`~punktfunk.host.peripherals.router.Peripherals` for what else they send. ``pairing`` lets clients pair, and
    its trust store lets paired ones in; it is for the fingerprint of ``identity``, which is then given too. Without
    them, ``config`` says who is let in.
    """

    def __init__(
        self,
        config: HostConfig,
        *,
        identity: Identity | None = None,
        pairing: NativePairing | None = None,
        input_sink: InputSink | None = None,
        desktop: DesktopPool | None = None,
        protocols: Iterable[ProtocolFactory] | None = None,
        apps: Callable[[], Sequence[App]] = lambda: (DESKTOP,),
    ) -> None:
        self.config = config
        if desktop is not None:
            desktop.mirrors = config.outputs == "mirror"
        self.desktop = desktop
        self.sessions = Sessions(
            desktop=desktop, input_sink=input_sink, artefacts=lambda: self.config.artefacts
        )
        self.apps = RunningApps(
            apps,
            AppPlaces(
                desktop,
                self._open_own_desktop,
                lambda: self.config.max_sessions,
                self.sessions.gone,
                lambda: self.config.app_keep_minutes * 60.0,
            ),
        )
        """What runs of ``apps``, which gives what clients can launch."""
        self.protocols: dict[str, ProtocolServer] = {}
        """The wires that are served, by name."""
        self.stranger_log = StrangerLog(log.get("host"))
        """Where clients that are not known are written of."""
        self._begun: list[ProtocolServer] = []
        """The wires that were told to open."""
        self._factories = [native(pairing)] if protocols is None else list(protocols)
        self._pending = None if pairing is None else pairing.pending
        self._identity = identity
        self._stop_listening_to_trust: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        config = self.config
        source = config.source
        shared = isinstance(source, DesktopSpec) and not source.each_its_own
        if self._factories and shared and self.desktop is None:
            raise ConfigError("this host was given no desktop", "punktfunk serve --source desktop opens one")
        if self._factories and config.source.kind != "synthetic":
            # Better now than with the first client: what is missing is told, and a GPU's encoders take a second to try.
            await asyncio.to_thread(try_encoders, config)
        if self._identity is None:
            self._identity = await asyncio.to_thread(_identity, config.state_dir)
        # Settings may have changed meanwhile: management is served before the wires are.
        services = HostServices(
            self.config, self._identity, self.sessions, self._pending, self.apps, self.stranger_log
        )
        servers = [make(services) for make in self._factories]
        names = Counter(server.name for server in servers)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ConfigError(f"two wires of this host are called {twice[0]}", "report this as a defect")
        self.protocols = {server.name: server for server in servers}
        if self._pending is not None:
            self._stop_listening_to_trust = self._pending.trust.on_removal(self._unpaired)
        self.sessions.open(self.config.max_sessions, [server.sender for server in servers])
        try:
            for server in servers:
                self._begun.append(server)
                await server.open()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        self._stop_listening_to_trust()
        self._stop_listening_to_trust = lambda: None
        self.sessions.start_no_more()
        begun, self._begun = self._begun, []
        # From the last line to the first, whatever one of them raises.
        async with contextlib.AsyncExitStack() as ends:
            ends.callback(self.stranger_log.close)
            ends.push_async_callback(self.apps.close)
            for server in begun:
                ends.callback(server.close)
            ends.push_async_callback(self.sessions.stop)
            for server in begun:
                ends.callback(server.end_all)

    @property
    def native(self) -> NativeServer | None:
        """The server of punktfunk/1, where that is served."""
        server = self.protocols.get(NativeServer.name)
        return server if isinstance(server, NativeServer) else None

    @property
    def port(self) -> int:
        """UDP port of punktfunk/1's control connections."""
        return self.native.port if self.native else 0

    @property
    def fingerprint(self) -> str:
        """Fingerprint that clients pin."""
        return self._identity.fingerprint if self._identity else ""

    @property
    def counters(self) -> dict[str, int]:
        """What the wires took and dropped, added up, and what became of those that asked for a stream."""
        counters: Counter[str] = Counter()
        for server in self.protocols.values():
            counters.update(server.counters)
        return {**counters, **(self.sessions.capacity.counters if self.protocols else {})}

    async def sessions_over(self, count: int) -> list[SessionReport]:
        """Wait until ``count`` streams have ended, workers included; return the kept reports as they ended."""
        await self.sessions.ended(count)
        return self.sessions.history.ended()

    @property
    def reports(self) -> list[SessionReport]:
        """The reports of the streams that run and of the last :data:`~punktfunk.host.history.MAX_ENDED` others."""
        return self.sessions.history.reports

    def live(self) -> list[SessionReport]:
        """Return the reports of the streams that run, oldest first; they change as their workers report."""
        return self.sessions.live()

    def request_keyframe(self) -> None:
        """Make the next frame of every stream a key frame."""
        for worker, _ in self.sessions.workers():
            worker.request_keyframe(0)

    def set_bitrate(self, bitrate: Bitrate) -> None:
        """Encode and pace every stream for another rate."""
        for worker, _ in self.sessions.workers():
            worker.set_bitrate(bitrate.kbps)

    def reconfigure(self, **changes: Any) -> None:
        """Apply other values of some fields, for sessions to come and as far as possible for those that run.

        Raises ``ConfigError`` for a field that cannot change while the host runs, and for values that do not fit;
        then nothing changes.
        """
        fixed = set(changes) - CHANGEABLE
        if fixed:
            raise ConfigError(f"{sorted(fixed)[0]} cannot change while the host runs", "start the host anew")
        former, config = self.config, self.config.changed(**changes)
        self.config = config
        for server in self.protocols.values():
            server.reconfigure(config)
        self.sessions.reconfigure(former, config)
        self.apps.limit_times()

    def _unpaired(self, fingerprint: str) -> None:
        for server in self.protocols.values():
            server.revoke(fingerprint)
        self.apps.revoke(fingerprint)

    def _open_own_desktop(self, app: App) -> DesktopPool:
        """Open an empty desktop for one app, with keys and sound as those of the host's own are to be."""
        source = self.config.desktops
        return DesktopPool.open_empty(
            own_backend(app),
            expected=app.command,
            audio=source.audio,
            keyboard_layout=source.keyboard_layout,
        )


def _identity(state_dir: Path | None) -> Identity:
    return (
        Identity.generate(Role.HOST) if state_dir is None else Identity.load_or_create(state_dir, Role.HOST)
    )
