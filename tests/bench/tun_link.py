"""Figures of the TUN link on this machine: throughput, added latency, departure lateness, exactness.

Needs root. Sender, pump and receiver are threads of this process outside the GIL, at nice -20 so that other programs
disturb them least; each line is the median of three runs with the best in brackets. Nothing is judged: on a busy
machine the figures are those of a busy machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.network.namespaces import Namespace
from harness.network.topology import add_address, open_tun, segment_address, topology
from punktfunk.core import _core

REPEATS = 3
SIZE = 1250
SO_RCVBUFFORCE = 33
"""``asm-generic/socket.h``; not in Python's socket module."""


class Link:
    """A pump between two namespaces and one connected socket at each end."""

    def __init__(self, pump: _core.TunPump, sender: socket.socket, receiver: socket.socket) -> None:
        self.pump = pump
        self.sender = sender
        self.receiver = receiver

    def probe(
        self, count: int, *, size: int = SIZE, segments: int = 1, interval_ns: int, keep: bool = False
    ) -> dict[str, Any]:
        received: dict[str, Any] = {}

        def receive() -> None:
            received.update(
                _core.probe_receive(
                    self.receiver.fileno(),
                    idle_timeout_s=0.5,
                    max_packets=2 * count,
                    size_bytes=size,
                    keep=keep,
                )
            )

        thread = threading.Thread(target=receive)
        cpu = self.pump.stats()["cpu_ns"]
        thread.start()
        time.sleep(0.05)
        sent = _core.probe_send(
            self.sender.fileno(), count=count, size_bytes=size, interval_ns=interval_ns, segments=segments
        )
        thread.join()
        return {"tx": sent, "rx": received, "pump_cpu_ns": self.pump.stats()["cpu_ns"] - cpu}


