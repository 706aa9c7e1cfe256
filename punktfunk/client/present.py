"""Which picture is shown when: the newest that is decoded, at once, each at most once."""

from __future__ import annotations

from collections.abc import Iterator

from punktfunk.client import messages
from punktfunk.client.window import HELP, StreamWindow
from punktfunk.input import InputEvent
from punktfunk.media import DecodedFrame
from punktfunk.native.cursor import CursorCache
from punktfunk.native.datagrams import CursorState
from punktfunk.native.messages import CursorShape
from punktfunk.units import Resolution


class Presenter:
    """The window of one stream and the picture that waits for it."""

    def __init__(self, title: str, size: Resolution) -> None:
        self._window = StreamWindow(title, size)
        self._window.say(HELP)
        self._waiting: tuple[int, DecodedFrame] | None = None
        self._shown = 0
        self._pointers = CursorCache()

    @property
    def closed(self) -> bool:
        """Whether the user has closed the window."""
        return self._window.closed

    @property
    def waiting(self) -> bool:
        """Whether a picture waits to be shown."""
        return self._waiting is not None

    def offer(self, index: int, decoded: DecodedFrame) -> None:
        """Have this picture shown next, in place of one that still waits."""
        self._waiting = index, decoded

    def point(self, told: messages.CursorOrder) -> None:
        """Take what the host tells of the pointer that it leaves to this window."""
        match told:
            case messages.CursorShaped(serial, shape):
                changed = self._pointers.shaped(CursorShape(serial, shape.shape))
            case messages.CursorMoved(serial, flags, x, y):
                changed = self._pointers.moved(CursorState(serial, flags, x, y))
        if changed and self._pointers.is_known:
            self._window.point(self._pointers.pointer)

    def show(self) -> tuple[int, int] | None:
        """Show what waits; return its access unit's index and the time of display.

        Where none waits, a pointer that has moved is drawn over the picture that is shown.
        """
        if self._waiting is None:
            self._window.refresh_cursor()
            return None
        index, decoded = self._waiting
        self._waiting = None
        self._shown += 1
        return index, self._window.show(decoded.picture)

    def events(self) -> Iterator[InputEvent]:
        """Take what the user did since the last call."""
        return self._window.events()

    def say(self, frames: int, latency: str) -> None:
        """Show the figures of the last second: frames received and shown, and the median latency in words."""
        self._window.say(f"{frames} fps, {self._shown} shown, latency {latency}")
        self._shown = 0

    def close(self) -> None:
        """Close the window."""
        self._window.close()
