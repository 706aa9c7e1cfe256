"""What a client passes on to its window of what a host tells of the pointer: in bounds, whatever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from punktfunk.client import messages
from punktfunk.client.cursor_feed import SHAPES_BURST, CursorFeed
from punktfunk.cursor import CursorShape, CursorUpdate
from punktfunk.native.cursor import CACHED_SHAPES
from punktfunk.native.datagrams import CursorState
from punktfunk.native.messages import CursorShape as Told
from tests.support.waiting import soon


class Window:
    """A worker that takes orders while it has room."""

    def __init__(self) -> None:
        self.room = 1 << 30
        self.taken: list[messages.CursorOrder] = []

    def offer(self, order: messages.CursorOrder) -> bool:
        if not self.room:
            return False
        self.room -= 1
        self.taken.append(order)
        return True

    @property
    def shapes(self) -> list[int]:
        return [order.serial for order in self.taken if isinstance(order, messages.CursorShaped)]

    @property
    def places(self) -> list[int]:
        return [order.x for order in self.taken if isinstance(order, messages.CursorMoved)]


def told(serial: int) -> Told:
    return Told(serial, CursorShape(1, 1, 0, 0, serial.to_bytes(4, "little")))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_flood_of_states_becomes_a_few_of_which_the_last_is_the_newest() -> None:
    async def scenario() -> None:
        window = Window()
        feed = CursorFeed(window.offer)
        for x in range(5000):
            feed.moved(CursorState(1, 1, x, 0))
        assert window.places == [0], "at once, and then nothing for a moment"
        await soon(lambda: window.places[-1] == 4999, "the newest")
        assert len(window.places) <= 3
        feed.close()

    run(scenario)


def test_a_flood_of_shapes_is_dropped_and_counted_beyond_its_allowance() -> None:
    async def scenario() -> None:
        window = Window()
        feed = CursorFeed(window.offer)
        for serial in range(10 * SHAPES_BURST):
            feed.shaped(told(serial))
        assert feed.counters["cursor_shapes"] < 2 * SHAPES_BURST
        assert feed.counters["cursor_shapes"] + feed.counters["cursor_shapes_dropped"] == 10 * SHAPES_BURST
        assert window.shapes == list(range(feed.counters["cursor_shapes"]))
        feed.close()

    run(scenario)


def test_a_window_that_reads_too_slowly_gets_the_shapes_first_and_no_more_than_are_kept() -> None:
    async def scenario() -> None:
        window = Window()
        window.room = 0
        feed = CursorFeed(window.offer)
        for serial in range(CACHED_SHAPES + 4):
            feed.shaped(told(serial))
        feed.moved(CursorState(CACHED_SHAPES, 1, 7, 8))
        assert not window.taken
        window.room = 1 << 30
        await soon(lambda: window.places == [7], "what waited")
        assert window.shapes == list(range(4, CACHED_SHAPES + 4))
        assert isinstance(window.taken[-1], messages.CursorMoved)
        feed.close()
        feed.moved(CursorState(CACHED_SHAPES, 1, 9, 9))
        assert window.places == [7], "nothing after the end"

    run(scenario)


def test_without_a_window_whoever_listens_hears_of_each_change_once() -> None:
    async def scenario() -> None:
        feed = CursorFeed(None)
        heard: list[CursorUpdate] = []
        feed.on_change = heard.append
        feed.shaped(told(1))
        for _ in range(3):
            feed.moved(CursorState(1, 1, 5, 6))
        assert heard == [feed.pointer] == [CursorUpdate(True, 5, 6, told(1).shape)]

    run(scenario)
