"""How Moonlight clients find a host: one instance, its port, a TXT record of one empty string (gamestream 1.2)."""

from __future__ import annotations

import asyncio

import pytest
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from punktfunk.announcement import Announcement
from punktfunk.host.gamestream.announcement import SERVICE_TYPE, instance_name, moonlight_service
from tests.support.waiting import PATIENCE_S, soon

FINGERPRINT = "ab" * 32


@pytest.mark.conformance(1)
@pytest.mark.conformance(2)
def test_a_host_is_found_with_the_port_of_its_http_and_one_empty_string() -> None:
    async def look() -> None:
        found: list[str] = []
        async with (
            Announcement(
                [moonlight_service(http_port=48989, fingerprint=FINGERPRINT)],
                "127.0.0.1",
                lambda: "Jo's PC (attic)",
            ) as announcement,
            AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only) as asking,
        ):
            assert announcement.made
            browser = AsyncServiceBrowser(
                asking.zeroconf,
                SERVICE_TYPE,
                handlers=[lambda zeroconf, service_type, name, state_change: found.append(name)],
            )
            ours = await soon(
                lambda: next((n for n in found if n.startswith("Jo-s-PC-attic")), None), "the host"
            )
            await browser.async_cancel()
            info = AsyncServiceInfo(SERVICE_TYPE, ours)
            assert await info.async_request(asking.zeroconf, PATIENCE_S * 1000)
            assert info.port == 48989
            assert info.text == b"\0"
            assert info.parsed_addresses() == ["127.0.0.1"]
            assert info.server == f"punktfunk-{FINGERPRINT[:12]}.local."

    asyncio.run(look())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("den", "den"),
        ("Jo's PC", "Jo-s-PC"),
        ("日本", "punktfunk"),
        ("", "punktfunk"),
        ("a" * 99, "a" * 63),
        ("a.b_c", "a-b-c"),
    ],
)
def test_a_name_is_what_every_client_shows(name: str, shown: str) -> None:
    assert instance_name(name) == shown
