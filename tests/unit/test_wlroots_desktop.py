"""A session of wlroots as the host has it, with a sway that hangs: nobody waits who types, and no output is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pywayland", reason="pip install 'punktfunk[desktop]'")

from punktfunk.desktop import DesktopOptions, DesktopOutput
from punktfunk.desktop.capture import WlrScreen
from punktfunk.desktop.inject.input_thread import MAX_WAITING
from punktfunk.desktop.vdisplay import sway_ipc
from punktfunk.desktop.wlroots import WlrootsDesktop
from punktfunk.errors import DesktopError, SessionClosedError
from punktfunk.input import InputEvent, InputKind
from punktfunk.units import Mode
from tests.support.new_sway import NewSway
from tests.support.waiting import eventually

MODE = Mode(640, 480, 60)
_LIMIT_S = 30


def moved(x: int) -> InputEvent:
    return InputEvent(InputKind.MOUSE_MOVE, x=x, y=0)


class Compositor:
    """Both what a desktop is connected by and what it injects by; hangs, or has gone, when it is told to."""

    def __init__(self) -> None:
        self.reads = threading.Event()
        self.reads.set()
        self.asked = threading.Event()
        self.gone = False
        self.outputs: list[Any] = []
        self.events: list[InputEvent] = []
        self.counters: dict[str, int] = {}

    def dispatch(self, _timeout_s: float) -> bool:
        self.asked.set()
        assert self.reads.wait(_LIMIT_S)
        self.round_trip()
        return False

    def round_trip(self) -> None:
        if self.gone:
            raise DesktopError("the compositor does not answer")

    def inject(self, event: InputEvent) -> bool:
        self.events.append(event)
        return True

    def aim(self, _output: str) -> None: ...

    def release_all(self) -> None:
        self.counters = {"injected": len(self.events)}

    def close(self) -> None: ...


@pytest.fixture
def compositor() -> Compositor:
    return Compositor()


@pytest.fixture
def sway(tmp_path: Path) -> Iterator[NewSway]:
    """What takes sway's commands."""
    running = NewSway(tmp_path / "sock")
    yield running
    running.answers.set()
    running.close()


@pytest.fixture
def desktop(
    compositor: Compositor, sway: NewSway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WlrootsDesktop]:
    def attach(self: WlrootsDesktop) -> None:
        self._ipc_path, self._virtual, self._own_output = str(tmp_path / "sock"), None, True
        self._output = self._pointed_at = "DP-1"
        self._connection = self._injector = compositor  # type: ignore[assignment]  # as far as it is asked

    monkeypatch.setattr(WlrootsDesktop, "_attach", attach)
    with WlrootsDesktop(DesktopOptions(audio=False), display="/nowhere") as opened:
        yield opened
        compositor.reads.set()


def test_input_waits_neither_for_a_sway_that_hangs_nor_for_an_output_that_it_is_slow_to_make(
    desktop: WlrootsDesktop, compositor: Compositor, sway: NewSway
) -> None:
    compositor.reads.clear()
    sent = [moved(number) for number in range(20)]
    with ThreadPoolExecutor() as threads:
        threads.submit(lambda: [desktop.inject(event) for event in sent[:10]]).result(_LIMIT_S)
        assert compositor.asked.wait(_LIMIT_S)
        compositor.reads.set()
        sway.answers.clear()
        made = threads.submit(desktop.provide, MODE)
        eventually(desktop._lock.locked, "the output to be asked for")
        threads.submit(lambda: [desktop.inject(event) for event in sent[10:]]).result(_LIMIT_S)
        sway.answers.set()
        assert made.result(_LIMIT_S).name == "HEADLESS-1"
    assert desktop.release_all() == {"injected": 20}, "once all of it has been put in"
    assert compositor.events == sent


