"""A desktop that the project does not know is streamed through a real host: it gives pictures and pads, takes input."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pytest

import punktfunk
from punktfunk.desktop import DesktopOutput, OnEnd, RunningProgram
from punktfunk.desktop.audio import SoundPlace
from punktfunk.desktop.pads import PadMaker, PadState
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError, SessionClosedError
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.input import InputEvent, InputKind
from punktfunk.media import TestCardSpec
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.support.waiting import eventually, soon

MODE, OTHER = Mode(640, 480, 60), Mode(800, 600, 60)
TAG = 4711


class Blackboard:
    """A desktop without a compositor: its outputs show the test card, drawn where they are captured."""

    def __init__(self, *, outputs: int = 1) -> None:
        self.description = "a blackboard"
        self.failure: PunktfunkError | None = None
        self.notice: PunktfunkError | None = None
        self.sound: SoundPlace | None = None
        self.make_pad: PadMaker | None = self._plug_in
        self.takes_touch = self.tells_cursor = False
        self.free = [f"board-{n}" for n in range(outputs)]
        self.done: list[str] = []
        self.events: list[InputEvent] = []
        self.pads: list[PadState] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def play_here(self, playing: bool) -> None:
        self.done.append(f"play_here {playing}")

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        self.may_go_on.wait(30)
        if not self.free:
            raise CapabilityError("every board is in use", "buy another")
        return self._shown("provide", self.free.pop(), mode)

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        return self._shown("change", output.name, mode)

    def give_back(self, output: DesktopOutput) -> None:
        self.done.append(f"give_back {output.name}")
        self.free.insert(0, output.name)

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        raise CapabilityError("nothing runs on a blackboard", "write on it")

    def inject(self, event: InputEvent) -> None:
        if event.kind is InputKind.MOUSE_MOVE:
            raise DesktopError("a blackboard has no pointer")
        self.events.append(event)

    def release_all(self) -> dict[str, int]:
        self.done.append("release_all")
        return {}

    def close(self) -> None:
        self.done.append("close")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _shown(self, what: str, name: str, mode: Mode) -> DesktopOutput:
        self.done.append(f"{what} {name} {mode}")
        return DesktopOutput(name, mode, TestCardSpec(entropy=0.1, tag=TAG))

    def _plug_in(self, number: int, on_rumble: Callable[[int, int], None]) -> Pad:
        return Pad(self.pads)


class Pad:
    """A pad that remembers what it was told."""

    def __init__(self, told: list[PadState]) -> None:
        self._told = told
        self._never, self._end = socket.socketpair()

    def fileno(self) -> int:
        return self._never.fileno()

    def report(self, state: PadState) -> None:
        self._told.append(state)

    def read(self) -> None: ...

    def close(self) -> None:
        self._never.close()
        self._end.close()


CLIENT = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=MODE)


def test_its_picture_arrives_its_mode_changes_input_reaches_it_and_its_output_comes_back(
    tmp_path: Path,
) -> None:
    board = Blackboard()
    pool = DesktopPool(board)

    async def scenario() -> None:
        async with punktfunk.Host(host_config(), desktop=pool) as host:
            config = CLIENT.model_copy(update={"artefacts": tmp_path})
            async with punktfunk.Client(f"127.0.0.1:{host.port}", config) as client:
                await seen(client, 10)
                client.send(InputEvent(InputKind.KEY_DOWN, ord("A")))
                client.send(InputEvent(InputKind.MOUSE_MOVE, x=1, y=1))
                client.send(InputEvent(InputKind.PAD_BUTTON, 0x1000, 1, pad=0))
                answer = await client.request_mode(OTHER)
                assert (answer.accepted, answer.mode) == (True, OTHER)
                await seen(client, 10)
                await soon(lambda: bool(board.pads), "the pad's state")
                await soon(lambda: host.live()[0].datagrams["input"] == 3, "all input")
                client.stop()
                await client.finished()
                [report] = await host.sessions_over(1)
        assert not report.failed, report.stream_reason
        assert report.datagrams["input_refused"] == 1

    asyncio.run(asyncio.wait_for(scenario(), 60))
    eventually(lambda: board.free == ["board-0"], "the output comes back")
    pool.close()
    assert [event.code for event in board.events] == [ord("A")]
    assert board.pads == [PadState(buttons=0x1000)]
    assert [what for what in board.done if what != "release_all"] == [
        f"provide board-0 {MODE}", f"change board-0 {OTHER}", "give_back board-0", "close",
    ]  # fmt: skip
    assert "release_all" in board.done
    with np.load(tmp_path / "decoded.npz") as decoded:
        read = decoded["strip_frame"][decoded["strip_frame"] >= 0]
    assert len(np.unique(read)) >= 15


def test_a_desktop_that_has_no_output_left_fails_that_stream_with_its_words() -> None:
    pool = DesktopPool(Blackboard(outputs=0))

    async def scenario() -> None:
        async with (
            punktfunk.Host(host_config(), desktop=pool) as host,
            punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT) as client,
        ):
            await client.finished()
            [report] = await host.sessions_over(1)
            assert (report.failed, report.stream_reason) == (True, "every board is in use")

    asyncio.run(asyncio.wait_for(scenario(), 60))
    pool.close()


def test_an_output_that_is_given_back_is_there_for_whoever_asks_next_and_nobody_waits_for_the_giving() -> (
    None
):
    board = Blackboard()
    board.may_go_on.clear()
    pool = DesktopPool(board, reason="it hangs there")
    assert pool.description == "a blackboard (it hangs there)"
    first: list[DesktopOutput] = []
    lending = threading.Thread(target=lambda: first.append(pool.lend(MODE)))
    lending.start()
    pool.release_all()
    board.may_go_on.set()
    lending.join()
    pool.give_back(first[0])
    assert pool.lend(MODE) == first[0]
    assert board.done == [
        f"provide board-0 {MODE}", "release_all", "give_back board-0", f"provide board-0 {MODE}",
    ]  # fmt: skip
    with pytest.raises(CapabilityError, match="in use"):
        pool.lend(MODE)
    pool.close()
    pool.release_all()
    pool.give_back(first[0])
    assert board.done[-1] == "close", "what is closed is asked for nothing"
    with pytest.raises(SessionClosedError):
        pool.change(first[0], MODE)


def test_an_output_that_has_gone_is_given_back_once_and_nobody_else_is_shown_it() -> None:
    board = Blackboard(outputs=3)
    pool = DesktopPool(board)
    pool.mirrors = True
    first, second = pool.lend(MODE), pool.lend(OTHER)
    assert first.name == second.name
    renewed = pool.renew(first, MODE)
    assert renewed.name != first.name
    with pytest.raises(DesktopError, match="has gone"):
        pool.change(second, MODE)
    assert pool.renew(second, OTHER).name == renewed.name, "streams are mirrored as before"
    assert pool.renew(None, MODE).name == renewed.name
    pool.close()
    assert [what.split()[0] for what in board.done] == ["provide", "give_back", "provide", "close"]


def test_who_waits_for_an_output_of_a_desktop_that_is_closed_is_told_so() -> None:
    board = Blackboard(outputs=2)
    board.may_go_on.clear()
    pool = DesktopPool(board)
    told: list[PunktfunkError] = []

    def lend() -> None:
        try:
            pool.lend(MODE)
        except SessionClosedError as error:
            told.append(error)

    lending = [threading.Thread(target=lend) for _ in range(2)]
    for thread in lending:
        thread.start()
    eventually(lambda: pool._work._work_queue.qsize() == 1, "one is at the desktop, one waits its turn")
    pool.close()
    board.may_go_on.set()
    for thread in lending:
        thread.join(30)
    assert len(told) == 1


def host_config() -> punktfunk.HostConfig:
    return punktfunk.HostConfig(
        trust=OpenTrust.LOOPBACK, port=0, source=DesktopSpec(), codec="h264", bitrate=Bitrate(4_000_000)
    )


async def seen(client: punktfunk.Client, pictures: int) -> None:
    """Wait until the client has read the card in that many pictures more."""
    read: list[int] = []
    client.on_progress = lambda progress: read.append(progress.counters["strips_read"])
    await soon(lambda: read and read[-1] - read[0] >= pictures, f"{pictures} pictures with the card")
