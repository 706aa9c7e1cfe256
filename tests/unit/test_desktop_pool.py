"""A desktop that is closed while streams still ask for things: apps' own ones are, by another thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from punktfunk.errors import SessionClosedError
from punktfunk.host.desktop import DesktopPool
from punktfunk.units import Mode


class Desk:
    """A desktop of which nothing is asked any more."""

    def close(self) -> None: ...


class JustClosed(ThreadPoolExecutor):
    """Work for a pool that is closed at the last moment, when it has looked whether it is."""

    def __init__(self, pool: DesktopPool) -> None:
        super().__init__(max_workers=1)
        self._pool = pool

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        self._pool.close()
        return super().submit(work, *arguments, **named)


@pytest.fixture
def pool() -> DesktopPool:
    pool = DesktopPool(Desk())  # type: ignore[arg-type]  # nothing is asked of it
    pool._work.shutdown()
    pool._work = JustClosed(pool)
    return pool


def test_what_nobody_waits_for_is_dropped(pool: DesktopPool) -> None:
    pool.release_all()
    pool.release_all()


def test_who_waits_is_told_that_it_is_closed(pool: DesktopPool) -> None:
    for _ in range(2):
        with pytest.raises(SessionClosedError):
            pool.lend(Mode(640, 360, 30))
