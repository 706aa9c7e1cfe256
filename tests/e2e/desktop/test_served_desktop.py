"""A headless desktop through ``punktfunk.Host``: its picture arrives, its mode changes, its program is kept."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import punktfunk
from punktfunk import log
from punktfunk.desktop import BackendName, DesktopOutput
from punktfunk.desktop.capture import WlrScreen
from punktfunk.errors import DesktopError
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.support.waiting import eventually, soon

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def pool_with(desktop_parts: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DesktopPool]]:
    """Open a headless desktop that runs a program."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    opened: list[DesktopPool] = []

    def start(*program: str) -> DesktopPool:
        opened.append(DesktopPool.open(DesktopSpec(backend=BackendName.HEADLESS_SWAY, app=program)))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def host_config(artefacts: Path | None = None) -> punktfunk.HostConfig:
    return punktfunk.HostConfig(
        trust=OpenTrust.LOOPBACK,
        port=0,
        source=DesktopSpec(backend=BackendName.HEADLESS_SWAY),
        codec="h264",
        bitrate=Bitrate(8_000_000),
        artefacts=artefacts,
    )


MODE = Mode(640, 480, 60)
CLIENT = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=MODE)


@pytest.mark.slow
def test_the_card_that_a_session_draws_is_read_back_by_the_client_also_after_a_mode_change(
    pool_with: Callable[..., DesktopPool], tmp_path: Path
) -> None:
    pool = pool_with(sys.executable, "-m", "punktfunk.desktop.testcard")

    async def scenario() -> None:
        async with punktfunk.Host(host_config(tmp_path / "host"), desktop=pool) as host:
            config = CLIENT.model_copy(update={"artefacts": tmp_path / "client"})
            client = punktfunk.Client(f"127.0.0.1:{host.port}", config)
            async with client:
                await _seen(client, 15)
                answer = await client.request_mode(Mode(800, 600, 60))
                assert (answer.accepted, str(answer.mode)) == (True, "800x600@60")
                await _seen(client, 15)
                client.stop()
                summary = await client.finished()
                [report] = await host.sessions_over(1)
        assert summary.counters["decode_errors"] == 0
        assert summary.counters["strips_read"] > 20
        assert not report.failed, report.stream_reason

    asyncio.run(asyncio.wait_for(scenario(), 60))
    with np.load(tmp_path / "client" / "decoded.npz") as decoded:
        read = decoded["strip_frame"][decoded["strip_frame"] >= 0]
    assert len(np.unique(read)) > 20


def test_a_program_that_failed_is_told_of_and_started_again_with_the_next_stream(
    capfd: pytest.CaptureFixture[str], pool_with: Callable[..., DesktopPool], tmp_path: Path
) -> None:
    log.configure(level="warning")
    pool = pool_with("sh", "-c", f"echo started >>{tmp_path}/starts; echo out of paper >&2; exit 3")
    first = pool.lend(MODE)
    _said(capfd, "out of paper")
    pool.give_back(first)
    pool.lend(MODE)
    _said(capfd, "out of paper")
    assert (tmp_path / "starts").read_text().count("started") == 2
    # capfd's file is closed before the fixtures are torn down, so whoever writes has to be gone by then.
    pool.close()


def test_a_desktop_whose_compositor_was_killed_is_opened_again_for_the_next_stream(
    capfd: pytest.CaptureFixture[str], pool_with: Callable[..., DesktopPool]
) -> None:
    log.configure(level="warning")
    pool = pool_with("sleep", "60")
    lost = pool.lend(MODE)
    os.kill(_compositor_of(pool), signal.SIGKILL)
    _said(capfd, "desktop ended")
    first = pool.lend(MODE)
    pool.give_back(lost)
    second = pool.lend(MODE)
    assert display_of(first) == display_of(second) != display_of(lost)
    assert first.name != second.name
    with pytest.raises(DesktopError, match="given back"):
        pool.change(lost, MODE)
    pool.close()


