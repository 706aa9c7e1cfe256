"""Gamepads of clients that have left and wish to find them as they were: programs see them all the while, at rest."""

from __future__ import annotations

from typing import Final

from punktfunk import log
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.peripherals.gamepads import GamepadRouter

MAX_CLIENTS: Final = 8
"""Whose pads stay at once, 16 each at most: every one is a device of this machine. For one more the first ones' go."""


class KeptPads:
    """What stays plugged in without a stream, by client; belongs to the host's event loop."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[DesktopPool | None, GamepadRouter]] = {}
        self._closed = False
        self._log = log.get("host.pads")

    def __len__(self) -> int:
        """Return how many clients have pads here."""
        return len(self._kept)

    def keep(self, client: str, desktop: DesktopPool | None, pads: GamepadRouter) -> None:
        """Take a client's pads over, and let go of everything that is held down on them; keep no router without one.

        Its client would find it as it was, and with it that there are no pads here, which may be no longer so.
        """
        self.unplug(client)
        self._forget_pads_that_are_gone()
        if not self._closed:
            pads.rest()
        if self._closed or not pads.plugged_in:
            pads.close()
            return
        self._kept[client] = (desktop, pads)
        if len(self._kept) > MAX_CLIENTS:
            first = next(iter(self._kept))
            self._log.warning(
                "pads not kept any longer", fingerprint=first, cause="too many clients left theirs"
            )
            self.unplug(first)

    def give_back(self, client: str | None, desktop: DesktopPool | None) -> GamepadRouter | None:
        """Return a client's pads to it; those of another desktop are unplugged, for its programs do not see them."""
        if client is None or client not in self._kept:
            return None
        where, pads = self._kept.pop(client)
        if where is desktop:
            return pads
        pads.close()
        return None

    def unplug(self, client: str) -> None:
        """Unplug what a client has left, if anything."""
        _, pads = self._kept.pop(client, (None, None))
        if pads is not None:
            pads.close()

    def _forget_pads_that_are_gone(self) -> None:
        """Let those whose making was refused only after their client had left take nobody's place."""
        for client in [each for each, (_, pads) in self._kept.items() if not pads.plugged_in]:
            self.unplug(client)

    def close(self) -> None:
        """Unplug all of them, and keep none from now on."""
        self._closed = True
        for client in list(self._kept):
            self.unplug(client)
