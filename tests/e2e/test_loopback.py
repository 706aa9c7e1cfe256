"""The recorder's loopback: what a starved receiver loses is sent again, and is not taken for damage."""

from __future__ import annotations

import pytest

from punktfunk.host import loopback
from punktfunk.host.loopback import Loopback
from punktfunk.media import AccessUnit, test_frame
from punktfunk.media.types import Stamps
from tests.support.starved_link import StarvedLink

_BYTES = 60_000
"""Many times what the smallest buffer of a socket holds."""


def _units(count: int) -> list[AccessUnit]:
    return [AccessUnit(test_frame(n, _BYTES), n == 0, n, 1_000 + n, Stamps()) for n in range(count)]


def test_what_a_starved_receiver_lost_comes_back_in_order() -> None:
    units, written = _units(6), []
    with (
        StarvedLink(times=2) as link,
        Loopback(lambda data, pts_ns, key: written.append((data, pts_ns, key)), link.pair) as loop,
    ):
        for unit in units:
            loop.send(unit)
        loop.settle()
        assert link.dropped > 0
    assert written == [(unit.data, unit.pts_ns, unit.key) for unit in units]
    assert (loop.intact, loop.corrupt) == (6, 0)
    assert loop.sent_again >= 1


def test_what_never_comes_back_is_missing_and_not_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_RETURN_NS", 20_000_000)
    monkeypatch.setattr(loopback, "_SENDS", 3)
    with (
        StarvedLink(times=None) as link,
        Loopback(lambda *_: None, link.pair) as loop,
    ):
        for unit in _units(2):
            loop.send(unit)
        loop.settle()
    assert (loop.intact, loop.corrupt) == (0, 0)
    assert loop.sent_again == 4
