"""The settings of a host: checked as a whole, kept in a private file, and never over a flag's head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from punktfunk.errors import ConfigError, SettingsError
from punktfunk.host.config import HostConfig
from punktfunk.host.serve_config import SERVE_SETTINGS, ServeConfig, settings_of
from punktfunk.host.service import CHANGEABLE
from punktfunk.host.settings import TABLE, SettingsStore, SettingValues
from punktfunk.units import Bitrate

DEFAULTS = SettingValues().model_dump()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


def test_every_setting_is_explained_and_has_a_default_within_its_own_limits() -> None:
    assert set(TABLE) == set(SettingValues.model_fields)
    for row in SettingsStore(Path("none")).rows(DEFAULTS):
        assert row.help.endswith(".")
        assert row.value == row.default
        if row.kind == "choice":
            assert row.choices is not None
            assert row.default in row.choices
        if row.kind == "integer":
            assert row.minimum is not None
            assert row.maximum is not None
            assert row.default is None or row.minimum <= int(row.default) <= row.maximum


def test_every_setting_is_one_of_the_configuration_and_has_its_default_there(tmp_path: Path) -> None:
    assert set(TABLE) == CHANGEABLE | set(SERVE_SETTINGS)
    assert not CHANGEABLE & set(SERVE_SETTINGS)
    # `serve` follows loss by default; a host that is made for a measurement does not (their flags of that name).
    of_a_host = settings_of(ServeConfig(host=HostConfig(state_dir=tmp_path)))
    assert of_a_host == {**DEFAULTS, "adaptive_fec": False}


def test_changes_survive_a_restart_in_a_private_file(path: Path) -> None:
    store = SettingsStore(path)
    store.store(store.change({"fec_percent": 35, "mode": " 1920x1080 @ 60Hz"}))
    store.store(store.change({"bitrate": 8000}))
    assert path.stat().st_mode & 0o777 == 0o600
    assert SettingsStore(path).chosen == {"fec_percent": 35, "mode": "1920x1080@60", "bitrate": 8000}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fec_percent": 51}, "fec_percent"),
        ({"fec_percent": 30, "bitrate": 1}, "bitrate"),
        ({"fec_percent": True}, "fec_percent"),
        ({"fec_percent": "30"}, "fec_percent"),
        ({"fec_percent": 30.5}, "fec_percent"),
        ({"max_sessions": None}, "max_sessions"),
        ({"app_keep_minutes": -1}, "app_keep_minutes"),
        ({"app_keep_minutes": 24 * 60 + 1}, "app_keep_minutes"),
        ({"pin_digits": 5}, "pin_digits"),
        ({"adaptive_fec": 1}, "adaptive_fec"),
        ({"mode": "large"}, "not a video mode"),
        ({"mode": "9" * 100_000}, "mode"),
        ({"max_sessions": 10**400}, "max_sessions"),
        ({"colour": "red"}, "no such setting"),
        ({"codec": ["h264"]}, "codec"),
    ],
)
def test_a_wrong_value_is_named_and_changes_nothing(path: Path, changes: dict[str, Any], words: str) -> None:
    store = SettingsStore(path)
    store.store(store.change({"fec_percent": 25}))
    with pytest.raises(ConfigError, match=words):
        store.change(changes)
    assert store.chosen == {"fec_percent": 25}
    assert SettingsStore(path).chosen == {"fec_percent": 25}


def test_a_flag_wins_over_the_file_and_cannot_be_changed(path: Path) -> None:
    store = SettingsStore(path)
    store.store(store.change({"fec_percent": 35, "codec": "h264"}))
    fixed = SettingsStore(path, {"fec_percent": "--fec"})
    assert fixed.chosen == {"codec": "h264"}
    with pytest.raises(ConfigError, match="fixed by --fec"):
        fixed.change({"fec_percent": 10})
    fixed.store(fixed.change({"codec": "auto"}))
    assert SettingsStore(path).chosen == {"fec_percent": 35, "codec": "auto"}
    assert {row.name: row.fixed_by for row in fixed.rows(DEFAULTS)}["fec_percent"] == "--fec"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema_version": 2, "settings": {}}',
        b'{"schema_version": 1, "settings": {"fec_percent": 99}}',
        b'{"schema_version": 1, "settings": {"colour": 1}}',
        b'{"schema_version": 1, "settings": []}',
        b"[" * 50_000,
        b'{"schema_version": 1, "settings": {"\\ud800": 1}}',
        b"\xff" * 10,
    ],
)
def test_a_damaged_file_is_kept_aside_and_never_taken_for_the_defaults(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="damaged"):
        SettingsStore(path)
    [aside] = path.parent.glob("settings.json.corrupt-*")
    assert aside.read_bytes() == content == path.read_bytes()


def test_a_file_that_cannot_be_written_changes_nothing(path: Path) -> None:
    store = SettingsStore(path)
    store.store(store.change({"fec_percent": 25}))
    before = path.read_bytes()
    values = store.change({"fec_percent": 30})
    (path.parent / f".{path.name}.{__import__('os').getpid()}.tmp").mkdir()
    with pytest.raises(SettingsError, match="cannot write"):
        store.store(values)
    assert store.chosen == {"fec_percent": 25}
    assert path.read_bytes() == before
    assert json.loads(before)["schema_version"] == 1


def test_a_changed_configuration_is_checked_like_the_first() -> None:
    config = HostConfig(port=0, fec_scheme="gf8", max_block_shards=170)
    changed = config.changed(bitrate=Bitrate.from_kbps(9000), fec_percent=50)
    assert (changed.bitrate, changed.fec_percent, changed.port) == (Bitrate(9_000_000), 50, 0)
    with pytest.raises(ConfigError, match="do not fit gf8"):
        HostConfig(max_block_shards=4096).changed(fec_scheme="gf8")
