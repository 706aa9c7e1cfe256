"""Every fuzz target of what is written in Python; those of the core are in ``punktfunk/core/fuzz``."""

from __future__ import annotations

from tests.fuzz import apps, client, control, cursor, eis, http, rtsp
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (
    *http.TARGETS,
    *rtsp.TARGETS,
    *control.TARGETS,
    *client.TARGETS,
    *apps.TARGETS,
    *eis.TARGETS,
    *cursor.TARGETS,
)
