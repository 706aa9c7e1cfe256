"""Who draws the pointer is agreed on in Hello and Welcome, and nobody is sent or takes anything of it otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from punktfunk.cursor import CursorShape
from punktfunk.errors import CursorPaintedError
from punktfunk.host.config import HostConfig
from punktfunk.host.describe import require_cursor
from punktfunk.host.desktop import DesktopPool
from punktfunk.media import TestCardSpec
from punktfunk.native import control, messages
from punktfunk.native.control import MS, S
from punktfunk.native.framing import frame
from punktfunk.native.handshake import ClientCaps, Hello, HostCaps
from punktfunk.native.host_control import HostState
from punktfunk.trust.open_trust import OpenTrust
from tests.unit.test_control import MODE, WELCOME, Pair

SHAPE = messages.CursorShape(1, CursorShape(1, 1, 0, 0, bytes(4)))


def agreed(*, asks: bool, promises: bool) -> Pair:
    pair = Pair(hello=Hello(mode=MODE, client_caps=ClientCaps.CURSOR if asks else 0))
    pair.welcome = replace(WELCOME, host_caps=HostCaps.CURSOR if promises else 0)
    return pair


def test_a_shape_that_is_told_at_once_waits_for_the_clock_rounds_that_it_would_end() -> None:
    pair = agreed(asks=True, promises=True)
    while pair.host.state is not HostState.STARTED:
        pair.run(MS)
    pair.host.cursor_shaped(SHAPE, pair.now)
    pair.run(S)
    [(over_at, over)] = pair.client_event(control.ClockRoundsOver)
    assert over.estimate is not None
    assert over.estimate.rounds == 8
    [(shaped_at, shaped)] = pair.client_event(control.CursorShaped)
    assert shaped.message == SHAPE
    assert shaped_at >= over_at
    assert pair.client.draws_cursor


@pytest.mark.parametrize(("asks", "promises"), [(False, False), (True, False), (False, True)])
def test_without_an_agreement_nothing_of_it_is_told_or_taken(asks: bool, promises: bool) -> None:
    pair = agreed(asks=asks, promises=promises)
    pair.run(S)
    assert not pair.client.draws_cursor
    pair.host.cursor_shaped(SHAPE, pair.now)
    pair.run(S)
    before = pair.client.counters.get("unexpected", 0)
    assert before == (1 if promises else 0), (
        "a host that promises it to nobody who asks tells it, and is not heard"
    )
    pair.client.receive(frame(SHAPE.encode()), pair.now)
    assert pair.client.counters["unexpected"] == before + 1
    assert not pair.client_event(control.CursorShaped)
    pair.host.receive(frame(messages.CursorRenderMode(0).encode()), pair.now)
    assert pair.host.counters.get("unexpected", 0) == (0 if promises else 1)


def test_a_client_says_at_any_time_who_draws_it() -> None:
    pair = agreed(asks=True, promises=True)
    pair.run(S)
    for client_draws in (0, 1, 7):
        pair.host.receive(frame(messages.CursorRenderMode(client_draws).encode()), pair.now)
    pair.run(MS)
    assert [event.client for _, event in pair.host_event(control.CursorDrawnBy)] == [False, True, True]


def test_a_client_that_changes_its_mind_at_once_and_again_is_held_to_a_rate_and_its_last_word_counts() -> (
    None
):
    pair = agreed(asks=True, promises=True)
    pair.run(S)
    for number in range(101):
        pair.host.receive(frame(messages.CursorRenderMode(number % 2).encode()), pair.now)
    pair.run(MS)
    assert len(pair.host_event(control.CursorDrawnBy)) == control.CURSOR_MODES_BURST
    pair.run(control.CURSOR_MODE_INTERVAL_NS)
    told = [event.client for _, event in pair.host_event(control.CursorDrawnBy)]
    assert len(told) == control.CURSOR_MODES_BURST + 1
    assert told[-1] is False, "the hundred-and-first"
    assert pair.host.counters["rate_limited"] == 101 - len(told)


class Desktop:
    description = "this sway"

    def __init__(self, *, tells_cursor: bool) -> None:
        self.tells_cursor = tells_cursor


@pytest.mark.parametrize(
    ("cursor", "tells", "refused"),
    [
        ("separate", False, "this sway paints it"),
        ("separate", None, "the testcard has none"),
        ("separate", True, None),
        ("auto", False, None),
        ("painted", None, None),
    ],
)
def test_what_has_to_tell_it_and_cannot_is_refused_with_what_would_help(
    cursor: str, tells: bool | None, refused: str | None
) -> None:
    config = HostConfig(trust=OpenTrust.LOOPBACK, source=TestCardSpec(), cursor=cursor)
    desktop = None if tells is None else DesktopPool(Desktop(tells_cursor=tells))  # type: ignore[arg-type]
    if refused is None:
        require_cursor(config, desktop)
        return
    with pytest.raises(CursorPaintedError, match=refused) as raised:
        require_cursor(config, desktop)
    assert (raised.value.code, raised.value.exit_code) == ("PF530", 4)
    assert "--cursor auto" in raised.value.hint
