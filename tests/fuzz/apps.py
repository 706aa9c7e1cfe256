"""The list of apps that a host keeps in its state folder."""

from __future__ import annotations

import json
from dataclasses import asdict

from punktfunk.app import App
from punktfunk.host.apps import MAX_APPS, SCHEMA_VERSION, _parse, checked
from tests.fuzz.target import Target


def catalogue(data: bytes) -> bool:
    """A file is apps that could be started, and the same when it is written again, or damaged."""
    try:
        apps, next_id = _parse(data)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    assert len(apps) < MAX_APPS
    assert all(checked(app) == app and number == app.id < next_id for number, app in apps.items())
    assert _parse(_document(next_id, *apps.values())) == (apps, next_id)
    return True


def _document(next_id: int, *apps: App) -> bytes:
    document = {"schema_version": SCHEMA_VERSION, "next_id": next_id, "apps": [asdict(app) for app in apps]}
    return json.dumps(document).encode()


TARGETS = (
    Target(
        "app_catalogue",
        catalogue,
        lambda: [_document(2), _document(9, App(2, "A game", ("/bin/true", "-x"), "/tmp"), App(7, "Two"))],
        (
            b'"schema_version": 1',
            b'"next_id": ',
            b'"apps": [',
            b'"command": [',
            b"\\ud800",
            b"1e400",
            b"NaN",
            b"[[[[",
        ),
    ),
)
