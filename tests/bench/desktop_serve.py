"""Time a desktop through the front door: ``punktfunk serve`` with the test card, a client process, real sockets.

Over loopback, ``punktfunk connect``; then over a TUN link that loses packets (root), with the client that
compares what it decodes with the card. Prints the figures of each repeat and their medians; judges nothing.

    python tests/bench/desktop_serve.py [--seconds 60] [--repeats 3] [--mode 1280x720@60 --mode 1280x720@75]
        [--bitrate "10 Mbit/s"] [--loss 0.02] [--loss-seconds 30] [--fec 20 --fec 0] [--delay-ms 5]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.network.namespaces import Namespace
from harness.network.topology import add_address, open_tun, segment_address, topology
from harness.peers.served_desktop import Pictures, ServedDesktop, compare, connect, pictures
from punktfunk.core import _core
from punktfunk.units import Bitrate, Mode

_SEED = 20_261_122
_COMPARE_EVERY = 10
_LATENCIES = (
    ("captured to complete, by stamps", "captured_ns", "complete_ns"),
    ("captured to decode_end, by stamps", "captured_ns", "decode_end_ns"),
    ("drawn to captured, by frame marker", "drawn_ns", "captured_ns"),
    ("drawn to complete, by frame marker", "drawn_ns", "complete_ns"),
    ("drawn to decode_end, by frame marker", "drawn_ns", "decode_end_ns"),
    ("captured to encode_end", "captured_ns", "encode_end_ns"),
    ("encode_end to sent_first", "encode_end_ns", "sent_first_ns"),
    ("encode_end to complete", "encode_end_ns", "complete_ns"),
)
_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Link:
    """Two namespaces, and the addresses of the host's."""

    host: Namespace
    client: Namespace
    address: str


def _percentiles(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.percentile(values, _PERCENTILES)] if len(values) else []


def _print_row(what: str, rows: Sequence[list[float]]) -> None:
    """Print the median over repeats of each percentile."""
    known = [row for row in rows if row]
    if not known:
        print(f"  {what:36} {'none':>9}", flush=True)
        return
    middles = [statistics.median(column) for column in zip(*known, strict=True)]
    print(f"  {what:36} " + " ".join(f"{value:9.2f}" for value in middles), flush=True)


def _print_facts(number: int, seen: Pictures, host: ServedDesktop) -> None:
    counters = host.stats().counters
    print(
        f"  repeat {number}: {seen.seconds:.1f} s, captured {seen.fps:.2f} fps, {len(seen.captured_ns)} frames; "
        f"dropped by the host {seen.queue_dropped}, its socket {counters['packets_socket_dropped']} packets, "
        f"not decoded {seen.not_decoded}, frame marker unreadable {seen.unreadable}, wrong pictures {seen.wrong}; "
        f"left out above the rate {counters['capture_left_out']}, given again {counters['capture_repeated']}, load "
        f"{os.getloadavg()[0]:.1f}",
        flush=True,
    )


def _over_loopback(mode: Mode, bitrate: Bitrate, seconds: float, repeats: int, folder: Path) -> None:
    print(f"\nloopback, {mode}, x264 {bitrate}, {seconds:g} s × {repeats}")
    rows: dict[str, list[list[float]]] = {what: [] for what, _, _ in _LATENCIES}
    rates = []
    for number in range(1, repeats + 1):
        place = folder / f"{mode.refresh_hz}-{number}"
        with ServedDesktop(place, "--bitrate", str(bitrate)) as host:
            connect(host, place, mode, seconds)
            host.end()
            seen = pictures(host.left, place / "client")
            _print_facts(number, seen, host)
        rates.append(seen.fps)
        for what, begin, end in _LATENCIES:
            rows[what].append(_percentiles(seen.between(begin, end)))
    print(f"  captured fps, median of repeats: {statistics.median(rates):.2f}")
    print(f"  {'milliseconds':36} " + " ".join(f"{'p' + str(p):>9}" for p in _PERCENTILES))
    for what, _, _ in _LATENCIES:
        _print_row(what, rows[what])


