"""A session of a portal: screen and input of one desktop, granted together, for as long as this object is open."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Final

from punktfunk import log
from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.portal.choice import Plan
from punktfunk.desktop.portal.requests import (
    CONSENT_LIMIT_S,
    REMOTE_DESKTOP,
    SCREEN_CAST,
    OnWait,
    Options,
    Portal,
    RequestEndedError,
    new_token,
)
from punktfunk.desktop.portal.started import Started, read_started
from punktfunk.errors import DesktopError, PunktfunkError, SharingStoppedError

_SESSION: Final = "org.freedesktop.portal.Session"
_UNTIL_REVOKED: Final = 2
"""``persist_mode``: what is granted stays so until its user takes it back."""


class PortalSession:
    """What a portal has granted; :func:`open_session` asks for it.

    ``started`` is what. ``on_closed`` is called, from a thread of the bus, when the portal ends the session.
    """

    def __init__(self, portal: Portal, plan: Plan, on_closed: Callable[[DesktopError], None]) -> None:
        self.started: Started
        self._portal = portal
        self._plan = plan
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._over = False
        self._interface = REMOTE_DESKTOP if plan.devices else SCREEN_CAST
        token = new_token()
        self.path = portal.object_path("session", token)
        self._unwatch = portal.watch(self.path, _SESSION, "Closed", self._closed)
        try:
            made = portal.request(
                self._interface, "CreateSession", "", (), {"session_handle_token": ("s", token)}
            )
            handle = made.get("session_handle")
            if isinstance(handle, str) and handle != self.path:
                self._unwatch()
                self.path = handle
                self._unwatch = portal.watch(handle, _SESSION, "Closed", self._closed)
        except BaseException:
            self.close()
            raise

    def select(self, token: str | None) -> None:
        """Choose screen and devices, by the token of an earlier grant where there is one."""
        keeping: Options = {"persist_mode": ("u", _UNTIL_REVOKED)} if self._plan.keeps else {}
        if token is not None and self._plan.keeps:
            keeping = {**keeping, "restore_token": ("s", token)}
        if self._plan.devices:
            options: Options = {"types": ("u", int(self._plan.devices)), **keeping}
            self._portal.request(REMOTE_DESKTOP, "SelectDevices", "o", (self.path,), options)
            keeping = {}  # of both, by the one token
        options = {
            "types": ("u", int(self._plan.sources)),
            "multiple": ("b", False),
            "cursor_mode": ("u", int(self._plan.cursor)),
            **keeping,
        }
        self._portal.request(SCREEN_CAST, "SelectSources", "o", (self.path,), options)

    def start(self, on_wait: OnWait | None) -> None:
        """Have it granted, by a person if there is no token that holds."""
        results = self._portal.request(
            self._interface, "Start", "os", (self.path, ""), {}, limit_s=CONSENT_LIMIT_S, on_wait=on_wait
        )
        self.started = read_started(results)

    def open_remote(self) -> int:
        """Return a new connection to the PipeWire that has the pictures; whoever called closes it."""
        return self._descriptor(SCREEN_CAST, "OpenPipeWireRemote")

    def connect_to_eis(self) -> int:
        """Return a socket of EIS for the granted devices; whoever called closes it. There is one a session."""
        return self._descriptor(REMOTE_DESKTOP, "ConnectToEIS")

    def notify(self, member: str, signature: str, *values: object) -> None:
        """Put one input event in by the portal itself; raise DesktopError where that cannot be done."""
        self._portal.call(REMOTE_DESKTOP, member, "oa{sv}" + signature, (self.path, {}, *values))

    def close(self) -> None:
        """End it; nothing is told of that. Closing twice is harmless."""
        with self._lock:
            over, self._over = self._over, True
        if not over:
            self._unwatch()
            self._portal.close_object(self.path, _SESSION)

    def _descriptor(self, interface: str, member: str) -> int:
        reply = self._portal.call(interface, member, "oa{sv}", (self.path, {}), takes_descriptors=True)
        index = reply.body[0] if reply.body else None
        if isinstance(index, int) and 0 <= index < len(reply.descriptors):
            found = reply.descriptors[index]
            for other in reply.descriptors:
                if other != found:
                    os.close(other)
            return found
        for each in reply.descriptors:
            os.close(each)
        raise DesktopError(f"the desktop's portal answers {member} without a descriptor")

    def _closed(self) -> None:
        with self._lock:
            over, self._over = self._over, True
        if not over:
            self._on_closed(
                SharingStoppedError(
                    "sharing the desktop was stopped on it, or its portal has ended the session",
                    "connect again in a minute",
                )
            )


def open_session(
    portal: Portal,
    plan: Plan,
    token: str | None,
    *,
    on_closed: Callable[[DesktopError], None],
    on_wait: OnWait | None = None,
) -> PortalSession:
    """Return a session in which screen and input are granted, by ``token`` where that holds, else by a person.

    A token that the portal knows nothing of is its own business: it asks. Where it refuses the token instead, it is
    asked once more without. Raises what :meth:`Portal.request` raises.
    """
    for presented in [token, None] if token is not None else [None]:
        session = PortalSession(portal, plan, on_closed)
        try:
            session.select(presented)
            session.start(on_wait)
        except (BusError, RequestEndedError) as error:
            session.close()
            if presented is None:
                raise
            log.get("desktop.portal").warning(
                "the desktop's portal refuses what it granted", cause=error.cause
            )
        except BaseException:
            with contextlib.suppress(PunktfunkError):
                session.close()
            raise
        else:
            return session
    raise AssertionError("the last try returns or raises")
