"""Clients that ask for things of one app at once: what is quit stays so, and takes nothing of the next one with it."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from punktfunk.app import DESKTOP, App
from punktfunk.desktop import OnEnd, RunningProgram
from punktfunk.errors import StatusError
from punktfunk.gamestream.launch import LaunchRequest
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.gamestream.pairing import WIRE
from punktfunk.trust.store import PairedClient
from tests.support.streaming_host import StreamingHost, streaming_host
from tests.support.waiting import soon

GAME = App(2, "game", ("game",), "/")


class Desk:
    """A desktop whose programs begin and end when the test says so."""

    def __init__(self) -> None:
        self.may_begin, self.may_end = threading.Event(), threading.Event()
        self.began = self.ended = 0

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        del command, folder, on_end
        assert self.may_begin.wait(30)
        self.began += 1
        return self

    def end(self) -> None:
        assert self.may_end.wait(30)
        self.ended += 1

    def close(self) -> None:
        self.may_end.set()


def client(number: int) -> PairedClient:
    return PairedClient(f"{number:064x}", f"client {number}", WIRE, 0, "")


def know(host: StreamingHost, *numbers: int) -> None:
    """Let clients be paired."""
    for number in numbers:
        host.pairing.trust.add(client(number))


def wish(app: App, key: bytes | None = None) -> LaunchRequest:
    rikey = secrets.token_hex(16) if key is None else key.hex()
    query = {"appid": str(app.id), "rikey": rikey, "rikeyid": "1", "localAudioPlayMode": "0"}
    return LaunchRequest.parse(query, resume=False)


async def launched(host: StreamingHost, number: int, app: App) -> str:
    return await host.server.launch(client(number), wish(app), "127.0.0.1", f"127.0.0.{number}")


def test_nothing_is_published_on_an_app_that_is_being_quit_and_the_next_one_stays(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk()
        desk.may_begin.set()
        desktop = DesktopPool(desk)  # type: ignore[arg-type]  # it is asked for programs alone
        async with streaming_host(tmp_path, apps=(DESKTOP, GAME), app_desktop=desktop) as host:
            know(host, 1, 2, 3)
            server = host.server
            await launched(host, 1, GAME)
            quitting = [asyncio.create_task(server.cancel(client(n))) for n in (1, 2)]
            await soon(lambda: not server.sessions, "its session is over")
            with pytest.raises(StatusError, match="being quit"):
                await server.resume(client(3), wish(GAME), "127.0.0.1", "127.0.0.3")
            with pytest.raises(StatusError, match="runs already"):
                await launched(host, 3, DESKTOP)
            desk.may_end.set()
            await asyncio.gather(*quitting)
            assert (server.running_app(None), server.sessions, desk.ended) == (0, [], 1)
            await launched(host, 3, DESKTOP)
            assert server.running_app(None) == DESKTOP.id

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_launch_with_the_key_of_an_earlier_session_starts_no_program(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk()
        desk.may_begin.set()
        desk.may_end.set()
        desktop, key = DesktopPool(desk), bytes(range(16))  # type: ignore[arg-type]  # it is asked for programs alone
        async with streaming_host(tmp_path, apps=(DESKTOP, GAME), app_desktop=desktop) as host:
            know(host, 1, 2)
            await host.server.launch(client(1), wish(DESKTOP, key), "127.0.0.1", "127.0.0.1")
            await host.server.cancel(client(1))
            with pytest.raises(StatusError, match="the key of an earlier one") as error:
                # Whoever else shows it: its holder made it for one session.
                await host.server.launch(client(2), wish(GAME, key), "127.0.0.1", "127.0.0.2")
            assert (error.value.status, desk.began, host.server.running_app(None)) == (400, 0, 0)
            await launched(host, 2, GAME)
            assert desk.began == 1

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_launch_that_is_quit_half_way_leaves_neither_program_nor_session(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk()
        desk.may_end.set()
        desktop = DesktopPool(desk)  # type: ignore[arg-type]  # it is asked for programs alone
        async with streaming_host(tmp_path, apps=(DESKTOP, GAME), app_desktop=desktop) as host:
            know(host, 1, 2)
            launching = asyncio.create_task(launched(host, 1, GAME))
            await soon(lambda: host.server.running_app(None) == GAME.id, "the launch has begun")
            quitting = asyncio.create_task(host.server.cancel(client(2)))
            await asyncio.sleep(0)
            desk.may_begin.set()
            with pytest.raises(StatusError, match=r"before it had begun|being quit"):
                await launching
            await quitting
            assert (host.server.running_app(None), host.server.sessions) == (0, [])
            assert desk.ended == desk.began

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_launch_whose_client_is_unpaired_half_way_is_refused_and_leaves_no_session(tmp_path: Path) -> None:
    """Its session would have the key that the client chose: RTSP and the control port ask for no certificate."""

    async def run() -> None:
        desk = Desk()
        desk.may_end.set()
        desktop = DesktopPool(desk)  # type: ignore[arg-type]  # it is asked for programs alone
        async with streaming_host(tmp_path, apps=(DESKTOP, GAME), app_desktop=desktop) as host:
            know(host, 1, 2)
            launching = asyncio.create_task(launched(host, 1, GAME))
            await soon(lambda: host.server.running_app(None) == GAME.id, "the launch has begun")
            host.pairing.trust.remove(client(1).fingerprint)
            desk.may_begin.set()
            with pytest.raises(StatusError, match="not paired with the host any more") as refused:
                await launching
            assert (refused.value.status, host.server.sessions) == (401, [])
            assert (host.server.running_app(None), desk.ended) == (0, desk.began), "nobody else came to it"

    asyncio.run(asyncio.wait_for(run(), 60))
