"""Who dies, and what the others do about it: every outcome comes in bounded time and says what happened."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import punktfunk
from punktfunk.host.session_report import SessionReport
from punktfunk.media import SyntheticSpec
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode
from tests.support.waiting import PATIENCE_S, eventually, soon

SYNTHETIC = {"kind": "synthetic", "frame_bytes": 5000}
HOST = {"trust": "loopback", "port": 0, "source": SYNTHETIC, "mode": "1280x720@60"}
IsGone = Callable[[int, float], bool]
CLIENT_CONFIG = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def synthetic_host(**fields: Any) -> punktfunk.Host:
    source = SyntheticSpec(frame_bytes=5000)
    return punktfunk.Host(
        punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK, port=0, source=source, mode=Mode(1280, 720, 60), **fields
        )
    )


@pytest.mark.measures
def test_a_killed_host_worker_ends_its_session_only() -> None:
    async def scenario() -> None:
        async with synthetic_host() as host:
            address = f"127.0.0.1:{host.port}"
            async with (
                punktfunk.Client(address, CLIENT_CONFIG) as doomed,
                punktfunk.Client(address, CLIENT_CONFIG) as other,
            ):
                # Which client got which worker is the order of their connections.
                await soon(
                    lambda: [_sent(report) > 0 for report in host.reports] == [True] * 2, "both stream"
                )
                os.kill(host.reports[0].worker_pid, signal.SIGKILL)
                started = time.monotonic()
                summary = await doomed.finished()
                assert time.monotonic() - started < 3
                assert "data plane failed" in summary.reason
                assert summary.failed
                [report] = await host.sessions_over(1)
                assert report.failed
                assert report.reason == "worker killed by signal 9"
                before = _sent(host.reports[1])
                await soon(lambda: _sent(host.reports[1]) > before, "the other stream goes on")
                other.stop()
                assert not (await other.finished()).failed

    run(scenario())


@pytest.mark.measures
def test_a_killed_receive_worker_is_a_failure_that_the_host_hears_of() -> None:
    async def scenario() -> None:
        async with synthetic_host() as host:
            async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT_CONFIG) as client:
                await soon(lambda: host.reports and host.reports[0].state == "streaming", "a stream")
                os.kill(client.worker_pid, signal.SIGKILL)
                started = time.monotonic()
                summary = await client.finished()
                assert time.monotonic() - started < 1
                assert (summary.failed, summary.reason) == (True, "receive worker killed by signal 9")
                [report] = await host.sessions_over(1)
            assert report.reason.startswith("client left: the peer's data plane failed")
            assert not report.failed

    run(scenario())


@pytest.mark.slow
def test_of_four_clients_one_is_killed_and_one_loses_its_worker_and_two_go_on(
    program: Callable[..., Any], is_gone: IsGone
) -> None:
    host = program("punktfunk.host", **HOST, max_sessions=4)
    address = f"127.0.0.1:{host.event('ready')['port']}"
    clients = []
    for _ in range(4):
        clients.append(program("punktfunk.client", address=address, trust="loopback"))
        _until_frames_flow(clients[-1])
    # Each came after the one before it had frames: the workers are in the clients' order.
    workers = _children(host.process.pid)
    assert len(workers) == 4
    clients[0].process.kill()
    os.kill(workers[1], signal.SIGKILL)
    assert "data plane failed" in clients[1].event("ended")["reason"]
    vanished, failed = sorted((host.event("session") for _ in range(2)), key=lambda end: end["failed"])
    assert (failed["failed"], failed["reason"]) == (True, "worker killed by signal 9")
    assert not vanished["failed"]
    assert vanished["reason"].startswith("client gone: its data port refused ")
    assert is_gone(workers[0], PATIENCE_S)
    for client in clients[2:]:
        before = client.event("second")
        assert client.event("second")["frames"] > 0, before
        assert client.process.poll() is None
    eventually(lambda: _children(host.process.pid) == workers[2:], "the host reaps its workers")


@pytest.mark.measures
@pytest.mark.parametrize("dialect", ["none", "pkf1"])
def test_a_killed_client_is_given_up_long_before_its_idle_time(
    program: Callable[..., Any], is_gone: IsGone, dialect: str
) -> None:
    """In 0.6 s. The idle times are 30 s in the first generation and 8 s in the second."""
    host = program("punktfunk.host", **HOST, exit_after_sessions=1)
    address = f"127.0.0.1:{host.event('ready')['port']}"
    client = program("punktfunk.client", address=address, trust="loopback", dialect=dialect)
    _until_frames_flow(client)
    [worker] = _children(host.process.pid)
    client.process.kill()
    session = host.event("session", timeout=6)
    assert re.fullmatch(
        r"client gone: its data port refused \d+ times in \d+ ms and its control connection was silent",
        session["reason"],
    )
    assert (session["failed"], session["stream"]) == (False, "stopped")
    assert is_gone(worker, PATIENCE_S)
    assert "client gone" in host.log_text()
    assert host.process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_a_client_that_falls_silent_with_its_port_open_is_given_up_after_eight_seconds(
    program: Callable[..., Any],
) -> None:
    host = program("punktfunk.host", **HOST, exit_after_sessions=1)
    client = program("punktfunk.client", address=f"127.0.0.1:{host.event('ready')['port']}", trust="loopback")
    _until_frames_flow(client)
    client.process.send_signal(signal.SIGSTOP)
    try:
        session = host.event("session", timeout=30)
    finally:
        client.process.kill()
    assert (session["failed"], session["reason"], session["stream"]) == (False, "Idle timeout", "stopped")
    assert host.process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_a_host_that_is_killed_takes_its_workers_along(program: Callable[..., Any], is_gone: IsGone) -> None:
    host = program("punktfunk.host", **HOST)
    client = program("punktfunk.client", address=f"127.0.0.1:{host.event('ready')['port']}", trust="loopback")
    _until_frames_flow(client)
    [worker] = _children(host.process.pid)
    host.process.kill()
    assert is_gone(worker, PATIENCE_S)
    assert client.event("ended")["reason"].startswith("the host is gone: its port refuses packets; ")
    assert client.process.wait(PATIENCE_S) == 1


@pytest.mark.measures
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "end of standard input"])
def test_a_host_that_is_told_to_end_does_so_within_two_seconds(
    how: str, program: Callable[..., Any], is_gone: IsGone, tmp_path: Path
) -> None:
    host = program("punktfunk.host", **HOST, artefacts=str(tmp_path / "artefacts"))
    client = program("punktfunk.client", address=f"127.0.0.1:{host.event('ready')['port']}", trust="loopback")
    _until_frames_flow(client)
    [worker] = _children(host.process.pid)
    started = time.monotonic()
    if how.startswith("SIG"):
        host.process.send_signal(signal.Signals[how])
    else:
        host.process.stdin.close()
    assert host.process.wait(4) == 0
    assert time.monotonic() - started < 2
    assert is_gone(worker, 0.1)
    assert client.event("ended")["reason"] == "host: the session ended (host stopped)"
    assert client.process.wait(PATIENCE_S) == 0
    stats = json.loads((tmp_path / "artefacts" / "stats.json").read_text())
    assert stats["ended"] == "stopped"
    assert stats["counters"]["frames_sent"] > 0


def test_headless_peers_obey_orders_on_their_standard_input_and_ignore_nonsense(
    program: Callable[..., Any],
) -> None:
    host = program("punktfunk.host", **HOST, exit_after_sessions=1)
    client = program("punktfunk.client", address=f"127.0.0.1:{host.event('ready')['port']}", trust="loopback")
    _until_frames_flow(client)
    for peer, orders in (
        (
            host,
            ("nonsense", '{"do": "dance"}', '{"do": "bitrate", "kbps": "fast"}', "[]", '{"do": "keyframe"}'),
        ),
        (client, ("nonsense", '{"do": "mode", "mode": "big"}', '{"do": "mode", "mode": "640x480@30"}')),
        (host, ('{"do": "bitrate", "kbps": 3000}',)),
    ):
        peer.process.stdin.write("".join(f"{order}\n" for order in orders).encode())
        peer.process.stdin.flush()
    answer = client.event("mode")
    assert (answer["accepted"], answer["mode"]) == (True, "640x480@30")
    client.event("second")
    client.process.stdin.close()
    client.event("ended")
    session = host.event("session")
    assert session["counters"]["rate_kbps"] == 3000
    assert sum(event["event"] == "refused" for event in host.seen) == 4
    assert sum(event["event"] == "refused" for event in client.seen) == 2


@pytest.mark.measures
def test_a_client_that_is_told_to_end_leaves_its_artefacts_within_two_seconds(
    program: Callable[..., Any], is_gone: IsGone, tmp_path: Path
) -> None:
    host = program("punktfunk.host", **HOST)
    client = program(
        "punktfunk.client",
        address=f"127.0.0.1:{host.event('ready')['port']}",
        trust="loopback",
        artefacts=str(tmp_path / "artefacts"),
    )
    _until_frames_flow(client)
    [worker] = _children(client.process.pid)
    started = time.monotonic()
    client.process.send_signal(signal.SIGTERM)
    ended = client.event("ended")
    assert client.process.wait(4) == 0
    assert time.monotonic() - started < 2
    assert is_gone(worker, 0.1)
    assert ended["counters"]["frames_complete"] > 0
    assert (tmp_path / "artefacts" / "records.npz").exists()
    assert host.event("session")["reason"].startswith("client left")


def test_a_worker_that_cannot_open_its_source_fails_the_session_with_its_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK,
            port=0,
            source={"kind": "file", "path": str(tmp_path / "missing.mkv")},  # type: ignore[arg-type]
        )
        async with punktfunk.Host(config) as host:
            async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT_CONFIG) as client:
                summary = await client.finished()
            [report] = await host.sessions_over(1)
            assert "data plane failed" in summary.reason
            assert report.failed
            assert "missing.mkv" in report.stream_reason

    run(scenario())


def test_artefacts_that_cannot_be_written_fail_the_session_with_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    async def scenario() -> None:
        async with synthetic_host(frames=20, artefacts=tmp_path / "file" / "below") as host:
            async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT_CONFIG) as client:
                assert (await client.finished()).verified is True
            [report] = await host.sessions_over(1)
            assert report.failed
            assert "cannot be written" in report.stream_reason

    run(scenario())


@pytest.mark.parametrize("module", ["punktfunk.host.stream.worker", "punktfunk.client.worker"])
def test_a_worker_started_by_hand_says_that_it_is_not_for_that(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--channel", "99"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "started by punktfunk itself" in done.stderr


def _sent(report: SessionReport) -> int:
    """Return the frames that a session has sent, as its worker says once a second."""
    return report.counters.get("frames_sent", 0)


def _until_frames_flow(client: Any) -> None:
    while not client.event("second")["frames"]:
        pass


def _children(pid: int) -> list[int]:
    """The processes that another has started, the oldest first: their numbers begin anew some time."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return sorted(map(int, listed.split()), key=_start)


def _start(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:  # it has been reaped meanwhile
        return 0
