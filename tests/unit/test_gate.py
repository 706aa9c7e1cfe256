"""The gate judges a request by its head: every name, path, method and proof at the edge of what passes."""

from __future__ import annotations

from itertools import product

import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.mgmt.console_sessions import ConsoleSessions
from punktfunk.mgmt.gate import LOGIN_PATH, OPEN_PATHS, Gate, Principal, Refusal, own_names
from punktfunk.mgmt.token import BearerToken

TOKEN = "0123456789abcdef"
BEARER = {b"authorization": b"Bearer " + TOKEN.encode()}
OWN_PAGE = {b"x-punktfunk-console": b"1", b"sec-fetch-site": b"same-origin"}


def gate(*, secure: bool = False) -> Gate:
    return Gate(
        BearerToken(TOKEN), ConsoleSessions(), port=47990, secure=secure, names=["Desk", "desk.local"]
    )


def kind(
    judge: Gate, method: str, path: str, headers: dict[bytes, bytes], host: bytes = b"localhost"
) -> str | int:
    """Return the kind of the principal, or the status of the refusal."""
    judged = judge.judge(method, path, {b"host": host, **headers})
    return judged.kind if isinstance(judged, Principal) else judged.status


def with_cookie(judge: Gate) -> dict[bytes, bytes]:
    value = judge.sessions.open(monotonic_ns(), by_ticket=False)
    return {b"cookie": f"{judge.cookie}={value}".encode()}


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        (b"localhost", True),
        (b"LOCALHOST:1", True),
        (b"localhost.", True),
        (b"desk", True),
        (b"DESK.local:47990", True),
        (b"127.0.0.1:65535", True),
        (b"203.0.113.9", True),  # a literal address is nobody's to redefine
        (b"[::1]:80", True),
        (b"[2001:db8::1]", True),
        (b"", False),
        (b"evil.example", False),
        (b"localhost.evil.example", False),
        (b"notlocalhost", False),
        (b"desk.example", False),
        (b"localhost:", False),
        (b"localhost:123456", False),
        (b"localhost:80:80", False),
        (b"localhost:8o", False),
        (b"[::1", False),
        (b"[evil.example]", False),
        (b"127.0.0.1.evil.example", False),
        (b"localhost\xff", False),
    ],
)
def test_only_this_hosts_names_and_literal_addresses_pass(host: bytes, ours: bool) -> None:
    assert kind(gate(), "GET", "/api/v1/host", BEARER, host) == ("bearer" if ours else 421)


def test_nothing_is_open_but_what_a_stranger_needs_to_sign_in_or_to_read_the_api() -> None:
    assert {
        "/",
        "/api/v1/health",
        "/api/v1/openapi.json",
        "/api/docs",
        "/api/docs.css",
        "/console/me",
    } == OPEN_PATHS


@pytest.mark.parametrize(("method", "path"), list(product(["GET", "HEAD"], sorted(OPEN_PATHS))))
def test_what_is_open_may_be_read_by_anybody(method: str, path: str) -> None:
    assert kind(gate(), method, path, {}) == "anybody"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *product(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"], sorted(OPEN_PATHS)),
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/health/"),
        ("GET", "/API/v1/health"),
        ("GET", "/console/login"),
        ("PUT", "/console/login"),
        ("GET", "/nowhere"),
        ("GET", ""),
    ],
)
def test_all_else_is_closed_to_those_without_credentials(method: str, path: str) -> None:
    assert kind(gate(), method, path, OWN_PAGE) == 401


@pytest.mark.parametrize(
    ("path", "is_file"),
    [
        ("/console/app.js", True),
        ("/console/views/log.css", True),
        (f"/console/{'a' * 64}.js", True),
        (f"/console/{'a' * 65}.js", False),
        (f"/console/{'a' * 64}/{'b' * 64}.js", True),
        (f"/console/{'a' * 65}/b.js", False),
        ("/console/a.abcdefgh", True),
        ("/console/a.abcdefghi", False),
        ("/console/a", False),
        ("/console/.js", False),
        ("/console/a.", False),
        ("/console/App.js", False),
        ("/console/../secret.pem", False),
        ("/console/a/b/c.js", False),
        ("/console//a.js", False),
        ("/console/a.min.js", False),
        ("/console/a.js\n", False),
        ("/console/a.js/b", False),
        ("/x/console/a.js", False),
    ],
)
def test_only_names_of_the_consoles_own_files_are_open(path: str, is_file: bool) -> None:
    assert kind(gate(), "GET", path, {}) == ("anybody" if is_file else 401)
    assert kind(gate(), "POST", path, {}) == 401


@pytest.mark.parametrize(
    ("authorization", "right"),
    [
        (b"Bearer " + TOKEN.encode(), True),
        (b"bearer " + TOKEN.encode(), False),
        (b"Bearer  " + TOKEN.encode(), False),
        (b"Bearer " + TOKEN.encode() + b" ", False),
        (b"Bearer " + TOKEN.encode()[:-1], False),
        (b"Bearer " + TOKEN.encode() + b"0", False),
        (b"Bearer", False),
        (b"Bearer ", False),
        (b"Basic " + TOKEN.encode(), False),
        (TOKEN.encode(), False),
        (b"", False),
    ],
)
def test_a_program_shows_exactly_the_token(authorization: bytes, right: bool) -> None:
    assert kind(gate(), "GET", "/api/v1/host", {b"authorization": authorization}) == (
        "bearer" if right else 401
    )


@pytest.mark.parametrize("authorization", [b"Bearer x", b""])
def test_a_wrong_token_is_not_excused_by_a_session(authorization: bytes) -> None:
    judge = gate()
    headers = with_cookie(judge) | {b"authorization": authorization}
    assert kind(judge, "GET", "/api/v1/host", headers) == 401


