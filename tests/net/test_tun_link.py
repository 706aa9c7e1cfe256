"""The TUN pump between two real namespaces: decisions as the model takes them, whatever the sender does."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.network.namespaces import Namespace
from harness.network.topology import add_address, open_tun, segment_address, topology
from punktfunk.core import _core
from punktfunk.errors import InvalidConfigError
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.root

SEED = 20_240_607
SO_RCVBUFFORCE = 33
"""``asm-generic/socket.h``; not in Python's socket module."""

Column = npt.NDArray[np.int64]


def column(report: dict[str, Any], name: str) -> Column:
    return np.frombuffer(report[name], "<i8")


@dataclass
class Link:
    """Two namespaces, a pump, and a connected socket at each end."""

    pump: _core.TunPump
    sender: socket.socket
    receiver: socket.socket
    moves: bool = True
    """Whether the pump runs."""

    def warm_up(self) -> None:
        """Send until something arrives: the first IPv6 packet of a new device may vanish in the receiver's stack."""
        self.receiver.settimeout(0.1)
        came = self.counters()["link_in"]
        for number in range(1, 101):
            self.sender.send(b"?")
            self.until_let_go(came + number)
            with contextlib.suppress(TimeoutError):
                self.receiver.recv(1)
                break
        self.receiver.settimeout(None)

    def restart(self, spec: dict[str, Any], seed: int = SEED) -> None:
        self.pump.restart(json.dumps(spec), "{}", seed)

    def probe(
        self, count: int, *, size: int = 500, segments: int = 1, interval_ns: int = 20_000, gro: bool = True
    ) -> tuple[dict[str, int], dict[str, Any]]:
        """Send and receive probes; the receiver gives up a tenth of a second after the link has let go of all."""
        parts: list[dict[str, Any]] = []
        over = threading.Event()

        def receive() -> None:
            last = False
            while not last:
                last = over.is_set()
                part = _core.probe_receive(
                    self.receiver.fileno(),
                    idle_timeout_s=0.1,
                    max_packets=3 * count,
                    size_bytes=size,
                    gro=gro,
                )
                parts.append(part)

        came = self.counters()["link_in"]
        thread = threading.Thread(target=receive)
        thread.start()
        try:
            sent = _core.probe_send(
                self.sender.fileno(), count=count, size_bytes=size, interval_ns=interval_ns, segments=segments
            )
            if self.moves:
                self.until_let_go(came + count)
        finally:
            over.set()
            thread.join()
        assert sent["dropped"] == 0
        return sent, {name: reduce(add, (part[name] for part in parts)) for name in parts[0]}

    def until_let_go(self, count: int) -> None:
        """Wait until the link has taken so many packets and holds none: it may be without a core for a while."""

        def empty() -> bool:
            counts = self.counters()
            return counts["link_in"] >= count and counts["in_flight"] == 0

        eventually(empty, f"{count} packets to pass the link")

    def counters(self) -> dict[str, int]:
        return self.pump.counters()["ab"]


