"""Bodies of the API's requests and responses; fields and their order are those of punktfunk/1 section 8."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasPath, BaseModel, ConfigDict, Field, StringConstraints

from punktfunk.app import AppCompositor

FINGERPRINT_PATTERN = r"^[0-9A-Fa-f]{64}$"


class Body(BaseModel):
    """A body that the API sends; read from the host's dataclasses by attribute."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Order(BaseModel):
    """A body that the API takes: exact types, unknown fields ignored as the reference does."""

    model_config = ConfigDict(strict=True, frozen=True)


class ErrorBody(Body):
    """What every error says."""

    error: str


class Health(Body):
    """Whether the host is up; open to everybody who reaches the port."""

    status: Literal["ok"] = "ok"
    version: str
    abi_version: int


class PortsBody(Body):
    """Ports of the protocols."""

    mgmt: int
    http: int
    https: int
    rtsp: int
    video: int
    control: int
    audio: int


class HostInfo(Body):
    """Who the host is."""

    hostname: str
    uniqueid: str
    local_ip: str
    version: str
    abi_version: int
    app_version: str
    gfe_version: str
    codecs: list[str]
    ports: PortsBody


class CompositorBody(Body):
    """A kind of compositor that a virtual output could come from."""

    id: str
    label: str
    available: bool
    default: bool


class GameStreamSessionBody(Body):
    """What a GameStream client asked for."""

    width: Annotated[int, Field(validation_alias=AliasPath("mode", "width"))]
    height: Annotated[int, Field(validation_alias=AliasPath("mode", "height"))]
    fps: Annotated[int, Field(validation_alias=AliasPath("mode", "refresh_hz"))]


class GameStreamStreamBody(Body):
    """How the GameStream host streams."""

    width: Annotated[int, Field(validation_alias=AliasPath("mode", "width"))]
    height: Annotated[int, Field(validation_alias=AliasPath("mode", "height"))]
    fps: Annotated[int, Field(validation_alias=AliasPath("mode", "refresh_hz"))]
    bitrate_kbps: int
    packet_size: int
    min_fec: int
    codec: str


class Status(Body):
    """State of the GameStream host."""

    video_streaming: bool
    audio_streaming: bool
    pin_pending: bool
    paired_clients: int
    session: GameStreamSessionBody | None
    stream: GameStreamStreamBody | None


class MoonlightClientBody(Body):
    """A paired client of the GameStream host."""

    fingerprint: str
    subject: str
    not_before_unix: int
    not_after_unix: int
    name: str


class PinOrder(Order):
    """The PIN that a Moonlight client shows."""

    pin: Annotated[str, Field(description="1 to 16 digits.")]
    device: Annotated[
        Annotated[str, StringConstraints(pattern=FINGERPRINT_PATTERN)] | None,
        Field(description="Fingerprint of the device that shows it; may be left out while only one waits."),
    ] = None
    name: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=256)] | None,
        Field(description="What the device is called from now on; default: as it calls itself."),
    ] = None


class NativePairingBody(Body):
    """The pairing window of the native host."""

    enabled: bool
    armed: bool
    pin: str | None
    expires_in_secs: int | None
    paired_clients: int


class ArmOrder(Order):
    """How to open the window."""

    ttl_secs: Annotated[int | None, Field(ge=0, description="Default 120, clamped to 15..600.")] = None
    fingerprint: Annotated[
        Annotated[str, StringConstraints(pattern=FINGERPRINT_PATTERN)] | None,
        Field(description="Only the device of this certificate may try; default: any device."),
    ] = None


class NativeClientBody(Body):
    """A paired client of the native host."""

    name: str
    fingerprint: str


class PendingBody(Body):
    """An unpaired device that awaits approval."""

    fingerprint: str
    name: str
    source: str
    age_secs: int
    expires_in_secs: int


class PinPending(Body):
    """The Moonlight clients that wait for their PIN to be entered here."""

    pin_pending: bool
    devices: list[PendingBody]


class AppBody(Body):
    """Something that clients can start."""

    id: int
    title: str
    command: list[str]
    folder: str
    own_desktop: bool
    compositor: AppCompositor


class AppRunBody(Body):
    """An app that runs, whether somebody streams it or not."""

    number: Annotated[int, Field(description="Of this run; no other one gets it.")]
    app: AppBody
    clients: Annotated[list[str], Field(description="Names of those who have launched or joined it.")]
    streams: int


class AppOrder(Order):
    """An app as it is to be. What it may be in detail the host checks."""

    title: Annotated[str, Field(description="1 to 64 printable characters.")]
    command: Annotated[
        list[str], Field(description="Program and arguments, run without a shell; empty: the desktop itself.")
    ] = []
    folder: Annotated[
        str, Field(description="Absolute path of the working folder; empty: the home folder.")
    ] = ""
    own_desktop: Annotated[
        bool,
        Field(
            description="Run it on a headless desktop of its own, made for the client that launches it, in place of "
            "the one that all clients share."
        ),
    ] = False
    compositor: Annotated[
        AppCompositor,
        Field(description="What that desktop is: a headless sway, or a gamescope for this program alone."),
    ] = "sway"
