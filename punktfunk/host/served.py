"""What a host process runs: its wires and sessions, its desktop, who may come in, its settings and its announcement.

:class:`Served` is what the management API and the banner see. How it starts and ends is ``host/serve.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from punktfunk import log
from punktfunk.announcement import Announcement, Service
from punktfunk.clock import monotonic_ns
from punktfunk.desktop.program import name_of
from punktfunk.errors import ConfigError, CursorPaintedError, PunktfunkError
from punktfunk.gamestream.ports import Ports
from punktfunk.host.apps import AppCatalogue
from punktfunk.host.awake import Awake
from punktfunk.host.describe import (
    describe_encoder,
    describe_stream,
    require_cursor,
    require_encoder,
    try_encoders,
)
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.gamestream.announcement import moonlight_service
from punktfunk.host.gamestream.pairing import WIRE as GAMESTREAM
from punktfunk.host.gamestream.pairing import GameStreamPairing
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.serve_config import ServeConfig, settings_of, with_settings
from punktfunk.host.service import CHANGEABLE, Host
from punktfunk.host.session_report import SessionReport
from punktfunk.host.settings import SettingsStore
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.log_ring import LogRing
from punktfunk.media.encoders import ANSWERS
from punktfunk.mgmt.live import Setting
from punktfunk.native.discovery import native_service
from punktfunk.trust.identity import Identity
from punktfunk.trust.open_trust import OpenTrust

if TYPE_CHECKING:
    from punktfunk.host.gamestream.server import GameStreamServer
    from punktfunk.mgmt.server import ManagementServer


class Served:
    """Everything that ``punktfunk serve`` runs. Belongs to one event loop.

    Raises ``ConfigError`` without a state folder.
    """

    def __init__(self, config: ServeConfig) -> None:
        if config.host.state_dir is None:
            raise ConfigError("serve keeps its identity and its clients in a folder", "name a --state-dir")
        self.config = config
        self.state_dir = config.host.state_dir
        self._host: Host | None = None
        self.desktop: DesktopPool | None = None
        self.management: ManagementServer | None = None
        self._identity: Identity | None = None
        self._pairing: NativePairing | None = None
        self.gamestream_pairing: GameStreamPairing | None = None
        """Who pairs by GameStream, where that is served."""
        self.desktop_missing: PunktfunkError | None = None
        """Why the test card is streamed in place of a desktop."""
        self.gamestream_missing: PunktfunkError | None = None
        """Why GameStream is not served, though it would have been."""
        self._apps: AppCatalogue | None = None
        self._announcement: Announcement | None = None
        self._announcing: asyncio.Task[Announcement] | None = None
        self._changing = asyncio.Lock()
        self._settings: SettingsStore | None = None
        self._awake: Awake | None = None
        self.log = LogRing()
        """The latest log lines of the process and its workers."""
        self.session_listeners: list[Callable[[SessionReport], None]] = []
        """Called in the event loop as ``Sessions.on_change`` is."""

    @property
    def host(self) -> Host:
        """The sessions, and the wires that bring them."""
        assert self._host is not None
        return self._host

    @property
    def identity(self) -> Identity:
        """Certificate and key of the process."""
        assert self._identity is not None
        return self._identity

    @property
    def pairing(self) -> NativePairing:
        """Pairing; its trust store is the process's."""
        assert self._pairing is not None
        return self._pairing

    @property
    def gamestream(self) -> GameStreamServer | None:
        """The server of GameStream, where that is served."""
        return cast("GameStreamServer | None", self.host.protocols.get(GAMESTREAM))

    @property
    def apps(self) -> AppCatalogue:
        """What clients can start, whatever their wire."""
        assert self._apps is not None
        return self._apps

    @property
    def settings(self) -> list[Setting]:
        """The settings with their effective values."""
        assert self._settings is not None
        return self._settings.rows(settings_of(self.config))

    @property
    def announced(self) -> bool:
        """Whether the local network has been told of the host."""
        return self._announcement is not None and self._announcement.made

    @property
    def announced_as(self) -> list[str]:
        """The names that clients see, numbered where another host has one of them."""
        return [] if self._announcement is None else sorted(set(self._announcement.labels.values()))

    @property
    def announced_networks(self) -> int:
        """In how many networks it is announced."""
        return 0 if self._announcement is None else len(self._announcement.places)

    async def change_settings(self, changes: Mapping[str, object]) -> None:
        """Apply other values, all of them or none.

        Raises ``ConfigError`` for what is invalid and ``SettingsError`` when they could not be stored.
        """
        assert self._settings is not None
        async with self._changing:
            values = self._settings.change(changes)
            config = with_settings(self.config, {name: values[name] for name in changes})
            if not changes.keys().isdisjoint({"encoder", "codec"}):
                # A driver may have been installed for it.
                await asyncio.to_thread(ANSWERS.ask_again)
                await asyncio.to_thread(require_encoder, config.host)
                await asyncio.to_thread(try_encoders, config.host)
            if "cursor" in changes:
                try:
                    require_cursor(config.host, self.desktop)
                except CursorPaintedError as error:
                    raise ConfigError(f"cursor: {error.cause}", error.hint) from error
            await asyncio.to_thread(self._settings.store, values)
            former, self.config = self.config, config
            self.host.reconfigure(**{name: getattr(config.host, name) for name in CHANGEABLE})
            self.pairing.use_digits(config.pin_digits)
            log.keep(self.log, config.log_level)
            log.get("host").info("settings changed", changes=dict(changes))
            if self._awake is not None:
                self._awake.update()
            if config.announce != former.announce:
                await self._end_announcement()
                self._announce()

    def banner(self, *, secrets: bool = True) -> list[str]:
        """Return what a person reads first: what is streamed and how, where, who this is, what to do next.

        Without ``secrets`` for a log that others may read: no link that signs in, no PIN.
        """
        config = self.config.host
        lines = []
        if self.host.protocols:
            lines.append(f"streaming    {self._streamed()} at {describe_stream(config)}")
            if self.desktop_missing is not None:
                lines.append(
                    f"WARNING      no desktop: {self.desktop_missing.cause} ({self.desktop_missing.hint})"
                )
            notice = None if self.desktop is None else self.desktop.notice
            if notice is not None:
                lines.append(f"WARNING      {notice.cause}: {notice.hint}")
            if config.source.kind != "synthetic":
                lines.append(f"encoder      {describe_encoder(config)}")
            for server in self.host.protocols.values():
                lines += server.banner()
        if self.gamestream_missing is not None:
            cause, hint = self.gamestream_missing.cause, self.gamestream_missing.hint
            lines.append(f"WARNING      no Moonlight client can connect: {cause} ({hint})")
        lines.append(f"fingerprint  {self.identity.fingerprint}")
        paired = len(self.pairing.trust.clients())
        lines.append(f"clients      {paired} paired in {self.pairing.trust.path}")
        if config.trust is not OpenTrust.NONE:
            lines.append(
                "WARNING      pairing is off: whoever reaches this host from a private address is let in"
                + (", Moonlight clients excepted" if self.gamestream is not None else "")
            )
        if self.gamestream is not None and self.management is None:
            lines.append(
                "WARNING      no new Moonlight client can pair: its PIN is entered by the management API (--mgmt)"
            )
        if self.management is not None and secrets:
            lines.append(f"console      {self.management.console_link()}  (signs in once, within 10 min)")
        if self.management is not None and not secrets:
            lines.append("console      punktfunk console prints a link, punktfunk arm a PIN for a new device")
        if self.host.native is not None and secrets:
            lines.append(f"next         {self._next_step(self.host.native.places()[0], paired)}")
        return lines

    def _streamed(self) -> str:
        """Return what is streamed, in words."""
        source = self.config.host.source
        if self.desktop is not None:
            return self.desktop.description
        if isinstance(source, DesktopSpec) and source.each_its_own:
            return f"a {source.backend} for each client, that runs {name_of(source.app)},"
        return source.kind

    def _next_step(self, place: str, paired: int) -> str:
        window = self.pairing.window(monotonic_ns())
        if window is not None:
            return f"punktfunk pair {place} --pin {window.pin}  (within {self.config.arm_seconds} s)"
        if self.config.host.trust is not OpenTrust.NONE or paired:
            return f"punktfunk connect {place}"
        where = " in the console" if self.management is not None else ""
        return f"arm pairing{where}, then: punktfunk pair {place} --pin PIN"

    def _announce(self) -> None:
        services = list(self._services()) if self.config.announce else []
        if services:
            self._announcement = Announcement(services, self.config.host.bind)
            # Asking the network whether a name is free takes most of a second; nobody has to wait for it.
            self._announcing = asyncio.create_task(self._announcement.__aenter__())

    def _services(self) -> Iterator[Service]:
        """Give what the network is told, a service each."""
        fingerprint = self.identity.fingerprint
        if self.host.native is not None:
            yield native_service(
                port=self.host.native.port,
                fingerprint=fingerprint,
                pairing_required=self.config.host.trust is OpenTrust.NONE,
            )
        if GAMESTREAM in self.host.protocols:
            yield moonlight_service(
                http_port=Ports(self.config.gamestream_port).http, fingerprint=fingerprint
            )

    async def _end_announcement(self) -> None:
        announcing, self._announcing, self._announcement = self._announcing, None, None
        if announcing is not None:
            await (await announcing).__aexit__(None, None, None)
