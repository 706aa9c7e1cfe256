"""``punktfunk probe`` against our own host on loopback, and what a host lets a client ask for."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import punktfunk
from punktfunk.client.probe import PathProbe, PathReport
from punktfunk.client.probe_command import lines
from punktfunk.core._core import ClientStream, StreamConfig
from punktfunk.host.native.sender import NativeSender
from punktfunk.host.stream import messages as work
from punktfunk.host.stream import probe as host_probe
from punktfunk.media import SyntheticSpec
from punktfunk.native import messages
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate
from tests.support.stream_spec import SPEC, TRANSPORT

KEY = bytes(range(16))


def probed(limit: str = "20 Mbit/s", **host: Any) -> tuple[PathReport, dict[str, int]]:
    async def scenario() -> tuple[PathReport, dict[str, int]]:
        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK, port=0, source=SyntheticSpec(frame_bytes=500), **host
        )
        async with punktfunk.Host(config) as serving:
            address = f"127.0.0.1:{serving.port}"
            client = punktfunk.ClientConfig(address=address, trust=OpenTrust.LOOPBACK)
            report = await PathProbe(client, limit=Bitrate.parse(limit)).run()
            [session] = await serving.sessions_over(1)
            return report, session.counters

    return run(scenario())


def run(test: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(test, 60))


@pytest.mark.measures
def test_loopback_carries_what_is_tried_without_loss_or_reordering() -> None:
    report, counters = probed()
    assert report.verdict is not None
    assert report.pattern is not None
    assert report.verdict.limited_by != "client", report
    assert report.verdict.loss == 0, report
    assert report.verdict.reordered == 0, report
    assert report.pattern.packets > 1000
    assert all(burst.packets_received == burst.packets_sent for burst in report.bursts), report
    assert counters["probes"] == len(report.bursts)
    assert counters["probes_refused"] == 0
    assert counters["frames_queue_dropped"] == 0
    assert lines(report)[0].startswith("this path carries ")


def test_a_host_that_switches_speed_tests_off_says_so_and_counts_it() -> None:
    report, counters = probed(probe_limit="0")
    assert report.verdict is None
    assert "refuses bandwidth probes" in report.why
    assert (counters["probes"], counters["probes_refused"]) == (0, 1)
    assert report.rtt_ms is not None
    assert report.video["packets_received"] > 5


def test_a_host_that_does_not_know_speed_tests_is_told_from_one_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(messages._DECODERS, messages.ProbeRequest.TYPE)
    monkeypatch.setattr("punktfunk.client.probe._ANSWER_LIMIT_S", 0.5)
    report, _ = probed()
    assert report.verdict is None
    assert "does not know bandwidth probes" in report.why
    assert report.video["packets_received"] > 5
    assert any("of the host's own video" in line for line in lines(report))


class ProbedStream:
    """Bandwidth probes on a real stream whose other end is read."""

    def __init__(self, limit_kbps: int) -> None:
        self.left, self.right = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for end in (self.left, self.right):
            end.bind(("127.0.0.1", 0))
        self.left.connect(self.right.getsockname())
        self.right.connect(self.left.getsockname())
        config = StreamConfig(key=KEY, shard_bytes=1200)
        sealed = TRANSPORT.model_copy(update={"key": KEY.hex(), "salt": "00000000"})
        spec = SPEC.model_copy(update={"rate_kbps": 1000, "transport": sealed.transport()})
        self.host = NativeSender(spec, self.left.fileno())
        self.client = ClientStream(config, self.right.fileno())
        self.probes = host_probe.BandwidthProbes(limit_kbps)

    def run(self, kbps: int, ms: int) -> work.ProbeSent:
        self.probes.ask(work.SendProbe(kbps, ms))
        return self.probes.run(self.host, threading.Event())

    def close(self) -> None:
        self.host.close()
        self.client.close()
        self.left.close()
        self.right.close()


@pytest.mark.measures
def test_rate_duration_and_bytes_of_a_speed_test_are_held_to_the_hosts_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = ProbedStream(8000)
    try:
        sent = stream.run(1_000_000, 200)
        # 8 Mbit/s for 0.2 s are 200 kB, and one unit may go beyond.
        assert 150_000 < sent.goodput_bytes <= 205_000
        assert sent.packets_sent == sent.goodput_bytes // 1200
        assert 200 <= sent.duration_ms < 400
        monkeypatch.setattr(host_probe, "MAX_TEST_BYTES", 12_000)
        # The units are as large as they are late: the last one may not fit.
        assert 9_000 <= stream.run(8000, 1000).goodput_bytes <= 12_000
        monkeypatch.setattr(host_probe, "MAX_PROBE_MS", 50)
        assert stream.run(1000, 4_000_000_000).duration_ms < 200
        assert stream.probes.counters["probes"] == 3
    finally:
        stream.close()


@pytest.mark.measures
def test_the_time_and_bytes_of_all_speed_tests_of_a_session_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_probe, "MAX_SESSION_NS", 120_000_000)
    stream = ProbedStream(8000)
    try:
        assert stream.run(8000, 100).goodput_bytes > 0
        stream.run(8000, 100)
        assert stream.run(8000, 100) == work.ProbeSent()
        assert stream.probes.counters["probes_refused"] == 1
    finally:
        stream.close()
    monkeypatch.setattr(host_probe, "MAX_SESSION_BYTES", 50_000)
    stream = ProbedStream(8000)
    try:
        stream.run(8000, 60)
        stream.run(8000, 60)
        assert stream.probes.counters["probe_bytes"] <= 50_000
    finally:
        stream.close()


def test_speed_tests_beyond_one_that_waits_are_refused_at_once(tmp_path: Path) -> None:
    probes = host_probe.BandwidthProbes(8000)
    for _ in range(50):
        probes.ask(work.SendProbe(1000, 5000))
    assert probes.counters["probes_refused"] == 48
    assert probes.waiting
