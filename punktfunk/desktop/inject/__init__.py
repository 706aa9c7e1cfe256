"""Input into a session: one event type, one protocol class, one file a back end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class InputKind(IntEnum):
    """What an event is about, with the codes of punktfunk/1 section 3.1."""

    KEY_DOWN = 0
    KEY_UP = 1
    MOUSE_MOVE = 2
    MOUSE_ABSOLUTE = 3
    BUTTON_DOWN = 4
    BUTTON_UP = 5
    SCROLL = 6
    PAD_BUTTON = 7
    PAD_AXIS = 8
    TOUCH_DOWN = 9
    TOUCH_MOVE = 10
    TOUCH_UP = 11


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
