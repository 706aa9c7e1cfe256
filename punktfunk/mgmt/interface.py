"""How the management API sees a host: what it reads and what it may ask for.

A host implements :class:`HostControl`; nothing here knows how. Methods are called in the event loop. Those that are
not coroutines return at once, but for the file that a change of the trust list is written to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from punktfunk.app import App
from punktfunk.mgmt.live import LiveControl
from punktfunk.units import Mode


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of the protocols; those of GameStream follow from one."""

    mgmt: int
    http: int = 47989
    https: int = 47984
    rtsp: int = 48010
    video: int = 47998
    control: int = 47999
    audio: int = 48000


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Who the host is. ``codecs`` are names as in the API: ``h264``, ``h265``, ``av1``."""

    hostname: str
    unique_id: str
    local_ip: str
    version: str
    abi_version: int
    codecs: tuple[str, ...]
    ports: Ports


@dataclass(frozen=True, slots=True)
class Compositor:
    """A kind of compositor that a virtual output could come from."""

    id: str
    label: str
    available: bool
    default: bool


@dataclass(frozen=True, slots=True)
class PairingState:
    """The pairing window of the native host; ``pin`` and ``expires_in_secs`` are ``None`` when it is closed."""

    enabled: bool
    armed: bool
    pin: str | None
    expires_in_secs: int | None
    paired_clients: int


@dataclass(frozen=True, slots=True)
class NativeClient:
    """A paired client of the native host."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class PendingDevice:
    """An unpaired device that asked to connect and awaits approval."""

    fingerprint: str
    name: str
    source: str
    age_secs: int
    expires_in_secs: int


@dataclass(frozen=True, slots=True)
class MoonlightClient:
    """A paired client of the GameStream host, by its certificate; ``name`` is what people call it."""

    fingerprint: str
    subject: str
    not_before_unix: int
    not_after_unix: int
    name: str


@dataclass(frozen=True, slots=True)
class AppRun:
    """An app that runs, whether somebody streams it or not; ``number`` is the run's, and no other one gets it."""

    number: int
    app: App
    clients: tuple[str, ...]
    """Who has launched or joined it, by name."""
    streams: int


PinOutcome = Literal["taken", "nobody waits", "several wait"]
"""What became of a PIN that was entered."""


@dataclass(frozen=True, slots=True)
class GameStreamSession:
    """What a GameStream client asked for."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class GameStreamStream:
    """How the GameStream host streams."""

    mode: Mode
    bitrate_kbps: int
    packet_size: int
    min_fec: int
    codec: str


@dataclass(frozen=True, slots=True)
class GameStreamStatus:
    """The GameStream host; the defaults are an idle one."""

    video_streaming: bool = False
    audio_streaming: bool = False
    pin_pending: bool = False
    paired_clients: int = 0
    session: GameStreamSession | None = None
    stream: GameStreamStream | None = None


class HostControl(LiveControl, Protocol):
    """A host, as the management API operates it.

    What changes the trust list raises :class:`~punktfunk.errors.TrustStoreError` when it could not be written; then
    nothing was changed.
    """

    @property
    def native_enabled(self) -> bool:
        """Whether the native host is served; without it nothing of it can be changed."""

    def facts(self) -> HostFacts:
        """Return who the host is."""

    async def compositors(self) -> list[Compositor]:
        """Return what the machine has: kwin, gamescope, mutter, wlroots, in that order."""

    def pairing(self) -> PairingState:
        """Return the pairing window."""

    def arm_pairing(self, seconds: int | None, fingerprint: str | None) -> PairingState:
        """Open a window with a fresh PIN, for ``seconds`` (clamped; ``None`` takes the default).

        With a ``fingerprint`` only the device that has it may try.
        """

    def disarm_pairing(self) -> None:
        """Close the window."""

    def native_clients(self) -> list[NativeClient]:
        """Return the paired clients, oldest first."""

    def unpair_native(self, fingerprint: str) -> bool:
        """Unpair a client and end its sessions; ``False`` when it is not paired. Any case will do."""

    def pending(self) -> list[PendingDevice]:
        """Return the devices that wait, oldest first."""

    def approve(self, fingerprint: str) -> bool:
        """Pair a device that waits; ``False`` when it does not."""

    def deny(self, fingerprint: str) -> bool:
        """Turn a device that waits away; ``False`` when it does not."""

    def gamestream(self) -> GameStreamStatus:
        """Return the state of the GameStream host."""

    def moonlight_clients(self) -> list[MoonlightClient]:
        """Return the paired clients of the GameStream host."""

    def unpair_moonlight(self, fingerprint: str) -> bool:
        """Unpair one of them; ``False`` when it is not paired."""

    def waiting_for_pin(self) -> list[PendingDevice]:
        """Return the Moonlight clients that wait for the PIN which they show to be entered here, oldest first."""

    def submit_pin(self, pin: str, device: str | None, name: str | None) -> PinOutcome:
        """Hand over the PIN that a Moonlight client shows: that of fingerprint ``device``, or the only one that waits.

        ``name`` is what it is called from now on.
        """

    def turn_away(self, device: str) -> bool:
        """Turn a Moonlight client away that waits for its PIN; ``False`` when it does not."""

    def stop_gamestream(self) -> None:
        """End the GameStream session, if there is one."""

    def request_gamestream_idr(self) -> bool:
        """Make the next GameStream frame a key frame; ``False`` when nothing streams."""

    def apps(self) -> list[App]:
        """Return the apps that clients can start, the desktop first."""

    async def add_app(self, app: App) -> App:
        """Add an app and return it with its number; that of ``app`` does not count.

        Raises ``ConfigError`` for what is no app, ``SettingsError`` when it could not be stored, as the next two do.
        """

    async def change_app(self, number: int, app: App) -> App | None:
        """Put another app in the place of one; ``None`` when there is none of that number."""

    async def remove_app(self, number: int) -> bool:
        """Remove an app; ``False`` when there is none of that number."""

    def app_runs(self) -> list[AppRun]:
        """Return the apps that run, in the order of their launches."""

    async def quit_app(self, number: int) -> bool:
        """Quit the app of a run, which is gone when this returns; ``False`` when there is no such run."""
