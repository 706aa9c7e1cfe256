"""What can be changed without starting the host anew: a table of settings, kept in one small file.

A setting that a flag of the command line names is fixed by it; another one that was changed comes from the file; the
rest have their defaults. A change is checked as a whole and is on disk before any of it takes effect.

A setting is a field of :class:`SettingValues` and a row of :data:`TABLE`, and also one of the configuration, of
``HostConfig`` with a name in ``CHANGEABLE`` (``service``) or of ``ServeConfig`` with one in ``SERVE_SETTINGS``
(``serve_config``). ``Sessions.reconfigure`` or ``Served.change_settings`` makes it take effect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from punktfunk.errors import ConfigError, SettingsError, UnitError
from punktfunk.host.config import APP_KEEP_MINUTES, MAX_APP_KEEP_MINUTES
from punktfunk.host.native.pairing import DEFAULT_WINDOW_S, MAX_WINDOW_S, MIN_WINDOW_S
from punktfunk.host.stream.adaptive_fec import MAX_FEC_PERCENT
from punktfunk.log import Level
from punktfunk.media import EncoderWish
from punktfunk.media.encoders.base import MAX_BITRATE
from punktfunk.mgmt.live import Applies, Setting, SettingKind, SettingValue
from punktfunk.native.control import MIN_BITRATE_KBPS
from punktfunk.trust.private_file import read_private, write_private
from punktfunk.units import Mode

SETTINGS_FILE = "settings.json"
SCHEMA_VERSION = 1
MAX_FILE_BYTES = 65_536

_KINDS: Mapping[str, SettingKind] = {"integer": "integer", "boolean": "boolean", "string": "text"}


class SettingValues(BaseModel):
    """The settings, each with its default and its limits; JSON types are taken exactly."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bitrate: Annotated[int, Field(ge=MIN_BITRATE_KBPS, le=MAX_BITRATE.kbps)] | None = None
    fec_percent: Annotated[int, Field(ge=0, le=MAX_FEC_PERCENT)] = 20
    adaptive_fec: bool = True
    fec_min_percent: Annotated[int, Field(ge=0, le=MAX_FEC_PERCENT)] | None = None
    fec_scheme: Literal["gf16", "gf8"] = "gf16"
    codec: Literal["auto", "h264", "hevc", "av1"] = "auto"
    encoder: EncoderWish = "auto"
    mode: Annotated[str, Field(max_length=64)] | None = None
    outputs: Literal["own", "mirror"] = "own"
    cursor: Literal["auto", "painted", "separate"] = "auto"
    max_sessions: Annotated[int, Field(ge=1, le=64)] = 4
    app_keep_minutes: Annotated[int, Field(ge=0, le=MAX_APP_KEEP_MINUTES)] = APP_KEEP_MINUTES
    pairing_seconds: Annotated[int, Field(ge=MIN_WINDOW_S, le=MAX_WINDOW_S)] = DEFAULT_WINDOW_S
    pin_digits: Literal[4, 6] = 4
    announce: bool = True
    inhibit: bool = True
    own_sink: bool = False
    log_level: Level = "info"

    @field_validator("mode")
    @classmethod
    def _is_a_mode(cls, value: str | None) -> str | None:
        return None if value is None else str(Mode.parse(value))


@dataclass(frozen=True, slots=True)
class About:
    """What a person is told of a setting."""

    applies: Applies
    help: str
    unit: str | None = None


TABLE: Mapping[str, About] = {
    "bitrate": About(
        "now", "Bitrate of the video of every session. Empty: what the client asks for.", "kbit/s"
    ),
    "fec_percent": About(
        "now", "Recovery packets for every hundred packets; adaptive FEC begins with it and does not go below.", "%"
    ),
    "adaptive_fec": About("now", "Follow the loss that clients report with more or less recovery packets."),
    "fec_min_percent": About("now", "What adaptive FEC may go down to on a clean path. Empty: fec_percent.", "%"),
    "fec_scheme": About("next session", "Erasure code. gf16 repairs bursts best; gf8 cuts frames into small blocks."),
    "codec": About(
        "next session", "Video codec. auto: the client's favourite. In software, HEVC and AV1 may have fewer frames."
    ),
    "encoder": About("next session", "auto: the graphics card's (nvenc, vaapi) where it can, else software (x264)."),
    "mode": About("next session", "Picture size and rate, such as 1920x1080@60. Empty: what the client asks for."),
    "outputs": About("next session", "own: an output for each stream of a desktop; mirror: all show the first one's."),
    "cursor": About(
        "next session", "auto: native clients draw the pointer where the desktop tells it; painted: the host does."
    ),
    "max_sessions": About("now", "Sessions at the same time. Those that run are not ended."),
    "app_keep_minutes": About(
        "now", "How long an app on a desktop of its own runs on for the client that has left it.", "min"
    ),
    "pairing_seconds": About("now", "How long a PIN can be used once pairing is armed.", "s"),
    "pin_digits": About("now", "Digits of the next PIN. Clients of the first releases take four only."),
    "announce": About("now", "Announce this host in the local network (multicast DNS)."),
    "inhibit": About("now", "Hold off idle, sleep and the lock of this machine's session while a client streams."),
    "own_sink": About("next session", "Have a running session play into a sink of the host's while a client listens."),
    "log_level": About("now", "Least level of the log lines that the host keeps in memory and shows here."),
}  # fmt: skip


