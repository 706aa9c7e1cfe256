"""Time the data plane between two namespaces over veth, one process a side, next to iperf3 in the same run.

Access units are synthetic, sealed with AES-128-GCM and protected by FEC; nothing is tuned by hand. Prints
goodput, packets a second, loss and CPU time a packet for rising rates, then the latency of a frame with the default
pacer. Judges nothing. Needs root, and iperf3 for the yardstick.

    python tests/bench/dataplane.py [--rates 2000,4000,8000] [--rounds 1] [--seconds 3] [--fps 240] [--fec 20]
        [--shard 1408] [--no-pin] [--no-realtime] [--slices 0,100] [--busy] [--brief] [--json FILE]

Each side has one core and a real-time thread, as hosts ask for, unless told otherwise. Without real time, ``--slices``
gives these threads slices of the scheduler in turn, in microseconds (0: the kernel's own), and not what the core asked
for; ``--busy`` starts an endless loop on each core, as a program of its own. ``--json`` keeps the highest
rate of which no round lost a packet, beside what iperf3 got through. Shards that do not fit packets of 1500 bytes get a
link that carries theirs: ``--shard 8908`` fills packets of 9000. ``--brief`` leaves out latency and iperf3. Where a
packet's CPU time goes is told by ``cargo bench --bench datapath``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.network.namespaces import Namespace
from harness.network.topology import MTU_BYTES, Topology, add_address, segment_address
from punktfunk.core import FLAG_KEY, FLAG_PICTURE, ClientStream, HostStream, StreamConfig
from punktfunk.errors import PunktfunkError
from tests.support.slices import set_slice, threads_named

SEGMENT = 200
HOST, CLIENT = segment_address(SEGMENT, 1).ipv4, segment_address(SEGMENT, 2).ipv4
BOTH = argparse.BooleanOptionalAction
SALT_BYTE = 0x5A
PACKET_BYTES = 64 + 28
"""What a packet has beside its shard: header, number and tag, UDP and IPv4."""
STARTED_S = 0.01
CHECKED = 16
"""Every so manyth frame is compared byte by byte; comparing all would measure the comparison."""


def access_unit(size: int) -> bytes:
    """Return bytes that no shift or swap of shards leaves equal."""
    return np.random.default_rng(SALT_BYTE).bytes(size)


def receive(options: argparse.Namespace) -> None:
    """Run the client's process: read frames until standard input ends, then print what came."""
    size = options.size
    expected = access_unit(size)
    client = ClientStream(
        config(bytes.fromhex(options.key), options), options.receive, realtime=options.realtime
    )
    pin(options, -1)
    give_slice("pf-recv", options.slice)
    began = time.process_time_ns()
    print("ready", flush=True)
    os.set_blocking(sys.stdin.fileno(), False)
    frames = wrong = 0
    while True:
        frame = client.next_frame(0.1)
        if frame is None:
            if _ended():
                break
            continue
        frames += 1
        if len(frame) != size or (frame.index % CHECKED == 0 and memoryview(frame) != expected):
            wrong += 1
    client.close()
    records = {name: np.frombuffer(column, "<i8").tolist() for name, column in client.take_records().items()}
    usage = time.process_time_ns() - began
    print(
        json.dumps(
            {"frames": frames, "wrong": wrong, "stats": client.stats(), "records": records, "cpu": usage}
        )
    )


def config(key: bytes, options: argparse.Namespace) -> StreamConfig:
    """Return what both sides know of the stream."""
    return StreamConfig(key=key, fec_percent=options.fec, shard_bytes=options.shard)


