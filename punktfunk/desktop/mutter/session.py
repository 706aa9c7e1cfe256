"""One remote desktop session of Mutter with the screen cast that is tied to it: its streams, its input, its end.

Streams come and go while the session runs. Mutter makes a stream's virtual monitor once a consumer of its PipeWire node
asks for a size, gives it another when a consumer asks for that, and takes it away when the stream is stopped. When the
bus connection goes that made the session, Mutter ends it with all of its monitors: a host that is killed leaves none.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from punktfunk.desktop.bus_reply import BusError, Reply
from punktfunk.desktop.mutter.reach import REMOTE_DESKTOP, REMOTE_DESKTOP_PATH, SCREEN_CAST, SCREEN_CAST_PATH
from punktfunk.desktop.session_bus import Cancel, SessionBus, variant
from punktfunk.errors import CapabilityError, DesktopError, SharingStoppedError
from punktfunk.printable import printable
from punktfunk.units import Mode

_NODE_LIMIT_S: Final = 5.0
"""For the PipeWire node of a stream, which takes 5 to 60 ms."""
_LAST_NODE: Final = 0xFFFFFFFE
_MAX_ID_CHARACTERS: Final = 256
_CURSOR_EMBEDDED, _CURSOR_METADATA = 1, 2
"""The pointer in the pictures, or told beside them."""
_GONE: Final = frozenset(
    "org.freedesktop.DBus.Error." + kind
    for kind in (
        "ServiceUnknown",
        "NameHasNoOwner",
        "UnknownMethod",
        "UnknownObject",
        "NoReply",
        "Disconnected",
    )
)
"""What a call to something is answered with that has ended meanwhile."""
_INHIBITED: Final = ("inhibited", "org.freedesktop.DBus.Error.AccessDenied")
"""What stands in the answer while the desktop lets nobody in: GNOME 48 fails with "Session creation inhibited"."""


@dataclass(frozen=True, slots=True)
class MutterStream:
    """A stream that runs: the node that it fills, and what input calls the place that it shows."""

    path: str
    node: int
    mapping_id: str | None


class MutterSession:
    """A session that runs. ``on_end`` is told once, from another thread, that Mutter has ended it.

    Raises DesktopError where Mutter makes none, as on a locked screen.
    """

    def __init__(self, bus: SessionBus, on_end: Callable[[DesktopError], None]) -> None:
        self._bus = bus
        self._on_end = on_end
        self._end: DesktopError | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._closed = False
        self._cancels: list[Cancel] = []
        for name in (REMOTE_DESKTOP, SCREEN_CAST):
            self._cancels.append(bus.watch_owner(name, self._owner_changed))
        try:
            self._remote = self._create(REMOTE_DESKTOP, REMOTE_DESKTOP_PATH)
            self._listen(self._remote, REMOTE_DESKTOP)
            number = bus.get_property(REMOTE_DESKTOP, self._remote, f"{REMOTE_DESKTOP}.Session", "SessionId")
            tied = {"remote-desktop-session-id": variant("s", str(number))}
            self._cast = self._create(SCREEN_CAST, SCREEN_CAST_PATH, "a{sv}", tied)
            self._listen(self._cast, SCREEN_CAST)
            self._call(REMOTE_DESKTOP, self._remote, "Session", "Start")
        except BaseException:
            self.close()
            raise

    @property
    def end(self) -> DesktopError | None:
        """Why it has ended; None while it runs."""
        return self._end

    def await_end(self, within_s: float) -> None:
        """Wait until the end of a session that has gone is told, which may take a moment, but no longer than that."""
        self._ended.wait(within_s)

    def add_stream(
        self, fixed: Mode | None = None, scale: float = 1.0, *, separate_cursor: bool = False
    ) -> MutterStream:
        """Return a new stream, whose virtual monitor comes with its consumer; raise DesktopError where none comes.

        The monitor takes the mode that its consumer asks for, or has always the ``fixed`` one, and then can be scaled.
        """
        pointer = _CURSOR_METADATA if separate_cursor else _CURSOR_EMBEDDED
        wanted = {"cursor-mode": variant("u", pointer), "is-platform": variant("b", True)}
        if fixed is not None:
            only = {
                "size": variant("(uu)", (fixed.width, fixed.height)),
                "refresh-rate": variant("d", float(fixed.refresh_hz)),
                "is-preferred": variant("b", True),
                "preferred-scale": variant("d", scale),
            }
            wanted["modes"] = variant("aa{sv}", [only])
        path = str(self._call(SCREEN_CAST, self._cast, "Session", "RecordVirtual", "a{sv}", wanted).value)
        nodes: list[Any] = []
        told = threading.Event()

        def added(body: tuple[Any, ...]) -> None:
            nodes.extend(body)
            told.set()

        cancel = self._bus.subscribe(
            path, f"{SCREEN_CAST}.Stream", "PipeWireStreamAdded", added, sender=SCREEN_CAST
        )
        try:
            self._call(SCREEN_CAST, path, "Stream", "Start")
            told.wait(_NODE_LIMIT_S)
            return MutterStream(path, self._checked_node(nodes), self._mapping_id(path))
        except BaseException:
            self._stop(path)
            raise
        finally:
            cancel()

    def remove_stream(self, stream: MutterStream) -> None:
        """Stop a stream, and take its monitor away; one that has gone already is left alone."""
        self._stop(stream.path)

    def connect_input(self) -> int:
        """Return a connection to Mutter's EIS server; raise CapabilityError where it has none, as before GNOME 45."""
        try:
            got = self._bus.call(
                REMOTE_DESKTOP,
                self._remote,
                f"{REMOTE_DESKTOP}.Session",
                "ConnectToEIS",
                "a{sv}",
                ({},),
                takes_descriptors=True,
            )
        except BusError as error:
            if error.name == "org.freedesktop.DBus.Error.UnknownMethod" and self._end is None:
                raise CapabilityError("this GNOME has no EIS server", "GNOME 45 or newer has") from error
            raise
        if len(got.descriptors) != 1:
            for each in got.descriptors:
                os.close(each)
            raise DesktopError("Mutter gives no connection for input")
        return got.descriptors[0]

    def notify(self, member: str, signature: str, *values: object) -> None:
        """Put one input event in by a call, which waits until Mutter has taken it."""
        self._call(REMOTE_DESKTOP, self._remote, "Session", member, signature, *values)

    def close(self) -> None:
        """End the session with all of its streams. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for cancel in self._cancels:
            cancel()
        if hasattr(self, "_remote") and self._end is None:
            with contextlib.suppress(DesktopError):  # it has ended meanwhile
                self._call(REMOTE_DESKTOP, self._remote, "Session", "Stop")

    def _create(self, name: str, path: str, signature: str = "", *body: object) -> str:
        return _create(self._bus, name, path, signature, *body)

    def _call(
        self, name: str, path: str, part: str, member: str, signature: str = "", *body: object
    ) -> Reply:
        return self._bus.call(name, path, f"{name}.{part}", member, signature, body)

    def _listen(self, path: str, name: str) -> None:
        told = self._bus.subscribe(path, f"{name}.Session", "Closed", self._was_closed, sender=name)
        self._cancels.append(told)

    def _stop(self, path: str) -> None:
        try:
            self._call(SCREEN_CAST, path, "Stream", "Stop")
        except BusError as error:
            if error.name not in _GONE:
                raise

    def _checked_node(self, told: list[Any]) -> int:
        if not told:
            raise self._end or DesktopError(
                "Mutter has not made its PipeWire node",
                "is PipeWire running? systemctl --user status pipewire",
            )
        node = told[0]
        if isinstance(node, bool) or not isinstance(node, int) or not 0 <= node <= _LAST_NODE:
            raise DesktopError(f"Mutter names no PipeWire node: {printable(repr(node), 64)}")
        return node

    def _mapping_id(self, path: str) -> str | None:
        known = self._bus.get_property(SCREEN_CAST, path, f"{SCREEN_CAST}.Stream", "Parameters")
        found = known.get("mapping-id") if isinstance(known, dict) else None
        return found if isinstance(found, str) and 0 < len(found) <= _MAX_ID_CHARACTERS else None

    def _was_closed(self, _body: tuple[Any, ...]) -> None:
        self._over(
            SharingStoppedError(
                "GNOME has ended the session: somebody did there, or the screen was locked",
                "connect again in a minute",
            )
        )

    def _owner_changed(self, owner: str) -> None:
        if not owner:
            self._over(DesktopError("GNOME has ended", "log in there again, then connect again"))

    def _over(self, error: DesktopError) -> None:
        with self._lock:
            if self._closed or self._end is not None:
                return
            self._end = error
        self._on_end(error)
        self._ended.set()


def require_unlocked(address: str | None) -> None:
    """Raise DesktopError while GNOME lets nobody see the screen. The session that this tries shows nothing."""
    with SessionBus(address) as bus:
        _create(bus, REMOTE_DESKTOP, REMOTE_DESKTOP_PATH)


def _create(bus: SessionBus, name: str, path: str, signature: str = "", *body: object) -> str:
    try:
        return str(bus.call(name, path, name, "CreateSession", signature, body).value)
    except BusError as error:
        if any(sign in error.cause for sign in _INHIBITED):
            raise DesktopError(
                "GNOME lets nobody see the screen now, as while it is locked",
                "unlock it, then connect again",
            ) from error
        raise


def is_gone(error: DesktopError) -> bool:
    """Return whether a call failed because what it was for has ended."""
    return isinstance(error, BusError) and error.name in _GONE
