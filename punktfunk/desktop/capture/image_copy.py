"""ext-image-copy-capture: one session an output, which says once how pictures lie in memory, and again when it changes.

A compositor writes into a buffer only what has changed in its output since the last copy, so it has to be told what
the buffer lacks of earlier ones, which went into others.
"""

from __future__ import annotations

from typing import Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture.copies import BUFFERS, FFMPEG_FORMATS, Copy, CopyBuffers, Geometry
from punktfunk.desktop.wayland.capture_session import MANAGER, SOURCES, Constraints
from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.errors import MediaError

_PAINT_CURSORS: Final = 1
_BYTES_PER_PIXEL: Final = 4


class Box:
    """The smallest rectangle that holds what was added to it; it never grows beyond a picture."""

    def __init__(self) -> None:
        self._left = self._top = self._right = self._bottom = 0

    def add(self, x: int, y: int, width: int, height: int) -> None:
        """Widen it by a rectangle; an empty one changes nothing."""
        if width <= 0 or height <= 0:
            return
        if self.size == (0, 0):
            self._left, self._top, self._right, self._bottom = x, y, x + width, y + height
            return
        self._left, self._top = min(self._left, x), min(self._top, y)
        self._right, self._bottom = max(self._right, x + width), max(self._bottom, y + height)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, 0 and 0 while it is empty."""
        return self._right - self._left, self._bottom - self._top

    def within(self, width: int, height: int) -> tuple[int, int, int, int] | None:
        """Return x, y, width and height of what lies in a picture of that size; None for nothing."""
        left, top = max(0, self._left), max(0, self._top)
        right, bottom = min(width, self._right), min(height, self._bottom)
        return (left, top, right - left, bottom - top) if right > left and bottom > top else None


class ImageCopier:
    """Asks for copies by ext-image-copy-capture; see :class:`punktfunk.desktop.capture.copies.Copier`.

    Raises CapabilityError where the compositor does not offer it.
    """

    def __init__(
        self, connection: Connection, output: Output, buffers: CopyBuffers, *, cursor: bool = True
    ) -> None:
        self._output = output
        self._buffers = buffers
        manager, sources = connection.bind(MANAGER, 1), connection.bind(SOURCES, 1)
        self._source = sources.create_source(output.proxy)
        self._session: Any = manager.create_session(self._source, _PAINT_CURSORS if cursor else 0)
        self._told = Constraints(self._session)
        self._told.on_stop = self._stop
        self._copy: _ImageCopy | None = None
        self._geometry: Geometry | None = None
        self._lacking = [Box() for _ in range(BUFFERS)]
        connection.round_trip()  # to learn how pictures lie

    def ask(self, *, changed: bool) -> Copy:
        """Ask for the next picture; a session's first is always of what there is."""
        if self._told.stopped:
            return _failed(self._output_gone())
        wanted = self._wanted()
        if isinstance(wanted, MediaError):
            return _failed(wanted)
        if wanted != self._geometry:
            self._geometry = wanted
            for box in self._lacking:
                box.add(0, 0, wanted.width, wanted.height)
        try:
            buffer, number = self._buffers.next(wanted)
        except MediaError as error:
            return _failed(error)
        copy = _ImageCopy(self._session.create_frame(), number, self._lacking)
        copy.begin(buffer, wanted)
        self._copy = copy
        return copy

    def close(self) -> None:
        """End the session with the compositor."""
        if self._session is not None:
            self._session.destroy()
            self._source.destroy()
            self._session = None

    def _stop(self) -> None:
        """End the copy under way: whoever waits for it is not left to a compositor that forgets to fail it."""
        if self._copy is not None:
            self._copy.fail(self._output_gone())

    def _output_gone(self) -> MediaError:
        return MediaError(f"the output {self._output.name} has gone", "open another one")

    def _wanted(self) -> Geometry | MediaError:
        taken = next((each for each in FFMPEG_FORMATS if each in self._told.formats), None)
        if taken is None:
            offered = ", ".join(f"{each:#x}" for each in self._told.formats) or "none"
            return MediaError(f"the compositor gives pictures in no known format of shared memory: {offered}")
        width, height = self._told.size
        return Geometry(taken, width, height, width * _BYTES_PER_PIXEL)


class _ImageCopy(Copy):
    def __init__(self, frame: Any, number: int, lacking: list[Box]) -> None:
        super().__init__()
        self.buffer = number
        self._frame = frame
        self._lacking = lacking
        self._presented_ns: int | None = None
        for event in ("transform", "damage", "presentation_time", "ready", "failed"):
            frame.dispatcher[event] = getattr(self, f"_on_{event}")

    def begin(self, buffer: Any, geometry: Geometry) -> None:
        """Ask for it."""
        self._frame.attach_buffer(buffer)
        lacks = self._lacking[self.buffer].within(geometry.width, geometry.height)
        if lacks is not None:
            self._frame.damage_buffer(*lacks)
        self._frame.capture()

    def end(self) -> None:
        if self._frame is not None:
            self._frame.destroy()
            self._frame = None

    def fail(self, error: MediaError) -> None:
        """Give it up, unless it is done."""
        if not self.done:
            self.error = error
            self._finish()

    def _on_transform(self, _frame: Any, _transform: int) -> None:
        """Pictures are taken as they lie in the output's own memory, as by screencopy."""

    def _on_damage(self, _frame: Any, x: int, y: int, width: int, height: int) -> None:
        for number, box in enumerate(self._lacking):
            if number != self.buffer:
                box.add(x, y, width, height)

    def _on_presentation_time(self, _frame: Any, high: int, low: int, nanoseconds: int) -> None:
        self._presented_ns = ((high << 32) + low) * 1_000_000_000 + nanoseconds

    def _on_ready(self, _frame: Any) -> None:
        self.made_ns = monotonic_ns() if self._presented_ns is None else self._presented_ns
        self._lacking[self.buffer] = Box()
        self._finish()

    def _on_failed(self, _frame: Any, _reason: int) -> None:
        self._finish()

    def _finish(self) -> None:
        self.done = True
        self.end()


def _failed(error: MediaError) -> Copy:
    copy = Copy()
    copy.error, copy.done = error, True
    return copy
