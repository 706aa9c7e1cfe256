"""How streams share a desktop: an output each or the first one's, and what they are told once it is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from punktfunk.desktop import DesktopOutput
from punktfunk.desktop.capture import WlrScreen
from punktfunk.errors import DesktopError, PunktfunkError, SessionClosedError
from punktfunk.host.desktop import DesktopPool, OutputLease
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


class Outputs:
    """A desktop that makes outputs and notes what becomes of them."""

    def __init__(self) -> None:
        self.failure: PunktfunkError | None = None
        self.did: list[str] = []
        self._made = 0

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        self._made += 1
        return self._shown("provide", f"OUT-{self._made}", mode, f" at {scale}")

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        return self._shown("change", output.name, mode)

    def give_back(self, output: DesktopOutput) -> None:
        self.did.append(f"give_back {output.name}")

    def close(self) -> None: ...

    def _shown(self, what: str, name: str, mode: Mode, more: str = "") -> DesktopOutput:
        self.did.append(f"{what} {name} {mode}{more}")
        return DesktopOutput(name, mode, WlrScreen(display="wayland-1", output=name))


SMALL, LARGE = Mode(640, 360, 30), Mode(1280, 720, 60)


def test_each_stream_has_an_output_of_its_own() -> None:
    desktop = Outputs()
    pool = DesktopPool(desktop)  # type: ignore[arg-type]  # it is asked for outputs alone
    first, second = pool.lend(SMALL, scale=1.5), pool.lend(LARGE)
    pool.give_back(first)
    assert pool.change(second, SMALL).name == "OUT-2"
    assert desktop.did == [
        f"provide OUT-1 {SMALL} at 1.5", f"provide OUT-2 {LARGE} at 1.0", "give_back OUT-1", f"change OUT-2 {SMALL}",
    ]  # fmt: skip
    with pytest.raises(DesktopError, match="given back"):
        pool.change(first, SMALL)
    pool.close()


def test_mirrored_streams_show_the_first_ones_output_until_the_last_has_left() -> None:
    desktop = Outputs()
    pool = DesktopPool(desktop)  # type: ignore[arg-type]  # it is asked for outputs alone
    pool.mirrors = True
    first = pool.lend(LARGE)
    second = pool.lend(SMALL)
    assert (second.screen, second.mode) == (first.screen, SMALL), "scaled where it is captured"
    first = pool.change(first, SMALL)
    assert (first.mode, desktop.did) == (SMALL, [f"provide OUT-1 {LARGE} at 1.0"]), (
        "the other goes on with what it has"
    )
    pool.give_back(first)
    second = pool.change(second, LARGE)
    assert desktop.did[1:] == [f"change OUT-1 {LARGE}"], "it is alone now"
    pool.give_back(second)
    third = pool.lend(SMALL)
    assert desktop.did[2:] == ["give_back OUT-1", f"provide OUT-2 {SMALL} at 1.0"]
    desktop.failure = DesktopError("the compositor ended")
    assert pool.lend(SMALL).name == "OUT-3", "what has gone is mirrored by nobody"
    pool.mirrors = False
    assert pool.lend(SMALL).name == "OUT-4"
    pool.give_back(third)
    pool.close()


class SlowOutputs(Outputs):
    """One that is slow to give an output another mode."""

    def __init__(self) -> None:
        super().__init__()
        self.changing, self.go_on = threading.Event(), threading.Event()

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        self.changing.set()
        assert self.go_on.wait(30)
        return super().change(output, mode)


def test_an_output_that_changes_while_its_stream_ends_is_given_back() -> None:
    async def scenario() -> list[str]:
        desktop = SlowOutputs()
        pool = DesktopPool(desktop)  # type: ignore[arg-type]  # it is asked for outputs alone
        lease = OutputLease(pool)
        await lease.begin(SMALL)
        change = asyncio.ensure_future(lease.change(LARGE))
        assert await asyncio.to_thread(desktop.changing.wait, 30)
        lease.end()
        desktop.go_on.set()
        with pytest.raises(DesktopError, match="over"):
            await change
        await asyncio.to_thread(pool._work.shutdown)
        pool.close()
        return desktop.did

    assert asyncio.run(scenario())[2:] == ["give_back OUT-1"]


def test_an_output_that_is_lost_while_it_changes_is_given_back_and_another_one_is_shown() -> None:
    async def scenario() -> list[str]:
        desktop = SlowOutputs()
        pool = DesktopPool(desktop)  # type: ignore[arg-type]  # it is asked for outputs alone
        lease = OutputLease(pool)
        await lease.begin(SMALL)
        change = asyncio.ensure_future(lease.change(LARGE))
        assert await asyncio.to_thread(desktop.changing.wait, 30)
        renewal = asyncio.ensure_future(lease.renew(LARGE))
        await asyncio.sleep(0)
        desktop.go_on.set()
        await change
        await renewal
        lease.end()
        await asyncio.to_thread(pool._work.shutdown)
        pool.close()
        return desktop.did

    assert asyncio.run(scenario())[2:] == [
        "give_back OUT-1",
        f"provide OUT-2 {LARGE} at 1.0",
        "give_back OUT-2",
    ]
