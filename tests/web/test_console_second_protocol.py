"""The console shows what a second wire brings: its pending device, and its session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from punktfunk.media import TestCardSpec
from tests.support.echo_client import Television
from tests.support.echo_protocol import EchoServer
from tests.support.managed_host import ManagedHost

pytestmark = pytest.mark.slow

TV = "ab" * 32


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[ManagedHost]:
    """A host that serves the toy wire too."""
    host = ManagedHost(tmp_path / "host", protocols=[EchoServer], host={"source": TestCardSpec()})
    yield host
    host.end()


def test_a_device_of_a_second_wire_is_approved_and_its_session_ended_on_the_page(
    managed: ManagedHost, browser: Any, expect: Any
) -> None:
    assert managed.serving.management is not None
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(managed.call(managed.serving.management.console_link))
    with Television(managed, TV) as asking:
        assert asking.answer() == "pending"
    page.get_by_role("button", name="Approve television…").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("region", name="Awaiting approval")).to_have_count(0)
    with Television(managed, TV) as television:
        assert television.answer() == "welcome"
        assert television.frame()
        page.get_by_role("navigation").get_by_role("link", name="Sessions").click()
        expect(page.get_by_role("region", name="television")).to_contain_text("640×360 at 30 Hz")
        page.get_by_role("button", name="End the session of television…").click()
        page.get_by_role("dialog").get_by_role("button", name="End session").click()
        while television.frame():
            pass
    expect(page.get_by_role("region", name="television")).to_have_count(0)
    context.close()
