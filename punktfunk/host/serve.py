"""How ``punktfunk serve`` starts and ends: one process, one state folder, every wire that shares it.

Everything that shares one state is made here and nowhere else: the identity, the list of paired clients and that of
pending devices are given to each wire of the process, so that all of them agree about who is let in.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Coroutine, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from punktfunk import log
from punktfunk.app import App
from punktfunk.clock import monotonic_ns
from punktfunk.desktop import BackendName
from punktfunk.errors import CapabilityError, ConfigError, DesktopError, PunktfunkError, SettingsError
from punktfunk.gamestream.ports import Ports
from punktfunk.host.apps import APPS_FILE, AppCatalogue
from punktfunk.host.awake import Awake
from punktfunk.host.describe import require_cursor, require_encoder
from punktfunk.host.desktop import DesktopPool, launchable
from punktfunk.host.gamestream.listening import HeldPorts
from punktfunk.host.gamestream.pairing import GameStreamPairing
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.pending import PendingClients
from punktfunk.host.peripherals.own_sinks import OwnSinks
from punktfunk.host.protocol_server import ProtocolFactory
from punktfunk.host.serve_config import ServeConfig, with_settings
from punktfunk.host.served import Served
from punktfunk.host.service import Host, native
from punktfunk.host.session_report import SessionReport
from punktfunk.host.settings import SETTINGS_FILE, SettingsStore
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.media import TestCardSpec
from punktfunk.mgmt.endpoint import Endpoint
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.private_file import require_private_folder
from punktfunk.trust.store import TrustStore

TRUST_FILE = "trust.json"
LOCK_FILE = "host.lock"
SINK_NOTE = "default-sink"
"""Which sink was the default before ours, while that is there."""


class Serving(Served):
    """Everything that ``punktfunk serve`` runs, until the context ends; ``protocols`` are further wires to serve.

    Raises ``ConfigError`` when another host uses the state folder, ``TrustStoreError`` when its list of clients
    cannot be read, and what :class:`~punktfunk.host.service.Host` raises.
    """

    def __init__(self, config: ServeConfig, protocols: Iterable[ProtocolFactory] = ()) -> None:
        super().__init__(config)
        self._more_protocols = tuple(protocols)
        self._held: HeldPorts | None = None
        self._own_sinks: OwnSinks | None = None

    async def __aenter__(self) -> Self:
        self._lock = _lock(self.state_dir)
        try:
            # First of all: what was asked for and cannot be had is told before anything runs.
            self._held = self._hold_gamestream_ports()
            self._settings = SettingsStore(self.state_dir / SETTINGS_FILE, self.config.fixed)
            self.config = with_settings(self.config, self._settings.chosen)
            if "encoder" in self._settings.chosen:
                try:
                    await asyncio.to_thread(require_encoder, self.config.host)
                except ConfigError as error:
                    raise SettingsError(
                        f"a stored setting cannot be used, {error.cause}",
                        f"start with --encoder auto, or take encoder out of {self._settings.path}",
                    ) from error
            log.keep(self.log, self.config.log_level)
            identity = await asyncio.to_thread(Identity.load_or_create, self.state_dir, Role.HOST)
            self._identity = identity
            pending = PendingClients(TrustStore(self.state_dir / TRUST_FILE))
            fingerprint = bytes.fromhex(identity.fingerprint)
            self._pairing = NativePairing(pending, fingerprint, pin_digits=self.config.pin_digits)
            if self._held is not None:
                self.gamestream_pairing = self._pair_by_gamestream(pending, identity)
            if self.gamestream_missing is not None:
                missing = self.gamestream_missing
                log.get("host").warning("gamestream is not served", cause=missing.cause, hint=missing.hint)
            self._apps = AppCatalogue(self.state_dir / APPS_FILE)
            if self.config.arm_seconds is not None:
                self._pairing.arm(monotonic_ns(), self.config.arm_seconds)
            self._host = await self._make_host(identity, self._pairing)
            require_cursor(self.config.host, self.desktop)
            self._keep_awake(self._host)
            self._own_sinks = OwnSinks(self.state_dir / SINK_NOTE, lambda: self.config.own_sink)
            self._own_sinks.restore()
            self._host.sessions.peripherals.own_sinks = self._own_sinks
            await self._open_management(identity, self._pairing)
            await self._host.__aenter__()
            self._announce()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Side by side: saying goodbye on the network takes as long as the workers do.
        await self._end(self._end_announcement(), self.host.__aexit__(kind, value, trace))

    async def _end(self, *ends: Coroutine[Any, Any, None]) -> None:
        """Wait for ``ends``, then let go of the rest, whatever one of them raises."""
        try:
            try:
                await asyncio.gather(self._end_management(), *ends)
            finally:
                if self._awake is not None:
                    await self._awake.close()
                if self._own_sinks is not None:
                    await self._own_sinks.close()
                await self._end_desktop()
        finally:
            if self._held is not None:
                self._held.close()
            log.keep(None)
            os.close(self._lock)

    async def _make_host(self, identity: Identity, pairing: NativePairing) -> Host:
        protocols = [
            *([native(pairing)] if self.config.native else []),
            *([] if self.gamestream_pairing is None else [self._gamestream(self.gamestream_pairing)]),
            *self._more_protocols,
        ]
        if protocols:
            await self._open_desktop()
        host = Host(
            self.config.host,
            identity=identity,
            pairing=pairing,
            desktop=self.desktop,
            protocols=protocols,
            apps=self._launchable,
        )
        host.sessions.on_change = self._tell_session
        return host

    def _launchable(self) -> list[App]:
        """Return what clients can launch: the catalogue, on desktops of their own where that was asked for."""
        source, apps = self.config.host.source, self.apps.all()
        return launchable(apps, source) if isinstance(source, DesktopSpec) and source.each_its_own else apps

    async def _open_desktop(self) -> None:
        """Open what is to be streamed; where none comes up, go on with the test card if that was allowed, or raise."""
        if not isinstance(self.config.host.source, DesktopSpec):
            return
        source = self.config.host.desktops
        if source.each_its_own:
            # Nothing is kept of it: who asks for it by name is told now, and not with the first client.
            await asyncio.to_thread(DesktopPool.try_out, source)
            return
        try:
            self.desktop = await asyncio.to_thread(
                DesktopPool.open,
                source,
                self.state_dir,
                separate_cursor=self.config.host.cursor == "separate",
            )
        except (CapabilityError, DesktopError) as error:
            if not source.or_testcard:
                raise
            log.get("host").warning("no desktop", cause=error.cause, hint=error.hint)
            self.desktop_missing = error
            host = self.config.host.changed(source=TestCardSpec())
            self.config = self.config.model_copy(update={"host": host})

    def _keep_awake(self, host: Host) -> None:
        backend = None if self.desktop is None else self.desktop.backend
        self._awake = awake = Awake(
            host.sessions,
            running_session=backend is not None and backend.name is not BackendName.HEADLESS_SWAY,
            wanted=lambda: self.config.inhibit,
        )
        self.session_listeners.append(lambda _report: awake.update())

    def _hold_gamestream_ports(self) -> HeldPorts | None:
        if not self.config.gamestream_wanted:
            return None
        try:
            return HeldPorts(self.config.host.bind, Ports(self.config.gamestream_port))
        except CapabilityError as error:
            self._go_without_gamestream(error)
            return None

    def _pair_by_gamestream(self, pending: PendingClients, identity: Identity) -> GameStreamPairing | None:
        try:
            return GameStreamPairing(pending, identity)
        except ConfigError as error:
            self._go_without_gamestream(error)
            return None

    def _go_without_gamestream(self, error: PunktfunkError) -> None:
        """Serve the rest and say why; raise ``error`` where there is no rest, or GameStream was asked for by name."""
        if self.config.gamestream_required:
            raise error
        if self._held is not None:
            self._held.close()
        self.gamestream_missing = error

    def _gamestream(self, pairing: GameStreamPairing) -> ProtocolFactory:
        # Its servers and what they load are for hosts that serve it.
        from punktfunk.host.gamestream.server import GameStreamServer

        ports = Ports(self.config.gamestream_port)
        return lambda services: GameStreamServer(services, pairing, ports, held=self._held)

    def _tell_session(self, report: SessionReport) -> None:
        for listener in tuple(self.session_listeners):
            listener(report)

    async def _open_management(self, identity: Identity, pairing: NativePairing) -> None:
        if not self.config.management:
            return
        endpoint = Endpoint.parse(self.config.mgmt_bind)
        from punktfunk.host.management import HostManagement
        from punktfunk.mgmt.server import Certificate, ManagementServer

        control = HostManagement(
            self,
            pairing,
            fingerprint=identity.fingerprint,
            bind=self.config.host.bind,
            native_enabled=self.config.native,
            mgmt_port=lambda: self.management.port if self.management else 0,
        )
        certificate = Certificate(*Identity.paths(self.state_dir, Role.HOST))
        self.management = ManagementServer(control, endpoint, self.state_dir, certificate)
        await self.management.start()

    async def _end_management(self) -> None:
        if self.management is not None:
            await self.management.end()

    async def _end_desktop(self) -> None:
        if self.desktop is not None:
            await asyncio.to_thread(self.desktop.close)


def _lock(state_dir: Path) -> int:
    """Hold the state folder for this process; the kernel lets go of it however the process ends."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_private_folder(state_dir, ConfigError)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(state_dir / LOCK_FILE, flags, 0o600)
    except OSError as error:
        raise ConfigError(
            f"the state folder {state_dir} cannot be used: {error.strerror}", "name another --state-dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(
            f"another host uses the state folder {state_dir}", "end that one, or name another --state-dir"
        ) from None
    return descriptor
