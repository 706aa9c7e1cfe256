"""Whole native sessions between two namespaces over a shaped link, with lab trust."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.network.namespaces import Namespace
from harness.network.topology import add_address, open_tun, segment_address, topology
from punktfunk.core import _core
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.root

SEED = 20_251_122
REPOSITORY = Path(__file__).parents[2]
Session = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


class Peer:
    """A headless program in a namespace: JSON lines out, a log in a file."""

    def __init__(self, namespace: Namespace, module: str, config: dict[str, Any], folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({**config, "artefacts": str(folder)}))
        self.folder = folder
        log = (folder / "log").open("wb")
        self.process = namespace.run(
            lambda: subprocess.Popen(
                [sys.executable, "-m", module, "--config", str(folder / "config.json")],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )
        )
        log.close()

    def event(self, name: str) -> dict[str, Any]:
        """Return the next line of that event."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
        pytest.fail(f"no {name!r}; log:\n{(self.folder / 'log').read_text()}")

    def columns(self, name: str) -> dict[str, Any]:
        """Return the arrays of one artefact."""
        with np.load(self.folder / name) as arrays:
            return {column: arrays[column] for column in arrays.files}

    def end(self) -> None:
        """End it, should it still run."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def peers(
    tmp_path: Path,
) -> Iterator[Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], tuple[Peer, Peer]]]:
    """Start a host and a client on both sides of a link with that spec, host to client."""
    started: list[Peer] = []
    pumps: list[_core.TunPump] = []
    with topology("native") as made:
        host_side, client_side = made.namespace("host"), made.namespace("client")
        fds = open_tun(host_side, "tun0"), open_tun(client_side, "tun0")
        one, two = segment_address(1, 1), segment_address(1, 2)
        add_address(host_side, "tun0", one)
        add_address(client_side, "tun0", two)

        def start(link: dict[str, Any], host: dict[str, Any], client: dict[str, Any]) -> tuple[Peer, Peer]:
            pumps.append(
                _core.TunPump(*fds, json.dumps(link), json.dumps({"delay_us": link.get("delay_us", 0)}), SEED)
            )
            host_config = {"trust": "lab", "bind": "*", "port": 0, "exit_after_sessions": 1, **host}
            started.append(Peer(host_side, "punktfunk.host", host_config, tmp_path / "host"))
            port = started[0].event("ready")["port"]
            client_config = {"trust": "lab", "address": f"{one.ipv4}:{port}", **client}
            started.append(Peer(client_side, "punktfunk.client", client_config, tmp_path / "client"))
            return started[0], started[1]

        try:
            yield start
        finally:
            for peer in reversed(started):
                peer.end()
            for pump in pumps:
                pump.stop()


def test_a_verification_with_fec_survives_two_percent_of_loss(peers: Any) -> None:
    host, client = peers(
        {"delay_us": 5000, "loss": {"kind": "independent", "p": 0.02}},
        {
            "source": {"kind": "synthetic", "frame_bytes": 40_000},
            "mode": "1280x720@120",
            "frames": 240,
            "queue_frames": 240,
            "fec_percent": 50,
            "bitrate": "80 Mbit/s",
        },
        {},
    )
    ended = client.event("ended")
    assert client.process.wait(PATIENCE_S) == 0
    assert ended["verified"] is True
    assert ended["counters"]["data_shards_recovered"] > 0
    session = host.event("session")
    assert session["counters"]["frames_sent"] == 240
    assert host.process.wait(PATIENCE_S) == 0
    clock = json.loads((client.folder / "stats.json").read_text())["host_clock"]
    assert clock["rounds"] == 8
    assert clock["rtt_ns"] >= 10_000_000
    assert abs(clock["offset_ns"]) <= clock["error_ns"]


@pytest.mark.slow
def test_video_on_a_lossy_link_asks_for_key_frames_and_never_shows_a_wrong_picture(peers: Any) -> None:
    host, client = peers(
        # Which packet gets which draw depends on what else is sent: 40 frames are lost on average, none in 1e-20 runs.
        {"delay_us": 2000, "loss": {"kind": "independent", "p": 0.1}},
        {
            "source": {"kind": "testcard", "tag": 5},
            "mode": "1280x720@30",
            "codec": "h264",
            "fec_percent": 10,
            "bitrate": "6 Mbit/s",
            "seconds": 6,
        },
        {},
    )
    ended = client.event("ended")
    assert client.process.wait(PATIENCE_S) == 0
    session = host.event("session")
    assert host.process.wait(PATIENCE_S) == 0
    counters = ended["counters"]
    lost = counters["frames_unrecoverable"] + counters["frames_expired"] + counters["frames_unseen"]
    assert lost > 0
    assert counters["frames_undecodable"] > 0
    assert ended["control"]["keyframe_requests"] >= 1
    assert session["counters"]["key_frames"] > 1
    # One loss costs one key frame, not one for each frame that could not be decoded meanwhile.
    assert session["counters"]["key_frames"] <= 1 + counters["recovery_requests"]
    assert counters["decode_errors"] == counters["strips_unreadable"] == 0
    assert counters["pictures"] == counters["frames_decodable"]
    sent, decoded = host.columns("records.npz"), client.columns("decoded.npz")
    source_frame = dict(zip(sent["index"].tolist(), sent["source_frame"].tolist(), strict=True))
    captured = dict(zip(sent["index"].tolist(), sent["captured_ns"].tolist(), strict=True))
    shown = list(
        zip(*(decoded[name].tolist() for name in ("index", "strip_frame", "strip_time_us")), strict=True)
    )
    assert len(shown) == counters["pictures"]
    assert all(frame == source_frame[index] and us == captured[index] // 1000 for index, frame, us in shown)


@pytest.mark.slow
def test_adaptive_fec_follows_the_loss_that_the_client_reports(peers: Any) -> None:
    host, client = peers(
        {"delay_us": 1000, "loss": {"kind": "independent", "p": 0.1}},
        {
            "source": {"kind": "synthetic", "frame_bytes": 30_000},
            "mode": "1280x720@60",
            "frames": 180,
            "fec_percent": 5,
            "adaptive_fec": True,
        },
        {},
    )
    client.event("ended")
    percent = host.event("session")["counters"]["fec_percent"]
    # About 10 % of loss asks for ceil(10 × 1.4) + 1 = 15; lost frames add up to 5 % more, sampling moves it.
    assert 8 <= percent <= 27
    assert client.process.wait(PATIENCE_S) in (0, 1)
