"""The console: its files, signing in and out, its password."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import Response
from pydantic import Field

from punktfunk import log
from punktfunk.clock import monotonic_ns
from punktfunk.mgmt.console_sessions import FRESH_TICKET_NS, TICKET_LIFE_NS
from punktfunk.mgmt.gate import Gate, Principal
from punktfunk.mgmt.login import MAX_PASSWORD_CHARACTERS, MIN_PASSWORD_CHARACTERS
from punktfunk.mgmt.models import Body, Order
from punktfunk.mgmt.routing import ApiError, router
from punktfunk.mgmt.sign_in import SignIn

FOLDER = Path(__file__).parents[1] / "console"

_NAME = re.compile(r"(?:[a-z0-9_-]{1,64}/)?[a-z0-9_-]{1,64}\.[a-z0-9]{1,8}")
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_S = 1_000_000_000

routes = router("console", prefix="")


class Me(Body):
    """Whether the browser is signed in."""

    signed_in: bool
    password_set: bool


class Ticket(Body):
    """A one-time ticket."""

    ticket: str
    expires_in_secs: int


class LoginOrder(Order):
    """One of the two ways in."""

    password: Annotated[str | None, Field(max_length=MAX_PASSWORD_CHARACTERS)] = None
    ticket: Annotated[str | None, Field(max_length=128)] = None


class PasswordOrder(Order):
    """A new password, and the one that it replaces."""

    new: Annotated[str, Field(max_length=MAX_PASSWORD_CHARACTERS)]
    current: Annotated[str | None, Field(max_length=MAX_PASSWORD_CHARACTERS)] = None


def _gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


def _sign_in(request: Request) -> SignIn:
    sign_in: SignIn = request.app.state.sign_in
    return sign_in


def _principal(request: Request) -> Principal:
    principal: Principal = request.scope["state"]["principal"]
    return principal


def _source(request: Request) -> str:
    return request.client.host if request.client else ""


TheGate = Annotated[Gate, Depends(_gate)]
TheSignIn = Annotated[SignIn, Depends(_sign_in)]
Who = Annotated[Principal, Depends(_principal)]
Source = Annotated[str, Depends(_source)]


@routes.get("/", include_in_schema=False)
async def index() -> Response:
    """Return the console's page."""
    return Response((FOLDER / "index.html").read_bytes(), media_type="text/html; charset=utf-8")


@routes.get("/console/me", include_in_schema=False)
async def me(who: Who, sign_in: TheSignIn) -> Me:
    """Return whether the browser is signed in, and whether there is a password to sign in with."""
    return Me(signed_in=who.kind != "anybody", password_set=sign_in.password.is_set)


@routes.get("/console/{name:path}", include_in_schema=False)
async def file(name: str) -> Response:
    """Return a file of the console."""
    # Names of this form lead nowhere but below the folder.
    kind = _KINDS.get(Path(name).suffix) if _NAME.fullmatch(name) else None
    path = FOLDER / name
    if kind is None or not path.is_file():
        raise ApiError(404, "not found")
    return Response(path.read_bytes(), media_type=kind)


@routes.post("/console/login", include_in_schema=False, status_code=204)
async def login(
    order: LoginOrder,
    gate: TheGate,
    sign_in: TheSignIn,
    source: Source,
) -> Response:
    """Open a session, with the password or with a ticket."""
    if order.ticket is not None:
        if not gate.sessions.redeem(order.ticket, monotonic_ns()):
            raise sign_in.refuse_ticket(source)
    elif order.password is not None:
        if not sign_in.password.is_set:
            raise ApiError(401, "no password is set: punktfunk console prints a one-time link")
        await sign_in.check(order.password, source)
    else:
        raise ApiError(422, "password or ticket is needed")
    sign_in.passed(source)
    value = gate.sessions.open(monotonic_ns(), by_ticket=order.ticket is not None)
    return Response(status_code=204, headers={"set-cookie": gate.set_cookie(value)})


@routes.post("/console/logout", include_in_schema=False, status_code=204)
async def logout(gate: TheGate, who: Who) -> Response:
    """End the session."""
    if who.session is not None:
        gate.sessions.close(who.session)
    return Response(status_code=204, headers={"set-cookie": gate.set_cookie("")})


@routes.post("/console/password", include_in_schema=False, status_code=204)
async def change_password(
    order: PasswordOrder,
    gate: TheGate,
    sign_in: TheSignIn,
    who: Who,
    source: Source,
) -> Response:
    """Set the password and end every other session.

    The present one is asked for, but not of the bearer of the token and of who came in by a ticket a moment ago:
    both prove the host's own user, who may have forgotten it.
    """
    password = sign_in.password
    if len(order.new) < MIN_PASSWORD_CHARACTERS:
        raise ApiError(400, f"a password has at least {MIN_PASSWORD_CHARACTERS} characters")
    if password.is_set and not _proves_the_user(who):
        if order.current is None:
            raise ApiError(401, "the present password is needed")
        await sign_in.check(order.current, source)
    elif password.busy:
        raise _busy()
    await password.set(order.new)
    gate.sessions.close_others(who.session)
    log.get("mgmt").info("console password changed", source=source)
    return Response(status_code=204)


@routes.post("/console/ticket", include_in_schema=False)
async def ticket(gate: TheGate, who: Who) -> Ticket:
    """Make a one-time link's ticket; for the bearer of the token only."""
    if who.kind != "bearer":
        raise ApiError(403, "a ticket is made for the bearer of the token only")
    return Ticket(ticket=gate.sessions.issue_ticket(monotonic_ns()), expires_in_secs=TICKET_LIFE_NS // _S)


def _busy() -> ApiError:
    return ApiError(429, "another password is being checked: wait 1 s", {"retry-after": "1"})


def _proves_the_user(who: Principal) -> bool:
    session = who.session
    if session is None:
        return who.kind == "bearer"
    return session.by_ticket and monotonic_ns() - session.began_ns < FRESH_TICKET_NS
