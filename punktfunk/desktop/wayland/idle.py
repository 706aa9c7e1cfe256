"""Idle held off by the compositor itself, for wlroots sessions, which mostly have nobody on the bus to ask.

Compositors of wlroots count a surface that no window was made of as visible, so that nothing has to be shown. Others
want a window that can be seen, and have a screen saver or a session manager instead.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Final

from punktfunk.desktop.wayland import connect
from punktfunk.errors import CapabilityError, DesktopError

_MANAGER: Final = "zwp_idle_inhibit_manager_v1"
_WLROOTS: Final = "zwlr_virtual_pointer_manager_v1"
"""What a compositor of that family offers."""


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
            raise CapabilityError("the compositor does not hold idle off without a window")

    def _read(self) -> None:
        """Take what the compositor tells all its clients: one that does not read is thrown out in the end."""
        try:
            watched = [self._ended, self._connection.fileno()]
            while self._ended not in select.select(watched, [], [])[0]:
                self._connection.dispatch(0)
        except DesktopError:
            return  # the compositor has ended, and its idleness with it
