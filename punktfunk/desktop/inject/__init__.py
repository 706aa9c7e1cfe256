"""Input into a session: one protocol class, one file a back end; the event is :mod:`punktfunk.input`'s.

Not here: gamepads (``pads``), and what events look like on a wire (``native``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from punktfunk.input import InputEvent


@dataclass(frozen=True, slots=True)
class Rect:
    """A part of a desktop, in its logical pixels; raise ``ValueError`` for one that is empty."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"{self.width}x{self.height} is no area")

    def contains(self, other: Rect) -> bool:
        """Whether ``other`` lies wholly inside."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )


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
