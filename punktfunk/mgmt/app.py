"""The application: every part of the API on one FastAPI instance, and the shell around it."""

from __future__ import annotations

import asyncio
from collections import Counter

from fastapi import FastAPI

from punktfunk.mgmt.feed import Feed
from punktfunk.mgmt.gate import Gate
from punktfunk.mgmt.interface import HostControl
from punktfunk.mgmt.openapi import API_VERSION
from punktfunk.mgmt.routes import (
    apps,
    console,
    description,
    events,
    gamestream,
    host,
    logs,
    metrics,
    native,
    readiness,
    sessions,
    settings,
)
from punktfunk.mgmt.routing import handle_errors
from punktfunk.mgmt.shell import Shell
from punktfunk.mgmt.sign_in import SignIn

ROUTERS = (
    host.routes,
    gamestream.routes,
    native.routes,
    apps.routes,
    readiness.routes,
    sessions.routes,
    events.routes,
    settings.routes,
    logs.routes,
    metrics.routes,
    description.routes,
    console.routes,
)


def create_app() -> FastAPI:
    """Return the application without a host: enough to describe it."""
    app = FastAPI(
        title="punktfunk management API",
        version=API_VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for routes in ROUTERS:
        app.include_router(routes)
    handle_errors(app)
    return app


def compose(
    control: HostControl, gate: Gate, sign_in: SignIn, closing: asyncio.Event, counters: Counter[str]
) -> Shell:
    """Return what a server serves.

    ``closing`` is set when the server ends: long answers end with it. ``counters`` gets what was refused.
    """
    app = create_app()
    app.state.control = control
    app.state.gate = gate
    app.state.sign_in = sign_in
    app.state.closing = closing
    app.state.events = Feed(control).hub
    gate.sessions.on_close = app.state.events.nudge
    return Shell(app, gate, counters)
