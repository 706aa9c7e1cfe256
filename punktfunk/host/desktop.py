"""The desktop behind a host's streams: outputs lent to them one each, and their input put in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from punktfunk import log
from punktfunk.app import App
from punktfunk.desktop import (
    Availability,
    BackendName,
    Desktop,
    DesktopOptions,
    DesktopOutput,
    OnEnd,
    RunningProgram,
)
from punktfunk.desktop.audio import SoundPlace
from punktfunk.desktop.capture import numbered, shared
from punktfunk.desktop.keyboard_layout import DEFAULT_LAYOUT, xkb_names
from punktfunk.desktop.pads import PadMaker
from punktfunk.errors import DesktopError, PunktfunkError, SessionClosedError
from punktfunk.host.stream.sources import DesktopSpec, Shown
from punktfunk.input import InputEvent
from punktfunk.units import Mode

if TYPE_CHECKING:
    from punktfunk.desktop.backends import Backend

R = TypeVar("R")

_TRIED_MODE = Mode(640, 360, 60)
"""Of a desktop that is opened only to see whether it can be."""


@dataclass(slots=True, eq=False)
class _Lent:
    """An output that streams are shown."""

    output: DesktopOutput
    """As the desktop gave it."""
    shown: list[DesktopOutput]
    """What each of the streams was lent of it."""
    gone: bool = False
    """Whether it gives no pictures any more; the desktop has it back, and nobody else is shown it."""


def choose_backend(spec: DesktopSpec, state_dir: Path | None = None) -> tuple[Backend, Availability]:
    """Return the back end that serves ``spec`` here; raise ``CapabilityError`` that says why none does.

    ``state_dir`` is where the host keeps what it was granted.
    """
    from punktfunk.desktop import backends

    return backends.choose(_wanted(spec), state_dir)


def own_backend(app: App) -> BackendName:
    """Return what a desktop of an app's own is."""
    return BackendName.GAMESCOPE if app.compositor == "gamescope" else BackendName.HEADLESS_SWAY


def launchable(apps: Sequence[App], spec: DesktopSpec) -> list[App]:
    """Return the apps as they are launched where each client has a desktop of its own for each.

    The app that is the desktop itself is the program of ``spec`` then; one that asks for another desktop gets that.
    """
    return [
        app
        if app.own_desktop
        else replace(app, command=app.command or spec.app, own_desktop=True, compositor="gamescope")
        for app in apps
    ]


def _wanted(spec: DesktopSpec) -> BackendName | None:
    return None if spec.backend == "auto" else BackendName(spec.backend)