def test_a_program_needs_no_proof_of_origin() -> None:
    assert kind(gate(), "DELETE", "/api/v1/x", BEARER | {b"origin": b"http://evil.example"}) == "bearer"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MADE-UP"])
def test_a_change_by_a_session_needs_the_proof_and_a_read_does_not(method: str) -> None:
    judge = gate()
    cookie = with_cookie(judge)
    for read in ("GET", "HEAD", "OPTIONS"):
        assert kind(judge, read, "/api/v1/x", cookie) == "session"
    assert kind(judge, method, "/api/v1/x", cookie) == 403
    assert kind(judge, method, "/api/v1/x", cookie | OWN_PAGE) == "session"


PROOFS = [
    ({}, False),
    ({b"x-punktfunk-console": b"1"}, False),
    ({b"x-punktfunk-console": b"0", b"sec-fetch-site": b"same-origin"}, False),
    ({b"sec-fetch-site": b"same-origin"}, False),
    ({b"x-punktfunk-console": b"1", b"sec-fetch-site": b"same-origin"}, True),
    ({b"x-punktfunk-console": b"1", b"origin": b"http://localhost"}, True),
    ({b"x-punktfunk-console": b"1", b"origin": b"HTTP://LOCALHOST"}, True),
    ({b"x-punktfunk-console": b"1", b"origin": b"https://localhost"}, False),
    ({b"x-punktfunk-console": b"1", b"origin": b"http://localhost:1"}, False),
    ({b"x-punktfunk-console": b"1", b"origin": b"null"}, False),
    (OWN_PAGE | {b"origin": b"http://localhost"}, True),
    (OWN_PAGE | {b"origin": b"http://evil.example"}, False),
    ({b"x-punktfunk-console": b"1", b"origin": b"http://localhost", b"sec-fetch-site": b"cross-site"}, False),
    ({b"x-punktfunk-console": b"1", b"origin": b"http://localhost", b"sec-fetch-site": b"none"}, False),
]


@pytest.mark.parametrize(("headers", "proven"), PROOFS)
def test_signing_in_needs_the_proof_that_the_consoles_own_page_asks(
    headers: dict[bytes, bytes], proven: bool
) -> None:
    assert kind(gate(), "POST", "/console/login", headers) == ("anybody" if proven else 403)


def test_the_origin_of_a_host_with_tls_is_https() -> None:
    headers = {b"x-punktfunk-console": b"1", b"origin": b"https://localhost"}
    assert kind(gate(secure=True), "POST", "/console/login", headers) == "anybody"
    assert (
        kind(gate(secure=True), "POST", "/console/login", headers | {b"origin": b"http://localhost"}) == 403
    )


@pytest.mark.parametrize(
    ("site", "passes"),
    [(None, True), (b"same-origin", True), (b"none", True), (b"same-site", False), (b"cross-site", False)],
)
def test_a_cookie_counts_only_for_requests_of_the_same_origin(site: bytes | None, passes: bool) -> None:
    judge = gate()
    headers = with_cookie(judge) | ({} if site is None else {b"sec-fetch-site": site})
    assert kind(judge, "GET", "/api/v1/host", headers) == ("session" if passes else 401)


def test_a_cookie_of_another_name_is_no_session() -> None:
    judge = gate()
    value = judge.sessions.open(monotonic_ns(), by_ticket=False)
    assert kind(judge, "GET", "/api/v1/host", {b"cookie": f"punktfunk-1={value}".encode()}) == 401
    several = f"a=b; {judge.cookie}=wrong;{judge.cookie}={value}; c".encode()
    assert kind(judge, "GET", "/api/v1/host", {b"cookie": several}) == "session"


def test_the_cookie_is_for_the_same_site_no_script_and_over_tls_for_this_host_alone() -> None:
    assert gate().set_cookie("v") == "punktfunk-47990=v; Path=/; HttpOnly; SameSite=Strict"
    assert gate(secure=True).set_cookie("v") == (
        "__Host-punktfunk-47990=v; Path=/; HttpOnly; SameSite=Strict; Secure"
    )
    assert gate().set_cookie("").endswith("SameSite=Strict; Max-Age=0")


def test_who_asked_may_be_answered_while_the_session_is_there() -> None:
    judge = gate()
    judged = judge.judge("GET", "/api/v1/events", {b"host": b"localhost", **with_cookie(judge)})
    assert not isinstance(judged, Refusal)
    assert judged.session is not None
    assert judge.alive(judged)
    judge.sessions.close(judged.session)
    assert not judge.alive(judged)
    program = judge.judge("GET", "/api/v1/events", {b"host": b"localhost", **BEARER})
    assert not isinstance(program, Refusal)
    assert judge.alive(program)


def test_a_refusal_says_what_is_wrong_with_the_request() -> None:
    judge = gate()
    changes = {b"host": b"localhost", **with_cookie(judge)}
    foreign = Refusal(403, "this change does not come from the console's own page")
    assert judge.judge("PUT", "/api/v1/settings", changes) == foreign
    assert judge.judge("POST", LOGIN_PATH, changes) == foreign
    for headers in ({b"host": b"evil.example"}, {}):
        assert judge.judge("GET", "/", headers) == Refusal(421, "the Host header names another host")


@pytest.mark.parametrize(
    ("hostname", "names"),
    [
        ("Desk", ["desk", "desk.local"]),
        ("desk.home.example", ["desk.home.example", "desk.local"]),
        ("My Desk", ["my desk", "my desk.local"]),
    ],
)
def test_a_machine_goes_by_its_name_and_by_the_one_of_multicast_dns(
    hostname: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: hostname)
    assert own_names() == names
