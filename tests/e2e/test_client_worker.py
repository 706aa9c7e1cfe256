"""A receive worker that fails says why, with a code that can be looked up; a defect of its own too."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import punktfunk
from punktfunk import log
from punktfunk.client import messages
from punktfunk.client.ending import End
from punktfunk.client.service import WORKER_MODULE
from punktfunk.errors import PunktfunkError, ResultsError
from punktfunk.input import InputEvent, InputKind, Touchpad
from punktfunk.media import SyntheticSpec, TestCardSpec
from punktfunk.process.worker_process import WorkerProcess
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode
from tests.support.client_order import RECEIVE
from tests.support.waiting import soon


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_a_defect_of_the_worker_is_told_and_leaves_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        said: list[Any] = []
        status: list[int] = []
        process = WorkerProcess(WORKER_MODULE, messages.VOCABULARY, said.append, status.append)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as data:
            data.connect(("127.0.0.1", 9))
            # A codec that no control process asks for stands for what nobody has thought of.
            process.send(replace(RECEIVE, codec="nonsense"), [data.fileno()])
            await soon(lambda: status, "the worker ends")
        failed = said[-1]
        assert isinstance(failed, messages.Failed)
        assert failed.code == PunktfunkError.code
        assert failed.cause.startswith("the receive worker broke: ValueError: ")
        assert failed.hint
        assert status == [1]

    run(scenario())
    error = capfd.readouterr().err
    assert "worker broke" in error
    assert "Traceback" in error


def test_coded_video_that_cannot_be_written_is_named_with_the_code_of_results(tmp_path: Path) -> None:
    full = Path("/dev/full")
    lines = io.StringIO()

    async def scenario() -> None:
        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK, port=0, source=TestCardSpec(), mode=Mode(480, 64, 60), codec="h264"
        )
        async with punktfunk.Host(config) as host:
            client_config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, out=full)
            async with punktfunk.Client(f"127.0.0.1:{host.port}", client_config) as client:
                summary = await client.finished()
        assert summary.failed
        assert summary.end is End.FAILED
        assert summary.reason == "/dev/full cannot be written: No space left on device"
        assert summary.hint == "free space there, or name another --out file"
        assert summary.packets_lost is None

    log.configure(level="error", json=True, stream=lines)
    try:
        run(scenario())
    finally:
        log.configure(level="warning")
    [failed] = [
        entry for entry in map(json.loads, lines.getvalue().splitlines()) if entry["concern"] == "client"
    ]
    assert (failed["event"], failed["code"]) == ("receive worker failed", ResultsError.code)


def test_both_ends_log_how_many_datagrams_of_input_there_were() -> None:
    lines = io.StringIO()

    async def scenario() -> None:
        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK, port=0, source=SyntheticSpec(frame_bytes=100), mode=Mode(640, 480, 10)
        )
        async with punktfunk.Host(config) as host:
            async with punktfunk.Client(
                f"127.0.0.1:{host.port}", punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
            ) as client:
                # Earlier input would be dropped, and counted as that.
                await soon(lambda: host.reports and host.reports[0].state == "streaming", "a stream")
                for number in range(5):
                    client.send(InputEvent(InputKind.MOUSE_MOVE, 0, number, 0))
                client.send(Touchpad(0, 1, True, 9, 9))
                await soon(lambda: host.reports[0].datagrams.total() >= 6, "the host has them")
                client.stop()
                await client.finished()
            await host.sessions_over(1)

    log.configure(level="info", json=True, stream=lines)
    try:
        run(scenario())
    finally:
        log.configure(level="warning")
    told = [
        entry for entry in map(json.loads, lines.getvalue().splitlines()) if entry["event"] == "datagrams"
    ]
    by_concern = {entry["concern"]: entry for entry in told}
    assert (by_concern["client"]["sent_input"], by_concern["client"]["sent_touchpad"]) == (5, 1)
    assert (by_concern["host"]["input"], by_concern["host"]["touchpad"]) == (5, 1)