def udp(namespace: Namespace, address: str, port: int, peer: str, peer_port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        # Before the first packet: a receiver that waits for a core must not be why something is missing.
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        made.bind((address, port))
        made.connect((peer, peer_port))
        return made

    return namespace.run(make)


@pytest.fixture(params=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def link(family: str) -> Iterator[Link]:
    with topology("tunlink") as made:
        a, b = made.namespace("host"), made.namespace("client")
        one, two = segment_address(1, 1), segment_address(1, 2)
        fd_a, fd_b = open_tun(a, "tun0"), open_tun(b, "tun0")
        add_address(a, "tun0", one)
        add_address(b, "tun0", two)
        pump = _core.TunPump(fd_a, fd_b, "{}", "{}", SEED, log_packets=True)
        address_a, address_b = getattr(one, family), getattr(two, family)
        sender = udp(a, address_a, 5000, address_b, 5001)
        receiver = udp(b, address_b, 5001, address_a, 5000)
        link = Link(pump, sender, receiver)
        try:
            link.warm_up()
            yield link
        finally:
            pump.stop()
            sender.close()
            receiver.close()


def multiset(indices: Column, count: int) -> Column:
    """How often each index arrived."""
    return np.bincount(indices, minlength=count)


def test_gso_and_plain_senders_lose_and_double_the_packets_that_the_model_says(link: Link) -> None:
    spec = {"loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.3}, "duplicate": 0.01, "delay_us": 300}
    count = 6000
    model = _core.LinkModel(json.dumps(spec), SEED)
    expected = np.array([len(model.offer(i, 500)[1]) for i in range(count)])
    assert 0 in expected
    assert 2 in expected
    for segments in (1, 20, 64):
        link.restart(spec)
        _, received = link.probe(count, segments=segments)
        assert np.array_equal(multiset(column(received, "index"), count), expected), segments
        counters = link.counters()
        assert counters["link_in"] == count
        assert counters["dropped_loss"] == int((expected == 0).sum())
        assert counters["duplicated"] == int((expected == 2).sum())
        assert counters["delivered"] == received["count"] == int(expected.sum())
        assert counters["in_flight"] == 0


@pytest.mark.parametrize("segments", [1, 16])
def test_corruption_is_dropped_by_the_checksum_or_reaches_the_application(link: Link, segments: int) -> None:
    count = 2000
    for mode in ("checksum", "payload"):
        link.restart({"corrupt": 0.1, "corrupt_mode": mode})
        _, received = link.probe(count, segments=segments)
        counters = link.counters()
        assert 120 < counters["corrupted"] < 280
        if mode == "payload":
            assert received["corrupted"] == counters["corrupted"]
            assert received["count"] == count
            assert counters["checksum_dropped"] == received["kernel_dropped"] == 0
        else:
            assert received["corrupted"] == 0
            assert received["count"] == count - counters["corrupted"]
            assert counters["checksum_dropped"] == counters["corrupted"]
            # The kernel books checksum errors on the socket: buffer drops are what is left of its count.
            assert received["kernel_dropped"] == counters["checksum_dropped"]


def test_packets_leave_after_the_delay_and_never_before(link: Link) -> None:
    link.restart({"delay_us": 5000})
    _, received = link.probe(500, interval_ns=200_000)
    delay_us = (column(received, "rx_ns") - column(received, "tx_ns")) / 1e3
    assert delay_us.min() >= 5000
    log = link.pump.take_log()
    assert ((column(log, "due_ns") - column(log, "in_ns")) == 5_000_000).all()
    assert (column(log, "out_ns") >= column(log, "due_ns")).all()


def test_the_rate_is_what_was_asked_for_and_the_queue_takes_the_rest(link: Link) -> None:
    # 972 bytes and 28 on the wire: 8000 bits, so 4000 packets a second at 32 Mbit/s
    link.restart({"rate_kbps": 32_000, "queue_packets": 100})
    _, received = link.probe(4000, size=972, interval_ns=125_000, segments=8)
    log = link.pump.take_log()
    due = np.sort(column(log, "due_ns")[column(log, "verdict") == 0])
    # while the queue is never empty, departures are 250 us apart on the model's clock
    assert np.percentile(np.diff(due), [10, 50]).tolist() == [250_000, 250_000]
    counters = link.counters()
    assert counters["dropped_queue"] > 1000
    assert counters["dropped_queue"] + received["count"] == 4000
    assert 24_000_000 <= counters["queue_max_ns"] <= 25_000_000


def test_datagrams_go_singly_when_joining_is_off() -> None:
    with topology("tunsingle") as made:
        a, b = made.namespace("host"), made.namespace("client")
        one, two = segment_address(1, 1), segment_address(1, 2)
        fd_a, fd_b = open_tun(a, "tun0"), open_tun(b, "tun0")
        add_address(a, "tun0", one)
        add_address(b, "tun0", two)
        pump = _core.TunPump(fd_a, fd_b, "{}", "{}", SEED, coalesce=False)
        link = Link(
            pump,
            udp(a, one.ipv4, 5000, two.ipv4, 5001),
            udp(b, two.ipv4, 5001, one.ipv4, 5000),
        )
        before = pump.stats()
        _, received = link.probe(640, segments=32)
        after = pump.stats()
        assert received["count"] == 640
        assert after["writes"] - before["writes"] >= 640
        assert after["reads"] - before["reads"] < 64
        pump.stop()
        link.sender.close()
        link.receiver.close()


def test_icmp_passes_a_link_that_loses_every_datagram(link: Link, family: str) -> None:
    link.restart({"loss": {"kind": "independent", "p": 1.0}})
    _, received = link.probe(10)
    assert received["count"] == 0
    assert link.counters()["dropped_loss"] == 10
    # The way there is open, the way back loses every datagram: the answers of a closed port get through.
    link.pump.restart("{}", json.dumps({"loss": {"kind": "independent", "p": 1.0}}), SEED)
    link.receiver.close()
    with pytest.raises(ConnectionRefusedError):
        send_until_refused(link.sender)
    # The answers were ICMP: they took no packet number on the way back.
    assert link.pump.counters()["ba"]["link_in"] == 0, family


def send_until_refused(sender: socket.socket) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        sender.send(b"nobody listens")
        time.sleep(0.01)


def test_a_spec_can_be_replaced_on_a_live_link(link: Link) -> None:
    link.restart({})
    link.probe(100)
    link.pump.set_spec("ab", json.dumps({"loss": {"kind": "periodic", "every": 4, "offset": 1}}))
    _, received = link.probe(100)
    assert received["count"] == 75
    assert set(column(received, "index") % 4) == {0, 2, 3}
    with pytest.raises(InvalidConfigError, match="delay_us"):
        link.pump.set_spec("ab", '{"delay_us": -1}')
    with pytest.raises(ValueError, match="direction"):
        link.pump.set_spec("up", "{}")
    assert link.counters()["link_in"] == 200


def test_a_stopped_pump_still_answers_and_moves_nothing(link: Link) -> None:
    link.restart({})
    link.probe(10)
    link.pump.stop()
    link.pump.stop()
    link.moves = False
    _, received = link.probe(10)
    assert received["count"] == 0
    assert link.counters()["delivered"] == 10
    assert len(column(link.pump.take_log(), "index")) == 10


def test_a_pump_refuses_wrong_descriptors_and_specs() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        _core.TunPump(-1, -1, "{}", "{}", 1)
    with pytest.raises(InvalidConfigError, match="unknown field"):
        _core.TunPump(-1, -1, "{}", '{"speed": 1}', 1)
