"""Promises P7 and P13: where the API's secrets are, who can read them, and where they never appear."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from punktfunk.errors import CapabilityError, ConfigError, CredentialError, ManagementError
from punktfunk.mgmt.endpoint import Endpoint
from punktfunk.mgmt.login import Password
from punktfunk.mgmt.remote import RunningHost
from punktfunk.mgmt.token import (
    TOKEN_FILE,
    TOKEN_VARIABLE,
    BearerToken,
    load_or_create_token,
    token_of_environment,
)


def running(state_dir: Path, identity: Path | None = None) -> RunningHost:
    """The host that runs on a state folder, taken for who has that identity."""
    return RunningHost.find(
        state_dir, certificate=(identity or state_dir) / "cert.pem", lock=state_dir / "host.lock"
    )


REPOSITORY = Path(__file__).parents[2]
GIVEN = "given-by-the-environment-7f3a"


def test_the_first_start_makes_a_private_token_and_later_ones_keep_it(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path)
    assert len(token) >= 43
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    assert load_or_create_token(tmp_path) == token


def _loose(path: Path) -> None:
    path.write_text("x" * 43)
    path.chmod(0o640)


def _blank(path: Path) -> None:
    path.touch(0o600)
    path.write_text(" \n")


def _short(path: Path) -> None:
    path.touch(0o600)
    path.write_text("secret")


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.touch(0o600)
    target.write_text("x" * 43)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_loose, "can be used by others"),
        (_blank, "blank"),
        (_short, "16 or more"),
        (_link, "cannot be read"),
        (Path.mkdir, "no regular file"),
        (os.mkfifo, "no regular file"),
    ],
)
def test_a_token_that_is_not_private_or_no_token_starts_nothing_and_is_not_shown(
    spoil: Callable[[Path], None], words: str, tmp_path: Path, managed: Callable[..., Any]
) -> None:
    (tmp_path / "host").mkdir(0o700)
    spoil(tmp_path / "host" / TOKEN_FILE)
    with pytest.raises(CredentialError, match=words) as raised:
        managed()
    assert raised.value.hint
    assert "xxxx" not in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.root
def test_a_token_of_another_user_is_not_taken(tmp_path: Path) -> None:
    load_or_create_token(tmp_path)
    os.chown(tmp_path / TOKEN_FILE, 1, 1)
    with pytest.raises(CredentialError, match="belongs to user 1"):
        load_or_create_token(tmp_path)


def test_a_token_of_the_environment_is_taken_out_of_it_and_written_nowhere(
    managed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, GIVEN)
    host = managed()
    assert TOKEN_VARIABLE not in os.environ, "what the host starts would inherit it"
    assert not (host.state_dir / TOKEN_FILE).exists()
    with host.stranger() as client:
        authorized = {"Authorization": f"Bearer {GIVEN}"}
        assert client.get("/api/v1/host", headers=authorized).status_code == 200
        assert client.get("/api/v1/host", headers={"Authorization": f"bearer {GIVEN}"}).status_code == 401
        assert client.get("/api/v1/host", headers={"Authorization": GIVEN}).status_code == 401


@pytest.mark.parametrize("value", ["", "   ", "short", "with a space in the middle", "tschüss-" * 3])
def test_a_blank_or_weak_token_of_the_environment_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, value)
    with pytest.raises(CredentialError):
        token_of_environment()


def test_secrets_are_not_in_the_words_for_what_holds_them(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path)
    holders = [BearerToken(token), RunningHost("http://127.0.0.1:1", token, tmp_path)]
    assert not any(token in f"{holder!r} {holder!s}" for holder in holders)


def test_a_damaged_password_file_is_not_taken_for_no_password(tmp_path: Path) -> None:
    path = tmp_path / "console.json"
    path.touch(0o600)
    for content in ("", "{}", '{"schema_version": 1, "password_hash": "plain"}', "[1]", "[" * 4000):
        path.write_text(content)
        with pytest.raises(CredentialError, match="damaged"):
            Password(tmp_path)
    path.chmod(0o644)
    with pytest.raises(CredentialError, match="used by others") as caught:
        Password(tmp_path)
    assert "fresh one" not in caught.value.hint  # there is none for a password


def test_nothing_that_a_host_prints_or_shows_to_other_users_has_its_secrets(tmp_path: Path) -> None:
    state = tmp_path / "host"
    serve = "-v serve --bind 127.0.0.1 --native-port 0 --source synthetic --no-mdns --mgmt-bind 127.0.0.1:0"
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "punktfunk", *serve.split(), "--state-dir", str(state)],
        cwd=REPOSITORY,
        env={**os.environ, TOKEN_VARIABLE: GIVEN},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    assert process.stdout is not None
    banner = ""
    while "next  " not in banner:
        line = process.stdout.readline()
        assert line, (tmp_path / "log").read_text()
        banner += line
    url, _, ticket = banner.partition("console      ")[2].split()[0].partition("/#ticket=")
    page = {"Origin": url, "X-Punktfunk-Console": "1"}
    with httpx.Client(base_url=url, trust_env=False, headers=page) as client:
        assert client.post("/console/login", json={"ticket": ticket}).status_code == 204
        pin = client.post("/api/v1/native/pair/arm", json={}).json()["pin"]
        assert client.post("/console/password", json={"new": "correct horse"}).status_code == 204
        assert client.post("/console/login", json={"password": "wrong horse"}).status_code == 401
        assert client.post("/api/v1/pair/pin", json={"pin": "83920174"}).status_code == 409
        authorized = {"Authorization": f"Bearer {GIVEN}", "X-Broken": "1"}
        assert client.get("/api/v1/host", headers=authorized).status_code == 200
        guess = {"Authorization": "Bearer a-guess-that-is-wrong"}
        assert client.get("/api/v1/host", headers=guess).status_code == 401
        cookies = list(client.cookies.values())
        shown = ""
        for path in ("/api/v1/logs", "/api/v1/logs.txt", "/api/v1/settings", "/api/v1/readiness", "/metrics"):
            answer = client.get(path)
            assert answer.status_code == 200
            shown += answer.text
        with client.stream("GET", "/api/v1/events") as events:
            shown += next(events.iter_text())
    command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    log.seek(0)
    told = banner.replace(ticket, "") + rest + log.read() + command_line + shown
    assert "console sign-in" in told, "the log was written"
    secrets = {GIVEN, ticket, "correct horse", "wrong horse", "83920174", "a-guess-that-is-wrong", *cookies}
    assert not [secret for secret in secrets if secret in told]
    assert f'"{pin}"' not in told
    assert f"pin={pin}" not in told
    everywhere = b"".join(path.read_bytes() for path in state.iterdir())
    assert not [secret for secret in secrets if secret.encode() in everywhere]


@pytest.mark.measures
def test_off_loopback_the_api_is_https_with_the_hosts_identity_and_nothing_else(
    managed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("punktfunk.mgmt.server.HANDSHAKE_LIMIT_S", 1.0)
    host = managed(mgmt_bind="0.0.0.0:0")
    assert host.url.startswith("https://127.0.0.1:")
    shown = ssl.get_server_certificate(("127.0.0.1", host.port))
    der = ssl.PEM_cert_to_DER_cert(shown)
    assert hashlib.sha256(der).hexdigest() == host.serving.identity.fingerprint
    with httpx.Client(trust_env=False) as plain, pytest.raises(httpx.HTTPError):
        plain.get(f"http://127.0.0.1:{host.port}/api/v1/health")
    with socket.create_connection(("127.0.0.1", host.port)) as silent:
        silent.settimeout(30)
        began = time.monotonic()
        browser = host.browser()
        [name] = browser.cookies
        assert name.startswith("__Host-")
        assert browser.post("/api/v1/native/pair/arm", json={}).status_code == 200
        link = running(host.state_dir).console_link()
        assert re.fullmatch(rf"https://[^/]+:{host.port}/#ticket=.{{43}}", link)
        # Who begins no handshake is not waited for.
        assert silent.recv(1) == b""
        assert time.monotonic() - began < 3
    ticket = host.program().post("/console/ticket").json()["ticket"]
    answer = host.page().post("/console/login", json={"ticket": ticket})
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(
        answer.headers["set-cookie"].split("; ")
    )


def test_programs_of_the_same_user_send_the_token_to_nobody_but_the_holder_of_the_identity(
    managed: Callable[..., Any], tmp_path: Path
) -> None:
    host = managed(mgmt_bind="0.0.0.0:0")
    other = managed("other", native=False)
    with pytest.raises(ManagementError, match="does not answer"):
        running(host.state_dir, other.state_dir).console_link()


def test_the_address_of_a_host_that_was_killed_gets_no_token(managed: Callable[..., Any]) -> None:
    host = managed()
    url, token = host.url, host.token
    host.end()
    with socket.create_server(("127.0.0.1", 0)) as imposter:
        imposter.settimeout(0.2)
        (host.state_dir / "mgmt-url").touch(0o600)
        (host.state_dir / "mgmt-url").write_text(url.rpartition(":")[0] + f":{imposter.getsockname()[1]}")
        assert host.token == token
        with pytest.raises(ManagementError, match="no host with a management API runs"):
            running(host.state_dir)
        with pytest.raises(TimeoutError):
            imposter.accept()


def test_the_console_command_prints_a_link_of_the_running_host_that_works_once(
    managed: Callable[..., Any], tmp_path: Path
) -> None:
    def console(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "punktfunk", "console", "--state-dir", str(folder)],
            cwd=REPOSITORY,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    host = managed()
    done = console(host.state_dir)
    assert done.returncode == 0, done.stderr
    url, _, ticket = done.stdout.strip().partition("/#ticket=")
    assert url == host.url
    page = host.page()
    assert page.post("/console/login", json={"ticket": ticket}).status_code == 204
    assert page.get("/console/me").json()["signed_in"] is True
    wrong = console(host.state_dir, **{TOKEN_VARIABLE: GIVEN})
    assert wrong.returncode == 2
    assert "another token" in wrong.stderr
    host.end()
    ended = console(host.state_dir)
    assert ended.returncode == 5
    assert "no host with a management API runs" in ended.stderr
    assert "punktfunk serve" in ended.stderr


def test_a_taken_port_starts_nothing_and_says_what_to_do(managed: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(CapabilityError, match="cannot listen") as raised:
            managed(mgmt_bind=f"127.0.0.1:{taken.getsockname()[1]}")
        assert "--mgmt-bind" in raised.value.hint
        assert "--no-mgmt" in raised.value.hint
    # The state folder is free again.
    assert managed().program().get("/api/v1/health").status_code == 200


@pytest.mark.parametrize(
    "text", ["localhost:47990", "127.0.0.1", "::1:47990", "127.0.0.1:70000", "", "[::1]"]
)
def test_an_endpoint_is_a_literal_address_and_a_port(text: str) -> None:
    with pytest.raises(ConfigError, match="no address and port"):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    ("text", "secure", "url"),
    [
        ("127.0.0.1:0", False, "http://127.0.0.1:7"),
        ("[::1]:0", False, "http://[::1]:7"),
        ("0.0.0.0:0", True, "https://127.0.0.1:7"),
        ("[::]:0", True, "https://[::1]:7"),
        ("192.168.1.2:1", True, "https://192.168.1.2:7"),
        ("[fd00::1]:1", True, "https://[fd00::1]:7"),
    ],
)
def test_only_loopback_is_plain_http(text: str, secure: bool, url: str) -> None:
    endpoint = Endpoint.parse(text)
    assert endpoint.secure is secure
    assert endpoint.url(7) == url


def test_without_a_management_api_nothing_of_it_is_there(managed: Callable[..., Any]) -> None:
    host = managed(management=False)
    assert host.serving.management is None
    assert not any("console" in line for line in host.call(host.serving.banner))
    assert sorted(path.name for path in host.state_dir.iterdir()) == ["cert.pem", "host.lock", "key.pem"]
