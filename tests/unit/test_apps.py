"""The apps of a host: what one may be, numbers that stay, and a file that is whole at any time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from punktfunk.app import DESKTOP, App
from punktfunk.errors import ConfigError, SettingsError
from punktfunk.host.apps import MAX_APPS, AppCatalogue

GAME = App(
    0,
    "Game",
    ("/usr/bin/game", "--level", "1 ; rm -rf /"),
    "/srv/games",
    own_desktop=True,
    compositor="gamescope",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "apps.json"


@pytest.mark.conformance(28)
def test_numbers_of_apps_survive_edits_and_restarts(file: Path) -> None:
    apps = AppCatalogue(file)
    assert apps.all() == [DESKTOP]
    first, second = apps.add(GAME), apps.add(App(0, "Browser", ("firefox",)))
    assert (first.id, second.id) == (2, 3)
    changed = apps.change(2, App(99, "Other game", ("/usr/bin/game",)))
    assert changed == App(2, "Other game", ("/usr/bin/game",))
    assert apps.remove(3)
    again = AppCatalogue(file)
    assert again.all() == [DESKTOP, changed]
    assert again.find(1) is DESKTOP
    assert again.find(2) == changed
    assert again.find(3) is None
    assert again.add(GAME).id == 4


def test_an_app_is_kept_as_it_was_given(file: Path) -> None:
    AppCatalogue(file).add(GAME)
    (kept,) = AppCatalogue(file).all()[1:]
    assert kept == replace(GAME, id=2)


@pytest.mark.parametrize(
    "app",
    [
        App(0, ""),
        App(0, "  "),
        App(0, "a" * 65),
        App(0, "a\x1b[0m"),
        App(0, "a\u202eb"),
        App(0, "a", ("",)),
        App(0, "a", ("b",) * 65),
        App(0, "a", ("b" * 4097,)),
        App(0, "a", ("b" * 4000,) * 5),
        App(0, "a", ("b\0c",)),
        App(0, "a", ("b\ud800",)),
        App(0, "a", (), "relative"),
        App(0, "a", (), "/" + "a" * 4096),
        App(0, "a", (), "/a\0b"),
        App(0, "a", own_desktop=True),
        App(0, "a", ("b",), compositor="gamescope"),
        App(0, "a", ("b",), own_desktop=True, compositor="kwin"),  # type: ignore[arg-type]  # as a file may have it
    ],
    ids=lambda app: repr(app)[:40],
)
def test_what_is_no_app_is_refused(file: Path, app: App) -> None:
    with pytest.raises(ConfigError):
        AppCatalogue(file).add(app)
    assert not file.exists()


def test_the_desktop_stays(file: Path) -> None:
    apps = AppCatalogue(file)
    with pytest.raises(ConfigError):
        apps.remove(DESKTOP.id)
    with pytest.raises(ConfigError):
        apps.change(DESKTOP.id, GAME)
    assert not apps.remove(7)
    assert apps.change(7, GAME) is None


def test_there_is_room_for_sixty_four(file: Path) -> None:
    apps = AppCatalogue(file)
    for n in range(MAX_APPS - 1):
        apps.add(App(0, f"app {n}"))
    with pytest.raises(ConfigError):
        apps.add(App(0, "one more"))
    assert len(AppCatalogue(file).all()) == MAX_APPS


def test_a_change_that_cannot_be_written_did_not_happen(tmp_path: Path) -> None:
    apps = AppCatalogue(tmp_path / "state" / "apps.json")
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(SettingsError):
        apps.add(GAME)
    assert apps.all() == [DESKTOP]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": 4, "next_id": 2, "apps": []}',
        '{"schema_version": 1, "next_id": 2, "apps": {}}',
        '{"schema_version": 1, "next_id": 2.5, "apps": []}',
    ],
)
def test_a_damaged_list_is_kept_aside(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError):
        AppCatalogue(file)
    assert [copy.read_text() for copy in file.parent.glob("apps.json.corrupt-*")] == [text]


@pytest.mark.parametrize(
    "change",
    [
        {"id": 1},
        {"id": 3},
        {"id": "2"},
        {"id": True},
        {"command": "rm -rf /"},
        {"command": [1]},
        {"title": ""},
        {"folder": "relative"},
        {"folder": None},
        {"own_desktop": 1},
        {"own_desktop": True, "command": []},
        {"compositor": "gamescope"},
        {"own_desktop": True, "compositor": "kwin"},
        {"own_desktop": True, "compositor": None},
    ],
)
def test_an_entry_that_is_no_app_is_damage(file: Path, change: dict[str, object]) -> None:
    entry = {"id": 2, "title": "a", "command": ["b"], "folder": ""}
    file.write_text(json.dumps({"schema_version": 1, "next_id": 3, "apps": [entry]}))
    assert len(AppCatalogue(file).all()) == 2
    file.write_text(json.dumps({"schema_version": 1, "next_id": 3, "apps": [entry | change]}))
    with pytest.raises(SettingsError):
        AppCatalogue(file)
