"""Streams over IPv6: by a lasting address, and by the one that a link has without anybody's doing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import punktfunk
from harness.network.namespaces import Namespace, netlink
from harness.network.topology import add_address, index_of, segment_address, topology
from punktfunk.addresses import written
from punktfunk.media import SyntheticSpec
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode
from tests.support.inside import Inside

pytestmark = pytest.mark.root

FRAMES = 5


@pytest.fixture
def link() -> Iterator[tuple[Namespace, Namespace]]:
    """Two machines on a link, the client with a second interface that leads elsewhere."""
    with topology("ipv6") as made:
        host, client = made.namespace("host"), made.namespace("client")
        made.veth(host, "lan0", client, "lan0")
        add_address(host, "lan0", segment_address(0, 1))
        add_address(client, "lan0", segment_address(0, 2))
        for namespace, last in ((host, 1), (client, 2)):
            netlink(
                namespace,
                lambda ip, last=last: ip.addr(
                    "add", index=index_of(ip, "lan0"), address=f"fe80::{last}", prefixlen=64, flags=0x02
                ),
            )
        yield host, client


def test_a_stream_goes_by_each_kind_of_address(link: tuple[Namespace, Namespace]) -> None:
    async def serve() -> punktfunk.Host:
        return await punktfunk.Host(
            punktfunk.HostConfig(
                bind="*",
                port=0,
                trust=OpenTrust.LAB,
                source=SyntheticSpec(frame_bytes=3000),
                mode=Mode(640, 360, 60),
                frames=FRAMES,
            )
        ).__aenter__()

    async def receive(address: str) -> tuple[int | None, bool]:
        async with punktfunk.Client(address, punktfunk.ClientConfig(trust=OpenTrust.LAB)) as client:
            summary = await client.finished()
            return summary.frames_announced, bool(summary.verified)

    with Inside(link[0]) as at_host, Inside(link[1]) as at_client:
        host = at_host.run(serve())
        for address in ("fd77::1", "fe80::1%lan0", "10.77.0.1"):
            assert at_client.run(receive(written(address, host.port))) == (FRAMES, True), address
        # A client has its frames before the host has noted its end.
        at_host.run(host.sessions_over(3))
        peers = [report.peer.address[0] for report in host.reports]
        at_host.run(host.__aexit__(None, None, None))
    assert peers[0] == "fd77::2"
    assert peers[1].partition("%")[0] == "fe80::2"
    assert peers[1].partition("%")[2].isdecimal()
    assert peers[2] == "10.77.0.2"
