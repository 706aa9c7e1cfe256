"""Whether the user's session is locked, by those who lock it: its screen saver, its shell, and logind.

A client sees a lock screen and may type a password into it; whoever looks after the host should know why nothing else
is seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Self

from punktfunk.desktop.inhibit import system_address
from punktfunk.desktop.session_bus import SessionBus, require_bus
from punktfunk.errors import DesktopError, PunktfunkError

_SAVERS: Final = (
    ("org.gnome.ScreenSaver", "/org/gnome/ScreenSaver"),
    ("org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"),
)
"""Names on the session bus, which are those of their interfaces as well, and where each answers."""
_LOGIND: Final = "org.freedesktop.login1"
_SESSION: Final = "org.freedesktop.login1.Session"
_OWN_SESSION: Final = "/org/freedesktop/login1/session/auto"
_LIMIT_S: Final = 5.0


class LockWatch:
    """Knows whether the session is locked, until it is closed; ``on_change`` is called from another thread.

    Raises nothing: who cannot be asked does not lock. Connecting takes milliseconds.
    """

    def __init__(
        self,
        on_change: Callable[[bool], None],
        *,
        session_address: str | None = None,
        system_address: str | None = None,
    ) -> None:
        self._on_change = on_change
        self._guard = threading.Lock()
        self._locked_by: set[str] = set()
        self._told = False
        self._closed = False
        self._buses: list[SessionBus] = []
        self._watch_savers(session_address)
        self._watch_logind(system_address)

    @property
    def locked(self) -> bool:
        """Whether anybody says that it is."""
        with self._guard:
            return bool(self._locked_by)

    @property
    def buses(self) -> int:
        """Of how many buses it hears."""
        return sum(not bus.lost for bus in tuple(self._buses))

    def close(self) -> None:
        """Watch no longer; nothing is told afterwards. Closing twice is harmless."""
        with self._guard:
            self._closed = True
        while self._buses:
            self._buses.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch_savers(self, address: str | None) -> None:
        try:
            if address is None:
                require_bus()
            bus = SessionBus(address)
        except PunktfunkError:
            return  # no session, nothing that could be locked
        self._buses.append(bus)
        for name, path in _SAVERS:
            self._watch_saver(bus, name, path)

    def _watch_saver(self, bus: SessionBus, name: str, path: str) -> None:
        def gone(owner: str) -> None:
            if not owner:
                self._said(name, False)

        try:
            # Before it is asked, so that no change falls in between.
            bus.subscribe(
                None, name, "ActiveChanged", lambda body: self._said(name, _flag(body)), sender=name
            )
            bus.watch_owner(name, gone)
            if bus.name_has_owner(name):
                active = bus.call(name, path, name, "GetActive", timeout_s=_LIMIT_S)
                self._said(name, _flag(active.body))
        except DesktopError:
            return  # one that has no such call: GNOME's proxy of the second for instance

    def _watch_logind(self, address: str | None) -> None:
        given = address or system_address()
        if given is None:
            return
        try:
            bus = SessionBus(given)
            self._buses.append(bus)
            number = bus.get_property(_LOGIND, _OWN_SESSION, _SESSION, "Id", timeout_s=_LIMIT_S)
            found = bus.call(
                _LOGIND,
                "/org/freedesktop/login1",
                f"{_LOGIND}.Manager",
                "GetSession",
                "s",
                (str(number),),
                timeout_s=_LIMIT_S,
            )
            path = str(found.value)
            bus.subscribe(
                path, "org.freedesktop.DBus.Properties", "PropertiesChanged", self._changed, sender=_LOGIND
            )
            hint = bus.get_property(_LOGIND, path, _SESSION, "LockedHint", timeout_s=_LIMIT_S)
            self._said(_LOGIND, hint is True)
        except PunktfunkError:
            return  # no logind, or not in a session of its

    def _changed(self, body: tuple[Any, ...]) -> None:
        if len(body) >= 2 and body[0] == _SESSION and isinstance(body[1], dict) and "LockedHint" in body[1]:
            self._said(_LOGIND, body[1]["LockedHint"] is True)

    def _said(self, who: str, locked: bool) -> None:
        with self._guard:
            (self._locked_by.add if locked else self._locked_by.discard)(who)
            now = bool(self._locked_by)
            if self._closed or now == self._told:
                return
            self._told = now
        self._on_change(now)


def _flag(body: tuple[Any, ...]) -> bool:
    return bool(body) and body[0] is True
