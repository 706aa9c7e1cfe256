"""A whole GameStream session over loopback, 1080p60 x264 at 20 Mbit/s for a minute: does it keep up, at what cost?

The project's own host and client, a process each and a worker each, as ``serve`` and ``gamestream stream`` run them.
Printed are frames from capture to decoder, whether each picture's marker names the frame and the time that it was
captured at, the host processing latency (captured to last packet sent) with its stages, and CPU time a frame of both
sides. Over a link with losses: ``punktfunk-lab run scenarios/gamestream-1080p60.yaml``. Prints figures, judges nothing.

    python tests/bench/gamestream_session.py [--mode 1920x1080@60] [--mbps 20] [--seconds 60] [--fec 20] [--encrypt]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.serialization import Encoding
from numpy.typing import NDArray

from punktfunk.client.gamestream.known_hosts import PairedHost, PairedHosts
from punktfunk.core._core import fec_kernel
from punktfunk.gamestream.ports import Ports
from punktfunk.trust.identity import Identity, Role
from punktfunk.units import Mode

_REPOSITORY = Path(__file__).parents[2]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_REPOSITORY), *sys.path])}
_LOOPBACK = "127.0.0.1"
_FIRST_FRAME = 1
"""Number of a stream's first frame on the wire; markers count from 0."""
_STAGES = (
    ("host processing latency", "captured_ns", "sent_last_ns"),
    ("  drawing", "captured_ns", "converted_ns"),
    ("  encoder", "encode_begin_ns", "encode_end_ns"),
    ("  packets, FEC, encryption", "encode_end_ns", "sealed_ns"),
    ("  to the first packet", "sealed_ns", "sent_first_ns"),
    ("  first to last packet", "sent_first_ns", "sent_last_ns"),
)

Columns = dict[str, NDArray[Any]]


def _certificate(state: Path, role: Role) -> str:
    identity = Identity.load_or_create(state, role)
    return identity.certificate.public_bytes(Encoding.PEM).decode("ascii")


def _pair(folder: Path, ports: Ports) -> tuple[str, Path, Path]:
    """Write both identities; return the client's certificate and both state folders."""
    host, client = folder / "host.state", folder / "client.state"
    PairedHosts(client).remember(
        PairedHost(
            address=_LOOPBACK,
            port=ports.http,
            name="bench",
            unique_id="bench",
            certificate=_certificate(host, Role.HOST),
        )
    )
    return _certificate(client, Role.GAMESTREAM_CLIENT), host, client


