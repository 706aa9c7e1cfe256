"""Capture of a PipeWire node: each picture is converted where its producer has put it, and given back at once.

The conversion is in the thread that asks for pictures, straight from the shared memory into the encoder's format, with
the interpreter's lock let go; PipeWire's own thread meanwhile keeps the newest picture only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import av

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture.bands import Band, BandConverter, band_of
from punktfunk.desktop.capture.frames import FrameMaker, copied
from punktfunk.desktop.capture.pointer import Pointer
from punktfunk.desktop.capture.shared_stream import SharedStream, leave
from punktfunk.desktop.pipewire.stream import Picture
from punktfunk.errors import MediaError
from punktfunk.media.types import BT709, Colours, RawFrame
from punktfunk.units import Mode

_FIRST_LIMITS_S: Final = (0.5, 0.5, 1.0, 2.0, 3.0)
"""For the first picture, before and after the producer is begun anew; one that renders in software may take two."""
_ATTEMPTS_ALONE: Final = 2
_PATIENCE_NS: Final = 500_000_000
"""With a producer that is yet to give a first picture."""
_RENEGOTIATED_S: Final = 0.2
"""For the first picture in a format that was asked for anew, before what there is is made do with."""


class PipeWireCapture:
    """The pictures of one node; see :class:`punktfunk.media.VideoSource`. Owns its stream.

    ``capture`` waits for the next picture or move of the pointer, but no longer than the keep-alive time: then the last
    frame is given again. Pictures that come faster than ``mode.refresh_hz`` are left out, but never the last one.
    """

    self_paced = True

    def __init__(
        self,
        shared: SharedStream,
        mode: Mode,
        *,
        keepalive_ns: int = 100_000_000,
        read_marker: bool = False,
        colours: Colours = BT709,
        begins_anew: bool = True,
    ) -> None:
        self._shared = shared
        self._begins_anew = begins_anew
        self._number = shared.owner
        self._stream = shared.stream
        self._interval_ns = 1_000_000_000 // mode.refresh_hz
        self._keepalive_ns = keepalive_ns
        self._frames = FrameMaker(mode, colours, read_marker=read_marker)
        self._pointer = Pointer(mode.width, mode.height, colours)
        self._size = mode.width, mode.height
        self._bands = BandConverter(colours)
        self._partly = 0
        self._makes_do = False
        self._patient_until_ns = 0
        if shared.cursor is not None:
            self._pointer.update(shared.cursor)
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
            "partly_converted": self._partly,
        }

    def capture(self) -> RawFrame:
        """Return the next picture, or the last one again after the keep-alive time without a change.

        Raises MediaError when the node or PipeWire has gone, or when no first picture comes.
        """
        if self._closed:
            raise MediaError("the capture is closed", "open a new one")
        if self._frames.has_frame:
            return self._next()
        return self._inherited() or self._first()

    def close(self) -> None:
        """End the stream. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._frames.close()
            leave(self._shared)

    def _next(self) -> RawFrame:
        deadline = self._frames.again_at_ns(self._keepalive_ns)
        seen = 0
        held_back = False
        while True:
            news = self._stream.wait((deadline - monotonic_ns()) / 1e9, seen)
            if self._is_superseded():
                time.sleep(self._interval_ns / 1e9)
                return self._frames.again()
            if news is None and not held_back:
                self._ask_for_better()
                return self._frames.again()
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

    def _first(self) -> RawFrame:
        """Wait for the first picture.

        A producer may give it before this end of the link runs, and then none until something changes: it is begun
        anew, and gives it once more.
        """
        for attempt, limit_s in enumerate(_FIRST_LIMITS_S):
            deadline = monotonic_ns() + round(limit_s * 1e9)
            while self._stream.wait((deadline - monotonic_ns()) / 1e9) is not None:
                if (frame := self._take()) is not None:
                    return frame
            if self._begins_anew:
                self._begin_anew(alone=attempt < _ATTEMPTS_ALONE)
        raise self._stream.silence()

    def _begin_anew(self, *, alone: bool) -> None:
        """Have the producer begin anew: if nobody else captures it, or so that they notice, too."""
        if alone or not self._stream.renegotiate():
            self._stream.restart()

    def _ask_for_better(self) -> None:
        """Have the producer begin anew where all that there is yet has been scaled from another capture's picture."""
        if self._makes_do and self._begins_anew and monotonic_ns() > self._patient_until_ns:
            self._patient_until_ns = monotonic_ns() + _PATIENCE_NS
            self._stream.restart()

    def _take(self) -> RawFrame | None:
        """Make a frame of what is new; None of a pointer that moves over nothing yet."""
        update = self._stream.take()
        if update.cursor is not None:
            self._shared.note(update.cursor)
            self._pointer.update(update.cursor)
        if update.picture is not None:
            try:
                return self._converted(update.picture)
            finally:
                self._stream.give_back(update.picture)
        if not self._frames.has_frame:
            return None
        return self._noted(self._frames.change(self._pointer.draw, monotonic_ns()))

    def _converted(self, picture: Picture) -> RawFrame:
        height, width = picture.pixels.shape[:2]
        self._pointer.scale(width, height)
        unscaled = self._size == (width, height) and not self._makes_do
        band = band_of(picture.damage, height) if unscaled and self._frames.has_frame else None
        if band is not None:
            self._partly += 1
            return self._noted(self._frames.change(self._drawer(picture, band), picture.stamp_ns))
        self._pointer.forget_frame()
        view = av.VideoFrame.from_numpy_buffer(picture.pixels, format=picture.format)
        self._makes_do = False
        return self._noted(self._frames.make(view, picture.stamp_ns, self._pointer.draw))

    def _drawer(self, picture: Picture, band: Band) -> Callable[[av.VideoFrame], None]:
        """Return what makes of a copy of the last frame that of a picture which differs in some rows only."""

        def draw(frame: av.VideoFrame) -> None:
            self._pointer.erase(frame)
            self._bands.convert(picture.pixels, picture.format, band, frame)
            self._pointer.draw(frame)

        return draw

    def _noted(self, frame: RawFrame) -> RawFrame:
        """Return a frame that a later capture may begin with."""
        self._shared.last, self._shared.pointer = frame.picture, self._pointer
        return frame

    def _is_superseded(self) -> bool:
        """Whether another capture has taken over: what comes in the format that it asked for is left to it."""
        return self._frames.has_frame and not self._shared.is_for(self._number)

    def _inherited(self) -> RawFrame | None:
        """Make a first frame of another capture's last picture; None where there is none, or something newer.

        A screen that stands still is given by its producer once, and that once was for the other.
        """
        last, pointer = self._shared.last, self._shared.pointer
        if last is None or pointer is None or self._stream.wait(_RENEGOTIATED_S) is not None:
            return None
        self._makes_do = True
        self._patient_until_ns = monotonic_ns() + _PATIENCE_NS
        last = copied(last)
        pointer.erase(last)
        return self._frames.make(last, monotonic_ns(), self._pointer.draw)
