"""What a host is started with: one validated model for the command line, configuration files and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from punktfunk.addresses import parse_address, require_bindable
from punktfunk.core._core import recovery_shards
from punktfunk.desktop.keyboard_layout import DEFAULT_LAYOUT, xkb_names
from punktfunk.errors import ConfigError
from punktfunk.host.stream.adaptive_fec import MAX_FEC_PERCENT
from punktfunk.host.stream.sources import DesktopSpec, HostSource
from punktfunk.host.stream.spec import Pacing
from punktfunk.media import EncoderWish, TestCardSpec
from punktfunk.media.encoders.base import check_bitrate
from punktfunk.native.control import MAX_SHARD_BYTES
from punktfunk.trust.identity import parse_fingerprint
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode

NATIVE_PORT = 9777
"""The port of the reference host (punktfunk/1 section 7.1)."""
APP_KEEP_MINUTES = 60
MAX_APP_KEEP_MINUTES = 24 * 60
"""How long an app on a desktop of its own may be left alone: by default, and at most."""


class HostConfig(BaseModel):
    """Configuration of a native host. Every field has a default; the defaults serve loopback only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    bind: str = "127.0.0.1"
    """Address to listen on; ``*`` for all, ``0.0.0.0`` for all of IPv4, ``::`` for all of IPv6."""
    port: Annotated[int, Field(ge=0, le=65535)] = NATIVE_PORT
    """UDP port of the control connection; 0 takes a free one."""
    trust: OpenTrust = OpenTrust.NONE
    """Whether clients without a known certificate are let in, and where."""
    trusted_clients: list[str] = []
    """Fingerprints of clients that are let in from anywhere."""
    state_dir: Path | None = None
    """Folder of the host's identity; without one the identity lives as long as the process."""
    max_sessions: Annotated[int, Field(ge=1, le=64)] = 4
    app_keep_minutes: Annotated[int, Field(ge=0, le=MAX_APP_KEEP_MINUTES)] = APP_KEEP_MINUTES
    """How long an app on a desktop of its own goes on when its client has left; 0: not at all."""
    exit_after_sessions: Annotated[int, Field(ge=0)] = 0
    """End after this many streams; 0 serves for ever."""

    source: HostSource = TestCardSpec()
    keyboard_layout: str = DEFAULT_LAYOUT
    """XKB's ``layout[:variant]`` of the keyboard of headless desktops, gamescopes and apps' own, and of the one
    that clients have in a session of wlroots."""
    outputs: Literal["own", "mirror"] = "own"
    """``own``: each stream of a desktop has an output of its own, where the desktop can make them; ``mirror``: all show
    that of the first."""
    cursor: Literal["auto", "painted", "separate"] = "auto"
    """The pointer of a desktop: ``auto`` lets clients draw it that can, where the desktop tells it beside its pictures;
    ``painted`` has it in the picture of every client; ``separate`` is ``auto`` on a desktop that must be able to."""
    mode: Mode | None = None
    """Mode of the stream; ``None`` follows what the client asks for."""
    codec: Literal["auto", "h264", "hevc", "av1"] = "auto"
    encoder: EncoderWish = "auto"
    """``nvenc``, ``vaapi``: the GPU's or none; ``x264``: software; ``auto``: the first that works of NVENC, VA-API and
    software, and the next where that fails."""
    bitrate: Bitrate | None = None
    """Bitrate of the stream; ``None`` follows the client, or 20 Mbit/s when it leaves that to the host."""
    vbv_frames: Annotated[float, Field(ge=1.0, le=60.0)] = 2.0
    key_interval: Annotated[int, Field(ge=0)] = 0
    """Frames between key frames of a video encoder; 0 sends them on demand only."""
    encoder_threads: Annotated[int, Field(ge=0, le=64)] = 0
    frames: Annotated[int, Field(ge=1)] | None = None
    """Frames to stream. With a synthetic source the client is told, and verifies every one."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    verify: bool = True
    """Announce a synthetic stream's length; off, the client takes it for a stream like any other."""

    fec_scheme: Literal["gf8", "gf16"] = "gf16"
    fec_percent: Annotated[int, Field(ge=0, le=MAX_FEC_PERCENT)] = 20
    adaptive_fec: bool = False
    """Follow the client's loss reports instead of staying at ``fec_percent``."""
    fec_min_percent: Annotated[int, Field(ge=0, le=MAX_FEC_PERCENT)] | None = None
    """Floor of adaptive FEC; ``None`` takes ``fec_percent``."""
    shard_bytes: Annotated[int, Field(ge=2, le=MAX_SHARD_BYTES, multiple_of=2)] | None = None
    """Payload of a packet; ``None`` takes 1408 for IPv4 and 1388 for IPv6, which fill 1500-byte packets.

    8908 and 8888 fill those of 9000; more than 1984 is taken by clients since v0.25.0 and by this project's."""
    max_block_shards: Annotated[int, Field(ge=1, le=43_690)] | None = None
    """Data shards of a block; ``None`` takes 4096, or as many as GF(2^8) can hold."""
    encrypt: bool = True
    pacing: Pacing = Pacing()
    queue_frames: Annotated[int, Field(ge=1, le=1024)] = 8
    gso: bool = True
    send_buffer_bytes: Annotated[int, Field(ge=4096)] = 8 * 1024 * 1024
    realtime: bool = True
    """Let the thread that sends go before all normal ones (SCHED_FIFO), where this process may.

    Elsewhere it has a short slice.
    """
    probe_limit: Bitrate = Bitrate(1_000_000_000)
    """Highest rate of the bandwidth probes that clients ask for; 0 refuses them."""

    artefacts: Path | None = None
    """Folder for ``records.npz`` and ``stats.json`` of the first stream; ``stream-2``, … for later ones."""
    record_frames: bool = True

    @field_validator("bind")
    @classmethod
    def _literal_address(cls, value: str) -> str:
        return require_bindable(value)

    @field_validator("keyboard_layout")
    @classmethod
    def _layout(cls, value: str) -> str:
        xkb_names(value)
        return value

    @field_validator("bitrate")
    @classmethod
    def _encodable(cls, value: Bitrate | None) -> Bitrate | None:
        return None if value is None else check_bitrate(value)

    @field_validator("trusted_clients")
    @classmethod
    def _fingerprints(cls, value: list[str]) -> list[str]:
        return [parse_fingerprint(text) for text in value]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.encrypt and self.trust is OpenTrust.NONE:
            raise ValueError("encrypt: false is for loopback and lab trust only")
        largest = self.block_shards + recovery_shards(self.block_shards, self.fec_percent)
        if self.fec_scheme == "gf8" and largest > 255:
            raise ValueError(f"blocks of {largest} shards do not fit gf8; lower max_block_shards")
        return self

    def changed(self, **changes: Any) -> Self:
        """Return a copy with other values, checked like the first; raise ``ConfigError`` when they do not fit."""
        try:
            return self.model_validate(
                {**{name: getattr(self, name) for name in self.model_fields_set}, **changes}
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error

    @property
    def desktops(self) -> DesktopSpec:
        """What desktops are opened by: the source, or the default where that is none, with the host's layout."""
        source = self.source if isinstance(self.source, DesktopSpec) else DesktopSpec()
        if source.keyboard_layout:
            return source
        return source.model_copy(update={"keyboard_layout": self.keyboard_layout})

    @property
    def fec_floor_percent(self) -> int | None:
        """Floor of adaptive FEC, resolved; ``None`` while FEC does not adapt."""
        if not self.adaptive_fec:
            return None
        return self.fec_percent if self.fec_min_percent is None else self.fec_min_percent

    @property
    def block_shards(self) -> int:
        """Data shards of a block, resolved."""
        if self.max_block_shards is not None:
            return self.max_block_shards
        return 4096 if self.fec_scheme == "gf16" else 255 * 100 // (100 + MAX_FEC_PERCENT)

    def shard_bytes_for(self, address: str) -> int:
        """Payload of a packet toward ``address`` (section 2.5: 1408 for IPv4, 1388 for IPv6)."""
        if self.shard_bytes is not None:
            return self.shard_bytes
        return 1408 if parse_address(address).version == 4 else 1388
