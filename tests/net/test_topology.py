"""Namespaces, veths, TUNs: made under the run's name, gone afterwards."""

from __future__ import annotations

import os
import select
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from harness.network import leftovers
from harness.network.namespaces import Namespace, netlink
from harness.network.registry import NAME_PREFIX, namespace_folder
from harness.network.topology import (
    Topology,
    add_address,
    index_of,
    open_tun,
    quiet_ipv6,
    segment_address,
    set_up,
    topology,
    udp_segmentation,
    until_it_carries,
)
from punktfunk.errors import HarnessError
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.root


def names_of(run: str) -> list[str]:
    folder = namespace_folder()
    return [path.name for path in folder.iterdir() if run in path.name] if folder.is_dir() else []


def test_names_carry_the_run_and_nothing_is_left_after_the_block() -> None:
    with topology("Tidy/Run 1") as made:
        made.namespace("host")
        made.namespace("client")
        names = names_of(made.registration.id)
        assert sorted(names) == sorted(
            f"{NAME_PREFIX}{made.registration.id}-{role}" for role in ("host", "client")
        )
        assert made.registration.id.startswith("tidy-run-1-")
        run = made.registration.id
    assert names_of(run) == []
    assert all(item.run != run for item in leftovers.find())


def test_nothing_is_left_when_the_block_raises() -> None:
    made = Topology("raises")

    def use() -> None:
        with made:
            made.namespace("host")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert names_of(made.registration.id) == []


def test_a_cable_carries_once_it_is_made_and_one_whose_other_end_is_down_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel tells itself of a carrier a little later, and drops what is sent before that."""

    def state(namespace: Namespace) -> str:
        def read(ip: Any) -> str:
            [device] = ip.get_links(index_of(ip, "veth0"))
            return str(device.get_attr("IFLA_OPERSTATE"))

        return netlink(namespace, read)

    with topology("carrier") as made:
        a, b = made.namespace("host"), made.namespace("client")
        waited: list[tuple[Namespace, str]] = []

        def waiting(namespace: Namespace, device: str) -> None:
            waited.append((namespace, device))
            until_it_carries(namespace, device)

        with monkeypatch.context() as patch:
            patch.setattr("harness.network.topology.until_it_carries", waiting)
            made.veth(a, "veth0", b, "veth0")
        assert waited == [(a, "veth0"), (b, "veth0")]
        assert (state(a), state(b)) == ("UP", "UP")
        netlink(b, lambda ip: ip.link("set", index=index_of(ip, "veth0"), state="down"))
        eventually(lambda: state(a) != "UP", "the loss of its carrier")
        with monkeypatch.context() as patch:
            patch.setattr("harness.network.topology._CARRIER_S", 0.05)
            with pytest.raises(HarnessError, match=r"veth0 has no carrier after 0\.05 s"):
                until_it_carries(a, "veth0")
        set_up(b, "veth0")
        until_it_carries(a, "veth0")
        assert state(a) == "UP"


def test_datagrams_cross_a_veth_pair_in_both_families() -> None:
    with topology("veth") as made:
        a, b = made.namespace("host"), made.namespace("client")
        made.veth(a, "veth0", b, "veth0")
        for end, namespace in enumerate((a, b), 1):
            add_address(namespace, "veth0", segment_address(0, end))
        to = segment_address(0, 2)
        for family, address in ((socket.AF_INET, to.ipv4), (socket.AF_INET6, to.ipv6)):
            with (
                b.run(lambda family=family: socket.socket(family, socket.SOCK_DGRAM)) as receiver,
                a.run(lambda family=family: socket.socket(family, socket.SOCK_DGRAM)) as sender,
            ):
                receiver.settimeout(PATIENCE_S)
                receiver.bind((address, 0))
                sender.sendto(b"hello", receiver.getsockname())
                assert receiver.recv(100) == b"hello"


def test_a_tun_carries_a_whole_segmentation_train_and_dies_with_its_descriptor() -> None:
    with topology("tun") as made:
        host = made.namespace("host")
        fd = open_tun(host, "tun0")
        add_address(host, "tun0", segment_address(0, 1))
        with host.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            sender.connect((segment_address(0, 2).ipv4, 9))
            udp_segment = (socket.IPPROTO_UDP, 103, (1000).to_bytes(2, "little"))
            sender.sendmsg([bytes(3000)], [udp_segment])
        packet = b""
        while not (len(packet) > 10 and packet[10] >> 4 == 4):  # IPv6 router solicitations come first
            packet = os.read(fd, 70_000)
        assert packet[1] == 5, "VIRTIO_NET_HDR_GSO_UDP_L4: the train was not cut"
        assert len(packet) == 10 + 20 + 8 + 3000
        os.close(fd)
        devices = netlink(host, lambda ip: [link.get_attr("IFLA_IFNAME") for link in ip.get_links()])
        assert devices == ["lo"]


def test_udp_segmentation_can_be_switched_off_and_on() -> None:
    with topology("gso") as made:
        a, b = made.namespace("host"), made.namespace("client")
        made.veth(a, "veth0", b, "veth0")
        assert udp_segmentation(a, "veth0") is True
        assert udp_segmentation(a, "veth0", enable=False) is False
        assert udp_segmentation(a, "veth0") is False
        assert udp_segmentation(b, "veth0") is True


def test_the_runner_itself_stays_in_its_own_namespace() -> None:
    before = Path("/proc/self/ns/net").stat().st_ino
    with topology("own") as made:
        host = made.namespace("host")
        assert host.inode() != before
        assert host.run(lambda: Path("/proc/thread-self/ns/net").stat().st_ino) == host.inode()
    assert Path("/proc/self/ns/net").stat().st_ino == before


def test_the_kernel_has_said_all_that_it_has_to_say_before_anything_is_measured() -> None:
    """Reports of multicast groups that came up to a second later were lost on a link that counted none of them."""
    pairs = 6
    with topology("quiet") as made:
        ends = made.namespace("host"), made.namespace("client")
        for namespace in ends:
            quiet_ipv6(namespace)
        for pair in range(pairs):
            made.veth(ends[0], f"veth{pair}", ends[1], f"veth{pair}")
            for end, namespace in enumerate(ends, 1):
                add_address(namespace, f"veth{pair}", segment_address(pair, end))
        time.sleep(0.5)
        every = 0x0003  # ETH_P_ALL (linux/if_ether.h)
        listeners = [
            namespace.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every)))
            for namespace in ends
        ]
        try:
            heard, _, _ = select.select(listeners, [], [], 1.2)
            assert not heard, [listener.recv(2000).hex() for listener in heard]
        finally:
            for listener in listeners:
                listener.close()