class DesktopPool:
    """Share a desktop of any kind between streams.

    What is asked of its outputs is done one by one in a thread of its own, in the order of the asking, so that an
    output that one stream gives back is there for the next. ``lend`` and ``change`` wait for that and are safe to call
    from several threads; nothing else blocks, but for ``close``. ``reason`` says why it is this desktop.
    """

    def __init__(self, desktop: Desktop, *, backend: Backend | None = None, reason: str = "") -> None:
        self._desktop = desktop
        self.backend = backend
        """What the desktop is one of, where it was chosen."""
        self._reason = reason
        self._work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="desktop")
        self._closed = self._letting_go = False
        self.mirrors = False
        """Whether a stream is shown what another one is shown already, in place of an output of its own."""
        self._lent: list[_Lent] = []
        """The oldest first; of the thread that does the desktop's work."""
        self._log = log.get("host.desktop")

    @classmethod
    def open(cls, spec: DesktopSpec, state_dir: Path | None = None, *, separate_cursor: bool = False) -> Self:
        """Choose and open a desktop, which takes half a second; it may keep in ``state_dir`` what it is granted.

        ``separate_cursor`` asks for the pointer beside the pictures where that is chosen for all streams.

        Raises ``CapabilityError`` where none can be streamed here, and ``DesktopError`` where it does not come up.
        """
        layout, variant = xkb_names(spec.keyboard_layout or DEFAULT_LAYOUT)
        options = DesktopOptions(
            program=spec.app,
            audio=spec.audio,
            keyboard_layout=layout,
            keyboard_variant=variant,
            separate_cursor=separate_cursor,
            state_dir=state_dir,
        )
        from punktfunk.desktop import backends

        opened = backends.open_desktop(options, _wanted(spec))
        return cls(opened.desktop, backend=opened.backend, reason=opened.reason)

    @classmethod
    def open_empty(
        cls,
        kind: BackendName = BackendName.HEADLESS_SWAY,
        *,
        expected: tuple[str, ...] = (),
        audio: bool = True,
        keyboard_layout: str = "",
    ) -> Self:
        """Open a headless desktop that runs nothing yet, which takes half a second. Raises as :meth:`open`.

        ``expected`` is the argument list of what it will run, ``keyboard_layout`` XKB's ``layout[:variant]``.
        """
        layout, variant = xkb_names(keyboard_layout or DEFAULT_LAYOUT)
        options = DesktopOptions(
            program=None, expected=expected, audio=audio, keyboard_layout=layout, keyboard_variant=variant
        )
        from punktfunk.desktop import backends

        return cls(backends.open_desktop(options, kind).desktop)

    @classmethod
    def try_out(cls, spec: DesktopSpec) -> None:
        """Open what each client of ``spec`` will get, and close it; raises as :meth:`open`."""
        desktop = cls.open_empty(
            BackendName(spec.backend), audio=spec.audio, keyboard_layout=spec.keyboard_layout
        )
        try:
            desktop.lend(_TRIED_MODE)
        finally:
            desktop.close()

    @property
    def description(self) -> str:
        """What is streamed, in words."""
        return f"{self._desktop.description} ({self._reason})" if self._reason else self._desktop.description

    @property
    def notice(self) -> PunktfunkError | None:
        """What a person at the desktop has to do before it can be streamed; ``None`` for nothing."""
        return self._desktop.notice

    @property
    def sound(self) -> SoundPlace | None:
        """Where its programs play; ``None`` where that is nowhere."""
        return self._desktop.sound

    @property
    def make_pad(self) -> PadMaker | None:
        """What plugs in clients' gamepads; ``None`` where there can be none."""
        return self._desktop.make_pad

    def play_here(self, playing: bool) -> None:
        """Let the host's own speakers play, or silence them as far as that can be done."""
        self._later(lambda: self._play_here(playing))

    @property
    def takes_touch(self) -> bool:
        """Whether fingers and pens arrive as what they are."""
        return self._desktop.takes_touch

    @property
    def tells_cursor(self) -> bool:
        """Whether the pointer can be told beside the pictures."""
        return self._desktop.tells_cursor

    def lend(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        """Return an output of that mode for one stream; where streams are mirrored, the oldest one's."""
        return self._in_turn(lambda: self._lend(mode, scale, separate_cursor))

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        """Give a lent output another mode; one that others are shown too, or that cannot, is captured scaled."""
        return self._in_turn(lambda: self._change(output, mode))

    def renew(
        self,
        lost: DesktopOutput | None,
        mode: Mode,
        *,
        scale: float = 1.0,
        separate_cursor: bool = False,
    ) -> DesktopOutput:
        """Take back an output that gives no pictures any more, and return another one for its stream."""
        return self._in_turn(lambda: self._renew(lost, mode, scale, separate_cursor))

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        """Start a program on the desktop; see :meth:`punktfunk.desktop.Desktop.run`."""
        if self._closed:
            raise SessionClosedError("the desktop is closed")
        return self._desktop.run(command, folder, on_end)

    def give_back(self, output: DesktopOutput) -> None:
        """Let the desktop keep a stream's output for another one, or take it away."""
        self._later(lambda: self._give_back(output))

    def inject(self, event: InputEvent) -> bool:
        """Put one event in; what the desktop makes of it, its injector counts.

        When it takes no more, the event is lost. It may have been the release of a key, so that all of them are let go.
        """
        try:
            self._desktop.inject(event)
        except SessionClosedError:
            return False
        except PunktfunkError:
            if not self._letting_go:
                self._letting_go = True
                self._later(self._let_go)
            return False
        return True

    def release_all(self) -> None:
        """Let go of every key and button: the compositor is waited for, elsewhere."""
        self._later(self._release)

    def close(self) -> None:
        """End a desktop of our own, leave another's as it was. Closing twice is harmless."""
        self._closed = True
        self._work.shutdown(wait=False, cancel_futures=True)
        self._desktop.close()

    def _in_turn(self, work: Callable[[], DesktopOutput]) -> DesktopOutput:
        """Do something that is waited for; raise ``SessionClosedError`` when the desktop is closed before its turn."""
        begun = self._submit(work)
        if begun is None:
            raise SessionClosedError("the desktop is closed")
        try:
            return begun.result()
        except CancelledError:
            raise SessionClosedError("the desktop was closed") from None

    def _later(self, work: Callable[[], None]) -> None:
        """Do something that nobody waits for; a desktop that is closed has nothing lent and nothing pressed."""
        begun = self._submit(work)
        if begun is not None:
            begun.add_done_callback(_raise_defect)

    def _submit(self, work: Callable[[], R]) -> Future[R] | None:
        """Have something done in its turn; ``None`` where the desktop is closed, by another thread just now perhaps."""
        if not self._closed:
            try:
                return self._work.submit(work)
            except RuntimeError:
                if not self._closed:
                    raise
        return None

    def _lend(self, mode: Mode, scale: float, separate_cursor: bool) -> DesktopOutput:
        there = [lent for lent in self._lent if not lent.gone]
        if self.mirrors and there and self._desktop.failure is None:
            first = there[0]
            shown = replace(first.output, mode=mode, screen=shared(first.output.screen))
            first.shown.append(shown)
            return shown
        output = self._desktop.provide(mode, scale=scale, separate_cursor=separate_cursor)
        self._lent.append(_Lent(output, [output]))
        return output

    def _renew(
        self, lost: DesktopOutput | None, mode: Mode, scale: float, separate_cursor: bool
    ) -> DesktopOutput:
        if lost is not None:
            self._give_back(lost, gone=True)
        return self._lend(mode, scale, separate_cursor)

    def _change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        lent = self._find(output)
        if lent.gone:
            raise DesktopError("the output of this stream has gone")
        if len(lent.shown) > 1:
            changed = replace(output, mode=mode, screen=shared(output.screen))
        else:
            lent.output = changed = self._desktop.change(lent.output, mode)
        lent.shown = [changed if each is output else each for each in lent.shown]
        return changed

    def _find(self, output: DesktopOutput) -> _Lent:
        """Return what a stream was lent; raise ``DesktopError`` where that was given back."""
        for lent in self._lent:
            if any(each is output for each in lent.shown):
                return lent
        raise DesktopError("the output of this stream was given back")

    def _give_back(self, output: DesktopOutput, *, gone: bool = False) -> None:
        try:
            lent = self._find(output)
            lent.shown = [each for each in lent.shown if each is not output]
            if not lent.shown:
                self._lent.remove(lent)
            over = not lent.gone and (gone or not lent.shown)
            lent.gone = lent.gone or gone
            if over:
                self._desktop.give_back(lent.output)
        except PunktfunkError as error:
            self._log.warning("output not taken away", output=output.name, cause=error.cause)

    def _play_here(self, playing: bool) -> None:
        try:
            self._desktop.play_here(playing)
        except PunktfunkError as error:
            self._log.warning("the host's speakers go on playing", cause=error.cause, hint=error.hint)

    def _let_go(self) -> None:
        self._letting_go = False
        self._release()

    def _release(self) -> None:
        try:
            self._desktop.release_all()
        except SessionClosedError:
            pass  # and with it everything that was held down
        except PunktfunkError as error:
            self._log.warning("input not released", cause=error.cause)


OpenDesktop = Callable[[Mode], Awaitable[DesktopPool]]
"""Returns a desktop that runs, for a stream of that mode."""


class OutputLease:
    """The output of one stream, for as long as the stream is there; belongs to one event loop.

    ``read_marker`` has its pictures numbered by the test card's frame marker, ``scale`` is how large the client wishes
    things to be drawn; with ``separate_cursor`` it draws the pointer. ``open_desktop`` is for a stream whose
    desktop may have to be opened first, and is given the stream's mode; ``desktop`` is then what it has returned.
    """

    def __init__(
        self,
        desktop: DesktopPool | None,
        open_desktop: OpenDesktop | None = None,
        *,
        read_marker: bool = False,
        scale: float = 1.0,
        separate_cursor: bool = False,
    ) -> None:
        self.desktop = desktop
        """Where the stream's input goes and its sound comes from; ``None`` before it is open."""
        self._open_desktop = open_desktop
        self._read_marker = read_marker
        self._scale = scale
        self._separate_cursor = separate_cursor
        self._lent: DesktopOutput | None = None
        """``None`` before there is one, and while that is being changed or replaced."""
        self._turn = asyncio.Lock()
        """Held by what changes or replaces it: after either, the desktop knows it by another object."""
        self._over = False

    async def begin(self, mode: Mode) -> Shown:
        """Have an output made; return what to capture."""
        if self.desktop is None:
            if self._open_desktop is None:
                raise DesktopError("the stream has no desktop")
            self.desktop = await self._open_desktop(mode)
        lent = await asyncio.to_thread(
            self.desktop.lend, mode, scale=self._scale, separate_cursor=self._separate_cursor
        )
        try:
            shown = await self._shown(lent)
        except BaseException:
            self.desktop.give_back(lent)
            raise
        if self._over:
            self.desktop.give_back(lent)
        self._lent = lent
        return shown

    async def change(self, mode: Mode) -> Shown:
        """Give the output another mode; return what to capture then."""
        async with self._turn:
            if self.desktop is None or self._lent is None:
                raise DesktopError("the stream has no output yet")
            lent, self._lent = self._lent, None
            try:
                lent = await asyncio.to_thread(self.desktop.change, lent, mode)
            finally:
                self._take(self.desktop, lent)
            return await self._shown_of(lent)

    async def renew(self, mode: Mode) -> Shown:
        """Have another output made in place of one that gives no pictures any more; return what to capture then."""
        async with self._turn:
            if self.desktop is None:
                raise DesktopError("the stream has no output yet")
            lost, self._lent = self._lent, None
            lent = await asyncio.to_thread(
                self.desktop.renew,
                lost,
                mode,
                scale=self._scale,
                separate_cursor=self._separate_cursor,
            )
            self._take(self.desktop, lent)
            return await self._shown_of(lent)

    def end(self) -> None:
        """Give the output back for another stream."""
        self._over = True
        if self.desktop is not None and self._lent is not None:
            self.desktop.give_back(self._lent)

    def _take(self, desktop: DesktopPool, lent: DesktopOutput) -> None:
        """Keep what the stream has now, or give it back where the stream has ended meanwhile."""
        if self._over:
            desktop.give_back(lent)
        else:
            self._lent = lent

    async def _shown_of(self, lent: DesktopOutput) -> Shown:
        """Return what to capture of it; raise ``DesktopError`` where the stream has ended meanwhile."""
        if self._over:
            raise DesktopError("the stream is over")
        return await self._shown(lent)

    async def _shown(self, lent: DesktopOutput) -> Shown:
        screen = numbered(lent.screen) if self._read_marker else lent.screen
        return await asyncio.to_thread(Shown.open, screen, lent.open_remote)


def _raise_defect(done: Future[None]) -> None:
    """Raise what nobody foresaw, so that ``concurrent.futures`` logs it: nobody asks for the result."""
    if not done.cancelled():
        done.result()
