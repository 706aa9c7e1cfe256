"""Packets are counted in the kernel, those of the stream's ports apart from all others."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from harness.link.base import MAX_MEDIA_PORTS
from harness.link.packetcount import PacketCounter, Port
from harness.network.capture import datagrams
from harness.network.namespaces import Namespace
from harness.network.topology import add_address, quiet_ipv6, segment_address, topology, udp_segmentation
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.root

MEDIA = (47_998, 48_000)
CONTROL = 47_999
TRAIN = (socket.IPPROTO_UDP, 103, struct.pack("=H", 1000))
FAMILIES = [socket.AF_INET, socket.AF_INET6]


@pytest.fixture
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    """Return two namespaces that are joined by a veth pair."""
    with topology("count") as made:
        a, b = made.namespace("host"), made.namespace("client")
        for namespace in (a, b):
            quiet_ipv6(namespace)
        made.veth(a, "veth0", b, "veth0")
        for end, namespace in enumerate((a, b), 1):
            add_address(namespace, "veth0", segment_address(0, end))
        udp_segmentation(a, "veth0", enable=False)
        yield a, b


def address_of(end: int, family: socket.AddressFamily) -> str:
    address = segment_address(0, end)
    return address.ipv4 if family == socket.AF_INET else address.ipv6


class Sender:
    """Sends from and to ports of choice, and knows when all has arrived."""

    def __init__(self, a: Namespace, b: Namespace, family: socket.AddressFamily) -> None:
        self._a, self._family = a, family
        self._to = address_of(2, family)
        self._last = b.run(lambda: socket.socket(family, socket.SOCK_DGRAM))
        self._last.settimeout(PATIENCE_S)
        self._last.bind((self._to, 7))
        # Until the neighbour's address is known few packets wait, and the others are dropped.
        self.until_all_arrived()

    def send(self, source: int, destination: int, data: bytes, *, train: bool = False) -> None:
        with self._a.run(lambda: socket.socket(self._family, socket.SOCK_DGRAM)) as one:
            one.bind((address_of(1, self._family), source))
            # Unconnected: nobody listens there, and refusals are no matter of ours.
            one.sendmsg([data], [TRAIN] if train else [], 0, (self._to, destination))

    def until_all_arrived(self) -> None:
        self.send(9, 7, b"the last one")
        assert self._last.recv(100) == b"the last one"

    def close(self) -> None:
        self._last.close()


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("port", Port)
def test_datagrams_of_every_media_port_are_counted_also_of_trains_and_no_others(
    ends: tuple[Namespace, Namespace], family: socket.AddressFamily, port: Port
) -> None:
    a, b = ends
    sender = Sender(a, b, family)
    counter = PacketCounter(b, "veth0", port, MEDIA)

    def between(media: int, other: int) -> tuple[int, int]:
        return (media, other) if port is Port.SOURCE else (other, media)

    for media in MEDIA:
        for _ in range(20):
            sender.send(*between(media, 50_000), bytes(10_000), train=True)
        sender.send(*between(media, 50_000), b"alone")
        sender.until_all_arrived()
    assert counter.stream() == 2 * 201
    for others in (between(CONTROL, 50_000), between(MEDIA[0] - 1, 50_000), between(MEDIA[1] + 1, 50_000)):
        sender.send(*others, bytes(5_000), train=True)
    # The port of the other end may have the number of a media port: it is none.
    sender.send(*between(50_000, MEDIA[0]), b"no media")
    sender.until_all_arrived()
    assert counter.stream() == 2 * 201
    assert counter.all() >= 2 * 201 + 15 + 1
    sender.close()
    counter.close()


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_fragment_has_no_port(ends: tuple[Namespace, Namespace], family: socket.AddressFamily) -> None:
    a, b = ends
    sender = Sender(a, b, family)
    counter = PacketCounter(b, "veth0", Port.SOURCE, MEDIA)
    # Whatever the first two bytes of a later fragment are, they are no port.
    sender.send(MEDIA[0], 50_000, struct.pack("!H", MEDIA[0]) * 2_000)
    sender.until_all_arrived()
    assert counter.stream() == 0
    if family == socket.AF_INET:  # over IPv6 only what is UDP without more headers is counted at all
        assert counter.all() >= 3 + 1
    sender.close()
    counter.close()


def test_as_many_ports_as_a_link_tells_apart_fit_into_the_filter(ends: tuple[Namespace, Namespace]) -> None:
    a, b = ends
    ports = range(40_000, 40_000 + MAX_MEDIA_PORTS)
    sender = Sender(a, b, socket.AF_INET)
    counter = PacketCounter(b, "veth0", Port.SOURCE, ports)
    for source in (ports[0] - 1, *ports, ports[-1] + 1):
        sender.send(source, 50_000, b"one")
    sender.until_all_arrived()
    assert counter.stream() == MAX_MEDIA_PORTS
    sender.close()
    counter.close()


@pytest.mark.parametrize("network", [0, 14])
def test_a_train_is_cut_into_datagrams_with_right_lengths_and_checksums(network: int) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

    for ip in (IP(src="10.77.0.1", dst="10.77.0.2", id=65535), IPv6(src="fd77::1", dst="fd77::2")):
        payload = bytes(range(256)) * 10
        train = bytes(ip / UDP(sport=9, dport=10) / payload)
        vnet = struct.pack("<BBHHHH", 1, 5, 0, 1000, 0, 6)
        cut = list(datagrams(vnet + bytes(network) + train, network))
        assert [len(one) - network for one in cut] == [
            len(train) - 1560, len(train) - 1560, len(train) - 2000
        ]  # fmt: skip
        parsed = [type(ip)(one[network:]) for one in cut]
        assert b"".join(bytes(one[UDP].payload) for one in parsed) == payload
        for one in parsed:
            fresh = type(ip)(bytes(one))
            del fresh[UDP].chksum
            if isinstance(fresh, IP):
                del fresh.chksum
            assert bytes(type(ip)(bytes(fresh))) == bytes(one)
