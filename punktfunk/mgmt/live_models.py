"""Bodies of the live part of the API: sessions, readiness, settings, logs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from punktfunk.mgmt.live import Applies, SettingKind, SettingValue
from punktfunk.mgmt.models import (
    Body,
    MoonlightClientBody,
    NativeClientBody,
    NativePairingBody,
    PendingBody,
    Status,
)


class ClientBody(Body):
    """Who is at the other end of a session."""

    name: str
    fingerprint: str | None
    address: str


class ModeBody(Body):
    """Picture size and rate."""

    width: int
    height: int
    refresh_hz: int


class FecBody(Body):
    """How frames are protected now."""

    scheme: str
    percent: int
    adaptive: bool


class LatencyBody(Body):
    """Order statistics over the frames of the last second."""

    p50_us: int
    p95_us: int
    max_us: int


class StageBody(Body):
    """One stage of the frame path through the host, over the frames of the last second."""

    name: Annotated[str, Field(description="convert, encode wait, encode, seal, queue, send.")]
    p50_us: int
    p95_us: int
    max_us: int


class LossBody(Body):
    """What the client reported."""

    reports: int
    permille: float | None


class HandoverBody(Body):
    """How pictures of a screen reach the encoder."""

    way: Annotated[
        str,
        Field(
            description="imported (a DMA-BUF that the encoder reads), mapped (one that the processor reads), memory, "
            "or copied (memory that the desktop could shorten)."
        ),
    ]
    reason: str


class SessionBody(Body):
    """One session; a figure that was not measured is absent from `stages` and `rates`."""

    number: int
    state: Literal["starting", "streaming", "ending"]
    client: ClientBody
    mode: ModeBody
    codec: str | None
    encoder: str | None
    handover: Annotated[
        HandoverBody | None, Field(description="Unknown at first; null for what is no screen.")
    ]
    source: str
    began_unix_ms: int
    seconds: float
    bitrate_kbps: int
    fec: FecBody
    stages: list[StageBody]
    total: Annotated[LatencyBody | None, Field(description="From capture to the last packet's departure.")]
    rates: Annotated[dict[str, float], Field(description="fps, media_kbps, wire_kbps of the last second.")]
    ledger: Annotated[dict[str, int], Field(description="Frames and packets, counted.")]
    loss: LossBody
    keyframes_requested: int
    input: Annotated[dict[str, int], Field(description="What came beside the control stream, counted.")]
    notices: Annotated[list[str], Field(description="What a person should know of it now, in words.")]


class SessionEndBody(Body):
    """How a session ended."""

    number: int
    reason: str
    failed: bool
    ledger: dict[str, int]


class StateBody(Body):
    """The state of the host, as an event; the PIN is not in it."""

    status: Status
    sessions: list[SessionBody]
    pairing: NativePairingBody
    pending: list[PendingBody]
    clients: list[NativeClientBody]
    waiting_for_pin: list[PendingBody]
    moonlight_clients: list[MoonlightClientBody]


class CheckBody(Body):
    """One condition of being able to stream."""

    name: str
    ok: bool
    text: str
    fix: str | None
    needed: bool
    """Without it nothing can be streamed; what else is not ``ok`` would only make it better."""


class ReadinessBody(Body):
    """Whether a client could stream now, and if not, why."""

    ready: bool
    headline: str
    checks: list[CheckBody]
    addresses: list[str]
    fingerprint: str
    pairing_required: bool


class SettingBody(Body):
    """One setting."""

    name: str
    value: SettingValue
    default: SettingValue
    kind: SettingKind
    unit: str | None
    choices: list[str | int] | None
    minimum: int | None
    maximum: int | None
    applies: Applies
    help: str
    fixed_by: Annotated[str | None, Field(description="The flag of the command line that fixes it.")]


class LogLine(Body):
    """One line of the log, scrubbed of secrets."""

    time: str
    level: str
    concern: str
    event: str
    fields: dict[str, Any]
