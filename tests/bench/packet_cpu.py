"""Host CPU a packet: packetize, protect, encrypt, pace and send, over both wires and beside the kernel alone.

One second after another, each wire sends frames of the same size at 60 a second through the thread and the pacer
that ``serve`` uses. Counted is CPU time in ``submit`` for cutting, FEC and encryption, and that of sending, be it by
the calling thread or by the stream's own (wake-ups, pacing and the kernel's share). Beside them, in the same turns:
as many datagrams of the same size once a frame, by a ``send`` each and by UDP_SEGMENT alone, 46 to a call. The latter
is what the kernel takes of every sender with segmentation offload.

Packets leave by a device in a namespace of its own that takes whole trains, as a network card with UDP segmentation
does, and drops them: no receiver's work is charged to the sender, as it is on loopback. What such a card adds (its
rings) is not in it. It is a ``dummy`` device where the kernel has them, else a TUN that nobody reads;
``--interface loopback`` measures the other way. Prints figures, judges nothing.

    python tests/bench/packet_cpu.py [--mbps 50] [--fps 60] [--seconds 2] [--repeats 5]
                                     [--interface dummy|tun|loopback]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from harness.network.namespaces import Namespace, netlink
from harness.network.topology import add_address, open_tun, segment_address, set_up, topology
from punktfunk.core import FLAG_PICTURE, HostStream, StreamConfig
from punktfunk.core._core import GameStreamConfig, fec_kernel, probe_send
from punktfunk.errors import PunktfunkError

SEGMENT = 201
HOST, CLIENT = segment_address(SEGMENT, 1), segment_address(SEGMENT, 2)
DEVICE = "card0"
PACKET_SIZE = 1392
"""``packetSize`` as clients announce it: 1408 bytes on the wire."""
SEAL_BYTES = 32
"""What encryption adds: clients announce that much less."""
SHARD_BYTES = 1344
"""punktfunk/1's shards, so that a packet of it carries as much."""
PER_CALL = 46
"""As many packets of 1408 bytes as one UDP datagram of 64 KiB can be cut into."""
PORT = 47998

Figures = dict[str, float]


def dummy(namespace: Namespace) -> None:
    """Make a device that takes every train and drops it."""
    netlink(namespace, lambda ip: ip.link("add", ifname=DEVICE, kind="dummy"))
    set_up(namespace, DEVICE)


@contextlib.contextmanager
def card(kind: str) -> Iterator[Namespace]:
    """Give a namespace whose only way out is a device of that kind."""
    with topology("packets") as made:
        namespace = made.namespace("host")
        if kind == "dummy":
            dummy(namespace)
        else:
            made.callback(os.close, open_tun(namespace, DEVICE))
            # One train waits for a reader that never comes; what follows is dropped.
            set_up(namespace, DEVICE, txqlen=1)
        add_address(namespace, DEVICE, HOST)
        yield namespace


@contextlib.contextmanager
def way_out(kinds: list[str]) -> Iterator[tuple[socket.socket, str]]:
    """Give a connected UDP socket and what it leads to: the first of ``kinds`` that this machine has."""
    refused = []
    for kind in kinds:
        with contextlib.ExitStack() as stack:
            if kind == "loopback":
                receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                receiver.bind(("127.0.0.1", 0))
                sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sender.connect(receiver.getsockname())
            else:
                try:
                    namespace = stack.enter_context(card(kind))
                    sender = stack.enter_context(namespace.run(_socket))
                except (PunktfunkError, OSError) as error:
                    refused.append(f"no {kind}: {error}")
                    continue
                except Exception as error:  # noqa: BLE001 - pyroute2's errors have no common class but this
                    refused.append(f"no {kind}: {error}")
                    continue
            for line in refused:
                print(line)
            yield sender, kind
            return
    raise SystemExit("; ".join(refused))


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect((CLIENT.ipv4, PORT))
    return made


def paced(frames: int, fps: float, work: Callable[[], None]) -> None:
    """Do the work once a frame interval."""
    begin = time.monotonic()
    for number in range(frames):
        wait = begin + number / fps - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        work()


