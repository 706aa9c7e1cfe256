"""A KDE session as the host has it, with a KWin that takes its time: who types does not wait for who connects."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

pytest.importorskip("pywayland", reason="pip install 'punktfunk[desktop]'")

from punktfunk.desktop import DesktopOptions
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.desktop.kwin import KWinDesktop
from punktfunk.desktop.kwin.desktop import _Link
from punktfunk.errors import DesktopError
from punktfunk.input import InputEvent, InputKind
from punktfunk.units import Mode

KEY = InputEvent(InputKind.KEY_DOWN, code=0x41)
_LIMIT_S = 30


class Part:
    """What a link is made of, as far as it is asked: all that it is told to do it does."""

    def __init__(self) -> None:
        self.outputs: list[Any] = []

    def free_name(self) -> str:
        return "punktfunk-1"

    def close(self) -> None: ...

    def round_trip(self) -> None: ...

    def place(self, *_about: object) -> None: ...

    def aim(self, **_where: object) -> None: ...


class SlowScreencast(Part):
    """A KWin that is busy when it is asked for an output."""

    separates_cursor = False

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def of_new_output(self, *_wanted: object, separate_cursor: bool) -> Any:
        self.asked.set()
        assert self.go_on.wait(_LIMIT_S)
        raise DesktopError("KWin hangs")


class Injector(Part):
    def __init__(self, failure: DesktopError | None = None) -> None:
        super().__init__()
        self.events: list[InputEvent] = []
        self.failure = failure

    def inject(self, event: InputEvent) -> bool:
        if self.failure is not None:
            raise self.failure
        self.events.append(event)
        return True


def desktop_of(monkeypatch: pytest.MonkeyPatch, screencast: Part, injector: Injector) -> KWinDesktop:
    link = _Link(*(cast("Any", part) for part in (Part(), screencast, Part(), Part(), injector)))
    monkeypatch.setattr(KWinDesktop, "_connect", lambda _self: link)
    monkeypatch.setattr(KWinDesktop, "_watch", lambda _self, _link: None)
    monkeypatch.setattr(_Link, "close", lambda _self: None)
    return KWinDesktop(DesktopOptions(audio=False), display="/nowhere")


def test_input_does_not_wait_for_an_output_that_kwin_is_slow_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    screencast, injector = SlowScreencast(), Injector()
    desktop = desktop_of(monkeypatch, screencast, injector)
    with ThreadPoolExecutor() as threads:
        provided = threads.submit(desktop.provide, Mode(1280, 720, 60))
        assert screencast.asked.wait(_LIMIT_S)
        try:
            threads.submit(desktop.inject, KEY).result(_LIMIT_S)
        finally:
            screencast.go_on.set()
        assert injector.events == [KEY]
        with pytest.raises(DesktopError, match="hangs"):
            provided.result(_LIMIT_S)
    desktop.close()


def test_an_input_server_that_has_gone_ends_its_link_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Injector(DesktopError("the desktop has closed its input connection"))
    desktop = desktop_of(monkeypatch, Part(), gone)
    former = desktop._link
    with pytest.raises(DesktopError, match="closed its input"):
        desktop.inject(KEY)
    assert desktop.failure is gone.failure

    def replaced(event: InputEvent) -> bool:
        """Fail once another link has taken the place of this one."""
        desktop._link, desktop._failure = _Link(*(cast("Any", Part()) for _ in range(5))), None
        raise DesktopError("the former one has gone")

    desktop._failure = None
    monkeypatch.setattr(former.injector, "inject", replaced)
    with pytest.raises(DesktopError, match="former"):
        desktop.inject(KEY)
    assert desktop.failure is None
    desktop.close()


class Cast:
    """An output that was made for a stream."""

    node, output, virtual, ended = 51, "Virtual-punktfunk-1", True, False

    def end(self) -> None:
        self.ended = True


class QuickScreencast(Part):
    separates_cursor = True

    def __init__(self) -> None:
        super().__init__()
        self.cast = Cast()

    def of_new_output(self, *_wanted: object, separate_cursor: bool) -> Cast:
        self.separate_cursor = separate_cursor
        return self.cast


def test_an_output_goes_with_its_stream_although_input_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    screencast, injector = QuickScreencast(), Injector()
    desktop = desktop_of(monkeypatch, screencast, injector)
    output = desktop.provide(Mode(1280, 720, 60), separate_cursor=True)
    assert desktop.tells_cursor
    assert screencast.separate_cursor
    assert isinstance(output.screen, PipeWireScreen)
    assert output.screen.cursor == "metadata"
    injector.failure = DesktopError("the desktop has closed its input connection")
    with pytest.raises(DesktopError, match="closed its input"):
        desktop.inject(KEY)
    assert not screencast.cast.ended, "its pictures are there all the same"
    desktop.give_back(output)
    assert screencast.cast.ended, "it would stay on the desktop until the next client comes"
    assert desktop.failure is injector.failure, "the next stream connects again"
    desktop.close()


def test_no_output_is_left_where_its_stream_cannot_begin_for_want_of_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screencast = QuickScreencast()
    injector = Injector(DesktopError("the desktop has closed its input connection"))
    desktop = desktop_of(monkeypatch, screencast, injector)
    with pytest.raises(DesktopError, match="closed its input"):
        desktop.provide(Mode(1280, 720, 60))
    assert screencast.cast.ended
    assert desktop._link.lent == []
    desktop.close()


def test_an_older_kwin_paints_the_pointer_though_it_is_asked_for_beside_the_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screencast = QuickScreencast()
    screencast.separates_cursor = False
    desktop = desktop_of(monkeypatch, screencast, Injector())
    output = desktop.provide(Mode(1280, 720, 60), separate_cursor=True)
    assert not desktop.tells_cursor
    assert not screencast.separate_cursor
    assert isinstance(output.screen, PipeWireScreen)
    assert output.screen.cursor == "embedded"
    desktop.close()
