"""What a client that draws the pointer is told of it, and what it makes of that (punktfunk/1 section 3.8)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from punktfunk.cursor import MAX_SIDE, CursorShape, CursorUpdate, PackedShape
from punktfunk.native import messages
from punktfunk.native.control import MS, S
from punktfunk.native.cursor import (
    CACHED_SHAPES,
    MAX_BACKLOG_BYTES,
    SHAPE_INTERVAL_NS,
    SHAPES_BURST,
    CursorCache,
    CursorTelling,
)
from punktfunk.native.datagrams import CursorFlag, CursorState

Sent = messages.CursorShape | CursorState


def shape(number: int, side: int = 2) -> CursorShape:
    """Return a shape that no other number has."""
    return CursorShape(side, side, 0, 1, number.to_bytes(4, "little") * side * side)


def due(telling: CursorTelling, now: int, backlog: int = 0) -> list[Sent]:
    def sent() -> Iterator[Sent]:
        while (what := telling.poll(now, backlog)) is not None:
            yield what

    return list(sent())


def at(x: int, y: int, looks: CursorShape | None = None) -> CursorUpdate:
    return CursorUpdate(True, x, y, looks)


def test_a_shape_is_told_before_the_state_that_names_it_and_not_again_when_it_comes_back() -> None:
    telling = CursorTelling(0)
    telling.update(at(3, 4, shape(1)), 0)
    assert due(telling, 0) == [messages.CursorShape(1, shape(1)), CursorState(1, CursorFlag.VISIBLE, 3, 4)]
    telling.update(at(-5, 6, shape(2)), 1)
    assert due(telling, 1) == [messages.CursorShape(2, shape(2)), CursorState(2, 1, -5, 6)]
    telling.update(at(7, 8, shape(1)), 2)
    assert due(telling, 2) == [CursorState(1, 1, 7, 8)]
    telling.update(CursorUpdate(visible=False), 3)
    assert due(telling, 3) == [CursorState(1, 0, 0, 0)]


def test_a_state_is_told_again_less_and_less_often_and_never_not_at_all() -> None:
    telling = CursorTelling(0)
    telling.update(at(1, 2, shape(1)), 0)
    due(telling, 0)
    told: list[int] = []
    while len(told) < 6:
        now = telling.next_timeout()
        assert now is not None
        assert not due(telling, now - 1)
        assert due(telling, now) == [CursorState(1, 1, 1, 2)]
        told.append(now // MS)
    assert told == [30, 130, 430, 1430, 2430, 3430]
    telling.update(at(9, 9), 4 * S)
    assert due(telling, 4 * S) == [CursorState(1, 1, 9, 9)]
    assert telling.next_timeout() == 4 * S + 30 * MS


def test_shapes_beyond_the_rate_wait_and_the_newest_replaces_those_that_wait() -> None:
    telling = CursorTelling(0)
    for number in range(SHAPES_BURST + 5):
        telling.update(at(0, 0, shape(number)), 0)
        sent = due(telling, 0)
        assert any(isinstance(what, messages.CursorShape) for what in sent) is (number < SHAPES_BURST)
        assert sent[-1] == CursorState(min(number + 1, SHAPES_BURST), 1, 0, 0), "of the last that was told"
    assert telling.counters["cursor_shapes_replaced"] == 4
    assert not [
        what for what in due(telling, SHAPE_INTERVAL_NS - 1) if isinstance(what, messages.CursorShape)
    ]
    [late, state] = due(telling, SHAPE_INTERVAL_NS)
    assert late == messages.CursorShape(SHAPES_BURST + 1, shape(SHAPES_BURST + 4))
    assert state == CursorState(SHAPES_BURST + 1, 1, 0, 0)


def test_a_client_that_acknowledges_nothing_is_told_no_new_shape_and_its_place_all_the_same() -> None:
    telling = CursorTelling(0)
    telling.update(at(1, 1, shape(1)), 0)
    assert due(telling, 0, MAX_BACKLOG_BYTES + 1) == [CursorState(0, 1, 1, 1)]
    retry = telling.next_timeout()
    assert retry is not None
    assert messages.CursorShape(1, shape(1)) in due(telling, retry, MAX_BACKLOG_BYTES)


def test_a_host_takes_for_known_only_what_a_client_has_not_forgotten() -> None:
    telling, cache = CursorTelling(0), CursorCache()
    told = 0
    for number in [*range(CACHED_SHAPES + 8), 0, 1, *range(CACHED_SHAPES), 5, 3, 39]:
        told += S
        telling.update(at(number, 0, shape(number)), told)
        for what in due(telling, told):
            if isinstance(what, CursorState):
                cache.moved(what)
            else:
                cache.shaped(what)
        assert cache.pointer == at(number, 0, shape(number))
    assert len(cache._shapes) == CACHED_SHAPES
    assert len(telling._known) < CACHED_SHAPES


def test_a_shape_that_comes_back_again_and_again_is_told_once_however_many_come_between() -> None:
    telling, told = CursorTelling(0), 0
    for number in range(1, 3 * CACHED_SHAPES):
        for looks in (0, number):
            telling.update(at(0, 0, shape(looks)), number * S)
            sent = due(telling, number * S)
            told += any(isinstance(what, messages.CursorShape) and what.shape == shape(0) for what in sent)
    assert told == 1


@pytest.mark.parametrize("wrong", [shape(1, MAX_SIDE + 1), CursorShape(2, 2, 0, 0, b""), shape(1, 0)])
def test_a_shape_that_does_not_fit_is_a_defect_of_who_tells_it(wrong: CursorShape) -> None:
    with pytest.raises(ValueError, match="cannot be told"):
        CursorTelling(0).update(at(0, 0, wrong), 0)


def test_a_client_draws_nothing_before_it_knows_shape_and_place_in_whatever_order_they_come() -> None:
    for first in ("shape", "state"):
        cache = CursorCache()
        assert cache.pointer == CursorUpdate(visible=False)
        assert not cache.is_known
        if first == "shape":
            assert not cache.shaped(messages.CursorShape(4, shape(4)))
            assert not cache.pointer.visible
            assert cache.moved(CursorState(4, 1, 5, 6))
        else:
            assert cache.moved(CursorState(4, 1, 5, 6))
            assert not cache.pointer.visible
            assert not cache.is_known
            assert cache.shaped(messages.CursorShape(4, shape(4)))
        assert cache.is_known
        assert cache.pointer == at(5, 6, shape(4))
        assert not cache.moved(CursorState(4, 1, 5, 6)), "told again, it is no other"
        assert cache.moved(CursorState(99, 1, 7, 8))
        assert cache.pointer == at(7, 8, shape(4)), "the place is right while its shape is under way"


def test_whatever_a_host_sends_a_client_keeps_a_few_shapes_whose_hot_spot_is_in_them() -> None:
    cache = CursorCache()
    for serial in range(3 * CACHED_SHAPES):
        shown = CursorShape(2, 2, 60_000, 60_000, bytes([serial]) * 16)
        cache.shaped(messages.CursorShape(serial, shown))
    assert len(cache._shapes) == CACHED_SHAPES
    cache.moved(CursorState(3 * CACHED_SHAPES - 1, 1, 0, 0))
    drawn = cache.pointer.shape
    assert drawn is not None
    assert (drawn.hot_x, drawn.hot_y) == (1, 1)
    cache.moved(CursorState(0, 1, 0, 0))
    assert cache.pointer.shape == drawn, "what was forgotten is as one that never came"


def test_a_serial_that_is_used_again_has_the_newer_shape() -> None:
    cache = CursorCache()
    cache.shaped(messages.CursorShape(1, shape(1)))
    cache.moved(CursorState(1, 1, 0, 0))
    assert cache.shaped(messages.CursorShape(1, shape(2)))
    assert cache.pointer.shape == shape(2)


def test_a_shape_passes_between_processes_as_it_is() -> None:
    for each in (shape(7), shape(0x01020304, MAX_SIDE)):
        packed = PackedShape.of(each)
        assert packed.shape == each
        assert len(packed.packed) < 2000
