"""What the reference client is started with: one validated model for command line, files and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from punktfunk.media import Codec, TestCardSpec
from punktfunk.native.control import MS, S
from punktfunk.native.handshake import MAX_LAUNCH_BYTES
from punktfunk.trust.identity import parse_fingerprint
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Duration, Mode

MIN_IDLE_NS, MAX_IDLE_NS = 500 * MS, 600 * S
"""Shorter ones mistake a late packet for a dead host, longer ones keep a frozen picture."""


class ClientConfig(BaseModel):
    """Configuration of one client session. ``address`` is only read by the headless program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    address: str = ""
    """``HOST[:PORT]`` with a literal IP address; ``[HOST]:PORT`` for IPv6."""
    pin: str | None = None
    """Fingerprint of the host; another certificate ends the handshake."""
    trust: OpenTrust = OpenTrust.NONE
    """Whether a host without a pin is taken, and where."""
    state_dir: Path | None = None
    """Folder of the client's identity; without one the identity lives as long as the process."""
    dialect: Literal["auto", "pkf1", "none"] = "auto"
    """ALPN dialect; ``auto`` tries ``pkf1`` first and then no ALPN."""
    name: Annotated[str, Field(max_length=64)] | None = None
    """Device name to send."""

    app: Annotated[str, Field(min_length=1)] | None = None
    """Number or title of an app of the host to stream; ``None`` streams what the host streams. At most 128 bytes."""
    quit_after: bool = False
    """End for good: the host quits the app, too, where nobody else streams it."""

    idle_timeout: Duration | None = None
    """Silence after which the host is given up; ``None`` is 8 s, and 30 s for hosts before v0.2.0. The host may wait
    for less, and then that holds."""
    mode: Mode = Mode(1280, 720, 60)
    bitrate: Bitrate | None = None
    """Bitrate to ask for; ``None`` leaves it to the host."""
    codecs: list[Codec] = [Codec.H264, Codec.HEVC, Codec.AV1]
    """Codecs to offer, the preferred one first."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """End after this long; ``None`` stays until the host ends the stream."""

    decode: bool = True
    """Decode video; switched off, access units are received and counted only."""
    read_strip: bool = True
    """Read the frame marker of every decoded picture."""
    present: bool = False
    """Show the pictures in a window and send its input; wants PySDL2 (the extra ``present``)."""
    cursor: Literal["auto", "painted", "separate"] = "auto"
    """Who draws the pointer: ``separate`` this client, where the host leaves it to it, ``painted`` the host; ``auto``
    this client where it shows pictures in a window. Without one, ``Client.cursor`` hears of it."""
    reference: TestCardSpec | None = None
    """Draw this test card again and compare: PSNR and SSIM of luma."""
    reference_every: Annotated[int, Field(ge=1)] = 1
    recovery: bool = True
    """Ask for a key frame when a frame is lost."""
    loss_reports: bool = True
    hold_undecodable: bool = True
    """Keep frames whose references are lost away from the decoder until the recovery point."""
    reorder_window: Duration = Duration(20_000_000)
    loss_window: Duration = Duration(120_000_000)
    """How long an incomplete frame is waited for; a verification, which has no picture to show, waits 2 s."""
    queue_frames: Annotated[int, Field(ge=1, le=1024)] = 16
    gro: bool = True
    receive_buffer_bytes: Annotated[int, Field(ge=4096)] = 32 * 1024 * 1024

    artefacts: Path | None = None
    """Folder for ``records.npz``, ``decoded.npz`` and ``stats.json``."""
    record_frames: bool = True
    out: Path | None = None
    """File to append access units to."""

    @property
    def draws_cursor(self) -> bool:
        """Whether to ask the host for the pointer beside the pictures."""
        return self.cursor == "separate" or (self.cursor == "auto" and self.present)

    @field_validator("idle_timeout")
    @classmethod
    def _within_reason(cls, value: Duration | None) -> Duration | None:
        if value is not None and not MIN_IDLE_NS <= value.ns <= MAX_IDLE_NS:
            raise ValueError("an idle time is from 500 ms to 10 min")
        return value

    @field_validator("app")
    @classmethod
    def _fits(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode()) > MAX_LAUNCH_BYTES:
            raise ValueError(f"an app is named in at most {MAX_LAUNCH_BYTES} bytes")
        return value

    @field_validator("pin")
    @classmethod
    def _fingerprint(cls, value: str | None) -> str | None:
        return None if value is None else parse_fingerprint(value)
