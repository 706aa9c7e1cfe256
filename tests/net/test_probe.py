"""``punktfunk probe`` over shaped links: what it says of a path is what the path was made to be."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.network.namespaces import Namespace
from harness.network.topology import add_address, open_tun, segment_address, topology
from punktfunk.core import _core

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.measures(alone=True)]

SEED = 20_261_122
REPOSITORY = Path(__file__).parents[2]
HOST = {
    "trust": "lab",
    "bind": "*",
    "port": 0,
    "source": {"kind": "synthetic", "frame_bytes": 500},
    "exit_after_sessions": 1,
}
Probe = Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, dict[str, int]]]]


def _start(namespace: Namespace, arguments: list[str], **files: Any) -> subprocess.Popen[bytes]:
    return namespace.run(
        lambda: subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            **files,
        )
    )


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Probe]:
    """Probe a host over a link with that spec, host to client; return the JSON report and the link's counters."""
    with topology("probe") as made:
        host_side, client_side = made.namespace("host"), made.namespace("client")
        fds = open_tun(host_side, "tun0"), open_tun(client_side, "tun0")
        one, two = segment_address(1, 1), segment_address(1, 2)
        add_address(host_side, "tun0", one)
        add_address(client_side, "tun0", two)
        (tmp_path / "host.json").write_text(json.dumps(HOST))
        with (tmp_path / "log").open("wb") as log:
            host = _start(host_side, ["punktfunk.host", "--config", str(tmp_path / "host.json")], stderr=log)

        def run(link: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
            assert host.stdout is not None
            ready = json.loads(host.stdout.readline())
            up = {"delay_us": link.get("delay_us", 0)}
            pump = _core.TunPump(*fds, json.dumps(link), json.dumps(up), SEED)
            try:
                client = _start(
                    client_side,
                    [
                        "punktfunk",
                        "probe",
                        f"{one.ipv4}:{ready['port']}",
                        "--pin",
                        ready["fingerprint"],
                        "--state-dir",
                        str(tmp_path / "client"),
                        "--json",
                    ],
                )
                out, _ = client.communicate(timeout=60)
                assert client.returncode == 0, (tmp_path / "log").read_text()
                return json.loads(out), pump.counters()
            finally:
                pump.stop()

        try:
            yield run
        finally:
            host.terminate()
            host.communicate(timeout=10)


def test_a_probe_finds_rate_queue_and_round_trip_of_a_clean_link(probe: Probe) -> None:
    report, link = probe({"rate_kbps": 40_000, "queue_packets": 100, "delay_us": 8000})
    verdict = report["verdict"]
    assert verdict["limited_by"] == "path", report
    assert 38_500 <= verdict["capacity_kbps"] <= 41_500, report
    assert 16 <= report["rtt_ms"] < 30
    # 100 packets of 1500 bytes take 30 ms at 40 Mbit/s.
    assert 20 <= verdict["queue_ms"] <= 40, report
    assert verdict["loss"] == 0, report
    assert not verdict["bursty"]
    assert 24_000 <= verdict["bitrate_kbps"] <= 31_000
    assert link["ab"]["dropped_loss"] == 0


def test_a_probe_tells_loss_in_bursts_and_reordering_from_a_link_that_is_too_slow(probe: Probe) -> None:
    burst = 6.0
    share = 0.02
    spec = {
        "rate_kbps": 60_000,
        "queue_packets": 200,
        "delay_us": 5000,
        "loss": {"kind": "gilbert_elliott", "p": share / (1 - share) / burst, "r": 1 / burst},
        "reorder": {"p": 0.03, "extra_us": 3000},
    }
    report, link = probe(spec)
    verdict = report["verdict"]
    assert verdict["limited_by"] == "path", report
    assert 54_000 <= verdict["capacity_kbps"] <= 62_000, report
    # Bursts make counts vary as if there were that many fewer packets.
    packets = report["pattern"]["packets"]
    deviation = math.sqrt(share * (2 * burst - 1) / packets)
    assert abs(report["pattern"]["lost"] / packets - share) < 5 * deviation, report
    assert verdict["bursty"], report
    assert 3 < verdict["mean_loss_run"] < 10, report
    assert 0.005 < verdict["reordered"] < 0.06, report
    assert verdict["fec_percent"] > 10, report
    assert link["ab"]["reordered"] > 0
