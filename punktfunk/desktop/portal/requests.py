"""A portal as one of its clients: what it offers, and requests, which a signal answers, and maybe a person."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from punktfunk.desktop.bus_reply import BusError, Reply
from punktfunk.desktop.portal.choice import Offer
from punktfunk.desktop.session_bus import Cancel, SessionBus, variant
from punktfunk.errors import (
    CapabilityError,
    ConsentAwaitedError,
    ConsentRefusedError,
    DesktopError,
    SessionClosedError,
)

PORTAL: Final = "org.freedesktop.portal.Desktop"
PORTAL_PATH: Final = "/org/freedesktop/portal/desktop"
SCREEN_CAST: Final = "org.freedesktop.portal.ScreenCast"
REMOTE_DESKTOP: Final = "org.freedesktop.portal.RemoteDesktop"
REGISTRY: Final = "org.freedesktop.host.portal.Registry"
BACK_ENDS: Final = "org.freedesktop.impl.portal.desktop."
"""Under which the back ends of portals have their names, such as ``...desktop.gnome``."""
CONSENT_LIMIT_S: Final = 600.0
"""For a person's answer; then the question is taken back."""
ANSWER_LIMIT_S: Final = 30.0
"""For an answer that takes no person; a portal that has to be started first asks its back ends one after the other."""
FIRST_WORD_S: Final = 2.0
"""When the first word is said about a question that waits for a person."""
NEXT_WORD_S: Final = 30.0
"""And then again as often."""
_REQUEST: Final = "org.freedesktop.portal.Request"
_BACK_END_LIMIT_S: Final = 2.0
_GRANTED, _REFUSED = 0, 1

OnWait = Callable[[float], None]
"""Takes the seconds that a person has had for an answer. Called from the thread that asks."""
Options = Mapping[str, tuple[str, object]]
"""Name to signature and value."""


class RequestEndedError(DesktopError):
    """A portal has ended a request itself: no person has refused it."""


class _Answer:
    """What a request comes to: a response, or its end without one."""

    def __init__(self) -> None:
        self._come = threading.Event()
        self._response: tuple[Any, ...] = ()
        self._failure: DesktopError | SessionClosedError | None = None

    def take(self, response: tuple[Any, ...]) -> None:
        """Have the response, the first that comes."""
        if not self._come.is_set():
            self._response = response
            self._come.set()

    def fail(self, failure: DesktopError | SessionClosedError) -> None:
        """Have none."""
        if not self._come.is_set():
            self._failure = failure
            self._come.set()

    def wait(self, limit_s: float, on_wait: OnWait | None) -> tuple[Any, ...] | None:
        """Return the response, None when none has come in time; raise how it failed."""
        begun = time.monotonic()
        due = FIRST_WORD_S if on_wait is not None else limit_s
        while not self._come.wait(max(0.0, min(due, limit_s) - (time.monotonic() - begun))):
            waited = time.monotonic() - begun
            if waited >= limit_s:
                return None
            if on_wait is not None and waited >= due:
                due += NEXT_WORD_S
                on_wait(waited)
        if self._failure is not None:
            raise self._failure
        return self._response


