"""Packets are counted in the kernel, the stream's apart from the control connection's."""

from __future__ import annotations

import socket
import struct

import pytest

from harness.link.packetcount import PacketCounter
from harness.network.capture import datagrams
from harness.network.topology import add_address, quiet_ipv6, segment_address, topology, udp_segmentation
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.root


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_every_datagram_of_the_stream_is_counted_also_of_trains(family: socket.AddressFamily) -> None:
    with topology("count") as made:
        a, b = made.namespace("host"), made.namespace("client")
        for namespace in (a, b):
            quiet_ipv6(namespace)
        made.veth(a, "veth0", b, "veth0")
        for end, namespace in enumerate((a, b), 1):
            add_address(namespace, "veth0", segment_address(0, end))
        udp_segmentation(a, "veth0", enable=False)
        counter = PacketCounter(b, "veth0", control_port=9777)
        to = segment_address(0, 2)
        address = to.ipv4 if family == socket.AF_INET else to.ipv6
        with (
            a.run(lambda: socket.socket(family, socket.SOCK_DGRAM)) as stream,
            a.run(lambda: socket.socket(family, socket.SOCK_DGRAM)) as control,
            b.run(lambda: socket.socket(family, socket.SOCK_DGRAM)) as there,
        ):
            there.settimeout(PATIENCE_S)
            there.bind((address, 9777))
            control.sendto(b"to the control port", (address, 9777))
            # The neighbour's address is known now: until then few packets wait, and the others are dropped.
            assert there.recv(100) == b"to the control port"
            before = counter.all()  # with the question for the neighbour's address
            train = (socket.IPPROTO_UDP, 103, struct.pack("=H", 1000))
            for _ in range(50):
                # Unconnected: nobody listens there, and refusals are no matter of ours.
                stream.sendmsg([bytes(10_000)], [train], 0, (address, 5000))
            control.sendto(b"again", (address, 9777))
            assert there.recv(100) == b"again"
        assert counter.stream() == 500
        assert counter.all() - before >= 501
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
