"""Capture of a PipeWire node: each picture is converted where its producer has put it, and given back at once.

The conversion is in the thread that asks for pictures, straight from the shared memory into the encoder's format, with
the interpreter's lock let go; PipeWire's own thread meanwhile keeps the newest picture only.
"""

from __future__ import annotations

from typing import Final

import av

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture.frames import FrameMaker
from punktfunk.desktop.capture.pointer import Pointer
from punktfunk.desktop.pipewire.stream import Picture, PipeWireStream
from punktfunk.errors import MediaError
from punktfunk.media.types import BT709, Colours, RawFrame
from punktfunk.units import Mode

_FIRST_PICTURE_LIMIT_NS: Final = 5_000_000_000
"""A compositor that renders in software has been seen to take two seconds under load."""


class PipeWireCapture:
    """The pictures of one node; see :class:`punktfunk.media.VideoSource`. Owns its stream.

    ``capture`` waits for the next picture or move of the pointer, but no longer than the keep-alive time: then the last
    frame is given again. Pictures that come faster than ``mode.refresh_hz`` are left out, but never the last one.
    """

    self_paced = True

    def __init__(
        self,
        stream: PipeWireStream,
        mode: Mode,
        *,
        keepalive_ns: int = 100_000_000,
        read_marker: bool = False,
        colours: Colours = BT709,
    ) -> None:
        self._stream = stream
        self._interval_ns = 1_000_000_000 // mode.refresh_hz
        self._keepalive_ns = keepalive_ns
        self._frames = FrameMaker(mode, colours, read_marker=read_marker)
        self._pointer = Pointer(mode.width, mode.height, colours)
        self._closed = False

    @property
    def counters(self) -> dict[str, int]:
        """``captured``, ``repeated`` (nothing changed), ``left_out`` (too many); ``empty``, ``corrupted`` buffers."""
        of_stream = self._stream.counters
        return {
            **self._frames.counters,
            "left_out": of_stream.replaced,
            "empty": of_stream.empty,
            "corrupted": of_stream.corrupted,
        }

    def capture(self) -> RawFrame:
        """Return the next picture, or the last one again after the keep-alive time without a change.

        Raises MediaError when the node or PipeWire has gone, or when no first picture comes.
        """
        if self._closed:
            raise MediaError("the capture is closed", "open a new one")
        began = monotonic_ns()
        deadline = (
            self._frames.given_ns + self._keepalive_ns
            if self._frames.has_frame
            else began + _FIRST_PICTURE_LIMIT_NS
        )
        seen = 0
        held_back = False
        while True:
            news = self._stream.wait((deadline - monotonic_ns()) / 1e9, seen)
            if news is None and not held_back:
                return self._again()
            if news is not None and not self._frames.in_time(monotonic_ns()):
                # One too many, unless it is the last one: then it is what the screen shows now.
                if not held_back:
                    deadline = monotonic_ns() + self._interval_ns
                seen, held_back = news, True
                continue
            frame = self._take()
            if frame is not None:
                return frame
            seen, held_back = 0, False

    def close(self) -> None:
        """End the stream. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._frames.close()
            self._stream.close()

    def _take(self) -> RawFrame | None:
        """Make a frame of what is new; None of a pointer that moves over nothing yet."""
        update = self._stream.take()
        if update.cursor is not None:
            self._pointer.update(update.cursor)
        if update.picture is not None:
            try:
                return self._converted(update.picture)
            finally:
                self._stream.give_back(update.picture)
        if not self._frames.has_frame:
            return None
        return self._frames.redraw(self._pointer.draw, monotonic_ns())

    def _converted(self, picture: Picture) -> RawFrame:
        height, width = picture.pixels.shape[:2]
        self._pointer.scale(width, height)
        self._pointer.forget_frame()
        view = av.VideoFrame.from_numpy_buffer(picture.pixels, format=picture.format)
        return self._frames.make(view, picture.stamp_ns, self._pointer.draw)

    def _again(self) -> RawFrame:
        if not self._frames.has_frame:
            raise MediaError(
                "no picture came from PipeWire",
                "is the screen still on, and is WirePlumber running? systemctl --user status wireplumber",
            )
        return self._frames.again()
