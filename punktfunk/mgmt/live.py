"""The live part of how the management API sees a host: sessions, settings, readiness, and what changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from punktfunk.log_ring import LogRing
from punktfunk.units import Mode


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end; ``name`` is what it calls itself, fit to be shown."""

    name: str
    fingerprint: str | None
    address: str


@dataclass(frozen=True, slots=True)
class Fec:
    """How frames are protected now: erasure code, and recovery packets in percent of data packets."""

    scheme: str
    percent: int
    adaptive: bool


@dataclass(frozen=True, slots=True)
class Latency:
    """How long frames took in the last second, µs."""

    p50_us: int
    p95_us: int
    max_us: int


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the frame path through the host, as :class:`Latency`."""

    name: str
    p50_us: int
    p95_us: int
    max_us: int


@dataclass(frozen=True, slots=True)
class Loss:
    """What the client reported."""

    reports: int
    permille: float | None


@dataclass(frozen=True, slots=True)
class Handover:
    """How pictures of a screen reach the encoder, and why."""

    way: str
    reason: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session. ``stages`` are in the order of the frame path, and only those that were measured."""

    number: int
    state: Literal["starting", "streaming", "ending"]
    client: Client
    mode: Mode
    codec: str | None
    encoder: str | None
    handover: Handover | None
    """None until it is known, and for what is no screen."""
    source: str
    began_unix_ms: int
    seconds: float
    bitrate_kbps: int
    fec: Fec
    stages: tuple[Stage, ...]
    total: Latency | None
    rates: Mapping[str, float]
    """``fps``, ``media_kbps``, ``wire_kbps`` of the last second; empty before the first is over."""
    ledger: Mapping[str, int]
    loss: Loss
    keyframes_requested: int
    input: Mapping[str, int]
    notices: tuple[str, ...] = ()
    """What a person should know of it now."""


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended."""

    number: int
    reason: str
    failed: bool
    ledger: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Totals:
    """What is counted over the life of the host, by name."""

    sessions_begun: int
    sessions_failed: int
    ended: Mapping[str, int]
    """Ledgers of the sessions that are over, added up."""
    pairing: Mapping[str, int]
    listener: Mapping[str, int]
    http: Mapping[str, int]
    log_lines_forgotten: int
    log_lines_limited: int
    cpu_seconds: float
    """Of the host process, its workers that are over included."""
    started_unix_s: float


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of being able to stream; ``fix`` is a command or a sentence that repairs it."""

    name: str
    ok: bool
    text: str
    fix: str | None = None
    needed: bool = False
    """Without it nothing can be streamed."""


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """Whether a client could stream now, and if not, why."""

    ready: bool
    headline: str
    checks: tuple[Check, ...]
    addresses: tuple[str, ...]
    fingerprint: str
    pairing_required: bool


SettingValue: TypeAlias = str | int | bool | None
SettingKind: TypeAlias = Literal["integer", "boolean", "text", "choice"]
Applies: TypeAlias = Literal["now", "next session"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting with its effective value; ``fixed_by`` is the flag that fixes it."""

    name: str
    value: SettingValue
    default: SettingValue
    kind: SettingKind
    unit: str | None
    choices: tuple[str | int, ...] | None
    minimum: int | None
    maximum: int | None
    applies: Applies
    help: str
    fixed_by: str | None


class Watcher(Protocol):
    """Who wants to hear of changes; called in the event loop, and must neither block nor raise."""

    def state_changed(self) -> None:
        """Pairing, waiting devices or clients have changed."""

    def session_changed(self, session: SessionInfo) -> None:
        """A session began or has new figures."""

    def session_ended(self, end: SessionEnd) -> None:
        """A session is over."""


class LiveControl(Protocol):
    """What the management API reads of a running host, and what it may change of it."""

    @property
    def log(self) -> LogRing:
        """The latest log lines."""

    def sessions(self) -> list[SessionInfo]:
        """Return the sessions, oldest first."""

    def end_session(self, number: int) -> bool:
        """End one; ``False`` when there is none of that number, or it is ending already."""

    def totals(self) -> Totals:
        """Return what was counted."""

    async def readiness(self) -> ReadinessReport:
        """Check whether a client could stream now."""

    def settings(self) -> list[Setting]:
        """Return the settings with their effective values."""

    async def change_settings(self, changes: Mapping[str, object]) -> None:
        """Apply other values, all of them or none.

        Raises ``ConfigError`` for what is invalid and ``SettingsError`` when they could not be stored.
        """

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Notify ``watcher`` of changes from now on; return the function that ends this."""