def _start(module: str, config: dict[str, Any], path: Path) -> subprocess.Popen[str]:
    path.write_text(json.dumps(config))
    return subprocess.Popen(
        [sys.executable, "-m", module, "--config", str(path)],
        cwd=_REPOSITORY,
        env=_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _until(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """Return the line of that event; pass on what comes before it as progress."""
    assert process.stdout is not None
    for text in process.stdout:
        line: dict[str, Any] = json.loads(text)
        if line["event"] == event:
            return line
    raise SystemExit(f"{process.args!r} has ended without saying {event!r}")


def _cpu_s(process: subprocess.Popen[str]) -> float:
    """Wait for the end of a process; return its CPU seconds, its worker's included."""
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


def _session(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """Stream; leave the records in the folder and return CPU seconds of host and client."""
    ports = Ports(given.port)
    mode = Mode.parse(given.mode)
    certificate, host_state, client_state = _pair(folder, ports)
    rate = f"{given.mbps:g} Mbit/s"
    host = _start(
        "punktfunk.host.gamestream_lab",
        {
            "host": {
                "bind": _LOOPBACK,
                "state_dir": str(host_state),
                "exit_after_sessions": 1,
                "source": {"kind": "testcard"},
                "mode": given.mode,
                "codec": "h264",
                "encoder": "x264",
                "bitrate": rate,
                "frames": round(given.seconds * mode.refresh_hz),
                "verify": False,
                "fec_percent": given.fec,
                "artefacts": str(folder / "host"),
            },
            "base_port": given.port,
            "clients": [certificate],
        },
        folder / "host.json",
    )
    _until(host, "ready")
    client = _start(
        "punktfunk.client.gamestream",
        {
            "address": f"{_LOOPBACK}:{ports.http}",
            "state_dir": str(client_state),
            "mode": given.mode,
            "bitrate": rate,
            "encrypt_video": given.encrypt,
            "artefacts": str(folder / "client"),
        },
        folder / "client.json",
    )
    ended = _until(client, "ended")
    cpu = {"client": _cpu_s(client), "host": _cpu_s(host)}
    if not (folder / "host" / "records.npz").exists():
        raise SystemExit(f"nothing was streamed: {ended.get('reason')}")
    return cpu


def _columns(folder: Path, name: str) -> Columns:
    with np.load(folder / name) as table:
        return {column: table[column] for column in table.files}


def _percentiles(values: NDArray[Any]) -> str:
    return " ".join(f"{np.percentile(values / 1e6, q):9.2f}" for q in (50, 95, 99, 100))


def _report(folder: Path, cpu: dict[str, float], given: argparse.Namespace) -> None:
    sent, got = _columns(folder / "host", "records.npz"), _columns(folder / "client", "records.npz")
    seen = _columns(folder / "client", "decoded.npz")
    stats = json.loads((folder / "host" / "stats.json").read_text())["counters"]
    heard = json.loads((folder / "client" / "stats.json").read_text())["counters"]
    left = sent["status"] == 0
    frames = len(sent["index"])
    took_s = (sent["captured_ns"][-1] - sent["captured_ns"][0]) / 1e9
    pictures = seen["decode_end_ns"] >= 0
    at = np.searchsorted(sent["index"], seen["index"][pictures])
    named = seen["strip_frame"][pictures] == sent["source_frame"][at]
    timed = seen["strip_time_us"][pictures] == sent["captured_ns"][at] // 1000
    encrypted = "encrypted" if given.encrypt else "plain"
    print(
        f"{given.mode}, x264, {given.mbps:g} Mbit/s, {given.fec} % FEC ({fec_kernel()}), {encrypted}, "
        f"{len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.1f}"
    )
    shown = int(pictures.sum())
    print(
        f"{frames} frames in {took_s:.1f} s, {(frames - 1) / took_s:.2f} a second, "
        f"{stats['source_frames_skipped']} skipped by the clock; "
        f"{int((got['status'] == 0).sum())} complete, {heard['packets_lost']} packets lost, "
        f"{shown} decoded, {int(seen['concealed'].sum())} of them damaged"
    )
    print(f"markers: {int(named.sum())} name their frame, {int(timed.sum())} its time, of {shown}")
    print(f"{'ms':30} {'p50':>9} {'p95':>9} {'p99':>9} {'most':>9}")
    for name, begin, end in _STAGES:
        both = left & (sent[begin] >= 0) & (sent[end] >= 0)
        print(f"{name:30} {_percentiles((sent[end] - sent[begin])[both])}")
    decoded_ns = seen["decode_end_ns"][pictures]
    print(f"{'capture to decoded picture':30} {_percentiles(decoded_ns - sent['captured_ns'][at])}")
    print(f"{'  decoder':30} {_percentiles(decoded_ns - seen['decode_begin_ns'][pictures])}")
    print(
        f"CPU ms a frame: host {1e3 * cpu['host'] / frames:.2f}, client {1e3 * cpu['client'] / frames:.2f}, "
        "both with their start; sending "
        f"{stats['cpu_ns'] / max(1, stats['packets_sent']) / 1e3:.2f} us a packet"
    )


def main() -> None:
    """Stream and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="1920x1080@60")
    parser.add_argument("--mbps", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fec", type=int, default=20, help="recovery packets, per cent")
    parser.add_argument("--encrypt", action="store_true", help="encrypt video")
    parser.add_argument("--port", type=int, default=46989, help="base port of the host")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _report(folder, _session(folder, given), given)


if __name__ == "__main__":
    main()
