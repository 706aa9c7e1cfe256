"""A GPU that was not ready when its host started: the next stream asks again, and waits a short time for the answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

import punktfunk
from punktfunk.clock import monotonic_ns
from punktfunk.errors import CodecUnavailableError, HandshakeError, PunktfunkError, SessionClosedError
from punktfunk.host import encoder_retry
from punktfunk.host.encoder_retry import EncoderRetry
from punktfunk.host.notices import ENCODER
from punktfunk.host.session_report import SessionReport
from punktfunk.media import EncoderName, TestCardSpec
from punktfunk.media.encoders import ANSWERS, answers
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.support import gpu_doubles
from tests.support.waiting import PATIENCE_S, soon

NVENC = EncoderName.NVENC_H264
BUSY = CodecUnavailableError("opening nvenc-h264 hangs: nothing came of it in 20 s", "try again")


class Gpu:
    """What the encoders of this process's GPUs answer, by the clock of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.busy = True
        self.asked = 0
        self.later_ns = 0
        self.answers = threading.Event()
        """Unset while a driver hangs."""
        self.answers.set()
        monkeypatch.setattr(ANSWERS, "_ask", self._ask)
        monkeypatch.setattr(ANSWERS, "_now", lambda: monotonic_ns() + self.later_ns)

    def _ask(self, names: tuple[EncoderName, ...]) -> dict[EncoderName, PunktfunkError]:
        self.asked += NVENC in names
        assert self.answers.wait(PATIENCE_S)
        return {name: BUSY for name in names if self.busy or name is not NVENC}

    def frees(self) -> None:
        """Let it be free from now on, and its refusal be old."""
        self.busy = False
        self.later_ns += round(answers.AGAIN_S * 1e9)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    ANSWERS.forget()
    yield Gpu(monkeypatch)
    ANSWERS.forget()


def test_a_gpu_that_has_become_free_encodes_the_next_stream_and_one_that_crashes_it_is_left_alone(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in gpu_doubles.with_nvidia("dies 1").items():
        monkeypatch.setenv(name, value)
    config = punktfunk.HostConfig(
        trust=OpenTrust.LOOPBACK,
        port=0,
        source=TestCardSpec(),
        codec="h264",
        mode=Mode(480, 272, 60),
        bitrate=Bitrate(2_000_000),
        frames=2,
    )

    async def scenario() -> list[SessionReport]:
        async with punktfunk.Host(config) as host:
            for sessions in (1, 2, 3):
                if sessions == 2:
                    gpu.frees()
                client_config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
                with contextlib.suppress(SessionClosedError, HandshakeError):  # of the one that crashes
                    async with punktfunk.Client(f"127.0.0.1:{host.port}", client_config) as client:
                        await client.finished()
                await host.sessions_over(sessions)
            return list(host.reports)

    first, second, third = asyncio.run(scenario())
    assert [report.encoder for report in (first, second, third)] == ["x264", "nvenc-h264", "x264"]
    assert gpu.asked == 2, "once when the host started, once for the second stream"
    assert [report.failed for report in (first, second, third)] == [False, True, False]
    assert second.stream_reason == "worker killed by signal 11"
    assert third.notices[ENCODER] == (
        "x264 encodes: nvenc-h264 was at work when its stream crashed, and is left alone for 10 min"
    )


def test_nobody_waits_long_for_a_driver_that_hangs_and_nobody_asks_it_twice(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        retry = EncoderRetry()
        assert not retry.due
        await retry.settle()
        assert ANSWERS.refusal(NVENC) is BUSY
        await retry.settle()
        assert gpu.asked == 1, "what is not due is not asked"
        gpu.frees()
        gpu.answers.clear()
        assert retry.due
        monkeypatch.setattr(encoder_retry, "LIMIT_S", 0.01)
        for _ in range(3):
            await retry.settle()
        assert ANSWERS.refusal(NVENC) is BUSY
        assert gpu.asked == 2
        gpu.answers.set()
        await soon(lambda: not retry.due, "the late answer is taken")
        assert ANSWERS.refusal(NVENC) is None

    asyncio.run(scenario())
