"""Idle held off by the compositor itself, for wlroots sessions, which mostly have nobody on the bus to ask.

Compositors of wlroots count a surface that no window was made of as visible, so that nothing has to be shown. sway has
not done so since 1.12, which is found out by asking it whether it is idle. Others want a window that can be seen, and
have a screen saver or a session manager instead.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland import connect
from punktfunk.errors import CapabilityError, DesktopError

_MANAGER: Final = "zwp_idle_inhibit_manager_v1"
_WLROOTS: Final = "zwlr_virtual_pointer_manager_v1"
"""What a compositor of that family offers."""
_NOTIFIER: Final = "ext_idle_notifier_v1"
_IDLE_MS: Final = 1
_IDLE_TOLD_S: Final = 0.25
"""In which a compositor says that it has been idle for a millisecond, unless somebody is at its keyboard just then."""

_REFUSAL: Final = "the compositor does not hold idle off without a window"


class IdleInhibitor:
    """Holds idle off in the session on ``display`` until it is closed, or its process or the compositor ends.

    Raises CapabilityError where the compositor is of another family or has no such thing, and DesktopError for none.
    """

    def __init__(self, display: str) -> None:
        self._connection = connect(display)
        try:
            self._require()
            self._surface = self._connection.bind("wl_compositor", 1).create_surface()
            self._inhibitor = self._connection.bind(_MANAGER, 1).create_inhibitor(self._surface)
            self._connection.round_trip()
            self._require_awake()
        except BaseException:
            self._connection.close()
            raise
        self._ended, self._end = os.pipe()
        self._reader = threading.Thread(target=self._read, name="idle-inhibitor", daemon=True)
        self._reader.start()

    @property
    def holds(self) -> bool:
        """Whether idle is held off still: not once the compositor has ended."""
        return self._end >= 0 and self._reader.is_alive()

    def close(self) -> None:
        """Let the session go idle again. Closing twice is harmless."""
        if self._end < 0:
            return
        os.close(self._end)
        self._end = -1
        self._reader.join()
        os.close(self._ended)
        self._connection.close()

    def _require(self) -> None:
        if not (self._connection.offers(_WLROOTS) and self._connection.offers(_MANAGER)):
            raise CapabilityError(_REFUSAL)

    def _require_awake(self) -> None:
        """Raise CapabilityError where the compositor says that it is idle, although that is held off."""
        if not self._connection.offers(_NOTIFIER):
            return
        told: list[object] = []
        seat = self._connection.bind("wl_seat", 1)
        notice = self._connection.bind(_NOTIFIER, 1).get_idle_notification(_IDLE_MS, seat)
        notice.dispatcher["idled"] = told.append
        deadline = monotonic_ns() + round(_IDLE_TOLD_S * 1e9)
        while not told and (left := deadline - monotonic_ns()) > 0:
            self._connection.dispatch(left / 1e9)
        notice.destroy()
        if told:
            raise CapabilityError(_REFUSAL)

    def _read(self) -> None:
        """Take what the compositor tells all its clients: one that does not read is thrown out in the end."""
        try:
            watched = [self._ended, self._connection.fileno()]
            while self._ended not in select.select(watched, [], [])[0]:
                self._connection.dispatch(0)
        except DesktopError:
            return  # the compositor has ended, and its idleness with it