class SettingsStore:
    """The settings of one state folder; ``fixed`` maps those that flags fix to the flags.

    Raises ``SettingsError`` when the file cannot be read or is damaged; a copy of a damaged one is kept aside.
    """

    def __init__(self, path: Path, fixed: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.fixed = dict(fixed or {})
        self._stored = self._load()

    @property
    def chosen(self) -> dict[str, SettingValue]:
        """Return what was changed and is not fixed by a flag."""
        return {name: value for name, value in self._stored.items() if name not in self.fixed}

    def change(self, changes: Mapping[str, object]) -> dict[str, SettingValue]:
        """Check changes as a whole and return all that is chosen with them; nothing is stored yet.

        Raises ``ConfigError``, which names the setting and what is wrong with it.
        """
        for name in changes:
            if name not in TABLE:
                raise ConfigError(f"{name[:64]}: there is no such setting")
            if name in self.fixed:
                raise ConfigError(f"{name} is fixed by {self.fixed[name]} on the command line")
        checked = _checked({**self._stored, **changes})
        return {name: getattr(checked, name) for name in (*self._stored, *changes)}

    def store(self, values: Mapping[str, SettingValue]) -> None:
        """Put values that were checked on disk; raise ``SettingsError``, and then nothing was changed."""
        document = {"schema_version": SCHEMA_VERSION, "settings": dict(sorted(values.items()))}
        _write(self.path, (json.dumps(document, indent=2) + "\n").encode())
        self._stored = dict(values)

    def rows(self, effective: Mapping[str, SettingValue]) -> list[Setting]:
        """Return the table with the effective values."""
        return self.table(effective, self.fixed)

    @staticmethod
    def table(effective: Mapping[str, SettingValue], fixed: Mapping[str, str] | None = None) -> list[Setting]:
        """Return the table for any values, without a file."""
        return [_row(name, effective[name], (fixed or {}).get(name)) for name in TABLE]

    def _load(self) -> dict[str, SettingValue]:
        raw = read_private(self.path, what="the file of settings", error=SettingsError, limit=MAX_FILE_BYTES)
        if raw is None:
            return {}
        try:
            return _parse(raw)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            aside = self.path.with_name(f"{self.path.name}.corrupt-{hashlib.sha256(raw).hexdigest()[:8]}")
            _write(aside, raw)
            cause = error.cause if isinstance(error, ConfigError) else "it is not what this program wrote"
            raise SettingsError(
                f"the settings {self.path} are damaged ({cause}); a copy is kept in {aside.name}",
                f"correct the file, or delete {self.path} to start with the defaults",
            ) from error


def _parse(raw: bytes) -> dict[str, SettingValue]:
    document = json.loads(raw)
    version, settings = document["schema_version"], document["settings"]
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION or not isinstance(settings, dict):
        raise ValueError("unknown schema version")
    try:
        checked = _checked(settings)
    except ConfigError as error:
        raise ValueError(error.cause) from error
    return {name: getattr(checked, name) for name in settings}


def _checked(values: Mapping[str, object]) -> SettingValues:
    try:
        return SettingValues.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        # A name that is no Unicode has no place.
        name, reason = str(next(iter(first["loc"]), "a name")), first.get("ctx", {}).get("error")
        words = reason.cause if isinstance(reason, UnitError) else first["msg"].lower()
        raise ConfigError(f"{name[:64]}: {words}") from error


def _row(name: str, value: SettingValue, fixed_by: str | None) -> Setting:
    about, info = TABLE[name], SettingValues.model_fields[name]
    schema = SettingValues.model_json_schema()["properties"][name]
    plain = next((variant for variant in schema.get("anyOf", ()) if variant.get("type") != "null"), schema)
    choices = get_args(info.annotation) if "enum" in plain else None
    kind: SettingKind = "choice" if choices else _KINDS[plain["type"]]
    return Setting(
        name,
        value,
        info.default,
        kind,
        about.unit,
        choices,
        plain.get("minimum"),
        plain.get("maximum"),
        about.applies,
        about.help,
        fixed_by,
    )


def _write(path: Path, data: bytes) -> None:
    try:
        write_private(path, data)
    except OSError as error:
        raise SettingsError(
            f"cannot write {path}: {error.strerror}",
            "free some space or fix the mode of its folder; nothing was changed",
        ) from error
