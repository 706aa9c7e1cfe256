"""The sink of our own as listeners come and go: whatever the order, it is there for who listens and for nobody else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from punktfunk.desktop.audio import SoundPlace
from punktfunk.host.peripherals import own_sinks
from punktfunk.host.peripherals.own_sinks import OwnSinks

USERS = SoundPlace("", "@DEFAULT_MONITOR@")


class Sink:
    """A sink that takes as long to be made as the test wants."""

    place = SoundPlace("", "ours.monitor")
    there: ClassVar[list[Sink]] = []
    making: ClassVar[list[tuple[threading.Event, threading.Event]]] = []
    """Of each that is made: what it sets once that has begun, and what it waits for."""

    def __init__(self, _note: Path) -> None:
        if self.making:
            begun, go_on = self.making.pop(0)
            begun.set()
            assert go_on.wait(30)
        self.there.append(self)

    def close(self) -> None:
        self.there.remove(self)


@pytest.fixture(autouse=True)
def no_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_sinks, "OwnSink", Sink)
    monkeypatch.setattr(Sink, "there", [])
    monkeypatch.setattr(Sink, "making", [])


async def _done(sinks: OwnSinks) -> None:
    """Wait until the thread has nothing to do, and the loop has heard of all that it did."""
    await asyncio.wrap_future(sinks._work.submit(lambda: None))
    await asyncio.sleep(0)


def test_a_sink_for_who_came_while_the_former_one_was_made_and_given_up_goes_with_its_listener() -> None:
    async def scenario() -> None:
        first, second = ((threading.Event(), threading.Event()) for _ in range(2))
        Sink.making.extend((first, second))
        sinks = OwnSinks(Path("note"), lambda: True)
        heard: list[str] = []
        sinks.begin(USERS, lambda: heard.append("first"))
        sinks.end()
        sinks.begin(USERS, lambda: heard.append("second"))
        first[1].set()
        # The loop is busy meanwhile: it hears of the first sink when that has gone and the second is being made.
        assert second[0].wait(30)
        while not heard:
            await asyncio.sleep(0)
        second[1].set()
        await _done(sinks)
        assert (heard, sinks.place(USERS), len(Sink.there)) == (["first", "second"], Sink.place, 1)
        sinks.end()
        await _done(sinks)
        assert (sinks.place(USERS), Sink.there) == (USERS, [])
        await sinks.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))
