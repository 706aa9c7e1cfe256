"""What ``punktfunk serve`` is started with, and the settings that its configuration amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from punktfunk import log
from punktfunk.gamestream.ports import BASE_PORT, Ports
from punktfunk.host.config import HostConfig
from punktfunk.host.native.pairing import DEFAULT_WINDOW_S, MAX_WINDOW_S, MIN_WINDOW_S
from punktfunk.host.service import CHANGEABLE
from punktfunk.mgmt.endpoint import MGMT_PORT, Endpoint
from punktfunk.mgmt.live import SettingValue
from punktfunk.units import Bitrate

SERVE_SETTINGS = ("pairing_seconds", "pin_digits", "announce", "inhibit", "log_level", "own_sink")


class ServeConfig(BaseModel):
    """What ``punktfunk serve`` is started with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: HostConfig
    """The native host; its ``state_dir`` is the process's."""
    native: bool = True
    """Serve the native protocol."""
    gamestream: bool | None = None
    """Serve Moonlight clients, by GameStream; ``None``: where its ports are free, unless nothing else is served."""
    gamestream_port: int = BASE_PORT
    """The HTTP port of GameStream, from which all its others follow."""
    announce: bool = True
    """Announce the host by multicast DNS, a service each wire."""
    inhibit: bool = True
    """Hold off idle, sleep and lock while somebody streams."""
    own_sink: bool = False
    """Have a running session play into a sink of our own while somebody listens, in place of its speakers."""
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

    @property
    def gamestream_wanted(self) -> bool:
        """Whether GameStream is to be served, if that can be."""
        return self.gamestream is not False

    @property
    def gamestream_required(self) -> bool:
        """Whether the host is not to start without GameStream: it was asked for by name, or is the only wire."""
        return self.gamestream is True or (self.gamestream_wanted and not self.native)

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        if not (self.native or self.gamestream_wanted or self.management):
            raise ValueError("without a protocol and without the management API nothing is served")
        if not self.native and self.arm_seconds is not None:
            raise ValueError("without the native protocol there is nothing to pair with")
        return self

    @field_validator("gamestream_port")
    @classmethod
    def _has_ports(cls, value: int) -> int:
        return Ports(value).base

    @field_validator("mgmt_bind")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        return str(Endpoint.parse(value))


def settings_of(config: ServeConfig) -> dict[str, SettingValue]:
    """Return the settings that a configuration amounts to."""
    host = config.host
    return {
        "bitrate": None if host.bitrate is None else host.bitrate.kbps,
        "mode": None if host.mode is None else str(host.mode),
        **{name: getattr(host, name) for name in CHANGEABLE - {"bitrate", "mode"}},
        **{name: getattr(config, name) for name in SERVE_SETTINGS},
    }


def with_settings(config: ServeConfig, values: Mapping[str, SettingValue]) -> ServeConfig:
    """Return a configuration with other settings; raise ``ConfigError`` when they do not fit together."""
    host: dict[str, Any] = {name: value for name, value in values.items() if name in CHANGEABLE}
    if host.get("bitrate") is not None:
        host["bitrate"] = Bitrate.from_kbps(host["bitrate"])
    own = {name: value for name, value in values.items() if name in SERVE_SETTINGS}
    return config.model_copy(update={**own, "host": config.host.changed(**host)})
