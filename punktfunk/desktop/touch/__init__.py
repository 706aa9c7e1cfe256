"""Fingers and pens as such: one protocol class, one file a back end; the event is :mod:`punktfunk.input`'s.

Not here: the pointer that the first of them is where a desktop has no such device (``inject``).
"""

from __future__ import annotations

from typing import Protocol

from punktfunk.input import InputEvent


class TouchInjector(Protocol):
    """A touch screen and a pen that programs see until ``close``. Not safe for use by two threads at once."""

    def takes(self, event: InputEvent) -> bool:
        """Whether the event is of a finger that touches, or of a pen; all others have another device."""
        ...

    def inject(self, event: InputEvent) -> str | None:
        """Put one event in; return why it means nothing, None where it does.

        Nothing that a client sends raises; DesktopError says that the devices have gone.
        """
        ...

    def release_all(self) -> None:
        """Lift every finger, and take the pen away."""
        ...

    def close(self) -> None:
        """Release all and unplug both. Closing twice is harmless."""
        ...
