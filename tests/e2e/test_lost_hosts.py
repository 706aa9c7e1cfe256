"""A host that is killed, one that stands still and one that sends nothing: none of them looks like success."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import punktfunk
from punktfunk.client import worker_summary
from punktfunk.client.ending import LOSS_COUNTERS, End
from punktfunk.clock import monotonic_ns
from punktfunk.errors import HandshakeError
from punktfunk.host.stream.handle import WorkerStream
from punktfunk.media import SyntheticSpec
from punktfunk.native.refusals import MIN_REFUSALS, MIN_SILENCE_NS, MIN_SPAN_NS
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Duration, Mode
from tests.support.waiting import PATIENCE_S, eventually, soon

HOST = {
    "trust": "loopback",
    "port": 0,
    "source": {"kind": "synthetic", "frame_bytes": 5000},
    "mode": "1280x720@60",
}
REPOSITORY = Path(__file__).parents[2]
IDLE = "3000 ms"
"""What a real client waits 8 s for."""


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def family(pid: int) -> list[int]:
    """A process and its children, the parent first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def stand_still(pids: list[int]) -> None:
    """Stop processes, and wait until they have."""
    for pid in pids:
        assert pid > 1, "0 would stop whoever runs this test"
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        eventually(lambda stat=stat: stat.read_text().rpartition(")")[2].split()[0] == "T", f"{pid} stops")


def until_frames_flow(client: Any) -> None:
    while not client.event("second")["frames"]:
        pass


def check_unknown(ended: dict[str, Any], stats: dict[str, Any]) -> None:
    """Nothing that cannot be known has a number, on the line of the end and in the artefacts alike."""
    assert ended["failed"]
    assert (ended["packets_lost"], ended["frames_lost"]) == (None, None)
    for said in (ended, stats):
        assert not set(LOSS_COUNTERS) & set(said["counters"])
        assert set(said["at_least"]) == set(LOSS_COUNTERS)
        assert said["counters"]["frames_complete"] > 0
        assert said["last_packet_ns"] > 0
        assert said["silent_ns"] > 0
    assert stats["end"] == ended["end"]
    assert stats["ended"] == ended["reason"]
    assert "the last packet came at " in ended["reason"]


def test_a_host_that_was_killed_is_gone_and_nobody_claims_that_nothing_was_lost(
    program: Callable[..., Any], tmp_path: Path
) -> None:
    host = program("punktfunk.host", **HOST)
    port = host.event("ready")["port"]
    kept = tmp_path / "kept"
    client = program("punktfunk.client", address=f"127.0.0.1:{port}", trust="loopback", artefacts=str(kept))
    until_frames_flow(client)
    host.process.kill()
    ended = client.event("ended")
    assert client.process.wait(PATIENCE_S) == 1
    assert ended["end"] == End.HOST_GONE
    assert ended["reason"].startswith("the host is gone: its port refuses packets; ")
    check_unknown(ended, json.loads((kept / "stats.json").read_text()))
    # Long before the idle time, which says nothing of what has become of the host.
    assert ended["silent_ns"] < 7.5e9
    assert '"connection lost"' in client.log_text()


def test_a_host_that_stands_still_fell_silent(program: Callable[..., Any], tmp_path: Path) -> None:
    host = program("punktfunk.host", **HOST)
    port = host.event("ready")["port"]
    kept = tmp_path / "kept"
    client = program(
        "punktfunk.client",
        address=f"127.0.0.1:{port}",
        trust="loopback",
        artefacts=str(kept),
        idle_timeout=IDLE,
    )
    until_frames_flow(client)
    pids = family(host.process.pid)
    stand_still(pids)
    try:
        ended = client.event("ended")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert client.process.wait(PATIENCE_S) == 1
    assert ended["end"] == End.HOST_SILENT
    assert ended["reason"].startswith("the host fell silent; ")
    check_unknown(ended, json.loads((kept / "stats.json").read_text()))
    assert ended["silent_ns"] >= 1e9


