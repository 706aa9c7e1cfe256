"""The way back of a stream's pictures: tries that are bounded, and nothing that is left of one that came too late."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from punktfunk.errors import DesktopError, PunktfunkError, SharingStoppedError, SourceLostError
from punktfunk.host.stream import returning
from punktfunk.host.stream.returning import Returning
from punktfunk.host.stream.sources import Shown
from punktfunk.media import TestCardSpec

LOST = SourceLostError("the compositor has gone")


@dataclass
class Stream:
    """What the host does with a stream that has lost its pictures."""

    renew: Callable[[int], Shown]
    """Returns the output of that try, or raises."""
    answer: PunktfunkError | None = None
    """What the worker says of it."""
    tries: int = 0
    used: list[Shown] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.over = asyncio.Event()
        self.returning = Returning(
            self._renew,
            self._use,
            back=lambda: self._end("back"),
            given_up=lambda error: self._end(error.cause),
        )

    async def lose(self) -> str:
        """Lose the pictures, and wait for what comes of it."""
        self.over.clear()
        self.returning.lost(LOST)
        await self.over.wait()
        return self.ends[-1]

    async def _renew(self) -> Shown:
        self.tries += 1
        return self.renew(self.tries)

    def _use(self, shown: Shown) -> None:
        self.used.append(shown)
        self.returning.taken(self.answer)

    def _end(self, how: str) -> None:
        self.ends.append(how)
        self.over.set()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are told by their number here."""
    monkeypatch.setattr(returning, "PAUSES_S", (0.0,) * len(returning.PAUSES_S))


def shown() -> Shown:
    return Shown(TestCardSpec())


def test_a_desktop_that_is_there_at_the_third_try_is_shown() -> None:
    def third(number: int) -> Shown:
        if number < 3:
            raise DesktopError("no compositor answers")
        return shown()

    async def scenario() -> None:
        stream = Stream(third)
        assert await stream.lose() == "back"
        assert (stream.tries, len(stream.used)) == (3, 1)

    asyncio.run(scenario())


def test_one_that_does_not_come_back_ends_the_stream_with_its_words() -> None:
    def never(_number: int) -> Shown:
        raise DesktopError("no compositor answers")

    async def scenario() -> None:
        stream = Stream(never)
        assert await stream.lose() == "no compositor answers"
        assert stream.tries == len(returning.PAUSES_S)
        refused = Stream(lambda _number: shown(), answer=DesktopError("no first picture"))
        assert await refused.lose() == "no first picture"
        assert len(refused.used) == len(returning.PAUSES_S)

    asyncio.run(scenario())


def test_what_nobody_foresaw_ends_the_stream_and_does_not_leave_it_standing_still() -> None:
    def broken(_number: int) -> Shown:
        raise RuntimeError("can't start new thread")

    async def scenario() -> None:
        logged: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: logged.append(context["exception"])
        )
        stream = Stream(broken)
        assert "can't start new thread" in await stream.lose()
        assert [repr(each) for each in logged] == ['RuntimeError("can\'t start new thread")']

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_one_that_somebody_stopped_there_is_asked_once_and_no_more() -> None:
    def stopped(_number: int) -> Shown:
        raise SharingStoppedError("sharing this desktop was stopped on it")

    async def scenario() -> None:
        stream = Stream(stopped)
        assert await stream.lose() == "sharing this desktop was stopped on it"
        assert stream.tries == 1

    asyncio.run(scenario())


def test_one_that_goes_again_and_again_is_given_up() -> None:
    async def scenario() -> None:
        stream = Stream(lambda _number: shown())
        assert [await stream.lose() for _ in range(6)] == ["back"] * 5 + [LOST.cause]

    asyncio.run(scenario())


def test_one_that_goes_as_soon_as_it_is_taken_is_brought_back_again() -> None:
    async def scenario() -> None:
        def use(screen: Shown) -> None:
            stream.used.append(screen)
            # Of a worker both messages may be read at once, before anybody has acted on the first.
            stream.returning.taken(None)
            if len(stream.used) < 3:
                stream.returning.lost(LOST)

        stream = Stream(lambda _number: shown())
        stream.returning._use = use
        assert await stream.lose() == "back"
        assert (stream.tries, len(stream.used), stream.ends) == (3, 3, ["back"])
        assert len(stream.returning._losses) == 3

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_what_comes_for_a_stream_that_has_ended_meanwhile_is_closed() -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def renew() -> Shown:
            begun.set()
            await go_on.wait()
            return Shown(TestCardSpec(), ours)

        used: list[Shown] = []
        back = Returning(
            renew, used.append, back=pytest.fail, given_up=lambda error: pytest.fail(error.cause)
        )
        back.lost(LOST)
        await begun.wait()
        back.cancel()
        await asyncio.sleep(0)
        go_on.set()
        while ours.fileno() >= 0:
            await asyncio.sleep(0)
        assert not used
        theirs.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_what_fails_for_a_stream_that_has_ended_meanwhile_is_nobodys_fault() -> None:
    async def scenario() -> None:
        logged: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def renew() -> Shown:
            begun.set()
            await go_on.wait()
            raise DesktopError("the stream is over")

        back = Returning(
            renew, pytest.fail, back=pytest.fail, given_up=lambda error: pytest.fail(error.cause)
        )
        back.lost(LOST)
        await begun.wait()
        back.cancel()
        await asyncio.sleep(0)
        go_on.set()
        assert back._renewing is not None
        await asyncio.wait({back._renewing})
        await asyncio.sleep(0)
        del back
        gc.collect()
        assert not logged

    asyncio.run(asyncio.wait_for(scenario(), 30))