class Portal:
    """The portal on a session bus, which is not this object's own; safe for any thread.

    ``on_gone`` is called, from a thread of the bus, when it ends or is started anew: with it all its sessions go.
    """

    def __init__(self, bus: SessionBus, on_gone: Callable[[DesktopError], None] | None = None) -> None:
        self._bus = bus
        self._on_gone = on_gone
        self._lock = threading.Lock()
        self._answers: set[_Answer] = set()
        self._closed = False
        self._owner = ""
        self._unwatch_back_end: Cancel | None = None
        self._unwatch = bus.watch_owner(PORTAL, self._owner_changed)
        try:
            owner = bus.owner_of(PORTAL)
        except BaseException:
            self._unwatch()
            raise
        with self._lock:
            self._owner = self._owner or owner

    def offer(self) -> Offer:
        """Return what it offers; it is started for that where it can be.

        Raises CapabilityError where there is none, and DesktopError where it does not answer.
        """
        return Offer(
            screen_cast=self._number(SCREEN_CAST, "version"),
            remote_desktop=self._number(REMOTE_DESKTOP, "version"),
            sources=self._number(SCREEN_CAST, "AvailableSourceTypes"),
            cursors=self._number(SCREEN_CAST, "AvailableCursorModes"),
            devices=self._number(REMOTE_DESKTOP, "AvailableDeviceTypes"),
        )

    def back_end(self) -> str:
        """Return the name of who shows the screen behind it, such as ``gnome``; "" where none says so.

        The front end does not tell: it is whoever is on the bus and can.
        """
        names = self._bus.call(
            "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ListNames"
        ).value
        found = []
        for name in sorted(each for each in names if isinstance(each, str) and each.startswith(BACK_ENDS)):
            with contextlib.suppress(DesktopError):  # it shows no screen, or nothing any more
                self._bus.get_property(
                    name,
                    PORTAL_PATH,
                    "org.freedesktop.impl.portal.ScreenCast",
                    "AvailableSourceTypes",
                    timeout_s=_BACK_END_LIMIT_S,
                )
                found.append(name.removeprefix(BACK_ENDS))
        return "+".join(found)

    def watch_back_end(self, name: str) -> None:
        """Take the end of a back end for that of the portal: its sessions go with it, and the front end tells nobody.

        ``name`` is what :meth:`back_end` has returned; where that was several, nobody knows whose they are.
        """
        if name and "+" not in name and self._unwatch_back_end is None:
            self._unwatch_back_end = self._bus.watch_owner(BACK_ENDS + name, self._back_end_changed)

    def register(self, app_id: str) -> bool:
        """Give the portal the name of this program, before anything else is asked; return whether it takes that.

        It does not where no ``.desktop`` file has that name, and from before xdg-desktop-portal 1.19.
        """
        try:
            self._bus.call(PORTAL, PORTAL_PATH, REGISTRY, "Register", "sa{sv}", (app_id, {}))
        except BusError:
            return False
        return True

    def call(
        self,
        interface: str,
        member: str,
        signature: str,
        body: Sequence[object],
        *,
        takes_descriptors: bool = False,
    ) -> Reply:
        """Call one of its methods that answer at once; raise DesktopError where it does not."""
        return self._bus.call(
            PORTAL, PORTAL_PATH, interface, member, signature, body, takes_descriptors=takes_descriptors
        )

    def watch(self, path: str, interface: str, member: str, callback: Callable[[], None]) -> Cancel:
        """Have a signal of one of its objects told."""
        return self._bus.subscribe(path, interface, member, lambda _body: callback(), sender=PORTAL)

    def object_path(self, kind: str, token: str) -> str:
        """Return where a request or a session is whose token this program chooses."""
        sender = self._bus.unique_name.removeprefix(":").replace(".", "_")
        return f"{PORTAL_PATH}/{kind}/{sender}/{token}"

    def close_object(self, path: str, interface: str) -> None:
        """End a request or a session; one that has gone already is left alone."""
        with contextlib.suppress(DesktopError):
            self._bus.call(PORTAL, path, interface, "Close")

    def request(
        self,
        interface: str,
        member: str,
        signature: str,
        arguments: Sequence[object],
        options: Options,
        *,
        limit_s: float = ANSWER_LIMIT_S,
        on_wait: OnWait | None = None,
    ) -> Mapping[str, Any]:
        """Ask for something and wait for the answer; ``signature`` is that of ``arguments``, the options come last.

        Raises ConsentRefusedError for a person's no, ConsentAwaitedError for no answer at all, RequestEndedError where
        the portal itself gives up, and DesktopError where it refuses at once or goes.
        """
        token = new_token()
        expected = self.object_path("request", token)
        answer = _Answer()
        with self._lock:
            if self._closed:
                raise SessionClosedError("the desktop was closed")
            self._answers.add(answer)
        # Before it is asked: an answer may come before the call returns.
        cancels = [self._hear(expected, answer)]
        try:
            given = {"handle_token": ("s", token), **options}
            body = (*arguments, {name: variant(*value) for name, value in given.items()})
            handle = self._bus.call(
                PORTAL, PORTAL_PATH, interface, member, signature + "a{sv}", body, timeout_s=ANSWER_LIMIT_S
            ).value
            if (
                isinstance(handle, str) and handle != expected
            ):  # xdg-desktop-portal before 0.9 chose it itself
                cancels.append(self._hear(handle, answer))
                expected = handle
            try:
                response = answer.wait(limit_s, on_wait)
            except SessionClosedError:
                self.close_object(expected, _REQUEST)
                raise
            if response is None:
                self.close_object(expected, _REQUEST)
                raise ConsentAwaitedError(
                    f"nobody has answered the desktop's question for {limit_s:.0f} s",
                    "connect again to have it asked again, and answer it on the desktop",
                )
        finally:
            with self._lock:
                self._answers.discard(answer)
            for cancel in cancels:
                cancel()
        return _results(response, member)

    def close(self) -> None:
        """Take back what is being asked, and listen no more. Closing twice is harmless."""
        with self._lock:
            self._closed = True
            answers = list(self._answers)
        for answer in answers:
            answer.fail(SessionClosedError("the desktop was closed"))
        self._unwatch()
        if self._unwatch_back_end is not None:
            self._unwatch_back_end()

    def _hear(self, path: str, answer: _Answer) -> Cancel:
        return self._bus.subscribe(path, _REQUEST, "Response", answer.take, sender=PORTAL)

    def _number(self, interface: str, name: str) -> int:
        try:
            value = self._bus.get_property(PORTAL, PORTAL_PATH, interface, name)
        except BusError as error:
            if error.name in _NOT_THERE:
                return 0
            if error.name in _NOBODY:
                raise CapabilityError(
                    "no portal answers on the session bus",
                    "install xdg-desktop-portal and the part of it for this desktop: -gnome, -kde, -wlr or -hyprland",
                ) from error
            raise
        return value if isinstance(value, int) and value >= 0 else 0

    def _owner_changed(self, owner: str) -> None:
        with self._lock:
            former, self._owner = self._owner, owner
        if former and owner != former:  # else it has only been started
            self._gone(
                "the desktop's portal has ended" if not owner else "the desktop's portal was started anew"
            )

    def _back_end_changed(self, _owner: str) -> None:
        self._gone("the part of the desktop's portal that shows its screen has ended")

    def _gone(self, cause: str) -> None:
        with self._lock:
            answers = list(self._answers)
        if self._closed:
            return
        gone = DesktopError(
            cause, "connect again; if it ends again: journalctl --user -u 'xdg-desktop-portal*'"
        )
        for answer in answers:
            answer.fail(gone)
        if self._on_gone is not None:
            self._on_gone(gone)


