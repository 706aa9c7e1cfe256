"""The user's GNOME session: each stream gets a virtual monitor of its size, which goes with it."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from punktfunk import log
from punktfunk.desktop import DesktopOptions, DesktopOutput
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.desktop.gnome_shell import is_newer
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.eis import MUTTER_NOTCH, EisInjector, require_keymaps
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.desktop.mutter.calls import notifier
from punktfunk.desktop.mutter.reach import require_mutter
from punktfunk.desktop.mutter.session import MutterSession, MutterStream, is_gone, require_unlocked
from punktfunk.desktop.pipewire.server_watch import ServerWatch
from punktfunk.desktop.portal.choice import ALL_DEVICES
from punktfunk.desktop.portal.notify import NotifyInjector
from punktfunk.desktop.session_bus import Cancel, SessionBus
from punktfunk.desktop.user_session import STOPPED_S, UserSession
from punktfunk.errors import (
    CapabilityError,
    DesktopError,
    PunktfunkError,
    SessionClosedError,
    SharingStoppedError,
)
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.units import Mode

_HINT: Final = "connect again"
_DISPLAY_CONFIG: Final = "org.gnome.Mutter.DisplayConfig"
_REGION_TRIES: Final = 20
_REGION_EVERY_S: Final = 0.05
"""A new monitor is told on the bus, and its region on the connection for input: either may be first."""
_TOLD_LIMIT_S: Final = 0.5
"""For the end of a session to be told that a call has found gone."""
_MOST_SCALE: Final = 4.0
"""Mutter takes any; at four, a screen of 4K has the room of a small tablet."""


@dataclass(frozen=True, slots=True)
class _Lent:
    """What a stream has."""

    stream: MutterStream
    mode: Mode
    fixed: bool
    """Whether the monitor keeps the mode that it was made with; its pictures are scaled to another one."""
    separate_cursor: bool


class MutterDesktop(UserSession):
    """A GNOME session that runs; see :class:`punktfunk.desktop.Desktop`.

    Mutter's session begins with the first stream and ends with the last, so that GNOME shows its sign of a shared
    screen only meanwhile. Absolute positions and fingers land on the monitor of the stream that has been there longest.
    When GNOME ends the session, as somebody there can and as it does when the screen is locked, so end all streams.
    ``provide`` asks for another once the screen is unlocked, and STOPPED_S after somebody has stopped the sharing.
    """

    def __init__(self, options: DesktopOptions | None = None, *, address: str | None = None) -> None:
        """Look for Mutter on the bus at ``address``, or on the one that the environment tells of.

        Raises CapabilityError where there is none, and DesktopError where it does not answer.
        """
        given = options or DesktopOptions()
        super().__init__(given)
        self._log = log.get("desktop.mutter")
        self._address = address
        self._layout = given.keyboard_layout, given.keyboard_variant
        self._numbers = itertools.count(1)
        self._session: MutterSession | None = None
        self._injector: EisInjector | NotifyInjector | None = None
        self._lent: dict[str, _Lent] = {}
        """Of each output by its name, oldest first."""
        self._pointed = False
        """Whether the pointer has been where streams show it."""
        self._stopped_s: float | None = None
        """When GNOME has ended the last session by itself, by the clock of :func:`time.monotonic`."""
        self._pipewire: ServerWatch | None = None
        """The server of the session, with which Mutter ends it as well."""
        self._over = threading.Event()
        self._stop_watching: Cancel | None = None
        self._bus = self._connect()

    @property
    def description(self) -> str:
        """Says that none of the user's monitors is shown."""
        return "this GNOME desktop, on a monitor of its own"

    @property
    def tells_cursor(self) -> bool:
        """``True``: a stream can have the pointer beside its pictures."""
        return True

    @property
    def takes_touch(self) -> bool:
        """Whether fingers arrive: Mutter gives each stream a device for them, once its monitor is there."""
        return True

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        """Return a virtual monitor, which comes once its pictures are asked for."""
        with self._lock:
            # Mutter 48 scales no monitor that it makes.
            scale = min(_MOST_SCALE, scale) if self._newer and scale > 1.0 else 1.0
            stream = self._add_stream(mode, scale, separate_cursor=separate_cursor)
            lent = _Lent(stream, mode, fixed=scale > 1.0, separate_cursor=separate_cursor)
            return self._lend(f"virtual-{next(self._numbers)}", lent)

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        """Give a monitor another mode: it takes the one that its pictures are asked for in, if it is not scaled."""
        with self._lock:
            lent = self._lent.get(output.name)
            if lent is None or self._failure is not None:
                raise DesktopError("the monitor of this stream has gone", _HINT)
            self._let_go()
            return self._lend(output.name, replace(lent, mode=mode))

    def give_back(self, output: DesktopOutput) -> None:
        """Take a stream's monitor away, and with the last one all that Mutter did for us."""
        with self._lock:
            lent = self._lent.pop(output.name, None)
            if lent is None or self._session is None or self._failure is not None:
                return
            if not self._lent:
                self._end_session()
                return
            self._let_go()
            self._aim()
            self._session.remove_stream(lent.stream)

    def inject(self, event: InputEvent) -> None:
        """Put one input event in; raise DesktopError when GNOME has ended the session."""
        injector = self._injector  # without the lock: what provides a monitor waits for Mutter
        if self._closed:
            raise SessionClosedError("the desktop was closed")
        if self._failure is not None:
            raise DesktopError(self._failure.cause, self._failure.hint)
        if injector is not None:
            self._pointed = True
            injector.inject(event)

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button; return the injector's counters."""
        with self._lock:
            if self._injector is None or self._failure is not None:
                return {}
            self._injector.release_all()
            return self._injector.counters

    def _let_go(self) -> None:
        """Lift every finger before its monitor goes: Mutter says nothing of it to programs, which hold it down then."""
        if self._injector is not None:
            self._injector.release_all()

    def close(self) -> None:
        """Release all, end Mutter's session with its monitors, and disconnect."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._end_session()
            self._bus.close()
            if self._pipewire is not None:
                self._pipewire.close()
        super().close()

    def _connect(self) -> SessionBus:
        bus = SessionBus(self._address)
        try:
            require_mutter(bus)
            self._newer = is_newer(bus)
        except BaseException:
            bus.close()
            raise
        return bus

    def _add_stream(self, mode: Mode, scale: float, *, separate_cursor: bool) -> MutterStream:
        """Return a new stream of the session, which is begun where none runs and begun anew where it has ended."""
        fixed = mode if scale > 1.0 else None
        if self._failure is not None:
            self._require_sharing()
            self._end_session()
        if self._session is not None:
            try:
                return self._session.add_stream(fixed, scale, separate_cursor=separate_cursor)
            except DesktopError as error:
                if not (is_gone(error) or self._session.end):
                    raise
                self._session.await_end(_TOLD_LIMIT_S)
                self._require_sharing()
                self._end_session()
        session = self._begin_session()
        try:
            return session.add_stream(fixed, scale, separate_cursor=separate_cursor)
        except BaseException:
            self._end_session()
            raise

    def _require_sharing(self) -> None:
        """Raise SharingStoppedError while somebody at the desktop has stopped the sharing just now.

        GNOME ends the session in the same way when it locks the screen: that it says itself of another session.
        """
        if self._stopped_s is None or time.monotonic() >= self._stopped_s + STOPPED_S or self._bus.lost:
            return
        if self._pipewire is None or self._pipewire.hung_up:
            return
        stopped_s, self._stopped_s = self._stopped_s, None
        require_mutter(self._bus)
        require_unlocked(self._address)
        self._stopped_s = stopped_s
        raise SharingStoppedError(
            "sharing this desktop was stopped on it", f"connect again {STOPPED_S:.0f} s after that"
        )

    def _begin_session(self) -> MutterSession:
        if self._closed:
            raise SessionClosedError("the desktop was closed")
        again = self._failure is not None
        if self._bus.lost:
            self._bus.close()
            self._bus = self._connect()
        elif again:
            require_mutter(self._bus)
        self._failure = None
        self._pointed = False
        self._over.clear()
        if self._pipewire is not None:
            self._pipewire.close()
        self._pipewire = ServerWatch()
        self._session = session = MutterSession(self._bus, self._ended)
        try:
            self._stop_watching = self._bus.subscribe(
                "/org/gnome/Mutter/DisplayConfig",
                _DISPLAY_CONFIG,
                "MonitorsChanged",
                self._point,
                sender=_DISPLAY_CONFIG,
            )
            self._injector = self._open_input(session)
        except BaseException:
            self._end_session()
            raise
        if again:
            self._log.info("desktop opened again")
        return session

    def _open_input(self, session: MutterSession) -> EisInjector | NotifyInjector:
        """Return what puts input in: by EIS, or by a call an event, which GNOME has taken for longer."""
        try:
            require_keymaps()
            return EisInjector(session.connect_input(), keyboard=self._keyboard(), notch=MUTTER_NOTCH)
        except CapabilityError as error:
            self._log.info("input is put in by calls", cause=error.cause, hint=error.hint)
            return NotifyInjector(notifier(session, self._pointed_at), ALL_DEVICES, 0)

    def _pointed_at(self) -> str:
        first = next(iter(self._lent.values()), None)
        return "/" if first is None else first.stream.path

    def _keyboard(self) -> Keyboard | None:
        """Return what types text where Mutter tells no keymap."""
        try:
            return Keyboard(*self._layout)
        except CapabilityError:
            return None  # without libxkbcommon; GNOME always tells its keymap

    def _end_session(self) -> None:
        """End what Mutter does for us; what fails has ended with it."""
        session, self._session = self._session, None
        injector, self._injector = self._injector, None
        stop_watching, self._stop_watching = self._stop_watching, None
        self._over.set()
        if stop_watching is not None:
            stop_watching()
        self._lent.clear()
        for part in (injector, session):
            try:
                if part is not None:
                    part.close()
            except PunktfunkError as error:
                self._log.debug("not closed in order", cause=error.cause)

    def _point(self, _body: tuple[Any, ...]) -> None:
        """Bring the pointer to the first stream's monitor, unless its client has: what is opened next opens there."""
        for _ in range(_REGION_TRIES):
            injector, first = self._injector, next(iter(self._lent.copy().values()), None)
            if self._pointed or injector is None or first is None or self._failure is not None:
                return
            size = SurfaceSize(first.mode.width, first.mode.height)
            middle = InputEvent(InputKind.MOUSE_ABSOLUTE, x=size.width // 2, y=size.height // 2, surface=size)
            try:
                self._pointed = injector.inject(middle)
            except DesktopError:
                return  # it has ended, and is about to be told of
            self._over.wait(_REGION_EVERY_S)

    def _ended(self, error: DesktopError) -> None:
        self._stopped_s = time.monotonic() if isinstance(error, SharingStoppedError) else None
        self._failure = error
        self._log.error("desktop ended", cause=error.cause, hint=error.hint)

    def _aim(self) -> None:
        """Have absolute positions and fingers land on the monitor of the stream that has been there longest."""
        first = next(iter(self._lent.values()), None)
        if first is None or self._injector is None:
            return
        if isinstance(self._injector, EisInjector):
            self._injector.aim(mapping_id=first.stream.mapping_id)
        else:
            self._injector.aim(region=Rect(0, 0, first.mode.width, first.mode.height))

    def _lend(self, name: str, lent: _Lent) -> DesktopOutput:
        self._lent[name] = lent
        self._aim()
        asked = None if self._newer else 2 * lent.mode.refresh_hz
        cursor: Literal["embedded", "metadata"] = "metadata" if lent.separate_cursor else "embedded"
        screen = PipeWireScreen(node=lent.stream.node, sized=not lent.fixed, offer_hz=asked, cursor=cursor)
        return DesktopOutput(name, lent.mode, screen)
