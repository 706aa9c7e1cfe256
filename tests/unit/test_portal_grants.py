"""What a portal has granted is kept for its user alone, one token for each thing, and a bad file costs a question."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from punktfunk.desktop.portal.grants import GRANTS_FILE, MAX_GRANTS, GrantKey, GrantStore
from punktfunk.desktop.portal.started import MAX_TOKEN_CHARACTERS

GNOME = GrantKey("GNOME", "gnome", "remote-desktop", "org.example.App")


def test_a_token_is_there_for_the_next_program_and_readable_by_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert GrantStore(folder).keep(GNOME, "first")
    assert GrantStore(folder).token(GNOME) == "first"
    assert stat.S_IMODE((folder / GRANTS_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "other",
    [
        replace(GNOME, desktop="KDE"),
        replace(GNOME, portal="kde"),
        replace(GNOME, kind="screen-cast"),
        replace(GNOME, app=""),
    ],
)
def test_each_desktop_back_end_kind_and_name_has_its_own(tmp_path: Path, other: GrantKey) -> None:
    store = GrantStore(tmp_path / "state")
    store.keep(GNOME, "first")
    assert store.token(other) is None
    store.keep(other, "second")
    assert (store.token(GNOME), store.token(other)) == ("first", "second")


def test_a_new_token_takes_the_place_of_the_one_that_was_used_up_and_none_takes_it_away(
    tmp_path: Path,
) -> None:
    store = GrantStore(tmp_path / "state")
    store.keep(GNOME, "first")
    assert store.keep(GNOME, "second")
    assert store.token(GNOME) == "second"
    assert not store.keep(GNOME, None), "nothing is kept"
    assert store.token(GNOME) is None
    assert "second" not in (tmp_path / "state" / GRANTS_FILE).read_text()


def test_without_a_folder_a_token_lasts_as_long_as_the_desktop(tmp_path: Path) -> None:
    store = GrantStore(None)
    assert not store.keep(GNOME, "first"), "it is not on disk"
    assert store.token(GNOME) == "first"
    assert GrantStore(None).token(GNOME) is None


def test_the_oldest_grant_goes_when_there_are_too_many(tmp_path: Path) -> None:
    store = GrantStore(tmp_path / "state")
    keys = [replace(GNOME, desktop=f"desktop {n}") for n in range(MAX_GRANTS + 1)]
    for n, key in enumerate(keys):
        store.keep(key, f"token {n}")
    assert [store.token(key) for key in keys] == [None, *(f"token {n}" for n in range(1, MAX_GRANTS + 1))]


def a_file(grants: object, version: object = 1) -> str:
    return json.dumps({"schema_version": version, "grants": grants})


GRANT = {
    "desktop": "GNOME",
    "portal": "gnome",
    "kind": "remote-desktop",
    "app": "org.example.App",
    "token": "t",
}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "[" * 5000,
        a_file({}),
        a_file([GRANT], version=2),
        a_file([GRANT], version="1"),
        a_file([7]),
        a_file([{**GRANT, "token": 7}]),
        a_file([{**GRANT, "token": ""}]),
        a_file([{**GRANT, "token": "a\nb"}]),
        a_file([{**GRANT, "token": "t" * (MAX_TOKEN_CHARACTERS + 1)}]),
        a_file([{**GRANT, "desktop": "\x1b[2J"}]),
        a_file([{**GRANT, "desktop": "x" * 201}]),
        a_file([{name: value for name, value in GRANT.items() if name != "kind"}]),
        a_file([{**GRANT, "app": str(n)} for n in range(MAX_GRANTS + 1)]),
    ],
)
def test_a_damaged_file_is_no_grant_and_is_replaced_by_the_next(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / GRANTS_FILE).write_text(content)
    (folder / GRANTS_FILE).chmod(0o600)
    store = GrantStore(folder)
    assert store.token(GNOME) is None
    assert store.keep(GNOME, "new")
    assert GrantStore(folder).token(GNOME) == "new"


def test_a_token_of_the_greatest_length_is_kept(tmp_path: Path) -> None:
    longest = "t" * MAX_TOKEN_CHARACTERS
    GrantStore(tmp_path / "state").keep(GNOME, longest)
    assert GrantStore(tmp_path / "state").token(GNOME) == longest


def test_a_file_that_others_could_read_is_not_believed_and_made_private_by_the_next_grant(
    tmp_path: Path,
) -> None:
    store = GrantStore(tmp_path / "state")
    store.keep(GNOME, "seen by others")
    file = tmp_path / "state" / GRANTS_FILE
    file.chmod(0o640)
    assert store.token(GNOME) is None
    store.keep(GNOME, "new")
    assert store.token(GNOME) == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_that_others_write_to_keeps_nothing_and_ends_no_stream(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    assert not GrantStore(folder).keep(GNOME, "first")
    assert not (folder / GRANTS_FILE).exists()
    assert GrantStore(folder).token(GNOME) is None
