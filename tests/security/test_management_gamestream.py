"""Moonlight clients and apps by the management API: whose PIN it is, who is unpaired, and what may be started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from punktfunk.app import DESKTOP
from punktfunk.cli import app
from punktfunk.clock import monotonic_ns
from punktfunk.gamestream.pairing import BeginPairing, parse_pair
from punktfunk.host.gamestream.pairing import WIRE, HalfOpen, PairingKey
from punktfunk.trust.store import PairedClient, TrustStore
from tests.support.managed_host import ManagedHost
from tests.support.moonlight import ClientKeys, PairingClient, client_keys

PHONE, TABLET = client_keys(), client_keys()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ManagedHost]:
    made = ManagedHost(tmp_path, gamestream=True)
    yield made
    made.end()


def wait_for_pin(host: ManagedHost, keys: ClientKeys, name: str) -> HalfOpen:
    pairing = host.serving.gamestream_pairing
    assert pairing is not None
    request = parse_pair(PairingClient(keys, "1234").begin())
    assert isinstance(request, BeginPairing)
    device = host.call(
        lambda: pairing.begin(PairingKey("192.0.2.7", keys.fingerprint[:8]), name, request, monotonic_ns())
    )
    assert device is not None
    return device


def test_a_pin_goes_to_the_device_that_is_named(host: ManagedHost) -> None:
    api = host.program()
    assert api.get("/api/v1/pair").json() == {"pin_pending": False, "devices": []}
    assert api.post("/api/v1/pair/pin", json={"pin": "1234"}).status_code == 409
    phone, tablet = wait_for_pin(host, PHONE, "phone"), wait_for_pin(host, TABLET, "roth")
    listed = api.get("/api/v1/pair").json()
    assert listed["pin_pending"] is True
    assert [(d["name"], d["fingerprint"], d["source"]) for d in listed["devices"]] == [
        ("phone", PHONE.fingerprint, "192.0.2.7"),
        ("Moonlight client", TABLET.fingerprint, "192.0.2.7"),
    ]
    assert api.get("/api/v1/status").json()["pin_pending"] is True
    for body, status in (
        ({"pin": "1234"}, 409),
        ({"pin": "1234", "device": "ab" * 32}, 409),
        ({"pin": "12a4", "device": TABLET.fingerprint}, 400),
        ({"pin": "1234", "device": "phone"}, 422),
    ):
        assert api.post("/api/v1/pair/pin", json=body).status_code == status, body
    assert not phone.decided.is_set()
    assert not tablet.decided.is_set()
    named = {"pin": "1234", "device": TABLET.fingerprint.upper(), "name": "living room"}
    assert api.post("/api/v1/pair/pin", json=named).status_code == 204
    assert tablet.pin_entered
    assert tablet.name == "living room"
    assert not phone.decided.is_set()
    assert api.post("/api/v1/pair/pin", json={"pin": "1234"}).status_code == 204
    assert phone.pin_entered


def test_the_command_line_lists_who_waits_and_enters_a_pin(host: ManagedHost) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["pin", *arguments, "--state-dir", str(host.state_dir)])
        return done.exit_code, done.output

    assert run() == (0, "")
    assert run("1234")[0] == 2
    phone = wait_for_pin(host, PHONE, "phone")
    status, listed = run()
    assert status == 0
    assert listed.startswith(f"{PHONE.fingerprint[:12]}  phone  192.0.2.7  waits ")
    tablet = wait_for_pin(host, TABLET, "tablet")
    assert run("1234")[0] == 2
    assert run("1234", "--device", "")[0] == 2
    assert run("12x4", "--device", TABLET.fingerprint[:6])[0] == 2
    assert not phone.decided.is_set()
    assert not tablet.decided.is_set()
    status, said = run("1234", "--device", TABLET.fingerprint[:6], "--name", "living room")
    assert (status, said) == (0, "living room at 192.0.2.7 goes on with that PIN\n")
    assert tablet.pin_entered
    assert tablet.name == "living room"
    assert run("0042")[0] == 0
    assert phone.pin_entered


def test_a_device_that_needs_a_pin_is_not_approved_by_a_word(host: ManagedHost) -> None:
    api = host.program()
    device = wait_for_pin(host, PHONE, "phone")
    assert api.get("/api/v1/native/pending").json() == []
    assert api.post(f"/api/v1/native/pending/{PHONE.fingerprint}/approve").status_code == 404
    assert not device.decided.is_set()
    assert api.delete(f"/api/v1/pair/{PHONE.fingerprint}").status_code == 204
    assert device.decided.is_set()
    assert not device.pin_entered
    assert api.delete(f"/api/v1/pair/{PHONE.fingerprint}").status_code == 404
    assert api.delete("/api/v1/pair/phone").status_code == 400


@pytest.mark.conformance(27)
def test_moonlight_clients_are_listed_and_unpaired(host: ManagedHost) -> None:
    api, trust = host.program(), host.serving.pairing.trust
    for keys, wire in ((PHONE, WIRE), (TABLET, "native")):
        client = PairedClient(keys.fingerprint, "phone", wire, 1, keys.pem.decode())
        host.call(lambda client=client: trust.add(client))  # type: ignore[misc]
    (shown,) = api.get("/api/v1/clients").json()
    assert (shown["fingerprint"], shown["subject"], shown["name"]) == (
        PHONE.fingerprint,
        "CN=NVIDIA GameStream Client",
        "phone",
    )
    assert shown["not_before_unix"] < shown["not_after_unix"]
    assert api.get("/api/v1/status").json()["paired_clients"] == 1
    # A client of the other wire is not one of these.
    assert api.delete(f"/api/v1/clients/{TABLET.fingerprint}").status_code == 404
    removed: list[str] = []
    host.call(lambda: trust.on_removal(removed.append))
    assert api.delete(f"/api/v1/clients/{PHONE.fingerprint.upper()}").status_code == 204
    assert removed == [PHONE.fingerprint]
    assert [c.fingerprint for c in TrustStore(trust.path).clients()] == [TABLET.fingerprint]


def test_readiness_says_what_an_app_with_a_desktop_of_its_own_lacks(
    host: ManagedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = host.program()

    def about_apps() -> list[dict[str, Any]]:
        checks = api.get("/api/v1/readiness").json()["checks"]
        return [check for check in checks if check["name"] == "app desktops"]

    assert about_apps() == []
    api.post("/api/v1/apps", json={"title": "Game", "command": ["game"], "own_desktop": True})
    monkeypatch.setenv("PATH", "")
    (lacking,) = about_apps()
    assert (lacking["ok"], lacking["needed"]) == (False, False)
    assert lacking["text"].startswith(
        "Game: no desktop can be streamed here (headless-sway: sway is not installed"
    )
    assert lacking["fix"] == "apt-get install sway"


def test_what_runs_is_listed_and_quit(host: ManagedHost) -> None:
    api, apps = host.program(), host.serving.host.apps
    assert api.get("/api/v1/running-apps").json() == []
    running = host.call(lambda: apps.launch(DESKTOP, PHONE.fingerprint))
    (run,) = api.get("/api/v1/running-apps").json()
    assert (run["number"], run["app"]["title"], run["streams"]) == (running.number, "Desktop", 0)
    assert run["clients"] == [PHONE.fingerprint[:8]]
    assert api.delete(f"/api/v1/running-apps/{running.number}").status_code == 204
    assert running.ending
    assert api.get("/api/v1/running-apps").json() == []
    assert api.delete(f"/api/v1/running-apps/{running.number}").status_code == 404


SHARED = {"own_desktop": False, "compositor": "sway"}


def test_apps_are_added_changed_and_removed(host: ManagedHost) -> None:
    api = host.program()
    desktop = {"id": 1, "title": "Desktop", "command": [], "folder": "", **SHARED}
    assert api.get("/api/v1/apps").json() == [desktop]
    game = {
        "title": "Game",
        "command": ["/usr/bin/game", "a b", "$HOME"],
        "folder": "/srv",
        "own_desktop": True,
        "compositor": "gamescope",
    }
    added = api.post("/api/v1/apps", json=game)
    assert (added.status_code, added.json()) == (201, {"id": 2, **game})
    changed = api.put("/api/v1/apps/2", json={"title": " Other  game "})
    other = {"id": 2, "title": "Other game", "command": [], "folder": "", **SHARED}
    assert (changed.status_code, changed.json()) == (200, other)
    assert api.get("/api/v1/apps").json() == [desktop, other]
    assert api.delete("/api/v1/apps/2").status_code == 204
    assert api.delete("/api/v1/apps/2").status_code == 404
    assert api.post("/api/v1/apps", json=game).json()["id"] == 3


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "apps", {"title": "a", "command": "rm -rf /"}, 422),
        ("POST", "apps", {"title": "a", "command": ["a\0b"]}, 422),
        ("POST", "apps", {"title": "a", "folder": "../x"}, 422),
        ("POST", "apps", {"title": "a" * 65}, 422),
        ("POST", "apps", {"title": "a", "own_desktop": True}, 422),
        ("POST", "apps", {"title": "a", "command": ["b"], "compositor": "gamescope"}, 422),
        ("POST", "apps", {"title": "a", "command": ["b"], "own_desktop": True, "compositor": "kwin"}, 422),
        ("POST", "apps", {}, 422),
        ("PUT", "apps/1", {"title": "a"}, 409),
        ("DELETE", "apps/1", None, 409),
        ("PUT", "apps/2", {"title": "a"}, 404),
        ("PUT", "apps/0", {"title": "a"}, 422),
        ("DELETE", "apps/2147483648", None, 422),
    ],
)
def test_what_is_no_app_is_refused(shared_host: Any, method: str, path: str, body: Any, status: int) -> None:
    answer = shared_host.program().request(method, f"/api/v1/{path}", json=body)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


def test_without_gamestream_nobody_waits(shared_host: Any) -> None:
    api = shared_host.program()
    assert api.get("/api/v1/pair").json() == {"pin_pending": False, "devices": []}
    assert api.post("/api/v1/pair/pin", json={"pin": "1234", "device": PHONE.fingerprint}).status_code == 409