def pin(options: argparse.Namespace, place: int) -> None:
    """Leave this process, threads that run already included, one core of those that it has: the first or the last."""
    if options.pin:
        core = sorted(os.sched_getaffinity(0))[place]
        for task in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def give_slice(name: str, slice_us: int | None) -> None:
    """Give the stream's thread of this name that slice, unless it shall have what it asks for."""
    if slice_us is None:
        return
    while not (threads := threads_named(name)):
        time.sleep(STARTED_S)
    # It asks for its own right after it has its name.
    time.sleep(STARTED_S)
    for thread in threads:
        set_slice(thread, slice_us * 1000)


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Keep each core busy with a program of its own, of ordinary priority."""
    with contextlib.ExitStack() as started:
        for core in os.sched_getaffinity(0):
            # A session of its own is what the scheduler takes for a program of its own.
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
            started.callback(loop.wait)
            started.callback(loop.kill)
            os.sched_setaffinity(loop.pid, {core})
        yield


def _ended() -> bool:
    try:
        return os.read(sys.stdin.fileno(), 1) == b""
    except BlockingIOError:
        return False


def run(
    link: tuple[Namespace, Namespace],
    rate_mbps: float,
    options: argparse.Namespace,
    *,
    fps: float,
    seconds: float,
    slice_us: int | None,
) -> dict[str, Any]:
    """Send `rate_mbps` of media for `seconds` and return both sides' figures."""
    size, key = int(rate_mbps * 1e6 / 8 / fps), secrets.token_bytes(16)
    unit = access_unit(size)
    with bound(link[0], HOST) as sender, bound(link[1], CLIENT) as receiver:
        sender.connect(receiver.getsockname())
        receiver.connect(sender.getsockname())
        command = [
            *(
                sys.executable,
                __file__,
                "--receive",
                str(receiver.fileno()),
                "--key",
                key.hex(),
                "--size",
                str(size),
            ),
            *("--fec", str(options.fec), "--shard", str(options.shard)),
            "--realtime" if options.realtime else "--no-realtime",
            "--pin" if options.pin else "--no-pin",
            *(() if slice_us is None else ("--slice", str(slice_us))),
        ]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[receiver.fileno()], text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise SystemExit("the receiving process did not start")
            before = os.sched_getaffinity(0)
            host = HostStream(
                config(key, options),
                sender.fileno(),
                rate_kbps=int(rate_mbps * 1000),
                realtime=options.realtime,
            )
            pin(options, 0)
            give_slice("pf-send", slice_us)
            cpu, begin = time.process_time_ns(), time.monotonic()
            for number in range(int(seconds * fps)):
                wait = begin + number / fps - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                host.submit(unit, time.monotonic_ns(), FLAG_PICTURE | FLAG_KEY)
            host.flush(5.0)
            wall, cpu = time.monotonic() - begin, time.process_time_ns() - cpu
            host.close()
            os.sched_setaffinity(0, before)
            child.stdin.close()
            client = json.loads(child.stdout.readline())
    sent = {name: np.frombuffer(column, "<i8") for name, column in host.take_records().items()}
    # A frame that the queue drops is recorded before those that are on their way.
    order = np.argsort(sent["index"])
    sent = {name: column[order] for name, column in sent.items()}
    received = {name: np.array(column) for name, column in client["records"].items()}
    return {
        "size": size,
        "wall": wall,
        "host": host.stats(),
        "client": client["stats"],
        "wrong": client["wrong"],
        "frames": client["frames"],
        "host_cpu": cpu,
        "client_cpu": client["cpu"],
        "sent": sent,
        "received": received,
    }


