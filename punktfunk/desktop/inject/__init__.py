"""Input into a session: one event type, one protocol class, one file a back end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from punktfunk.native.datagrams import InputKind as InputKind


@dataclass(frozen=True, slots=True)
class InputEvent:
    """One event of punktfunk/1 section 3.1.

    ``code``: Windows virtual key, button 1 to 5 (left, middle, right, X1, X2), or scroll axis (0 vertical, 1
    horizontal). ``x``, ``y``: pixels of movement (down positive), a position, or in ``x`` a scroll distance in
    1/120 notch (up and right positive). ``flags``: for positions, (width << 16) | height of the area that
    they count in.
    """

    kind: int
    code: int = 0
    x: int = 0
    y: int = 0
    flags: int = 0


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