def connect(namespace: Namespace, address: str, port: int, peer: str, peer_port: int) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        made.bind((address, port))
        made.connect((peer, peer_port))
        return made

    return namespace.run(make)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put this process at nice -20, and its autogroup too: where those are on, nice only counts within one."""
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    autogroup = Path("/proc/self/autogroup")
    try:
        before = autogroup.read_text(encoding="ascii").split()[-1]
        autogroup.write_text("-20", encoding="ascii")
    except (OSError, IndexError):
        yield
        return
    try:
        yield
    finally:
        autogroup.write_text(before, encoding="ascii")


@contextlib.contextmanager
def tun_link() -> Iterator[Link]:
    with topology("bench-tun") as made:
        a, b = made.namespace("host"), made.namespace("client")
        one, two = segment_address(1, 1), segment_address(1, 2)
        fds = open_tun(a, "tun0"), open_tun(b, "tun0")
        add_address(a, "tun0", one)
        add_address(b, "tun0", two)
        pump = _core.TunPump(*fds, "{}", "{}", 1, realtime=True)
        link = Link(
            pump,
            connect(a, one.ipv4, 5000, two.ipv4, 5001),
            connect(b, two.ipv4, 5001, one.ipv4, 5000),
        )
        try:
            yield link
        finally:
            pump.stop()


def spread(values: list[float], best: Any = min) -> str:
    return f"{statistics.median(values):.4g} [{best(values):.4g}]"


def throughput(link: Link, segments: int, rate: int, spec: dict[str, Any]) -> None:
    rates: list[float] = []
    lost: list[float] = []
    cpu: dict[str, list[float]] = {"sender": [], "pump": [], "receiver": []}
    for _ in range(REPEATS):
        link.pump.restart(json.dumps(spec), "{}", 1)
        result = link.probe(rate, segments=segments, interval_ns=1_000_000_000 // rate)
        tx, rx = result["tx"], result["rx"]
        rates.append(tx["sent"] * 1e6 / (tx["last_tx_ns"] - tx["first_tx_ns"]))
        counters = link.pump.counters()["ab"]
        asked = counters["dropped_loss"] - counters["duplicated"]
        lost.append(100 * (tx["sent"] - rx["count"] - asked) / tx["sent"])
        used = {"sender": tx["cpu_ns"], "pump": result["pump_cpu_ns"], "receiver": rx["cpu_ns"]}
        for role, ns in used.items():
            cpu[role].append(ns / 1e3 / tx["sent"])
    kind = f"GSO x{segments}" if segments > 1 else "plain send"
    print(
        f"{kind:10} asked {rate // 1000:5} k/s: sent {spread(rates, max)} k/s, "
        f"unasked loss {spread(lost)} %, us CPU a packet: "
        + ", ".join(f"{role} {spread(values)}" for role, values in cpu.items())
        + f"  {json.dumps(spec)}"
    )


def latency(link: Link, spec: dict[str, Any]) -> None:
    one_way: dict[int, list[float]] = {50: [], 99: []}
    late: dict[str, list[float]] = {"p50": [], "p99": []}
    for _ in range(REPEATS):
        link.pump.restart(json.dumps(spec), "{}", 1)
        rx = link.probe(3000, size=200, interval_ns=1_000_000, keep=True)["rx"]
        delay = (np.frombuffer(rx["user_ns"], "<i8") - np.frombuffer(rx["tx_ns"], "<i8")) / 1e3
        for percentile, values in one_way.items():
            values.append(float(np.percentile(delay, percentile, method="higher")))
        lateness = link.pump.lateness_ns()
        for name, values in late.items():
            values.append(lateness[name] / 1e3)
    print(
        f"1 packet a ms: one way p50 {spread(one_way[50])} us, p99 {spread(one_way[99])} us; "
        f"lateness p50 {spread(late['p50'])} us, p99 {spread(late['p99'])} us  {json.dumps(spec)}"
    )


def rates(link: Link) -> None:
    for kbps in (10_000, 100_000, 1_000_000, 4_000_000):
        per_second = kbps * 1000 / 8 / (SIZE + 28)
        # 50 ms of queue, so that a sender that loses its core for a while does not let the link run dry
        queue = max(int(per_second / 20), 20)
        link.pump.restart(json.dumps({"rate_kbps": kbps, "queue_packets": queue}), "{}", 1)
        rx = link.probe(int(per_second * 4), segments=16, interval_ns=int(0.5e9 / per_second), keep=True)[
            "rx"
        ]
        arrived = np.sort(np.frombuffer(rx["rx_ns"], "<i8"))[queue:]
        got = (len(arrived) - 1) * (SIZE + 28) * 8e6 / (arrived[-1] - arrived[0])
        print(f"rate asked {kbps} kbit/s, offered twice: {got:.0f} kbit/s ({100 * got / kbps - 100:+.2f} %)")


def same_sets(link: Link) -> None:
    spec = {"loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.3}, "duplicate": 0.01}
    seen = []
    for segments in (1, 20, 1, 50):
        link.pump.restart(json.dumps(spec), "{}", 7)
        rx = link.probe(20_000, size=500, segments=segments, interval_ns=10_000, keep=True)["rx"]
        seen.append(np.bincount(np.frombuffer(rx["index"], "<i8"), minlength=20_000))
    same = all(np.array_equal(seen[0], other) for other in seen)
    lost, doubled = int((seen[0] == 0).sum()), int((seen[0] == 2).sum())
    print(f"20000 datagrams, plain, x20, plain, x50: {lost} lost, {doubled} doubled, same sets: {same}")


def main() -> int:
    if os.geteuid() != 0:
        print("tun_link: needs root for network namespaces and TUN devices")
        return 0
    with undisturbed(), tun_link() as link:
        load = os.getloadavg()[0]
        print(
            f"{os.cpu_count()} CPUs, load {load:.1f}, SCHED_FIFO {'granted' if link.pump.realtime else 'refused'}"
        )
        for segments, rate in ((1, 200_000), (1, 300_000), (16, 1_000_000), (50, 1_000_000), (50, 1_400_000)):
            throughput(link, segments, rate, {})
        throughput(link, 16, 1_000_000, {"delay_us": 5000, "loss": {"kind": "independent", "p": 0.02}})
        latency(link, {})
        latency(link, {"delay_us": 10_000})
        latency(link, {"delay_us": 10_000, "jitter_us": 2000})
        rates(link)
        same_sets(link)
        print(f"pump: {link.pump.stats()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
