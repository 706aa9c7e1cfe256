"""The pointer that is told beside pictures: painted into their frames, or reported to who draws it."""

from __future__ import annotations

from collections.abc import Callable

from punktfunk.cursor import CursorListener
from punktfunk.desktop.capture.cursor_reporter import CursorReporter
from punktfunk.desktop.capture.pointer import Pointer
from punktfunk.desktop.pipewire.buffers import Cursor
from punktfunk.media.types import BT709, Colours
from punktfunk.units import Mode


class ToldPointer:
    """The pointer in frames of ``mode``'s size: one of both ends has it, ``painter`` or ``reporter``. For one thread.

    ``on_change`` is told when it is to be painted from now on, and when not any more.
    """

    def __init__(
        self, mode: Mode, colours: Colours = BT709, on_change: Callable[[bool], None] | None = None
    ) -> None:
        self.painter = Pointer(mode.width, mode.height, colours)
        self.reporter = CursorReporter(mode.width, mode.height)
        self.repaints = False
        """Whether the last frame shows the pointer otherwise than the next is to: who makes that clears it."""
        self._on_change = on_change

    def listen(self, listener: CursorListener | None) -> None:
        """Report it to ``listener`` and leave it out of the frames, or paint it again (``None``)."""
        self.reporter.listen(listener)
        self._decide()

    def update(self, cursor: Cursor) -> None:
        """Take note of what is new about it."""
        self.painter.update(cursor)
        self.reporter.update(cursor)
        self._decide()

    def scale(self, width: int, height: int) -> None:
        """Take note of the size of the pictures that frames are made of: positions are theirs."""
        self.painter.scale(width, height)
        self.reporter.scale(width, height)
        self._decide()

    def _decide(self) -> None:
        """Have it painted into the next frame unless somebody else draws it, also where that changes."""
        painted = not self.reporter.is_told
        if painted != self.painter.is_painted:
            was_shown = self.painter.is_shown
            self.painter.is_painted = painted
            self.repaints = self.repaints or was_shown or self.painter.is_shown
            if self._on_change is not None:
                self._on_change(painted)