def stream(
    config: StreamConfig | GameStreamConfig, sock: socket.socket, given: argparse.Namespace
) -> Figures:
    """Send frames as a host does; CPU in us a packet, and what is done for a frame."""
    unit = secrets.token_bytes(int(given.mbps * 1e6 / 8 / given.fps))
    host = HostStream(config, sock.fileno(), rate_kbps=int(given.mbps * 1000), record_frames=True)
    spent = 0
    stamps: dict[str, bytes] = {}

    def submit() -> None:
        nonlocal spent
        began, now = time.thread_time_ns(), time.monotonic_ns()
        host.submit(unit, now, FLAG_PICTURE, captured_ns=now)
        spent += time.thread_time_ns() - began

    frames = max(1, int(given.seconds * given.fps))
    paced(3, given.fps, submit)
    host.flush(5.0)
    host.take_records()
    spent, before = 0, host.stats()
    paced(frames, given.fps, submit)
    host.flush(5.0)
    after, stamps = host.stats(), host.take_records()
    host.close()
    packets = after["packets_sent"] - before["packets_sent"]
    sending = after["cpu_ns"] - before["cpu_ns"]
    # Of this, what the calling thread has sent by itself.
    spent -= after["cpu_at_once_ns"] - before["cpu_at_once_ns"]
    sealed, last = (memoryview(stamps[name]).cast("q").tolist() for name in ("sealed_ns", "sent_last_ns"))
    took = [end - begin for begin, end in zip(sealed, last, strict=True) if end >= 0]
    return {
        "submit": spent / packets / 1e3,
        "send": sending / packets / 1e3,
        "sum": (spent + sending) / packets / 1e3,
        "packets": packets / frames,
        "calls": (after["send_calls"] - before["send_calls"]) / frames,
        "leave": statistics.median(took) / 1e6,
        "gso": after["gso"],
    }


def kernel(segments: int, packets: int, sock: socket.socket, given: argparse.Namespace) -> Figures:
    """Send as many datagrams a frame without making them; CPU in us a packet."""
    spent = sent = 0

    def frame() -> None:
        nonlocal spent, sent
        report = probe_send(sock.fileno(), count=packets, size_bytes=PACKET_SIZE + 16, segments=segments)
        spent += report["cpu_ns"]
        sent += report["sent"]

    frames = max(1, int(given.seconds * given.fps))
    paced(frames, given.fps, frame)
    return {
        "send": spent / sent / 1e3,
        "sum": spent / sent / 1e3,
        "packets": sent / frames,
        "calls": -(-packets // segments),
    }


def configs(fec: int) -> dict[str, StreamConfig | GameStreamConfig]:
    """Return the wires that are compared."""
    key = secrets.token_bytes(16)
    return {
        "gamestream, plain": GameStreamConfig(packet_size=PACKET_SIZE, fec_percent=fec),
        "gamestream, encrypted": GameStreamConfig(
            packet_size=PACKET_SIZE - SEAL_BYTES, fec_percent=fec, key=key
        ),
        "punktfunk/1, sealed": StreamConfig(key=key, fec_percent=fec, shard_bytes=SHARD_BYTES),
    }


def line(name: str, rows: list[Figures]) -> str:
    """Return medians, with the least and the most of the sum."""

    def median(figure: str, width: int, digits: int) -> str:
        values = [row[figure] for row in rows if figure in row]
        return f"{statistics.median(values):{width}.{digits}f}" if values else f"{'-':>{width}}"

    sums = [row["sum"] for row in rows]
    return (
        f"{name:28} {median('sum', 7, 2)}  {min(sums):5.2f} to {max(sums):5.2f} {median('submit', 9, 2)} "
        f"{median('send', 8, 2)} {median('packets', 9, 1)} {median('calls', 7, 1)} {median('leave', 9, 2)}"
    )


def measure(sock: socket.socket, given: argparse.Namespace) -> dict[str, list[Figures]]:
    """Take everything in turns, so that what else the machine does falls on all alike."""
    found: dict[str, list[Figures]] = {}
    packets = 0
    for _ in range(given.repeats):
        for name, config in configs(given.fec).items():
            row = stream(config, sock, given)
            packets = packets or round(row["packets"])
            found.setdefault(name, []).append(row)
        for name, segments in (("UDP_SEGMENT alone, no pacer", PER_CALL), ("a send each, no pacer", 1)):
            found.setdefault(name, []).append(kernel(segments, packets, sock, given))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mbps", type=float, default=50.0, help="rate of the access units")
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--fec", type=int, default=20, help="recovery packets, per cent")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--interface", choices=("dummy", "tun", "loopback"), help="default: the first there is"
    )
    given: Any = parser.parse_args()
    kinds = [given.interface] if given.interface else ["dummy", "tun", "loopback"]
    with way_out(kinds) as (sock, kind):
        found = measure(sock, given)
    load = os.getloadavg()[0]
    print(
        f"{given.mbps:g} Mbit/s, {given.fps:g} frames/s, {given.fec} % FEC ({fec_kernel()}), {kind}; "
        f"{len(os.sched_getaffinity(0))} CPUs, load {load:.1f}; medians of {given.repeats}, CPU us a packet"
    )
    widths = {"sum": 7, "least to most": 15, "submit": 9, "send": 8, "packets": 9, "calls": 7, "leave ms": 9}
    print(" " * 28 + "".join(f" {name:>{width}}" for name, width in widths.items()))
    for name, rows in found.items():
        print(line(name, rows))
    if any(not row.get("gso", 1) for rows in found.values() for row in rows):
        print("this route takes no UDP_SEGMENT: packets left by sendmmsg")


if __name__ == "__main__":
    main()
