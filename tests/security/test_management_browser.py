"""Promises P10 and P12: what another page, another host name or a crafted path gets from the API and the console."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from typing import Any

import pytest

from punktfunk.mgmt.console_sessions import (
    MAX_SESSIONS,
    MAX_TICKETS,
    SESSION_IDLE_NS,
    SESSION_LIFE_NS,
    TICKET_LIFE_NS,
    ConsoleSessions,
)

S = 1_000_000_000
ARM = "/api/v1/native/pair/arm"


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Punktfunk-Console": ""},
        {"X-Punktfunk-Console": None},
        {"Origin": None, "Sec-Fetch-Site": None},
    ],
    ids=str,
)
def test_a_change_that_is_not_the_consoles_own_is_refused(
    changed: dict[str, str | None], shared_host: Any
) -> None:
    browser = shared_host.browser()
    for name, value in changed.items():
        browser.headers.pop(name, None)
        if value is not None:
            browser.headers[name] = value
    refused = browser.post(ARM, json={})
    # From another site the cookie itself is worth nothing.
    assert refused.status_code == (401 if changed.get("Sec-Fetch-Site") else 403)
    assert "pin" not in refused.text
    assert browser.post("/console/login", json={"ticket": "x"}).status_code == 403


def test_a_browser_without_fetch_metadata_is_proven_by_origin_and_one_without_origin_by_metadata(
    shared_host: Any,
) -> None:
    for left_out in ("Origin", "Sec-Fetch-Site"):
        browser = shared_host.browser()
        del browser.headers[left_out]
        assert browser.post(ARM, json={}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:{port}", 421),
        ("127.0.0.1.evil.example:{port}", 421),
        ("localhost.evil.example", 421),
        ("", 421),
        ("127.0.0.1@evil.example", 421),
        ("localhost:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("127.0.0.1:{port}", 200),
        ("[::1]:{port}", 200),
        ("192.168.7.1:{port}", 200),
    ],
)
def test_a_request_by_a_name_that_is_not_this_hosts_is_misdirected(
    host: str, status: int, shared_host: Any
) -> None:
    api = shared_host.program()
    answer = api.get("/api/v1/host", headers={"Host": host.format(port=shared_host.port)})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "path",
    [
        "/console/../server.py",
        "/console/..%2fserver.py",
        "/console/%2e%2e/server.py",
        "/console/%2e%2e%2fserver.py",
        "/console/..%5cserver.py",
        "/console//etc/passwd",
        "/console/%2fetc%2fpasswd",
        "/console/views/../../server.py",
        "/console/views/%2e%2e/%2e%2e/token.py",
        "/console/index.html%00.js",
        "/console/.hidden.js",
        "/console/views",
        "/console/" + "a" * 5000 + ".js",
    ],
)
def test_no_path_leads_out_of_the_consoles_folder(path: str, shared_host: Any) -> None:
    # Not by httpx, which would tidy the path up.
    for headers in ({}, {"Authorization": f"Bearer {shared_host.token}"}):
        connection = http.client.HTTPConnection("127.0.0.1", shared_host.port, timeout=30)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status in (400, 401, 404), (path, answer.status)
        assert b"import" not in body


def test_every_answer_carries_the_policy_and_nothing_allows_another_origin(shared_host: Any) -> None:
    stranger = shared_host.stranger()
    answers = [
        stranger.get("/"),
        stranger.get("/api/docs"),
        stranger.get("/api/v1/host"),
        stranger.options("/api/v1/host", headers={"Origin": "http://evil.example"}),
        shared_host.program().get("/api/v1/nothing"),
        shared_host.program().post(ARM, content=b"{", headers={"Content-Type": "application/json"}),
        shared_host.program().post(ARM, content=b"x" * 70_000),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_pages_need_no_inline_script_or_style_and_nothing_from_elsewhere(shared_host: Any) -> None:
    for path in ("/", "/api/docs"):
        page = shared_host.stranger().get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", page)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
        assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_a_cookie_is_for_this_server_alone_and_for_no_script(shared_host: Any) -> None:
    browser = shared_host.page()
    ticket = shared_host.program().post("/console/ticket").json()["ticket"]
    [cookie] = browser.post("/console/login", json={"ticket": ticket}).headers.get_list("set-cookie")
    name, _, attributes = cookie.partition("=")
    assert str(shared_host.port) in name
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes.split("; "))
    assert "Domain" not in cookie
    assert browser.get("/console/me").json()["signed_in"] is True
    kept = dict(browser.cookies)
    assert browser.post("/console/logout").status_code == 204
    thief = shared_host.page()
    thief.cookies.update(kept)
    assert thief.get("/api/v1/host").status_code == 401


def test_a_ticket_opens_one_session_and_then_none(shared_host: Any) -> None:
    ticket = shared_host.program().post("/console/ticket").json()["ticket"]
    assert shared_host.page().post("/console/login", json={"ticket": ticket}).status_code == 204
    again = shared_host.page().post("/console/login", json={"ticket": ticket})
    assert again.status_code == 401
    assert ticket not in again.text
    assert "set-cookie" not in again.headers


def test_a_ticket_expires_and_the_oldest_gives_way() -> None:
    sessions = ConsoleSessions()
    late = sessions.issue_ticket(0)
    assert not sessions.redeem(late, TICKET_LIFE_NS)
    tickets = [sessions.issue_ticket(0) for _ in range(MAX_TICKETS + 1)]
    assert not sessions.redeem(tickets[0], 1)
    assert sessions.redeem(tickets[1], 1)
    assert not sessions.redeem("", 1)


def test_a_session_ends_when_idle_and_in_any_case_after_its_life_and_there_are_only_so_many() -> None:
    sessions = ConsoleSessions()
    idle = sessions.open(0, by_ticket=False)
    assert sessions.find(idle, SESSION_IDLE_NS - 1) is not None
    assert sessions.find(idle, 2 * SESSION_IDLE_NS) is None
    busy, now = sessions.open(0, by_ticket=False), 0
    while now + SESSION_IDLE_NS // 2 < SESSION_LIFE_NS:
        now += SESSION_IDLE_NS // 2
        found = sessions.find(busy, now)
        assert found is not None
    assert not sessions.holds(found, SESSION_LIFE_NS)
    assert sessions.find(busy, SESSION_LIFE_NS) is None
    values = [sessions.open(SESSION_LIFE_NS, by_ticket=False) for _ in range(MAX_SESSIONS + 1)]
    alive = [sessions.find(value, SESSION_LIFE_NS) is not None for value in values]
    assert alive == [False] + [True] * MAX_SESSIONS


def test_the_password_opens_the_console_wrong_ones_cool_down_and_a_change_ends_other_sessions(
    managed: Callable[..., Any],
) -> None:
    host = managed()
    assert host.page().get("/console/me").json() == {"signed_in": False, "password_set": False}
    assert host.page().post("/console/login", json={"password": "correct horse"}).status_code == 401
    browser, other = host.browser(), host.browser()
    assert browser.post("/console/password", json={"new": "correct horse"}).status_code == 204
    assert browser.get("/api/v1/host").status_code == 200
    assert other.get("/api/v1/host").status_code == 401, "other sessions end with the old password"
    assert host.page().get("/console/me").json()["password_set"] is True
    page = host.page()
    assert page.post("/console/login", json={"password": "correct horse"}).status_code == 204
    # By password, not by a ticket: the present one is asked for.
    assert page.post("/console/password", json={"new": "battery staple"}).status_code == 401
    guesser = host.page()
    assert guesser.post("/console/login", json={"password": "wrong horse"}).status_code == 401
    waiting = guesser.post("/console/login", json={"password": "correct horse"})
    assert waiting.status_code == 429
    assert int(waiting.headers["retry-after"]) >= 1
    ticket = host.program().post("/console/ticket").json()["ticket"]
    assert guesser.post("/console/login", json={"ticket": ticket}).status_code == 204, (
        "a ticket still lets in"
    )
    stored = host.state_dir / "console.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert "$argon2id$" in stored.read_text()
    assert "correct horse" not in stored.read_text()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"password": 7}, 422),
        ({"password": "x" * 2000}, 422),
        ({"ticket": "x" * 200}, 422),
        ([], 422),
    ],
)
def test_a_sign_in_of_the_wrong_shape_is_told_so_without_quoting_it(
    body: Any, status: int, shared_host: Any
) -> None:
    answer = shared_host.page().post("/console/login", json=body)
    assert answer.status_code == status
    assert "xxx" not in answer.text


def test_text_of_a_request_that_is_no_unicode_is_answered_in_words(shared_host: Any) -> None:
    with shared_host.program() as program:
        answer = program.patch(
            "/api/v1/settings", content=b'{"\\ud800": 1}', headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 422
    assert "no such setting" in answer.json()["error"]


def test_a_cookie_that_another_port_has_set_does_not_hide_the_true_one(shared_host: Any) -> None:
    browser = shared_host.browser()
    [(name, value)] = browser.cookies.items()
    browser.close()
    with shared_host.stranger() as client:
        headers = {"Cookie": f"{name}=planted; {name}={value}"}
        assert client.get("/api/v1/status", headers=headers).status_code == 200
        assert client.get("/api/v1/status", headers={"Cookie": f"{name}=planted"}).status_code == 401
