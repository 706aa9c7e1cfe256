"""The first finger, or the pen, as the pointer with its left button down: where nothing can be touched as such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from punktfunk.input import InputEvent, InputKind, Tool

_LIFTS: Final = frozenset({InputKind.TOUCH_UP, InputKind.TOUCH_CANCEL, InputKind.TOUCH_CANCEL_ALL})


class PointerFinger:
    """Which finger is the pointer. Further ones are dropped while it is down."""

    def __init__(self, move: Callable[[InputEvent], str | None], press: Callable[[bool], str | None]) -> None:
        """``move`` and ``press`` (the left button) do it, or return why it means nothing."""
        self._move, self._press = move, press
        self._down: tuple[Tool, int] | None = None

    @property
    def down(self) -> bool:
        """Whether one is down."""
        return self._down is not None

    def take(self, event: InputEvent) -> str | None:
        """Let an event of a finger or a pen be the pointer's, or return why it means nothing.

        One that hovers moves the pointer; one that is cancelled lets go, for a pointer cannot take back what it did.
        """
        finger = _identity(event)
        if event.kind == InputKind.TOUCH_CANCEL_ALL:
            finger = self._down or finger
        if self._down not in {None, finger}:
            return "further_finger"
        if event.kind in _LIFTS:
            self._down = None
            return self._press(False)
        reason = self._move(event)
        if reason is None and event.kind == InputKind.TOUCH_DOWN:
            self._down = finger
            return self._press(True)
        return reason

    def forget(self) -> None:
        """Forget the one that is down; its button is let go with all others."""
        self._down = None


def of_finger(event: InputEvent) -> bool:
    """Whether it is a finger's, and no pen's."""
    return event.contact is None or event.contact.tool is Tool.FINGER


def _identity(event: InputEvent) -> tuple[Tool, int]:
    """Return what touches: a finger by its number, a pen by its end."""
    if event.contact is None or event.contact.tool is Tool.FINGER:
        return Tool.FINGER, event.code
    return event.contact.tool, 0
