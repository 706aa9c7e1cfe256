"""A host with several network interfaces: what each network hears of it, and what happens as they come and go."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

import punktfunk
from harness.network.namespaces import Namespace, netlink
from harness.network.topology import (
    add_address,
    add_route,
    hardware_address,
    index_of,
    open_tun,
    segment_address,
    topology,
)
from punktfunk.announcement import Announcement, Service, speaking_interfaces
from punktfunk.host.gamestream.announcement import SERVICE_TYPE, moonlight_service
from punktfunk.host.gamestream.pairing import WIRE
from punktfunk.interfaces import mac_of
from punktfunk.media import SyntheticSpec
from punktfunk.native.discovery import FoundHost, discover, native_service
from punktfunk.native.port_probe import probe_port
from punktfunk.neighbours import NO_MAC
from punktfunk.neighbours import hardware_address as neighbour
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.trust.store import PairedClient
from tests.support.gamestream_host import GameStreamHost, ask, gamestream_host
from tests.support.inside import Inside
from tests.support.mdns import instances
from tests.support.moonlight import client_keys
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.root

FINGERPRINT, OTHERS = "cd" * 32, "ab" * 32
LISTEN_S, TRIES = 0.4, 6
T = TypeVar("T")
LASTING = 0x02
"""``IFA_F_NODAD``: an address that is in use at once."""


@dataclass
class Networks:
    """A host with an interface in each of two networks, and a machine in each."""

    host: Namespace
    left: Namespace
    right: Namespace


@pytest.fixture
def networks() -> Iterator[Networks]:
    with topology("several") as made:
        host, left, right = (made.namespace(role) for role in ("host", "left", "right"))
        for segment, (name, machine) in enumerate((("left0", left), ("right0", right))):
            made.veth(host, name, machine, "lan0")
            add_address(host, name, segment_address(segment, 1))
            add_address(machine, "lan0", segment_address(segment, 2))
        yield Networks(host, left, right)


@pytest.fixture
def inside() -> Iterator[Callable[[Namespace], Inside]]:
    """Give loops in namespaces."""
    with contextlib.ExitStack() as stack:
        yield lambda namespace: stack.enter_context(Inside(namespace))


def addresses_of(found: list[FoundHost]) -> list[tuple[str, ...]]:
    """Return the addresses that are heard, without link-local ones, which the kernel makes up."""
    return [tuple(a for a in host.addresses if not a.startswith("fe80")) for host in found]


def with_device(namespace: Namespace, device: str, talk: Callable[[Any, int], None]) -> None:
    netlink(namespace, lambda ip: talk(ip, index_of(ip, device)))


def announced(
    services: list[Service], names: list[str] | None = None, bind: str = "*"
) -> Coroutine[Any, Any, Announcement]:
    """Announce at all addresses or at one, for a machine that is called what ``names`` begins with."""
    called = names or ["den"]

    async def begin() -> Announcement:
        return await Announcement(services, bind, lambda: called[0]).__aenter__()

    return begin()


def heard(loop: Inside, addresses: list[tuple[str, ...]]) -> None:
    """Wait until a machine hears of hosts at these addresses."""
    _listen(lambda seconds: addresses_of(loop.run(discover(seconds))), addresses)


def named(loop: Inside, names: list[str]) -> None:
    """Wait until a machine hears of hosts for Moonlight of these names."""
    _listen(lambda seconds: loop.run(instances(SERVICE_TYPE, seconds)), names)


def _listen(listen: Callable[[float], T], expected: T) -> None:
    """Listen longer and longer: answers may take a second, and more where the machine is busy."""
    for doubled in range(TRIES):
        found = listen(LISTEN_S * 2**doubled)
        if found == expected:
            return
    pytest.fail(f"heard of {found}, not of {expected}")


def native(fingerprint: str = FINGERPRINT) -> Service:
    return native_service(port=9777, fingerprint=fingerprint, pairing_required=True)


def test_each_network_hears_the_addresses_of_its_own_interface_and_follows_them(
    networks: Networks, inside: Callable[[Namespace], Inside]
) -> None:
    host, left, right = (inside(n) for n in (networks.host, networks.left, networks.right))
    announcement = host.run(announced([native()]))
    assert announcement.made
    heard(left, [("10.77.0.1", "fd77::1")])
    heard(right, [("10.77.1.1", "fd77:1::1")])

    with_device(
        networks.host, "right0", lambda ip, i: ip.addr("add", index=i, address="10.77.1.9", prefixlen=24)
    )
    with_device(
        networks.host, "right0", lambda ip, i: ip.addr("del", index=i, address="fd77:1::1", prefixlen=64)
    )
    heard(right, [("10.77.1.1", "10.77.1.9")])
    heard(left, [("10.77.0.1", "fd77::1")])

    with_device(networks.host, "left0", lambda ip, i: ip.link("set", index=i, state="down"))
    eventually(lambda: len(announcement.places) == 1, "the interface that is down is left alone")
    with_device(networks.host, "left0", lambda ip, i: ip.link("set", index=i, state="up"))
    eventually(lambda: networks.left.run(speaking_interfaces), "the carrier at the other end of the cable")
    # IPv6 addresses went with the interface; those of IPv4 have stayed.
    heard(left, [("10.77.0.1",)])

    host.run(announcement.__aexit__(None, None, None))
    assert left.run(discover(LISTEN_S)) == []


def test_a_machine_that_is_called_otherwise_is_announced_under_its_new_name_and_no_other(
    networks: Networks, inside: Callable[[Namespace], Inside]
) -> None:
    names = ["den"]
    host, left, right = (inside(n) for n in (networks.host, networks.left, networks.right))
    other = right.run(announced([moonlight_service(http_port=47989, fingerprint=OTHERS)], ["cellar"]))
    announcement = host.run(
        announced([native(), moonlight_service(http_port=47989, fingerprint=FINGERPRINT)], names)
    )
    named(left, ["den"])
    names[0] = "attic"
    host.run(announcement.follow())
    named(left, ["attic"])
    _listen(
        lambda seconds: [found.name for found in left.run(discover(seconds))], [f"attic {FINGERPRINT[:8]}"]
    )
    names[0] = "cellar"
    host.run(announcement.follow())
    assert announcement.labels[SERVICE_TYPE] == "cellar-2", "the other network's name is asked for as well"
    host.run(announcement.__aexit__(None, None, None))
    right.run(other.__aexit__(None, None, None))


def test_a_name_that_another_host_of_any_network_has_is_numbered_in_all(
    networks: Networks, inside: Callable[[Namespace], Inside]
) -> None:
    host, left, right = (inside(n) for n in (networks.host, networks.left, networks.right))
    other = right.run(announced([moonlight_service(http_port=47989, fingerprint=OTHERS)]))
    ours = host.run(announced([moonlight_service(http_port=48989, fingerprint=FINGERPRINT)]))
    assert ours.labels == {SERVICE_TYPE: "den-2"}
    named(left, ["den-2"])
    named(right, ["den", "den-2"])
    for loop, announcement in ((host, ours), (right, other)):
        loop.run(announcement.__aexit__(None, None, None))


def test_of_two_hosts_that_come_to_share_a_name_the_higher_server_takes_another(
    networks: Networks, inside: Callable[[Namespace], Inside], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two networks become one by a cable, or two hosts start at once: nobody was there to be asked for the name."""
    monkeypatch.setattr("punktfunk.announcement.CONFLICT_PAUSE_S", 0.2)
    host, left = inside(networks.host), inside(networks.left)
    with monkeypatch.context() as unasked:
        unasked.setattr("punktfunk.announcement._Responder.owned_by_others", _nobody)
        other = left.run(
            announced([moonlight_service(http_port=47989, fingerprint=OTHERS)], bind="10.77.0.2")
        )
        # It has announced itself three times by then, and says nothing more until it is asked or contradicted.
        eventually(lambda: not other._tasks, "the end of its announcements")
        ours = host.run(
            announced([moonlight_service(http_port=48989, fingerprint=FINGERPRINT)], bind="10.77.0.1")
        )
        assert ours.labels == other.labels == {SERVICE_TYPE: "den"}
    eventually(lambda: ours.labels == {SERVICE_TYPE: "den-2"}, "the host with the higher server gives way")
    assert other.labels == {SERVICE_TYPE: "den"}
    for loop, announcement in ((host, ours), (left, other)):
        loop.run(announcement.__aexit__(None, None, None))