def test_connect_says_what_happened_and_fails(program: Callable[..., Any], tmp_path: Path) -> None:
    host = program("punktfunk.host", **HOST)
    port = host.event("ready")["port"]
    watching = subprocess.Popen(
        [
            *(sys.executable, "-m", "punktfunk", "connect", f"127.0.0.1:{port}"),
            *("--state-dir", str(tmp_path / "client")),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    while " fps " not in (line := watching.stdout.readline()) or line.startswith("   0 fps"):
        assert line
    host.process.kill()
    out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 1
    *_, last, hint = out.splitlines()
    assert "packets lost unknown, frames lost unknown" in last
    assert "· the host is gone: its port refuses packets; the last packet came at " in last
    assert hint == "  → look at the host's log for how it ended, start it and connect again"


def test_a_client_that_is_stopped_in_the_silence_does_not_know_what_was_lost(
    program: Callable[..., Any],
) -> None:
    host = program("punktfunk.host", **HOST)
    port = host.event("ready")["port"]
    client = program("punktfunk.client", address=f"127.0.0.1:{port}", trust="loopback")
    until_frames_flow(client)
    pids = family(host.process.pid)
    stand_still(pids)
    try:
        while client.event("second")["frames"]:
            pass  # of before: lines may come late
        client.process.send_signal(signal.SIGTERM)
        ended = client.event("ended")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert client.process.wait(PATIENCE_S) == 0, "whoever ends a session himself has not failed"
    assert (ended["end"], ended["packets_lost"], ended["frames_lost"]) == (End.STOPPED, None, None)
    assert ended["reason"].startswith("stopped by the client; the last packet came at ")


def test_a_host_that_ends_in_order_is_believed_and_loss_has_numbers(program: Callable[..., Any]) -> None:
    host = program("punktfunk.host", **HOST)
    port = host.event("ready")["port"]
    client = program("punktfunk.client", address=f"127.0.0.1:{port}", trust="loopback")
    until_frames_flow(client)
    host.process.send_signal(signal.SIGTERM)
    ended = client.event("ended")
    assert client.process.wait(PATIENCE_S) == 0
    assert (ended["end"], ended["failed"], ended["at_least"]) == (End.CLOSED, False, {})
    assert ended["reason"] == "host: the session ended (host stopped)"
    assert ended["packets_lost"] == ended["counters"]["packets_lost"]
    assert ended["frames_lost"] is not None


def synthetic_host(**fields: Any) -> punktfunk.Host:
    return punktfunk.Host(
        punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK,
            port=0,
            source=SyntheticSpec(frame_bytes=5000),
            mode=Mode(1280, 720, 60),
            **fields,
        )
    )


def test_a_stream_of_which_nothing_ever_came_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control connection lives, so that nobody but the client can say that there is no stream."""
    monkeypatch.setattr(worker_summary, "NOTHING_CAME_NS", 1_000_000_000)
    held: list[int] = []

    def begin(handle: WorkerStream, data_socket: socket.socket) -> None:
        # It stands still before it has where to send to.
        assert handle._process is not None
        held.append(handle._process.pid)
        stand_still(held)
        at_once(handle, data_socket)

    at_once = WorkerStream.begin
    monkeypatch.setattr(WorkerStream, "begin", begin)

    async def scenario() -> None:
        async with synthetic_host() as host:
            config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
            async with punktfunk.Client(f"127.0.0.1:{host.port}", config) as client:
                await soon(lambda: held, "a worker that could send")
                await asyncio.sleep(1.2)
                client.stop()
                summary = await client.finished()
            os.kill(held[0], signal.SIGCONT)
        assert summary.failed
        assert summary.end is End.STOPPED
        assert summary.reason.startswith("stopped by the client; no packet of the stream came in ")
        assert "firewall" in summary.hint
        assert (summary.packets_lost, summary.last_packet_ns) == (None, None)

    run(scenario())


def test_refusals_alone_end_no_session_with_a_host_that_answers() -> None:
    """Whoever guesses a port can forge ICMP; the host is asked, and answers."""

    async def scenario() -> None:
        async with (
            synthetic_host() as host,
            punktfunk.Client(
                f"127.0.0.1:{host.port}", punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
            ) as client,
        ):
            await soon(lambda: host.reports and host.reports[0].state == "streaming", "a stream")
            assert client._connection is not None
            dialer = client._connection._dialer
            assert dialer is not None
            # One less than make a case before each answer, and all of them much longer than one has to last.
            began, answers = monotonic_ns(), 0
            while answers < 10 or monotonic_ns() - began < 2 * (MIN_SPAN_NS + MIN_SILENCE_NS):
                heard = dialer.link.heard_ns
                for _ in range(MIN_REFUSALS - 1):
                    dialer._refused()
                await soon(lambda heard=heard: dialer.link.heard_ns > heard, "an answer to the PING")
                answers += 1
            assert dialer.link.closed is None
            client.stop()
            assert not (await client.finished()).failed

    run(scenario())


def test_a_request_to_a_host_that_is_gone_says_so(program: Callable[..., Any]) -> None:
    host = program("punktfunk.host", **HOST)
    port = host.event("ready")["port"]

    async def scenario() -> None:
        config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, idle_timeout=Duration.parse(IDLE))
        async with punktfunk.Client(f"127.0.0.1:{port}", config) as client:
            assert client._connection is not None
            host.process.kill()
            summary = await client.finished()
            assert summary.end in (End.HOST_GONE, End.HOST_SILENT)
            with pytest.raises(HandshakeError, match=r"is gone: its port refuses packets|fell silent"):
                client._connection.bind_data_socket()

    run(scenario())