@contextlib.contextmanager
def _tun(spec: dict[str, object]) -> Iterator[Link]:
    with topology("bench") as made:
        host, client = made.namespace("host"), made.namespace("client")
        descriptors = open_tun(host, "tun0"), open_tun(client, "tun0")
        one, two = segment_address(1, 1), segment_address(1, 2)
        add_address(host, "tun0", one)
        add_address(client, "tun0", two)
        back = {"delay_us": spec["delay_us"]}
        pump = _core.TunPump(*descriptors, json.dumps(spec), json.dumps(back), _SEED)
        try:
            yield Link(host, client, one.ipv4)
        finally:
            pump.stop()


def _over_a_lossy_link(
    mode: Mode,
    bitrate: Bitrate,
    seconds: float,
    repeats: int,
    folder: Path,
    *,
    loss: float,
    delay_ms: float,
    fec: int,
) -> None:
    print(
        f"\ntun link, {loss:.1%} independent loss, {delay_ms:g} ms each way, FEC {fec} % not adaptive, {mode}, "
        f"{bitrate}, {seconds:g} s × {repeats}"
    )
    spec: dict[str, object] = {"delay_us": delay_ms * 1000, "loss": {"kind": "independent", "p": loss}}
    latency: list[list[float]] = []
    recoveries, stands, compared = [], [], []
    for number in range(1, repeats + 1):
        place = folder / f"fec{fec}-{number}"
        options = ("--bitrate", str(bitrate), "--fec", str(fec), "--no-adaptive-fec")
        with (
            _tun(spec) as link,
            ServedDesktop(place, *options, bind=link.address, namespace=link.host) as host,
        ):
            compare(host, place, mode, seconds, every=_COMPARE_EVERY, namespace=link.client)
            host.end()
            seen = pictures(host.left, place / "client")
            _print_facts(number, seen, host)
        latency.append(_percentiles(seen.between("captured_ns", "decode_end_ns")))
        recovery, stood = seen.freezes()
        recoveries.append(recovery)
        stands.append(stood)
        compared.append(seen.ssim[~np.isnan(seen.ssim)])
    print(f"  {'milliseconds':36} " + " ".join(f"{'p' + str(p):>9}" for p in _PERCENTILES))
    _print_row("captured to decode_end, by stamps", latency)
    recovery = np.concatenate(recoveries)
    print(f"  losses that FEC did not repair: {len(recovery)}")
    _print_row("recovery: encoded to next picture", [_percentiles(recovery)])
    _print_row("the last picture stood for", [_percentiles(np.concatenate(stands))])
    similar = np.concatenate(compared)
    if len(similar):
        print(
            f"  SSIM against the card, {len(similar)} pictures: least {similar.min():.4f}, "
            f"p5 {np.percentile(similar, 5):.4f}, p50 {np.median(similar):.4f}"
        )


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description="Time a desktop through the front door.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mode", type=Mode.parse, action="append")
    parser.add_argument("--bitrate", type=Bitrate.parse, default=Bitrate(10_000_000))
    parser.add_argument("--loss", type=float, default=0.02)
    parser.add_argument("--loss-seconds", type=float, default=30.0)
    parser.add_argument("--fec", type=int, action="append")
    parser.add_argument("--delay-ms", type=float, default=5.0)
    given = parser.parse_args()
    modes = given.mode or [Mode(1280, 720, 60), Mode(1280, 720, 75)]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="punktfunk-bench-") as text:
        folder = Path(text)
        for mode in modes:
            _over_loopback(mode, given.bitrate, given.seconds, given.repeats, folder)
        if os.geteuid() != 0:
            print("\ntun link: left out, it needs root")
            return
        for fec in given.fec or [20, 0]:
            _over_a_lossy_link(
                modes[0],
                given.bitrate,
                given.loss_seconds,
                given.repeats,
                folder,
                loss=given.loss,
                delay_ms=given.delay_ms,
                fec=fec,
            )


if __name__ == "__main__":
    main()
