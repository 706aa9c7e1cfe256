"""Input into a session: one protocol class, one file a back end; the event is :mod:`punktfunk.input`'s.

Not here: gamepads (``pads``), and what events look like on a wire (``native``).
"""

from __future__ import annotations

from typing import Protocol

from punktfunk.input import InputEvent


class InputInjector(Protocol):
    """Puts events into a session. Not safe for use by two threads at once."""

    @property
    def counters(self) -> dict[str, int]:
        """Events injected, and those dropped by reason."""
        ...

    def inject(self, event: InputEvent) -> bool:
        """Put one event in; ``False``: dropped, and counted under its reason.

        Nothing that a client sends raises; DesktopError says that the compositor has gone.
        """
        ...

    def release_all(self) -> None:
        """Let go of every key and button that is down."""
        ...

    def close(self) -> None:
        """Release all and end. Closing twice is harmless."""
        ...