def bound(namespace: Namespace, address: str) -> socket.socket:
    """Return a UDP socket of `namespace`; a socket stays in the namespace that it was made in."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 0))
        return sock

    return namespace.run(make)


def throughput(
    link: tuple[Namespace, Namespace], rates: list[float], options: argparse.Namespace
) -> list[float]:
    """Print one line a run; return the goodputs, Gbit/s, of the highest rate that lost nothing in any round."""
    print(
        f"\n{'slice':>6} {'media':>7} {'goodput':>8} {'packets/s':>10} {'lost':>7} {'kernel':>7} {'queue':>6} "
        f"{'intact':>12} {'host us/pkt':>16} {'client us/pkt':>16} {'pkts/send':>9}"
    )
    print(
        f"{'us':>6} {'Mbit/s':>7} {'Mbit/s':>8} {'':>10} {'':>7} {'dropped':>7} {'drops':>6} {'':>12} "
        f"{'all (thread)':>16} {'all (thread)':>16}"
    )
    clean: list[float] = []
    for rate in rates:
        rounds = [
            _round(link, rate, slice_us, options)
            for _ in range(options.rounds)
            for slice_us in options.slices
        ]
        if all(lossless for _, lossless in rounds):
            clean = [goodput for goodput, _ in rounds]
    return clean


def _round(
    link: tuple[Namespace, Namespace], rate: float, slice_us: int | None, options: argparse.Namespace
) -> tuple[float, bool]:
    """Print one run at a rate; return its goodput in Gbit/s and whether every frame came, without a packet lost."""
    got = run(link, rate, options, fps=options.fps, seconds=options.seconds, slice_us=slice_us)
    host, client = got["host"], got["client"]
    packets = max(1, host["packets_sent"])
    goodput = got["frames"] * got["size"] * 8 / got["wall"] / 1e6
    intact, submitted = got["frames"] - got["wrong"], host["frames_submitted"]
    print(
        f"{_named(slice_us):>6} {rate:7.0f} {goodput:8.0f} {packets / got['wall']:10.0f} {client['packets_lost']:7} "
        f"{client['kernel_dropped']:7} {host['frames_queue_dropped']:6} "
        f"{intact:5}/{submitted:<6} "
        f"{got['host_cpu'] / packets / 1e3:7.2f} ({host['cpu_ns'] / packets / 1e3:5.2f}) "
        f"{got['client_cpu'] / packets / 1e3:8.2f} ({client['cpu_ns'] / packets / 1e3:5.2f}) "
        f"{packets / max(1, host['send_calls']):9.1f}",
        flush=True,
    )
    return goodput / 1e3, intact == submitted and not client["packets_lost"]


def _named(slice_us: int | None) -> str:
    return "" if slice_us is None else str(slice_us)


def latency(link: tuple[Namespace, Namespace], slice_us: int | None, options: argparse.Namespace) -> None:
    """Print the stages of a frame at 100 Mbit/s and 60 frames a second with the default pacer."""
    got = run(link, 100, options, fps=60, seconds=max(5.0, options.seconds), slice_us=slice_us)
    sent, received = got["sent"], got["received"]
    complete = received["status"] == 0
    index = received["index"][complete]
    stamps = {name: sent[name][np.searchsorted(sent["index"], index)] for name in sent}
    stamps |= {name: received[name][complete] for name in ("recv_first_ns", "recv_last_ns", "complete_ns")}
    given = "" if slice_us is None else f", slices of {slice_us} us"
    print(f"\n100 Mbit/s at 60 frames/s, {got['size']} bytes a frame, {len(index)} frames{given}, ms:")
    print(f"{'':26} {'p50':>8} {'p95':>8} {'p99':>8} {'max':>8}")
    for name, begin, end in [
        ("sealed → sent_first", "sealed_ns", "sent_first_ns"),
        ("sent_first → recv_first", "sent_first_ns", "recv_first_ns"),
        ("recv_first → recv_last", "recv_first_ns", "recv_last_ns"),
        ("recv_last → complete", "recv_last_ns", "complete_ns"),
        ("sealed → complete", "sealed_ns", "complete_ns"),
    ]:
        figures = np.percentile(stamps[end] - stamps[begin], [50, 95, 99, 100]) / 1e6
        print(f"{name:26} " + " ".join(f"{figure:8.3f}" for figure in figures), flush=True)


def yardstick(link: tuple[Namespace, Namespace], seconds: float) -> list[float]:
    """Print and return what iperf3 moves in datagrams of about the same size, Gbit/s."""
    program = shutil.which("iperf3")
    nsenter = shutil.which("nsenter")
    if program is None or nsenter is None:
        print("\niperf3: not here (apt-get install iperf3)")
        return []
    received: list[float] = []
    inside = [[nsenter, f"--net={namespace.path}", program] for namespace in link]
    for wanted in ("2G", "0"):
        with subprocess.Popen([*inside[1], "-s", "-1"], stdout=subprocess.DEVNULL) as server:
            time.sleep(0.3)
            done = subprocess.run(
                [*inside[0], "-c", CLIENT, "-u", "-b", wanted, "-l", "1264", "-t", f"{seconds:.0f}", "-J"],
                stdout=subprocess.PIPE,
                check=False,
            )
            server.terminate()
        if done.returncode:
            print("\niperf3: failed")
            return received
        end = json.loads(done.stdout)["end"]
        got, load = end["sum"], end["cpu_utilization_percent"]
        rate = got["bits_per_second"] * (1 - got["lost_percent"] / 100) / 1e6
        received.append(rate / 1e3)
        asked = "no limit" if wanted == "0" else f"{wanted}bit/s"
        packets = got["packets"]
        print(
            f"\niperf3 -u -l 1264, {asked}: sent {got['bits_per_second'] / 1e6:.0f} Mbit/s, "
            f"received {rate:.0f} Mbit/s, "
            f"{got['lost_percent']:.2f} % lost, {packets / got['seconds']:.0f} packets/s, "
            f"CPU us/packet {load['host_total'] / 100 * got['seconds'] * 1e6 / packets:.2f} sending, "
            f"{load['remote_total'] / 100 * got['seconds'] * 1e6 / packets:.2f} receiving",
            flush=True,
        )
    return received


def figures(clean: list[float], rival: list[float]) -> dict[str, Any]:
    """Return what the table of benches reads: one row of medians, smallest and largest."""
    row: dict[str, Any] = {"work": "dataplane/media", "unit": "Gbit/s"}
    if clean:
        row["ours"] = [statistics.median(clean), min(clean), max(clean)]
    else:
        row["failed"] = "packets were lost at every rate"
    if best := max(rival, default=0.0):
        row["rival"] = [best, best, best]
    return {"rows": [row]}


def _slices(listed: str) -> list[int | None]:
    return [int(slice_us) for slice_us in listed.split(",")]


def main() -> None:
    """Measure on a link of two namespaces."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", default="2000,4000,6000,8000,9000", help="media rates, Mbit/s, rising")
    parser.add_argument("--rounds", type=int, default=1, help="runs at each rate")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figure for the table of benches")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run")
    parser.add_argument("--fps", type=float, default=240.0)
    parser.add_argument("--fec", type=int, default=20, help="recovery shards, per cent")
    parser.add_argument(
        "--shard", type=int, default=1408, help="bytes of a shard; a host sends 1408 over IPv4"
    )
    parser.add_argument("--pin", action=BOTH, default=True, help="one core a side")
    parser.add_argument("--realtime", action=BOTH, default=True, help="stream threads under SCHED_FIFO")
    parser.add_argument(
        "--slices",
        type=_slices,
        default=[None],
        metavar="US,...",
        help="slices of the stream threads, in turn, where these are not real-time",
    )
    parser.add_argument("--busy", action="store_true", help="an endless loop on each core beside it")
    parser.add_argument("--brief", action="store_true", help="throughput alone")
    parser.add_argument("--receive", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--key", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--slice", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive is not None:
        receive(options)
        return
    load = Path("/proc/loadavg").read_text().split()[0]
    print(
        f"data plane over veth, AES-128-GCM, {options.fec} % FEC, shards of {options.shard} bytes, "
        f"{options.fps:g} frames/s; {os.cpu_count()} cores{', one a side' if options.pin else ''}, load {load}"
        + (", real-time threads" if options.realtime else "")
        + (", each busy with another program" if options.busy else "")
    )
    beside = busy_cores() if options.busy else contextlib.nullcontext()
    try:
        with Topology(f"bench{os.getpid()}") as topology, beside:
            link = topology.namespace("host"), topology.namespace("client")
            mtu = max(MTU_BYTES, options.shard + PACKET_BYTES)
            topology.veth(link[0], "veth-h", link[1], "veth-c", mtu=mtu)
            add_address(link[0], "veth-h", segment_address(SEGMENT, 1))
            add_address(link[1], "veth-c", segment_address(SEGMENT, 2))
            clean = throughput(link, [float(rate) for rate in options.rates.split(",")], options)
            rival: list[float] = []
            if not options.brief:
                for slice_us in options.slices:
                    latency(link, slice_us, options)
                rival = yardstick(link, options.seconds)
    except PunktfunkError as error:
        raise SystemExit(f"dataplane: {error}") from error
    if options.json is not None:
        options.json.write_text(json.dumps(figures(clean, rival)))


if __name__ == "__main__":
    main()
