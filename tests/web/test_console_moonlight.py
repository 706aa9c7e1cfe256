"""The console with Moonlight clients: the PIN that one of several shows, who is paired, and the apps they can start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from punktfunk.app import DESKTOP
from punktfunk.host.gamestream.pairing import WIRE
from punktfunk.trust.store import PairedClient
from tests.security.test_management_gamestream import PHONE, TABLET, wait_for_pin
from tests.support.managed_host import ManagedHost

pytestmark = pytest.mark.slow


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[ManagedHost]:
    host = ManagedHost(tmp_path / "host", gamestream=True)
    yield host
    host.end()


@pytest.fixture
def page(managed: ManagedHost, browser: Any) -> Iterator[Any]:
    assert managed.serving.management is not None
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(managed.call(managed.serving.management.console_link))
    yield page
    context.close()


def test_a_pin_is_typed_beside_the_device_that_shows_it(managed: ManagedHost, page: Any, expect: Any) -> None:
    phone, tablet = wait_for_pin(managed, PHONE, "phone <b>"), wait_for_pin(managed, TABLET, "tablet")
    waiting = page.get_by_role("region", name="Moonlight shows a PIN")
    expect(waiting.get_by_role("listitem")).to_have_count(2)
    expect(waiting).to_contain_text("phone <b>")
    expect(waiting).to_contain_text("192.0.2.7")
    waiting.get_by_label("PIN that tablet at 192.0.2.7 shows").fill("0042")
    waiting.get_by_role("button", name="Enter the PIN of tablet").click()
    expect(waiting.get_by_role("listitem")).to_have_count(1)
    assert tablet.pin_entered
    assert not phone.decided.is_set()
    waiting.get_by_role("button", name="Turn phone <b> away").click()
    expect(page.get_by_role("region", name="Moonlight shows a PIN")).to_have_count(0)
    assert phone.decided.is_set()
    assert not phone.pin_entered


def test_a_paired_moonlight_device_is_shown_and_unpaired(
    managed: ManagedHost, page: Any, expect: Any
) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Devices").click()
    client = PairedClient(PHONE.fingerprint, "phone", WIRE, 1, PHONE.pem.decode())
    trust = managed.serving.pairing.trust
    managed.call(lambda: (trust.add(client), managed.serving.pairing.pending.on_change()))
    paired = page.get_by_role("region", name="Paired Moonlight devices")
    expect(paired).to_contain_text("phone")
    paired.get_by_role("button", name="Unpair phone…").click()
    page.get_by_role("dialog").get_by_role("button", name="Unpair", exact=True).click()
    expect(page.get_by_role("region", name="Paired Moonlight devices")).to_have_count(0)
    assert managed.call(trust.clients) == ()


def test_an_app_is_quit_added_changed_and_removed(managed: ManagedHost, page: Any, expect: Any) -> None:
    managed.call(lambda: managed.serving.host.apps.launch(DESKTOP, "ab" * 32))
    page.get_by_role("navigation").get_by_role("link", name="Apps").click()
    apps = page.get_by_role("list", name="Apps", exact=True)
    expect(apps.get_by_role("listitem")).to_have_count(1)
    runs = page.get_by_role("list", name="Running apps")
    expect(runs.get_by_role("listitem")).to_contain_text("on the shared desktop · nobody streams it")
    page.get_by_role("button", name="Quit Desktop…").click()
    page.get_by_role("dialog").get_by_role("button", name="Quit", exact=True).click()
    expect(page.get_by_role("heading", name="What runs")).to_be_hidden()
    assert managed.call(managed.serving.host.apps.running) == []
    page.get_by_role("button", name="Add an app").click()
    page.get_by_label("Title").fill("Game <i>")
    page.get_by_label("Program and arguments").fill("/usr/bin/game\n--level\na b")
    page.get_by_label("Working folder").fill("relative")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="Not saved")).to_contain_text("absolute path")
    page.get_by_label("Working folder").fill("/srv")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(apps.get_by_role("listitem")).to_have_count(2)
    expect(apps).to_contain_text("Game <i>")
    (game,) = managed.call(managed.serving.apps.all)[1:]
    assert (game.command, game.folder) == (("/usr/bin/game", "--level", "a b"), "/srv")
    page.get_by_role("button", name="Change Game <i>…").click()
    page.get_by_label("Title").fill("Other game")
    desktop = page.get_by_label("Desktop", exact=True)
    expect(desktop).to_have_value("")
    desktop.select_option("sway")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(apps).to_contain_text("Other game")
    expect(apps).to_contain_text("on a desktop of its own")
    page.get_by_role("button", name="Change Other game…").click()
    expect(desktop).to_have_value("sway")
    desktop.select_option("gamescope")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(apps).to_contain_text("in a gamescope of its own")
    (game,) = managed.call(managed.serving.apps.all)[1:]
    assert (game.own_desktop, game.compositor) == (True, "gamescope")
    page.get_by_role("button", name="Remove Other game…").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    expect(apps.get_by_role("listitem")).to_have_count(1)
