"""Promise P10: a row for each route of the API says who may use it; a route without a row fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.routing import APIRoute

from punktfunk.mgmt.app import create_app

FP = "ab" * 32


@dataclass(frozen=True)
class Row:
    """Statuses: without credentials, with the token, with a cookie alone, with a cookie and the proof."""

    method: str
    path: str
    stranger: int
    bearer: int
    cookie: int
    console: int
    body: dict[str, Any] | None = None
    called: str | None = None

    @property
    def url(self) -> str:
        return self.called or self.path


def read(path: str, called: str | None = None) -> Row:
    return Row("GET", path, 401, 200, 200, 200, called=called)


def public(path: str, called: str | None = None) -> Row:
    return Row("GET", path, 200, 200, 200, 200, called=called)


ROWS = [
    public("/"),
    public("/console/{name:path}", "/console/style.css"),
    public("/console/me"),
    public("/api/docs"),
    public("/api/docs.css"),
    public("/api/v1/openapi.json"),
    public("/api/v1/health"),
    read("/api/v1/host"),
    read("/api/v1/compositors"),
    read("/api/v1/status"),
    read("/api/v1/clients"),
    Row("DELETE", "/api/v1/clients/{fingerprint}", 401, 404, 403, 404, called=f"/api/v1/clients/{FP}"),
    read("/api/v1/pair"),
    Row("POST", "/api/v1/pair/pin", 401, 409, 403, 409, {"pin": "1234"}),
    Row("DELETE", "/api/v1/pair/{fingerprint}", 401, 404, 403, 404),
    read("/api/v1/apps"),
    read("/api/v1/running-apps"),
    Row("DELETE", "/api/v1/running-apps/{run}", 401, 404, 403, 404, called="/api/v1/running-apps/9"),
    Row("POST", "/api/v1/apps", 401, 422, 403, 422, {"title": ""}),
    Row("PUT", "/api/v1/apps/{number}", 401, 404, 403, 404, {"title": "a"}, called="/api/v1/apps/9"),
    Row("DELETE", "/api/v1/apps/{number}", 401, 404, 403, 404, called="/api/v1/apps/9"),
    Row("DELETE", "/api/v1/session", 401, 204, 403, 204),
    Row("POST", "/api/v1/session/idr", 401, 409, 403, 409),
    read("/api/v1/native/pair"),
    Row("POST", "/api/v1/native/pair/arm", 401, 200, 403, 200, {}),
    Row("DELETE", "/api/v1/native/pair", 401, 204, 403, 204),
    read("/api/v1/native/clients"),
    Row("DELETE", "/api/v1/native/clients/{fingerprint}", 401, 404, 403, 404),
    read("/api/v1/native/pending"),
    Row("POST", "/api/v1/native/pending/{fingerprint}/approve", 401, 404, 403, 404),
    Row("POST", "/api/v1/native/pending/{fingerprint}/deny", 401, 404, 403, 404),
    read("/api/v1/sessions"),
    Row("DELETE", "/api/v1/sessions/{number}", 401, 404, 403, 404, called="/api/v1/sessions/1"),
    read("/api/v1/readiness"),
    read("/api/v1/settings"),
    Row("PATCH", "/api/v1/settings", 401, 422, 403, 422, {"fec_percent": 51}),
    read("/api/v1/logs"),
    read("/api/v1/logs.txt"),
    read("/metrics"),
    read("/api/v1/events"),
    Row("POST", "/console/login", 403, 403, 403, 401, {"ticket": "none"}),
    Row("POST", "/console/logout", 401, 204, 403, 204),
    Row("POST", "/console/password", 401, 400, 403, 400, {"new": "short"}),
    Row("POST", "/console/ticket", 401, 200, 403, 403),
]


def routes_of(app: Any) -> Iterator[tuple[str, str]]:
    """The routes that an application answers, whichever router they stand on."""
    for route in app.routes:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods)
        else:
            # An included router; anything else that answers requests has no such attribute and fails here.
            yield from routes_of(route.original_router)


def test_each_route_has_a_row_and_each_row_a_route() -> None:
    assert {(row.method, row.path) for row in ROWS} == set(routes_of(create_app()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_a_route_is_open_to_whom_its_row_says(row: Row, shared_host: Any) -> None:
    url = row.url.replace("{fingerprint}", FP)
    browser = shared_host.browser()
    cookie_alone = shared_host.stranger()
    cookie_alone.cookies = browser.cookies
    wrong = shared_host.stranger()
    wrong.headers["Authorization"] = "Bearer " + "x" * 43
    expected = {
        "stranger": (shared_host.stranger(), row.stranger),
        "wrong token": (wrong, row.stranger),
        "bearer": (shared_host.program(), row.bearer),
        "cookie": (cookie_alone, row.cookie),
        "console": (browser, row.console),
    }
    got = {}
    for who, (client, _) in expected.items():
        # The event stream has no end: heads are looked at, and bodies of errors.
        with client.stream(row.method, url, json=row.body) as answer:
            got[who] = answer.status_code
            if answer.status_code >= 400:
                answer.read()
                assert set(answer.json()) == {"error"}
                assert answer.headers["content-type"] == "application/json"
            if answer.status_code == 401 and who == "stranger":
                assert answer.json()["error"] == "missing or invalid bearer token"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert answer.headers["x-frame-options"] == "DENY"
    assert got == {who: status for who, (_, status) in expected.items()}


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/nothing", "/api/v1/host/", "/console/", "/metrics/x"])
def test_what_is_not_named_open_is_closed_whether_it_exists_or_not(path: str, shared_host: Any) -> None:
    assert shared_host.stranger().get(path).status_code == 401
    assert shared_host.program().get(path).status_code == 404


def test_a_method_that_a_route_lacks_is_told_with_those_it_has(shared_host: Any) -> None:
    answer = shared_host.program().put("/api/v1/host")
    assert (answer.status_code, answer.json()) == (405, {"error": "method not allowed"})
    assert "GET" in answer.headers["allow"]
