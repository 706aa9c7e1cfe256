"""Waking a host: what is remembered while it is awake, and what its network hears when it sleeps."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import punktfunk
from harness.network.namespaces import Namespace
from harness.network.topology import Topology, add_address, hardware_address, segment_address, topology
from punktfunk.client.host_card import note_card
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.client.reach import examine_host
from punktfunk.client.wake import PORT, find_sleeper, magic_packet, wake, wake_host
from punktfunk.errors import CapabilityError, HostNotFoundError, NoAnswerError
from punktfunk.media import SyntheticSpec
from punktfunk.trust.open_trust import OpenTrust
from tests.support.inside import Inside
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.root

FINGERPRINT, CARD = "ab" * 32, "02:00:00:00:00:07"
NATIVE = 9777


@pytest.fixture(scope="module")
def made() -> Iterator[Topology]:
    """A client with an interface in each of two networks, and a machine in each."""
    with topology("wake") as made:
        client, host, other = (made.namespace(role) for role in ("client", "host", "other"))
        for segment, (name, machine) in enumerate((("left0", host), ("right0", other))):
            made.veth(client, name, machine, "lan0")
            add_address(client, name, segment_address(segment, 1))
            add_address(machine, "lan0", segment_address(segment, 2))
        yield made


def ears(stack: contextlib.ExitStack, namespace: Namespace) -> list[socket.socket]:
    """Return sockets that hear a magic packet of each family."""

    def listening(family: int) -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.settimeout(PATIENCE_S)
        made.bind(("", PORT))
        return made

    return [
        stack.enter_context(namespace.run(lambda family=family: listening(family)))
        for family in (socket.AF_INET, socket.AF_INET6)
    ]


def test_every_network_of_this_machine_hears_the_magic_packet_in_both_families(made: Topology) -> None:
    with contextlib.ExitStack() as stack, Inside(made.namespaces["client"]) as client:
        listening = [ear for role in ("host", "other") for ear in ears(stack, made.namespaces[role])]
        used = client.run(wake(find_sleeper(CARD.upper().replace(":", "-"), Path("/nowhere"))))
        assert sorted(used) == ["left0", "right0"]
        for ear in listening:
            heard, _ = ear.recvfrom(200)
            assert heard == magic_packet(CARD) == b"\xff" * 6 + bytes.fromhex(CARD.replace(":", "")) * 16


def test_a_host_is_woken_by_what_was_seen_of_it_and_by_what_it_was_called(
    made: Topology, tmp_path: Path
) -> None:
    card = hardware_address(made.namespaces["host"], "lan0")
    place = ("10.77.0.2", NATIVE)
    hosts = KnownHosts(tmp_path)
    hosts.remember(place, FINGERPRINT)
    with pytest.raises(CapabilityError, match=r"hardware address of 10\.77\.0\.2 is not known"):
        find_sleeper("10.77.0.2", tmp_path)
    with pytest.raises(HostNotFoundError, match="no paired host is called 'attic'"):
        find_sleeper("attic", tmp_path)

    config = punktfunk.HostConfig(
        bind="*", port=NATIVE, trust=OpenTrust.LAB, source=SyntheticSpec(frame_bytes=1000)
    )

    async def serve() -> punktfunk.Host:
        return await punktfunk.Host(config).__aenter__()

    with Inside(made.namespaces["host"]) as at_host, Inside(made.namespaces["client"]) as client:
        hosts.note(place, mac=CARD, called="attic.local")
        with pytest.raises(NoAnswerError, match="attic has not answered within 1 s"):
            client.run(wake_host("attic", tmp_path, wait_s=0.6))
        host = at_host.run(serve())
        first, *rows = client.run(examine_host("10.77.0.2", tmp_path))
        assert (first.ok, first.essential) == (True, True)
        by_name = {row.name: row for row in rows}
        assert "a host answers after" in by_name["UDP 10.77.0.2:9777"].detail
        assert "nothing listens" in by_name["TCP 10.77.0.2:47989"].detail
        assert f"woken by {CARD}" in by_name["pairing"].detail
        # What commands do once they have reached it: the card that is there now replaces the former one.
        made.namespaces["client"].run(lambda: note_card(tmp_path, place, "attic.local:9777"))
        assert find_sleeper("ATTIC", tmp_path).mac == card
        assert client.run(wake_host("attic", tmp_path, wait_s=PATIENCE_S / 2)) == 0
        at_host.run(host.__aexit__(None, None, None))
        lost, *_ = client.run(examine_host("10.77.0.2", tmp_path))
        assert (lost.ok, lost.essential) == (False, True)
        assert "nothing listens on that port" in lost.detail
