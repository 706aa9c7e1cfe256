"""``punktfunk serve``: one process with the native host, its trust store and pairing desk, and its announcement.

Everything that shares one state is made here and nowhere else: the identity, the list of paired clients and the
pairing desk are given to each plane of the process, so that all of them agree about who is let in.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from punktfunk import log
from punktfunk.addresses import reachable_addresses
from punktfunk.clock import monotonic_ns
from punktfunk.errors import CapabilityError, ConfigError, SettingsError
from punktfunk.host.config import NATIVE_PORT, HostConfig
from punktfunk.host.desktop import DesktopDesk
from punktfunk.host.pairing import DEFAULT_WINDOW_S, MAX_WINDOW_S, MIN_WINDOW_S, NativePairing
from punktfunk.host.report import SessionReport
from punktfunk.host.service import CHANGEABLE, Host
from punktfunk.host.settings import SETTINGS_FILE, Setting, SettingsStore, Value
from punktfunk.host.sources import DesktopSpec
from punktfunk.log_ring import LogRing
from punktfunk.media import Codec, choose_encoder
from punktfunk.mgmt.endpoint import MGMT_PORT, Endpoint
from punktfunk.native.discovery import Announcement
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.trust.private_file import require_private_folder
from punktfunk.trust.store import TrustStore
from punktfunk.units import Bitrate

if TYPE_CHECKING:
    from punktfunk.mgmt.server import ManagementServer

TRUST_FILE = "trust.json"
LOCK_FILE = "host.lock"
_SERVE_SETTINGS = ("pairing_seconds", "pin_digits", "announce", "log_level")


class ServeConfig(BaseModel):
    """What ``punktfunk serve`` is started with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: HostConfig
    """The native host; its ``state_dir`` is the process's."""
    native: bool = True
    """Serve the native protocol."""
    announce: bool = True
    """Announce the native host by multicast DNS."""
    arm_seconds: Annotated[int, Field(ge=MIN_WINDOW_S, le=MAX_WINDOW_S)] | None = None
    """Arm pairing at the start for this long; the PIN is in the banner."""
    pin_digits: Literal[4, 6] = 4
    pairing_seconds: Annotated[int, Field(ge=MIN_WINDOW_S, le=MAX_WINDOW_S)] = DEFAULT_WINDOW_S
    """How long pairing is armed when nobody says how long."""
    log_level: log.Level = "info"
    """Least level of the log lines that are kept in memory."""
    fixed: dict[str, str] = {}
    """Settings that flags fix, and the flags: what was stored of them does not count."""
    management: bool = True
    """Serve the management API and the console."""
    mgmt_bind: str = f"127.0.0.1:{MGMT_PORT}"
    """Their address and port; off loopback they speak HTTPS."""

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        if not self.native and not self.management:
            raise ValueError("without the native protocol and without the management API nothing is served")
        if not self.native and self.arm_seconds is not None:
            raise ValueError("without the native protocol there is nothing to pair with")
        return self

    @field_validator("mgmt_bind")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        return str(Endpoint.parse(value))


