"""What the event stream tells: the host's state, its sessions, its log. Listens only while somebody reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from punktfunk.log_ring import LogEntry
from punktfunk.mgmt.events import EventHub
from punktfunk.mgmt.interface import HostControl
from punktfunk.mgmt.live import SessionEnd, SessionInfo
from punktfunk.mgmt.live_models import LogLine, SessionBody, SessionEndBody, StateBody
from punktfunk.mgmt.models import (
    MoonlightClientBody,
    NativeClientBody,
    NativePairingBody,
    PendingBody,
    Status,
)


class Feed:
    """Watch a host for the readers of its events; implements :class:`~punktfunk.mgmt.live.Watcher`."""

    def __init__(self, control: HostControl) -> None:
        self.hub = EventHub(self._state, self._audience)
        self._control = control
        self._stops: tuple[Callable[[], None], ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None

    def state_changed(self) -> None:
        """Publish the state anew."""
        self.hub.publish_state()

    def session_changed(self, session: SessionInfo) -> None:
        """Publish a session's figures."""
        self.hub.publish("session", SessionBody.model_validate(session).model_dump())

    def session_ended(self, end: SessionEnd) -> None:
        """Publish how a session ended."""
        self.hub.publish("session_ended", SessionEndBody.model_validate(end).model_dump())

    def _audience(self, there: bool) -> None:
        for stop in self._stops:
            stop()
        self._stops = ()
        if there:
            self._loop = asyncio.get_running_loop()
            self._stops = (self._control.watch(self), self._control.log.listen(self._logged))

    def _logged(self, entry: LogEntry) -> None:
        # Any thread may log; and a host that ends may log after its loop.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(
                    self.hub.publish_log, LogLine.model_validate(entry).model_dump()
                )

    def _state(self) -> dict[str, object]:
        control = self._control
        pairing = NativePairingBody.model_validate(control.pairing())
        return StateBody(
            status=Status.model_validate(control.gamestream()),
            sessions=[SessionBody.model_validate(session) for session in control.sessions()],
            pairing=pairing.model_copy(update={"pin": None}),
            pending=[PendingBody.model_validate(device) for device in control.pending()],
            clients=[NativeClientBody.model_validate(client) for client in control.native_clients()],
            waiting_for_pin=[PendingBody.model_validate(device) for device in control.waiting_for_pin()],
            moonlight_clients=[
                MoonlightClientBody.model_validate(client) for client in control.moonlight_clients()
            ],
        ).model_dump()