async def _nobody(*_arguments: object) -> bool:
    return False


def further_addresses(networks: Networks) -> None:
    """Give the host a second address on the right, and the same link-local one on both links."""
    with_device(
        networks.host, "right0", lambda ip, i: ip.addr("add", index=i, address="10.77.1.9", prefixlen=24)
    )
    for name, machine in (("left0", networks.left), ("right0", networks.right)):
        for namespace, device, last in ((networks.host, name, 1), (machine, "lan0", 2)):
            with_device(
                namespace,
                device,
                lambda ip, i, last=last: ip.addr(
                    "add", index=i, address=f"fe80::{last}", prefixlen=64, flags=LASTING
                ),
            )


def test_a_host_answers_from_the_address_that_was_asked_whichever_of_its_own_that_is(
    networks: Networks, inside: Callable[[Namespace], Inside]
) -> None:
    """A client's socket is connected: it hears what comes from that address and interface, and nothing else."""
    host, left, right = (inside(n) for n in (networks.host, networks.left, networks.right))
    further_addresses(networks)
    # The other network of the host is reached by way of the host.
    add_route(networks.left, 1, segment_address(0, 1))

    async def serve() -> punktfunk.Host:
        config = punktfunk.HostConfig(
            bind="*", port=0, trust=OpenTrust.LAB, source=SyntheticSpec(frame_bytes=1000)
        )
        return await punktfunk.Host(config).__aenter__()

    served = host.run(serve())
    for machine, address in (
        (left, "10.77.0.1"),
        (left, "fd77::1"),
        (left, "fe80::1%lan0"),
        (left, "10.77.1.1"),
        (left, "10.77.1.9"),
        (left, "fd77:1::1"),
        (right, "10.77.1.9"),
        (right, "fe80::1%lan0"),
        (host, "127.0.0.1"),
        (host, "::1"),
    ):
        assert machine.run(probe_port((address, served.port), PATIENCE_S / 2)).answered, address
    host.run(served.__aexit__(None, None, None))