_NOT_THERE: Final = frozenset(
    {
        "org.freedesktop.DBus.Error.InvalidArgs",  # what GDBus answers for an interface that an object has not
        "org.freedesktop.DBus.Error.UnknownInterface",
        "org.freedesktop.DBus.Error.UnknownProperty",
        "org.freedesktop.DBus.Error.UnknownMethod",
        "org.freedesktop.DBus.Error.UnknownObject",
    }
)


_NOBODY: Final = frozenset(
    {
        "org.freedesktop.DBus.Error.ServiceUnknown",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.DBus.Error.Spawn.ServiceNotFound",
        "org.freedesktop.DBus.Error.Spawn.ChildExited",
    }
)


def new_token() -> str:
    """Return a name for a request or a session that nobody can guess, and that may be part of an object's path."""
    return f"punktfunk_{secrets.token_hex(8)}"


def _results(response: tuple[Any, ...], member: str) -> Mapping[str, Any]:
    if len(response) != 2 or not isinstance(response[0], int) or not isinstance(response[1], Mapping):
        raise DesktopError(f"the desktop's portal answers {member} in a way that this version does not know")
    code: int = response[0]
    results: Mapping[str, Any] = response[1]
    if code == _REFUSED:
        raise ConsentRefusedError(
            "the desktop was not allowed to be shared: its question was answered with no, or cannot be shown",
            "connect again to be asked again, and choose Share; on Plasma see docs/how-to/desktop-portal.md",
        )
    if code != _GRANTED:
        raise RequestEndedError(
            f"the desktop's portal has ended {member} by itself",
            "look for its reason: journalctl --user -u 'xdg-desktop-portal*'",
        )
    return results