@pytest.mark.slow
def test_a_stream_whose_compositor_is_killed_stands_still_says_so_and_gets_another_desktop(
    capfd: pytest.CaptureFixture[str], pool_with: Callable[..., DesktopPool], tmp_path: Path
) -> None:
    log.configure(level="warning")
    pool = pool_with(sys.executable, "-m", "punktfunk.desktop.testcard")
    lent: list[DesktopOutput] = []
    renew = pool.renew

    def renewing(lost: DesktopOutput | None, mode: Mode, **more: Any) -> DesktopOutput:
        if lost is not None:
            lent.append(lost)
        lent.append(renew(lost, mode, **more))
        return lent[-1]

    pool.renew = renewing  # type: ignore[method-assign]

    async def scenario() -> None:
        async with punktfunk.Host(host_config(tmp_path / "host"), desktop=pool) as host:
            config = CLIENT.model_copy(update={"artefacts": tmp_path / "client"})
            async with punktfunk.Client(f"127.0.0.1:{host.port}", config) as client:
                await _seen(client, 15)
                [report] = host.live()
                told: list[str] = []
                host.sessions.on_change = lambda report: told.extend(report.notices.values())
                os.kill(_compositor_of(pool), signal.SIGKILL)
                # Its sound may be missed, and told, before its pictures are.
                await soon(
                    lambda: any("the desktop gives no pictures" in said for said in told), "it is told"
                )
                await soon(lambda: not report.notices, "and that it is back")
                await _seen(client, 15)
                if pool.sound is not None:
                    heard = report.datagrams["audio_sent"]
                    await soon(lambda: report.datagrams["audio_sent"] > heard, "its sound is back too")
                client.stop()
                summary = await client.finished()
                [report] = await host.sessions_over(1)
        assert summary.counters["decode_errors"] == 0
        assert not report.failed, report.stream_reason

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert display_of(lent[0]) != display_of(lent[-1])
    said = capfd.readouterr().err
    assert said.index("desktop lost") < said.index("desktop back")
    pool.close()


@pytest.mark.slow
def test_a_client_that_takes_over_gets_the_output_that_shows_its_program(
    pool_with: Callable[..., DesktopPool], tmp_path: Path
) -> None:
    pool = pool_with(sys.executable, "-m", "punktfunk", "testcard")
    identity = Identity.load_or_create(tmp_path, Role.CLIENT)
    config = host_config().model_copy(
        update={"trust": OpenTrust.NONE, "trusted_clients": [identity.fingerprint]}
    )

    async def scenario() -> None:
        async with punktfunk.Host(config, desktop=pool) as host:
            mine = CLIENT.model_copy(update={"state_dir": tmp_path})
            async with punktfunk.Client(f"127.0.0.1:{host.port}", mine) as first:
                await _seen(first, 10)
                async with punktfunk.Client(f"127.0.0.1:{host.port}", mine) as second:
                    ended = await first.finished()
                    assert "superseded" in ended.reason
                    await _seen(second, 10)
                    assert [report.number for report in host.live()] == [2]

    asyncio.run(asyncio.wait_for(scenario(), 60))


def _compositor_of(pool: DesktopPool) -> int:
    """The process that answers on the display of what was lent first."""
    with socket.socket(socket.AF_UNIX) as to_compositor:
        to_compositor.connect(display_of(pool._lent[0].output))
        peer = to_compositor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(peer[:4], sys.byteorder)


def display_of(output: DesktopOutput) -> str:
    assert isinstance(output.screen, WlrScreen)
    return output.screen.display


def _said(capfd: pytest.CaptureFixture[str], what: str) -> None:
    """Wait until the log says that."""
    seen: list[str] = []

    def heard() -> bool:
        seen.append(capfd.readouterr().err)
        return what in "".join(seen)

    eventually(heard, f"{what!r} in the log")


async def _seen(client: punktfunk.Client, pictures: int) -> None:
    """Wait until the client has read the card in that many pictures more."""
    read: list[int] = []
    client.on_progress = lambda progress: read.append(progress.counters["strips_read"])
    await soon(lambda: read and read[-1] - read[0] >= pictures, f"{pictures} pictures with the card")