@pytest.mark.conformance(7)
@pytest.mark.conformance(8)
def test_a_paired_client_is_told_the_card_that_it_reached_and_nobody_else_any(
    networks: Networks, inside: Callable[[Namespace], Inside], tmp_path: Path
) -> None:
    keys = client_keys()
    host = inside(networks.host)
    further_addresses(networks)
    left, right = (hardware_address(networks.host, name) for name in ("left0", "right0"))
    assert left != right

    stack = contextlib.AsyncExitStack()

    async def serve() -> GameStreamHost:
        served = await stack.enter_async_context(gamestream_host(tmp_path, "*"))
        served.pairing.trust.add(
            PairedClient(keys.fingerprint, "Moonlight client", WIRE, 0, keys.pem.decode())
        )
        return served

    served = host.run(serve())
    try:
        for machine, address, mac, local_ip in (
            (networks.left, "10.77.0.1", left, "10.77.0.1"),
            (networks.right, "10.77.1.1", right, "10.77.1.1"),
            (networks.right, "10.77.1.9", right, "10.77.1.9"),
            (networks.right, "fd77:1::1", right, "127.0.0.1"),
            (networks.left, "fe80::1%lan0", left, "127.0.0.1"),
            (networks.right, "fe80::1%lan0", right, "127.0.0.1"),
            (networks.host, "127.0.0.1", NO_MAC, "127.0.0.1"),
        ):
            paired = machine.run(
                lambda address=address: ask(served.ports, "/serverinfo", keys=keys, host=address)
            )
            stranger = machine.run(lambda address=address: ask(served.ports, "/serverinfo", host=address))
            assert (paired.text("mac"), paired.text("LocalIP")) == (mac, local_ip), address
            assert stranger.text("mac") == NO_MAC, address
    finally:
        host.run(stack.aclose())
    # What a native client remembers to wake the host by is the same card, seen from its own side.
    assert networks.left.run(lambda: neighbour("10.77.0.1")) == left
    assert networks.right.run(lambda: neighbour("fd77:1::1")) == right


def test_a_tunnel_has_no_card_that_could_be_woken(networks: Networks) -> None:
    tunnel = open_tun(networks.host, "vpn0")
    try:
        with_device(
            networks.host, "vpn0", lambda ip, i: ip.addr("add", index=i, address="10.9.9.9", prefixlen=24)
        )
        assert networks.host.run(lambda: mac_of("10.9.9.9")) == NO_MAC
    finally:
        os.close(tunnel)
