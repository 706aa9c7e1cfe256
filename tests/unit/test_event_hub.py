"""Events reach every reader that keeps up; who lags is dropped, and nobody reads means nothing is done."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from punktfunk.mgmt.events import LOG_EVENTS, MAX_STREAMS, QUEUE_EVENTS, EventHub, Subscription


class Audience:
    def __init__(self) -> None:
        self.calls: list[bool] = []
        self.state: dict[str, Any] = {"armed": False}
        self.hub = EventHub(lambda: dict(self.state), self.calls.append)


def drain(reader: Subscription) -> list[tuple[str, Any]]:
    events = []
    while (event := reader.take()) is not None:
        name, data = event.decode().rstrip("\n").split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def take_place(hub: EventHub) -> Subscription:
    reader = hub.subscribe()
    assert reader is not None
    return reader


def test_a_reader_is_told_the_state_first_and_again_however_often_it_changed_once() -> None:
    audience = Audience()
    reader = take_place(audience.hub)
    audience.hub.publish("session", {"number": 1})
    assert drain(reader) == [("state", {"armed": False}), ("session", {"number": 1})]
    for _ in range(1000):
        audience.hub.publish_state()
    audience.state["armed"] = True
    assert drain(reader) == [("state", {"armed": True})]


def test_a_reader_that_lags_is_dropped_and_counted_and_the_others_read_on() -> None:
    audience = Audience()
    slow, quick = take_place(audience.hub), take_place(audience.hub)
    for number in range(QUEUE_EVENTS + 1):
        audience.hub.publish("session", {"number": number})
        assert drain(quick)[-1] == ("session", {"number": number})
    assert slow.over
    assert drain(slow) == []
    assert not quick.over
    assert audience.hub.counters["slow_readers"] == 1
    assert audience.hub.readers == 1


def test_log_lines_give_way_before_a_reader_is_dropped_for_them() -> None:
    audience = Audience()
    reader = take_place(audience.hub)
    for number in range(10_000):
        audience.hub.publish_log({"number": number})
    assert not reader.over
    assert len(drain(reader)) == 1 + LOG_EVENTS
    assert audience.hub.counters["log_lines_left_out"] == 10_000 - LOG_EVENTS
    audience.hub.publish("session", {"number": 1})
    assert drain(reader) == [("session", {"number": 1})]


def test_places_are_limited_and_given_back() -> None:
    audience = Audience()
    readers = [take_place(audience.hub) for _ in range(MAX_STREAMS)]
    assert audience.hub.subscribe() is None
    assert audience.hub.counters["refused_full"] == 1
    readers[3].close()
    readers[3].close()
    assert audience.hub.subscribe() is not None
    assert audience.hub.readers == MAX_STREAMS


def test_the_host_is_listened_to_only_while_somebody_reads() -> None:
    audience = Audience()
    audience.hub.publish("session", {"unserialisable": object()})  # not even rendered
    first, second = take_place(audience.hub), take_place(audience.hub)
    first.close()
    assert audience.calls == [True]
    second.close()
    assert audience.calls == [True, False]
    take_place(audience.hub)
    assert audience.calls == [True, False, True]


def test_a_closed_hub_ends_every_reader_and_takes_no_other() -> None:
    async def read() -> bool:
        audience = Audience()
        reader = take_place(audience.hub)
        drain(reader)
        waiting = asyncio.ensure_future(reader.woken())
        await asyncio.sleep(0)
        assert not waiting.done()
        audience.hub.close()
        await waiting
        assert audience.hub.subscribe() is None
        return reader.over

    assert asyncio.run(read())