class Serving:
    """Everything that ``punktfunk serve`` runs, until the context ends.

    Raises ``ConfigError`` when another host uses the state folder, ``TrustStoreError`` when its list of clients
    cannot be read, and what :class:`~punktfunk.host.service.Host` raises.
    """

    def __init__(self, config: ServeConfig) -> None:
        if config.host.state_dir is None:
            raise ConfigError("serve keeps its identity and its clients in a folder", "name a --state-dir")
        self.config = config
        self.state_dir = config.host.state_dir
        self.host: Host | None = None
        self.desktop: DesktopDesk | None = None
        self.management: ManagementServer | None = None
        self._identity: Identity | None = None
        self._pairing: NativePairing | None = None
        self._announcing: asyncio.Task[Announcement] | None = None
        self._lock = -1
        self._changing = asyncio.Lock()
        self._settings: SettingsStore | None = None
        self.log = LogRing()
        """The latest log lines of the process and its workers."""
        self.session_listeners: list[Callable[[SessionReport], None]] = []
        """Called in the event loop as ``Host.on_session`` is."""

    @property
    def identity(self) -> Identity:
        """Certificate and key of the process."""
        assert self._identity is not None
        return self._identity

    @property
    def pairing(self) -> NativePairing:
        """The pairing desk; its trust store is the process's."""
        assert self._pairing is not None
        return self._pairing

    async def __aenter__(self) -> Self:
        self._lock = _lock(self.state_dir)
        try:
            self._settings = SettingsStore(self.state_dir / SETTINGS_FILE, self.config.fixed)
            self.config = with_settings(self.config, self._settings.chosen)
            if "encoder" in self._settings.chosen:
                try:
                    await asyncio.to_thread(_require_encoder, self.config.host)
                except ConfigError as error:
                    raise SettingsError(
                        f"a stored setting cannot be used, {error.cause}",
                        f"start with --encoder auto, or take encoder out of {self._settings.path}",
                    ) from error
            log.keep(self.log, self.config.log_level)
            self._identity = await asyncio.to_thread(Identity.load_or_create, self.state_dir, Role.HOST)
            fingerprint = bytes.fromhex(self._identity.fingerprint)
            trust = TrustStore(self.state_dir / TRUST_FILE)
            self._pairing = NativePairing(trust, fingerprint, pin_digits=self.config.pin_digits)
            if self.config.arm_seconds is not None:
                self._pairing.arm(monotonic_ns(), self.config.arm_seconds)
            await self._open_management(self._identity, self._pairing)
            if self.config.native:
                await self._open_native(self._identity, self._pairing)
        except BaseException:
            try:
                await self._end_management()
            finally:
                log.keep(None)
                os.close(self._lock)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Side by side: saying goodbye on the network takes as long as the workers do.
            ends = [self._end_announcement(), self._end_management()]
            if self.host is not None:
                ends.append(self.host.__aexit__(kind, value, trace))
            await asyncio.gather(*ends)
            await self._end_desktop()
        finally:
            log.keep(None)
            os.close(self._lock)

    @property
    def settings(self) -> list[Setting]:
        """The settings with their effective values."""
        assert self._settings is not None
        return self._settings.rows(settings_of(self.config))

    @property
    def announced(self) -> bool:
        """Whether the local network has been told of the host."""
        done = self._announcing is not None and self._announcing.done()
        return done and self._announcing is not None and self._announcing.result().made

    async def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Apply other values, all of them or none.

        Raises ``ConfigError`` for what is invalid and ``SettingsError`` when they could not be stored.
        """
        assert self._settings is not None
        async with self._changing:
            values = self._settings.change(changes)
            config = with_settings(self.config, {name: values[name] for name in changes})
            if not changes.keys().isdisjoint({"encoder", "codec"}):
                await asyncio.to_thread(_require_encoder, config.host)
            await asyncio.to_thread(self._settings.store, values)
            former, self.config = self.config, config
            if self.host is not None:
                self.host.reconfigure(**{name: getattr(config.host, name) for name in CHANGEABLE})
            self.pairing.use_digits(config.pin_digits)
            log.keep(self.log, config.log_level)
            log.get("host").info("settings changed", changes=dict(changes))
            if config.announce != former.announce:
                await self._end_announcement()
                self._announce()

    def banner(self) -> list[str]:
        """Return what a person reads first: what is streamed and how, where, who this is, what to do next."""
        config = self.config.host
        lines = []
        if self.host is not None:
            places = [place_of(address, self.host.port) for address in reachable_addresses(config.bind)]
            what = config.source.kind if self.desktop is None else self.desktop.description
            lines.append(f"streaming    {what} at {describe_stream(config)}")
            if config.source.kind != "synthetic":
                lines.append(f"encoder      {describe_encoder(config)}")
            lines.append(f"native host  {', '.join(places)} (UDP)")
        lines.append(f"fingerprint  {self.identity.fingerprint}")
        paired = len(self.pairing.trust.clients())
        lines.append(f"clients      {paired} paired in {self.pairing.trust.path}")
        if config.trust is not OpenTrust.NONE:
            lines.append(
                "WARNING      pairing is off: whoever reaches this host from a private address is let in"
            )
        if self.management is not None:
            lines.append(f"console      {self.management.console_link()}  (signs in once, within 10 min)")
        if self.host is not None:
            lines.append(f"next         {self._next_step(places[0], paired)}")
        return lines

    def _next_step(self, place: str, paired: int) -> str:
        window = self.pairing.window(monotonic_ns())
        if window is not None:
            return f"punktfunk pair {place} --pin {window.pin}  (within {self.config.arm_seconds} s)"
        if self.config.host.trust is not OpenTrust.NONE or paired:
            return f"punktfunk connect {place}"
        where = " in the console" if self.management is not None else ""
        return f"arm pairing{where}, then: punktfunk pair {place} --pin PIN"

    async def _open_native(self, identity: Identity, pairing: NativePairing) -> None:
        source = self.config.host.source
        if isinstance(source, DesktopSpec):
            self.desktop = await asyncio.to_thread(DesktopDesk, source)
        self.host = Host(self.config.host, identity=identity, pairing=pairing, desktop=self.desktop)
        self.host.on_session = self._tell_session
        try:
            await self.host.__aenter__()
        except BaseException:
            await self._end_desktop()
            raise
        self._announce()

    def _tell_session(self, report: SessionReport) -> None:
        for listener in tuple(self.session_listeners):
            listener(report)

    def _announce(self) -> None:
        if self.config.announce and self.host is not None:
            announcement = Announcement(
                name=socket.gethostname(),
                bind=self.config.host.bind,
                port=self.host.port,
                fingerprint=self.identity.fingerprint,
                pairing_required=self.config.host.trust is OpenTrust.NONE,
            )
            # Asking the network whether the name is free takes most of a second; nobody has to wait for it.
            self._announcing = asyncio.create_task(announcement.__aenter__())

    async def _open_management(self, identity: Identity, pairing: NativePairing) -> None:
        if not self.config.management:
            return
        endpoint = Endpoint.parse(self.config.mgmt_bind)
        # A third of a second of imports, which nobody pays who does not serve.
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

    async def _end_announcement(self) -> None:
        announcing, self._announcing = self._announcing, None
        if announcing is not None:
            announcement = await announcing
            await announcement.__aexit__(None, None, None)


def settings_of(config: ServeConfig) -> dict[str, Value]:
    """Return the settings that a configuration amounts to."""
    host = config.host
    return {
        "bitrate": None if host.bitrate is None else host.bitrate.kbps,
        "mode": None if host.mode is None else str(host.mode),
        **{name: getattr(host, name) for name in CHANGEABLE - {"bitrate", "mode"}},
        **{name: getattr(config, name) for name in _SERVE_SETTINGS},
    }


def with_settings(config: ServeConfig, values: Mapping[str, Value]) -> ServeConfig:
    """Return a configuration with other settings; raise ``ConfigError`` when they do not fit together."""
    host: dict[str, Any] = {name: value for name, value in values.items() if name in CHANGEABLE}
    if host.get("bitrate") is not None:
        host["bitrate"] = Bitrate.from_kbps(host["bitrate"])
    own = {name: value for name, value in values.items() if name in _SERVE_SETTINGS}
    return config.model_copy(update={**own, "host": config.host.changed(**host)})


def describe_stream(config: HostConfig) -> str:
    """Return in words how it is streamed."""
    mode = str(config.mode) if config.mode else "the client's mode"
    rate = f"{config.bitrate}" if config.bitrate else "the client's bitrate"
    fec = f"FEC {config.fec_scheme} {config.fec_percent} %" + (", adaptive" if config.adaptive_fec else "")
    codec = "no codec" if config.source.kind == "synthetic" else f"codec {config.codec}"
    return f"{mode}, {codec}, {rate}, {fec}"


def describe_encoder(config: HostConfig) -> str:
    """Return which encoder makes the pictures and why; raise what is missing for one that was asked for by name."""
    codec = Codec.H264 if config.codec == "auto" else Codec(config.codec)
    return str(choose_encoder(codec, config.encoder))


def _require_encoder(config: HostConfig) -> None:
    """Raise ``ConfigError`` when the encoder that is asked for by name is unavailable: no host starts with it."""
    if config.encoder != "nvenc":
        return
    try:
        describe_encoder(config)
    except CapabilityError as error:
        raise ConfigError(f"encoder: {error.cause}", error.hint) from error


def place_of(address: str, port: int) -> str:
    """Return what a client is to be told: the port only where it is not the usual one."""
    shown = f"[{address}]" if ":" in address else address
    return shown if port == NATIVE_PORT else f"{shown}:{port}"


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
