"""KWin's own session: each stream gets an output of its size, or one of the user's where KWin makes none."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from punktfunk import log
from punktfunk.desktop import DesktopOptions, DesktopOutput, wayland
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.desktop.inject.eis import EisInjector
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.desktop.kwin import reach
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.desktop.user_session import UserSession, session_socket
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError, SessionClosedError
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.units import Mode

if TYPE_CHECKING:
    from punktfunk.desktop.kwin.outputs import Outputs, Place
    from punktfunk.desktop.kwin.screencast import Cast, Screencast
    from punktfunk.desktop.wayland.connection import Connection

_GONE_HINT: Final = "the next stream connects to the KWin that runs by then"
_OLDEST_STAMP_MS: Final = 100
"""KWin stamps a picture by its last presentation before it: a period or two ago while something moves."""
_MADE_AT_HZ: Final = 60
"""What KWin gives an output that it makes."""


@dataclass(eq=False)
class _Lent:
    """What a stream has: a cast, and where its output lies."""

    output: DesktopOutput
    """As it was returned last: a stream is known by this very object, for PipeWire gives a number again."""
    cast: Cast
    place: Place | None
    scale: float
    separate_cursor: bool


@dataclass
class _Link:
    """The connections to one life of the compositor."""

    connection: Connection
    screencast: Screencast
    outputs: Outputs
    bus: SessionBus
    injector: EisInjector
    lent: list[_Lent] = field(default_factory=list)
    """Of each stream, oldest first."""
    closed: bool = False

    def of(self, output: DesktopOutput) -> _Lent | None:
        """Return what a stream has; None once that is gone."""
        return next((each for each in self.lent if each.output is output), None)

    def close(self) -> None:
        """End what the compositor did for us; what fails has ended with it. Closing twice is harmless."""
        if self.closed:
            return
        self.closed = True
        for part in (self.injector, self.bus):
            try:
                part.close()
            except PunktfunkError as error:
                log.get("desktop.kwin").debug("not closed in order", cause=error.cause)
        # Whoever waits for events is to hear of it, and a descriptor that is closed under him says nothing.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class KWinDesktop(UserSession):
    """The user's own KDE session; see :class:`punktfunk.desktop.Desktop`.

    A stream gets an output that is made for it and goes with it, or the first of the user's, scaled. Absolute positions
    and fingers land on the output of the stream that has been there longest. When KWin ends, so do all of its streams;
    ``provide`` connects to the next one.
    """

    def __init__(self, options: DesktopOptions | None = None, *, display: str | None = None) -> None:
        """Connect to KWin at the socket ``display``, or where the environment says.

        Raises CapabilityError where it is another compositor, or KWin lets nobody capture or inject, and DesktopError
        where none answers.
        """
        given = options or DesktopOptions()
        self.socket = session_socket(display)
        super().__init__(given, display=self.socket)
        self._log = log.get("desktop.kwin")
        self._keyboard = Keyboard(given.keyboard_layout, given.keyboard_variant)
        self._makes_outputs: bool | None = None
        """Whether KWin did so when it was last asked; None before."""
        self._link = self._connect()
        self._watch(self._link)

    @property
    def description(self) -> str:
        """Says whether the user's own outputs are shown, as far as that is known."""
        if self._makes_outputs is None:
            return "this KDE desktop, on an output of its own where KWin makes one"
        return "this KDE desktop, on an output of its own" if self._makes_outputs else "this KDE desktop"

    @property
    def tells_cursor(self) -> bool:
        """Whether this KWin leaves the pointer out of the pictures beside which it tells it."""
        return self._link.screencast.separates_cursor

    @property
    def takes_touch(self) -> bool:
        """Whether KWin gave a device for fingers."""
        return self._link.injector.takes_touch

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs that there are."""
        with self._lock:
            return [output.name for output in self._link.connection.outputs]

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        """Return an output made for the stream, or the first of the user's, which keeps its own scale."""
        with self._lock, self._noting_failure():
            link = self._open_link()
            separate_cursor = separate_cursor and link.screencast.separates_cursor
            return self._lend(link, mode, scale, separate_cursor=separate_cursor)

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        """Give the stream's own output another mode, or the stream another output; one of the user's is scaled."""
        with self._lock:
            link = self._link
            lent = link.of(output)
            if lent is None or lent.cast.ended or self._failure is not None:
                raise DesktopError("the output of this stream has gone", "connect again")
            with self._noting_failure():
                if not lent.cast.virtual or self._changed_in_place(lent.cast, mode):
                    lent.output = replace(output, mode=mode)
                    return lent.output
                # The new one first: what is on an output that goes finds one to move to.
                changed = self._lend(link, mode, lent.scale, separate_cursor=lent.separate_cursor)
                self._take_back(link, lent)
                return changed

    def give_back(self, output: DesktopOutput) -> None:
        """Take an output away that was made for a stream; one of the user's stays."""
        with self._lock:
            lent = self._link.of(output)
            if self._closed or lent is None:
                return
            if self._failure is not None:
                # KWin may be there all the same: it has closed its input alone, or was only busy.
                with contextlib.suppress(DesktopError):
                    self._take_back(self._link, lent)
                return
            with self._noting_failure():
                self._take_back(self._link, lent)

    def inject(self, event: InputEvent) -> None:
        """Put one input event in; raise DesktopError when the compositor has gone."""
        # Without the lock: what makes an output waits for KWin, and with it all of the host would.
        link = self._link
        self._require_life()
        try:
            link.injector.inject(event)
        except DesktopError as error:
            if self._link is link:
                self._failure = error
            raise

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button; return the injector's counters."""
        with self._lock, self._noting_failure():
            self._require_life()
            self._link.injector.release_all()
            return self._link.injector.counters

    def close(self) -> None:
        """Release all, take outputs made here away and disconnect."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._end(self._link)
        super().close()

    def _connect(self) -> _Link:
        connection = reach.connect(self.socket)
        bus: SessionBus | None = None
        try:
            from punktfunk.desktop.kwin.outputs import Outputs
            from punktfunk.desktop.kwin.screencast import Screencast

            outputs, screencast = Outputs(connection), Screencast(connection)
            self._try_out(outputs, screencast)
            bus = SessionBus()
            injector = EisInjector(reach.connect_input(bus), keyboard=self._keyboard)
        except BaseException:
            if bus is not None:
                bus.close()
            connection.close()
            raise
        return _Link(connection, screencast, outputs, bus, injector)

    def _try_out(self, outputs: Outputs, screencast: Screencast) -> None:
        """Cast an output for a moment; raise CapabilityError with KWin's words where it refuses.

        A desktop that opens and refuses each stream would keep ``auto`` from those that come after it.
        """
        from punktfunk.desktop.kwin.screencast import RefusedError

        try:
            screencast.of_output(outputs.first()).end()
        except RefusedError as refusal:
            raise reach.not_captured(refusal) from refusal

    def _open_link(self) -> _Link:
        """Return the connections, made anew where the compositor has gone and another one is there."""
        if self._closed:
            raise SessionClosedError("the desktop was closed")
        if self._failure is not None:
            self._end(self._link)
            self._link = self._connect()
            self._failure = None
            self._watch(self._link)
            self._log.info("connected to KWin again")
        return self._link

    def _require_life(self) -> None:
        if self._closed:
            raise SessionClosedError("the desktop was closed")
        if self._failure is not None:
            raise DesktopError(self._failure.cause, self._failure.hint)

    def _lend(self, link: _Link, mode: Mode, scale: float, *, separate_cursor: bool) -> DesktopOutput:
        cast = self._cast(link, mode, scale, separate_cursor=separate_cursor)
        assert cast.node is not None
        lent = _Lent(
            DesktopOutput(
                cast.output,
                mode,
                PipeWireScreen(
                    node=cast.node,
                    oldest_stamp_ms=_OLDEST_STAMP_MS,
                    cursor="metadata" if separate_cursor else "embedded",
                ),
            ),
            cast,
            None,
            scale,
            separate_cursor,
        )
        link.lent.append(lent)
        try:
            lent.place = link.outputs.place(cast.output, lambda: self._aim(link))
            link.connection.round_trip()  # to have the place told
            self._have_scale(lent)
            link.connection.round_trip()
            self._aim(link)
            if lent.cast.virtual and link.lent == [lent]:
                # What is started next opens where the pointer is.
                surface = SurfaceSize(mode.width, mode.height)
                middle = InputEvent(
                    InputKind.MOUSE_ABSOLUTE, x=mode.width // 2, y=mode.height // 2, surface=surface
                )
                link.injector.inject(middle)
        except BaseException:
            link.lent.remove(lent)
            cast.end()
            raise
        return lent.output

    def _cast(self, link: _Link, mode: Mode, scale: float, *, separate_cursor: bool) -> Cast:
        """Cast an output made for the stream, or the user's first one; what works is found by trying."""
        from punktfunk.desktop.kwin.screencast import RefusedError

        size = (mode.width, mode.height)
        for wished in dict.fromkeys((scale, 1.0)):
            try:
                cast = link.screencast.of_new_output(
                    link.outputs.free_name(), size, wished, separate_cursor=separate_cursor
                )
            except RefusedError as refusal:
                self._log.info("KWin made no output", mode=str(mode), scale=wished, cause=refusal.cause)
            else:
                self._makes_outputs = True
                if mode.refresh_hz > _MADE_AT_HZ:
                    self._changed_in_place(cast, mode)
                return cast
        self._makes_outputs = False
        try:
            return link.screencast.of_output(link.outputs.first(), separate_cursor=separate_cursor)
        except RefusedError as refusal:
            raise reach.not_captured(refusal) from refusal

    def _changed_in_place(self, cast: Cast, mode: Mode) -> bool:
        """Give an output that was made here a mode, and return whether it has it; where not, it is as it was."""
        from punktfunk.desktop.kwin.modes import set_mode

        try:
            with wayland.connect(self.socket) as connection:
                set_mode(connection, cast.output, mode)
        except CapabilityError as error:
            self._log.info("output keeps its mode", output=cast.output, wanted=str(mode), cause=error.cause)
            return False
        return True

    def _have_scale(self, lent: _Lent) -> None:
        """Have an output that was made here draw at the scale that was asked for, not at one that KWin remembers."""
        from punktfunk.desktop.kwin.modes import set_scale

        area = None if lent.place is None else lent.place.area
        if not lent.cast.virtual or area is None:
            return
        if abs(area.width * lent.scale - lent.output.mode.width) <= lent.scale:
            return
        try:
            with wayland.connect(self.socket) as connection:
                set_scale(connection, lent.cast.output, lent.scale)
        except CapabilityError as error:
            self._log.info(
                "output keeps its scale", output=lent.cast.output, wanted=lent.scale, cause=error.cause
            )

    def _take_back(self, link: _Link, lent: _Lent) -> None:
        link.lent.remove(lent)
        if lent.place is not None:
            lent.place.end()
        lent.cast.end()
        link.connection.round_trip()  # to have it gone when the next stream asks
        self._aim(link)

    def _aim(self, link: _Link) -> None:
        """Have absolute positions and fingers land on the output of the stream that has been there longest."""
        for lent in link.lent:
            if lent.place is not None and lent.place.area is not None:
                link.injector.aim(region=lent.place.area)
                return

    def _watch(self, link: _Link) -> None:
        """Follow what the compositor tells, in a thread that ends with the link: so its end is noticed."""
        own = os.dup(link.connection.fileno())
        threading.Thread(target=self._follow, args=[link, own], name="kwin-events", daemon=True).start()

    def _follow(self, link: _Link, descriptor: int) -> None:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        try:
            while True:
                poller.poll()
                with self._lock:
                    if self._link is not link or self._closed or self._failure is not None:
                        return
                    try:
                        link.connection.dispatch(0)
                    except DesktopError as error:
                        self._failure = DesktopError(f"KWin has gone: {error.cause}", _GONE_HINT)
                        self._log.error("desktop ended", cause=self._failure.cause, hint=self._failure.hint)
                        return
        finally:
            os.close(descriptor)

    def _end(self, link: _Link) -> None:
        link.lent.clear()
        link.close()
