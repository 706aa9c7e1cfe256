"""The host as the management API operates it: one adapter over what ``punktfunk serve`` runs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, TypeVar

from punktfunk.app import App
from punktfunk.clock import monotonic_ns, realtime_ns
from punktfunk.core import ABI_VERSION
from punktfunk.errors import StatusError
from punktfunk.gamestream.certificate import ClientCertificate
from punktfunk.gamestream.ports import Ports as GameStreamPorts
from punktfunk.gamestream.serverinfo import unique_id
from punktfunk.host.apps import AppCatalogue
from punktfunk.host.gamestream.pairing import WIRE as GAMESTREAM
from punktfunk.host.live import LiveHost
from punktfunk.host.native.pairing import MAX_WINDOW_S, NativePairing
from punktfunk.host.pending import PENDING_LIFE_NS
from punktfunk.host.served import Served
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.interfaces import reachable_addresses
from punktfunk.media.types import Codec
from punktfunk.mgmt.interface import (
    AppRun,
    Compositor,
    GameStreamStatus,
    GameStreamStream,
    HostFacts,
    MoonlightClient,
    NativeClient,
    PairingState,
    PendingDevice,
    PinOutcome,
    Ports,
)
from punktfunk.mgmt.interface import GameStreamSession as AskedFor
from punktfunk.trust.store import PairedClient

if TYPE_CHECKING:
    from pathlib import Path

    from punktfunk.desktop.backends import Backend
    from punktfunk.host.gamestream.session import GameStreamSession

T = TypeVar("T")

_S = 1_000_000_000
_API_CODECS = {Codec.H264: "h264", Codec.HEVC: "h265", Codec.AV1: "av1"}
_CODECS = ("h264", "h265", "av1")
COMPOSITORS = (("kwin", "KWin"), ("gamescope", "gamescope"), ("mutter", "Mutter"), ("wlroots", "wlroots"))


class HostManagement(LiveHost):
    """Implement :class:`~punktfunk.mgmt.interface.HostControl`.

    ``mgmt_port`` is asked when it is needed: the API's port is known only once it listens.
    """

    def __init__(
        self,
        serving: Served,
        pairing: NativePairing,
        *,
        fingerprint: str,
        bind: str,
        native_enabled: bool,
        mgmt_port: Callable[[], int],
    ) -> None:
        super().__init__(serving, pairing)
        self._fingerprint = fingerprint
        self._bind = bind
        self._native_enabled = native_enabled
        self._mgmt_port = mgmt_port
        self._changing_apps = asyncio.Lock()

    @property
    def native_enabled(self) -> bool:
        """Whether the native host is served."""
        return self._native_enabled

    def facts(self) -> HostFacts:
        """Return who the host is."""
        return HostFacts(
            hostname=socket.gethostname(),
            unique_id=unique_id(self._fingerprint),
            local_ip=reachable_addresses(self._bind)[0],
            version=program_version(),
            abi_version=ABI_VERSION,
            codecs=_CODECS,
            ports=self._ports(),
        )

    def _ports(self) -> Ports:
        wire = GameStreamPorts(self._serving.config.gamestream_port)
        return Ports(
            mgmt=self._mgmt_port(),
            http=wire.http,
            https=wire.https,
            rtsp=wire.rtsp,
            video=wire.video,
            control=wire.control,
            audio=wire.audio,
        )

    async def compositors(self) -> list[Compositor]:
        """Return what a back end that can run here is for; the default is what is streamed."""
        usable = await asyncio.to_thread(_usable_backends, self._serving.state_dir)
        pool, source = self._serving.desktop, self._serving.config.host.source
        streamed = [each for each in usable if not each.by_name_only][:1]
        if pool is not None and pool.backend is not None:
            streamed = [pool.backend]
        elif isinstance(source, DesktopSpec) and source.each_its_own:
            streamed = [each for each in usable if each.name == source.backend]
        there, preferred = ({backend.compositor for backend in each} for each in (usable, streamed))
        return [
            Compositor(name, label, available=name in there, default=name in there & preferred)
            for name, label in COMPOSITORS
        ]

    def pairing(self) -> PairingState:
        """Return the pairing window."""
        now_ns = monotonic_ns()
        window = self._pairing.window(now_ns) if self._native_enabled else None
        return PairingState(
            enabled=self._native_enabled,
            armed=window is not None,
            pin=window.pin if window else None,
            expires_in_secs=-(-(window.until_ns - now_ns) // _S) if window else None,
            paired_clients=len(self.native_clients()),
        )

    def arm_pairing(self, seconds: int | None, fingerprint: str | None) -> PairingState:
        """Open a window with a fresh PIN."""
        wanted = self._serving.config.pairing_seconds if seconds is None else min(seconds, MAX_WINDOW_S)
        self._pairing.arm(monotonic_ns(), wanted, bound_to=fingerprint)
        state = self.pairing()
        self._say.info("pairing armed", seconds=state.expires_in_secs, bound_to=fingerprint)
        return state

    def disarm_pairing(self) -> None:
        """Close the window."""
        self._pairing.disarm()
        self._say.info("pairing disarmed")

    def native_clients(self) -> list[NativeClient]:
        """Return the paired clients, oldest first; none while it is off."""
        if not self._native_enabled:
            return []
        return [
            NativeClient(client.name, client.fingerprint) for client in self._pairing.trust.clients("native")
        ]

    def unpair_native(self, fingerprint: str) -> bool:
        """Unpair a client of the native host and end its sessions."""
        return self._unpair("native", fingerprint)

    def pending(self) -> list[PendingDevice]:
        """Return the devices that wait."""
        return self._devices(needs_pin=False)

    def approve(self, fingerprint: str) -> bool:
        """Pair a device that waits."""
        approved = self._pairing.pending.approve(fingerprint, monotonic_ns(), realtime_ns() // _S)
        if approved:
            self._say.info("device approved", fingerprint=fingerprint)
        return approved

    def deny(self, fingerprint: str) -> bool:
        """Turn a device that waits away."""
        denied = self._pairing.pending.deny(fingerprint, monotonic_ns())
        if denied:
            self._say.info("device denied", fingerprint=fingerprint)
        return denied

    def gamestream(self) -> GameStreamStatus:
        """Return who waits for its PIN, how many are paired, and the latest session and stream."""
        server = self._serving.gamestream
        streams = server.streams() if server else []
        latest = server.sessions[-1] if server and server.sessions else None
        return GameStreamStatus(
            video_streaming=bool(streams),
            audio_streaming=any(session.sounding for session in streams),
            pin_pending=bool(self._devices(needs_pin=True)),
            paired_clients=len(self._pairing.trust.clients(GAMESTREAM)),
            session=_session_asked_for(latest),
            stream=self._stream_of(streams[-1]) if streams else None,
        )

    def _stream_of(self, session: GameStreamSession) -> GameStreamStream | None:
        report, announced = self._serving.host.sessions.report_of(session), session.announced
        if report is None or announced is None:
            return None
        return GameStreamStream(
            mode=report.mode,
            bitrate_kbps=report.bitrate_kbps,
            packet_size=announced.packet_bytes,
            min_fec=announced.min_fec,
            codec=_API_CODECS[announced.codec],
        )

    def moonlight_clients(self) -> list[MoonlightClient]:
        """Return the paired Moonlight clients, oldest first."""
        return [_moonlight_client(client) for client in self._pairing.trust.clients(GAMESTREAM)]

    def unpair_moonlight(self, fingerprint: str) -> bool:
        """Unpair a Moonlight client and end its sessions."""
        return self._unpair(GAMESTREAM, fingerprint)

    def waiting_for_pin(self) -> list[PendingDevice]:
        """Return the devices whose PIN is to be entered here."""
        return self._devices(needs_pin=True)

    def submit_pin(self, pin: str, device: str | None, name: str | None) -> PinOutcome:
        """Give a PIN to the device that shows it."""
        pairing = self._serving.gamestream_pairing
        if pairing is None:
            return "nobody waits"
        outcome = pairing.enter_pin(pin, device, monotonic_ns(), name)
        if outcome == "taken":
            self._say.info("PIN entered", device=device)
        return outcome

    def turn_away(self, device: str) -> bool:
        """Turn a Moonlight client away that waits for its PIN."""
        waits = any(waiting.fingerprint == device.lower() for waiting in self._devices(needs_pin=True))
        return waits and self.deny(device)

    def stop_gamestream(self) -> None:
        """End the sessions of GameStream."""
        server = self._serving.gamestream
        if server is not None:
            server.stop()

    def request_gamestream_idr(self) -> bool:
        """Make the next frame of every GameStream stream a key frame."""
        server = self._serving.gamestream
        return server is not None and server.request_key_frame()

    def apps(self) -> list[App]:
        """Return the apps."""
        return self._serving.apps.all()

    async def add_app(self, app: App) -> App:
        """Add one."""
        return await self._changed_apps(lambda apps: apps.add(app))

    async def change_app(self, number: int, app: App) -> App | None:
        """Change one."""
        return await self._changed_apps(lambda apps: apps.change(number, app))

    async def remove_app(self, number: int) -> bool:
        """Remove one."""
        return await self._changed_apps(lambda apps: apps.remove(number))

    def app_runs(self) -> list[AppRun]:
        """Return what runs."""
        return [
            AppRun(
                running.number,
                running.app,
                tuple(self._name_of(client) for client in sorted(running.clients)),
                len(running.sessions),
            )
            for running in self._serving.host.apps.running()
        ]

    async def quit_app(self, number: int) -> bool:
        """Quit one."""
        for running in self._serving.host.apps.running():
            if running.number == number:
                self._say.info("app quit", app=running.app.title)
                await running.quit()
                return True
        return False

    def _name_of(self, fingerprint: str) -> str:
        client = self._pairing.trust.find(fingerprint)
        return fingerprint[:8] if client is None else client.name

    async def _changed_apps(self, change: Callable[[AppCatalogue], T]) -> T:
        """Change the list of apps, one change at a time; it is written to disk, so that a thread does it."""
        async with self._changing_apps:
            return await asyncio.to_thread(change, self._serving.apps)

    def _devices(self, *, needs_pin: bool) -> list[PendingDevice]:
        now_ns = monotonic_ns()
        return [
            PendingDevice(
                device.fingerprint,
                device.name,
                device.source,
                age_secs=(now_ns - device.since_ns) // _S,
                expires_in_secs=max(0, (device.since_ns + PENDING_LIFE_NS - now_ns) // _S),
            )
            for device in self._pairing.pending.all(now_ns)
            if device.needs_pin == needs_pin
        ]

    def _unpair(self, wire: str, fingerprint: str) -> bool:
        known = self._pairing.trust.find(fingerprint)
        if known is None or known.wire != wire or not self._pairing.trust.remove(fingerprint):
            return False
        self._say.info("unpaired", fingerprint=known.fingerprint, name=known.name)
        return True


def _moonlight_client(client: PairedClient) -> MoonlightClient:
    """Describe a client; of a certificate that cannot be read any more nothing is told but its fingerprint."""
    try:
        found = ClientCertificate.parse(client.certificate_pem.encode())
    except StatusError:
        return MoonlightClient(client.fingerprint, "", 0, 0, client.name)
    return MoonlightClient(
        client.fingerprint, found.subject, found.not_before_unix, found.not_after_unix, client.name
    )


def _usable_backends(state_dir: Path) -> list[Backend]:
    """Return what can run here, in any thread: a host that streams no desktop loads them now."""
    from punktfunk.desktop.backends import BACKENDS, examine

    return [backend for backend, found in zip(BACKENDS, examine(state_dir), strict=True) if found.usable]


def program_version() -> str:
    """Return the version of the installed program."""
    try:
        return metadata.version("punktfunk")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def _session_asked_for(session: GameStreamSession | None) -> AskedFor | None:
    """Return what the client of a session asked for, as far as it has said."""
    if session is None or session.announced is None:
        return None
    return AskedFor(session.announced.mode)