def test_all_streams_of_an_output_have_its_pointer_beside_the_pictures_while_one_of_them_has(
    desktop: WlrootsDesktop, compositor: Compositor
) -> None:
    def place(output: DesktopOutput) -> str:
        assert isinstance(output.screen, WlrScreen)
        return output.screen.cursor

    desktop._own_output = False
    compositor.outputs = [SimpleNamespace(name="DP-1")]
    assert not desktop.tells_cursor
    assert place(desktop.provide(MODE, separate_cursor=True)) == "embedded", "where none is told"
    desktop._tells_cursor = True
    painted = desktop.provide(MODE)
    assert place(painted) == "embedded"
    drawn = desktop.provide(MODE, separate_cursor=True)
    beside = desktop.provide(MODE)
    assert (place(drawn), place(beside)) == ("metadata", "metadata")
    assert place(desktop.change(beside, MODE)) == "metadata"
    assert place(desktop.change(painted, MODE)) == "embedded"
    for output in (painted, drawn):
        desktop.give_back(output)
    last = desktop.provide(MODE)
    assert place(last) == "metadata", "one is left"
    for output in (beside, last):
        desktop.give_back(output)
    assert place(desktop.provide(MODE)) == "embedded"


def test_outputs_that_were_made_for_a_stream_have_the_pointer_where_that_wants_it(
    desktop: WlrootsDesktop,
) -> None:
    desktop._tells_cursor = True
    outputs = [desktop.provide(MODE, separate_cursor=separate) for separate in (True, False)]
    assert [output.screen.cursor for output in outputs] == ["metadata", "embedded"]  # type: ignore[union-attr]
    changed = desktop.change(outputs[0], Mode(800, 600, 60))
    assert changed.screen == outputs[0].screen


def test_of_more_input_than_a_sway_takes_the_rest_is_refused(
    desktop: WlrootsDesktop, compositor: Compositor
) -> None:
    compositor.reads.clear()
    desktop.inject(moved(0))
    assert compositor.asked.wait(_LIMIT_S)
    for number in range(MAX_WAITING):
        desktop.inject(moved(1 + number))
    with pytest.raises(DesktopError, match="more input comes than the compositor takes"):
        desktop.inject(moved(-1))
    compositor.reads.set()
    desktop.release_all()
    desktop.inject(moved(-2))
    desktop.release_all()
    assert [event.x for event in compositor.events] == [*range(MAX_WAITING + 1), -2]


def test_a_compositor_that_ends_is_noticed_with_an_event_and_told_with_the_next(
    desktop: WlrootsDesktop, compositor: Compositor
) -> None:
    compositor.gone = True
    desktop.inject(moved(1))
    eventually(lambda: desktop.failure, "the end to be noticed")
    for _ in range(2):
        with pytest.raises(DesktopError, match="does not answer"):
            desktop.inject(moved(2))
    compositor.gone = False
    desktop.provide(MODE)
    desktop.inject(moved(3))
    desktop._input.settle()
    assert compositor.events == [moved(3)], "in the one that was started since nothing has gone wrong"
    desktop.close()
    with pytest.raises(SessionClosedError):
        desktop.inject(moved(4))


def test_what_goes_wrong_with_one_event_is_raised_once_with_the_next_and_input_goes_on(
    desktop: WlrootsDesktop, compositor: Compositor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(compositor, "inject", lambda event: event.nonsense)
        desktop.inject(moved(1))
        desktop._input.settle()
    with pytest.raises(AttributeError, match="nonsense"):
        desktop.inject(moved(2))
    desktop.inject(moved(3))
    desktop._input.settle()
    assert compositor.events == [moved(3)]
    assert desktop.failure is None


def test_an_output_goes_with_its_stream_although_the_connection_has_failed(
    desktop: WlrootsDesktop, compositor: Compositor, sway: NewSway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = desktop.provide(MODE), desktop.provide(MODE)
    compositor.gone = True
    desktop.inject(moved(1))
    eventually(lambda: desktop.failure, "the end to be noticed")
    desktop.give_back(first)
    assert list(sway.outputs) == ["DP-1", second.name], "it would stay there until the next client comes"
    # One that hangs as well keeps it for now.
    assert desktop._virtual is not None
    sway.answers.clear()
    with monkeypatch.context() as impatient:
        impatient.setattr(sway_ipc, "_ANSWER_LIMIT_S", 0.05)
        desktop._virtual._ipc._socket.settimeout(0.05)
        desktop.give_back(second)
    assert [each.name for each in desktop._virtual.outputs] == [second.name], "to be tried again"
    desktop._virtual._ipc._socket.settimeout(_LIMIT_S)
    sway.answers.set()
    desktop.give_back(second)
    assert desktop._virtual.outputs == ()
    assert list(sway.outputs) == ["DP-1"]
