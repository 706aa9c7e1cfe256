"""wlr-screencopy: the compositor says for each copy how it is to lie in memory, then makes it."""

from __future__ import annotations

from typing import Any, Final

from punktfunk.desktop.capture.copies import Copy, CopyBuffers, Geometry
from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.errors import MediaError

INTERFACE: Final = "zwlr_screencopy_manager_v1"
VERSION: Final = 3
_Y_INVERT: Final = 1


class Screencopier:
    """Asks for copies by wlr-screencopy; see :class:`punktfunk.desktop.capture.copies.Copier`.

    Raises CapabilityError where the compositor does not offer it.
    """

    def __init__(
        self, connection: Connection, output: Output, buffers: CopyBuffers, *, cursor: bool = True
    ) -> None:
        self._output = output
        self._buffers = buffers
        self._cursor = cursor
        self._manager = connection.bind(INTERFACE, VERSION)

    def ask(self, *, changed: bool) -> Copy:
        """Ask for the next picture."""
        frame = self._manager.capture_output(int(self._cursor), self._output.proxy)
        return _ScreenCopy(frame, self._buffers, with_damage=changed)

    def close(self) -> None:
        """Do nothing: a request goes with its copy."""


class _ScreenCopy(Copy):
    def __init__(self, frame: Any, buffers: CopyBuffers, *, with_damage: bool) -> None:
        super().__init__()
        self._frame = frame
        self._buffers = buffers
        self._with_damage = with_damage
        self._geometry: Geometry | None = None
        for event in ("buffer", "buffer_done", "flags", "ready", "failed"):
            frame.dispatcher[event] = getattr(self, f"_on_{event}")

    def end(self) -> None:
        if self._frame is not None:
            self._frame.destroy()
            self._frame = None

    def _on_buffer(self, _frame: Any, format_code: int, width: int, height: int, stride: int) -> None:
        self._geometry = Geometry(format_code, width, height, stride)

    def _on_buffer_done(self, frame: Any) -> None:
        try:
            buffer, self.buffer = self._buffers.next(self._geometry)
        except MediaError as error:  # handlers run within libwayland and must not raise
            self.error = error
            self._finish()
            return
        if self._with_damage:
            frame.copy_with_damage(buffer)
        else:
            frame.copy(buffer)

    def _on_flags(self, _frame: Any, flags: int) -> None:
        self.upside_down = bool(flags & _Y_INVERT)

    def _on_ready(self, _frame: Any, seconds_high: int, seconds_low: int, nanoseconds: int) -> None:
        self.made_ns = ((seconds_high << 32) + seconds_low) * 1_000_000_000 + nanoseconds
        self._finish()

    def _on_failed(self, _frame: Any) -> None:
        self._finish()

    def _finish(self) -> None:
        self.done = True
        self.end()
