"""The apps of a host, which clients of any wire can start: one list in one small file, changed by its owner alone.

A change is on disk before it takes effect. Numbers are never given twice: clients keep pictures and shortcuts by them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast, get_args

from punktfunk.app import DESKTOP, MAX_APP_ID, App, AppCompositor
from punktfunk.errors import ConfigError, SettingsError
from punktfunk.printable import MAX_NAME_CHARACTERS, is_printable
from punktfunk.trust.private_file import read_private, write_private

APPS_FILE = "apps.json"
SCHEMA_VERSION = 3
"""2 added ``own_desktop``, 3 ``compositor``; apps of an earlier list have none, and sway."""
MAX_APPS = 64
MAX_ARGUMENTS = 64
MAX_ARGUMENT_CHARACTERS = 4096
MAX_FOLDER_CHARACTERS = 4096
"""As long as a path may be (Linux, ``PATH_MAX``)."""
MAX_COMMAND_CHARACTERS = 16_384
MAX_FILE_BYTES = 8 << 20
"""Of the file: the most apps, each as long as may be, take some 5 MiB."""
_FIRST = DESKTOP.id + 1


class AppCatalogue:
    """The apps of one state folder; the desktop itself is always the first.

    Raises ``SettingsError`` when the file cannot be read or is damaged; a copy of a damaged one is kept aside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._apps, self._next_id = self._load()

    def all(self) -> list[App]:
        """Return the apps, the desktop first, then in the order in which they were added."""
        return [DESKTOP, *self._apps.values()]

    def find(self, number: int) -> App | None:
        """Return the app of that number."""
        return DESKTOP if number == DESKTOP.id else self._apps.get(number)

    def add(self, wanted: App) -> App:
        """Add an app and return it with the number that it got; the one that it came with does not count.

        Raises ``ConfigError`` for what is no app or one too many, ``SettingsError`` when it could not be stored; then
        nothing was changed.
        """
        if len(self._apps) >= MAX_APPS - 1:
            raise ConfigError(f"{MAX_APPS} apps are there already", "remove one that is not used")
        if self._next_id > MAX_APP_ID:
            raise ConfigError("all numbers of apps have been used")
        app = replace(checked(wanted), id=self._next_id)
        self._store({**self._apps, app.id: app}, self._next_id + 1)
        return app

    def change(self, number: int, wanted: App) -> App | None:
        """Put another app in the place of one, with its number; ``None`` when there is none. Raises as :meth:`add`."""
        self._require_changeable(number)
        if number not in self._apps:
            return None
        app = replace(checked(wanted), id=number)
        self._store({**self._apps, number: app}, self._next_id)
        return app

    def remove(self, number: int) -> bool:
        """Remove an app; ``False`` when there is none. Raises as :meth:`add`."""
        self._require_changeable(number)
        if number not in self._apps:
            return False
        self._store({n: app for n, app in self._apps.items() if n != number}, self._next_id)
        return True

    @staticmethod
    def _require_changeable(number: int) -> None:
        if number == DESKTOP.id:
            raise ConfigError("the desktop is always there", "add an app beside it")

    def _store(self, apps: dict[int, App], next_id: int) -> None:
        document = {
            "schema_version": SCHEMA_VERSION,
            "next_id": next_id,
            "apps": [asdict(app) for app in apps.values()],
        }
        try:
            write_private(self.path, (json.dumps(document, indent=2) + "\n").encode())
        except OSError as error:
            raise SettingsError(
                f"cannot write {self.path}: {error.strerror}",
                "free some space or fix the mode of its folder; nothing was changed",
            ) from error
        self._apps, self._next_id = apps, next_id

    def _load(self) -> tuple[dict[int, App], int]:
        raw = read_private(self.path, what="the list of apps", error=SettingsError, limit=MAX_FILE_BYTES)
        if raw is None:
            return {}, _FIRST
        try:
            return _parse(raw)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            aside = self.path.with_name(f"{self.path.name}.corrupt-{hashlib.sha256(raw).hexdigest()[:8]}")
            write_private(aside, raw)
            raise SettingsError(
                f"the list of apps {self.path} is damaged; a copy is kept in {aside.name}",
                f"correct the file, or delete {self.path} to start with the desktop alone",
            ) from error


def checked(app: App) -> App:
    """Return an app that can be started, its title without white space around; raise ``ConfigError`` for another."""
    title = " ".join(app.title.split())
    if not 0 < len(title) <= MAX_NAME_CHARACTERS or not is_printable(title):
        raise ConfigError(f"a title has 1 to {MAX_NAME_CHARACTERS} printable characters")
    if len(app.command) > MAX_ARGUMENTS or sum(map(len, app.command)) > MAX_COMMAND_CHARACTERS:
        raise ConfigError(
            f"a command has at most {MAX_ARGUMENTS} parts, {MAX_COMMAND_CHARACTERS} characters in all"
        )
    if app.own_desktop and not app.command:
        raise ConfigError(
            "an app on a desktop of its own has a program", "name one, or take the shared desktop"
        )
    if app.compositor not in get_args(AppCompositor):
        raise ConfigError(f"a desktop of an app's own is one of {', '.join(get_args(AppCompositor))}")
    if app.compositor != "sway" and not app.own_desktop:
        raise ConfigError(
            f"{app.compositor} is for an app on a desktop of its own",
            "give it one, or leave the compositor out",
        )
    if app.command and not app.command[0].strip():
        raise ConfigError("a command begins with its program")
    if any(len(part) > MAX_ARGUMENT_CHARACTERS or not _can_be_passed(part) for part in app.command):
        raise ConfigError(
            f"a part of a command has at most {MAX_ARGUMENT_CHARACTERS} characters, none of them a zero byte"
        )
    if app.folder and not (app.folder.startswith("/") and len(app.folder) <= MAX_FOLDER_CHARACTERS):
        raise ConfigError("a working folder is an absolute path")
    if not _can_be_passed(app.folder):
        raise ConfigError("a working folder has no zero byte")
    return replace(app, title=title)


def _can_be_passed(text: str) -> bool:
    """Return whether the system takes a text: without a zero byte, and of characters that have an encoding."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _parse(raw: bytes) -> tuple[dict[int, App], int]:
    document = json.loads(raw)
    version, next_id = document["schema_version"], _number(document["next_id"])
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError("unknown schema version")
    if not isinstance(document["apps"], list) or len(document["apps"]) >= MAX_APPS:
        raise TypeError("the apps are not a list")
    try:
        apps = [checked(_app(entry)) for entry in document["apps"]]
    except ConfigError as error:
        raise ValueError(error.cause) from error
    found = {app.id: app for app in apps}
    if len(found) < len(apps) or any(not _FIRST <= number < next_id for number in found):
        raise ValueError("numbers that are no apps'")
    return found, next_id


def _app(entry: Mapping[str, Any]) -> App:
    command = entry["command"]
    if not isinstance(command, list):
        raise TypeError("a command is a list")
    return App(
        _number(entry["id"]),
        _text(entry["title"]),
        tuple(map(_text, command)),
        _text(entry["folder"]),
        _truth(entry.get("own_desktop", False)),
        # Another one is found by what checks the app.
        cast(AppCompositor, _text(entry.get("compositor", "sway"))),
    )


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_APP_ID + 1:
        raise TypeError("not a number of an app")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
