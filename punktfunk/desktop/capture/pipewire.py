"""Capture of a PipeWire node: each picture is converted where its producer has put it, and given back at once.

The conversion is in the thread that asks for pictures, straight from the shared memory into the encoder's format, with
the interpreter's lock let go; PipeWire's own thread meanwhile keeps the newest picture only. A DMA-BUF that the encoder
imports is handed on as it is, and given back when there is a newer picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import av

from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorListener
from punktfunk.desktop.capture.bands import Band, BandConverter, band_of, rows_of
from punktfunk.desktop.capture.frames import FrameMaker, copied
from punktfunk.desktop.capture.shared_stream import SharedStream, leave
from punktfunk.desktop.capture.told_pointer import ToldPointer
from punktfunk.desktop.pipewire.buffers import Cursor
from punktfunk.desktop.pipewire.formats import Wish
from punktfunk.desktop.pipewire.pictures import Picture
from punktfunk.errors import DmaBufError, LayoutError, MediaError
from punktfunk.media.handover import POINTER_DRAWN, Handover, Way
from punktfunk.media.shared_memory import Scratch
from punktfunk.media.types import BT709, Colours, RawFrame
from punktfunk.units import Mode

_FIRST_LIMITS_S: Final = (0.5, 0.5, 1.0, 2.0, 3.0, 4.0)
"""For the first picture, before and after the producer is begun anew; one that renders in software may take two."""
_ATTEMPTS_ALONE: Final = 2
_PATIENCE_NS: Final = 500_000_000
"""With a producer that is yet to give a first picture."""
_AFTER_MOVE_NS: Final = 250_000_000
"""Since the pointer has moved: pictures that come meanwhile may be of its movement alone."""
_RENEGOTIATED_S: Final = 0.2
"""For the first picture in a format that was asked for anew, before what there is is made do with."""


class PipeWireCapture:
    """The pictures of one node; see :class:`punktfunk.media.VideoSource`. Owns its stream.

    ``capture`` waits for the next picture or move of the pointer, but no longer than the keep-alive time: then the last
    frame is given again. Pictures that come faster than ``mode.refresh_hz`` are left out, but never the last one.
    A pointer that somebody else draws is told as it moves, and no frame is made for that.
    """

    self_paced = True

    def __init__(
        self,
        shared: SharedStream,
        mode: Mode,
        wish: Wish,
        handover: Handover,
        *,
        keepalive_ns: int = 100_000_000,
        read_marker: bool = False,
        colours: Colours = BT709,
        begins_anew: bool = True,
        provoke: Callable[[], None] | None = None,
    ) -> None:
        """``provoke`` has a producer give a picture that gives none by being begun anew."""
        self._shared = shared
        self._wish = wish
        self._handover = handover
        self._changes = handover.changes
        self._refusal: DmaBufError | None = None
        """Why the last picture was none that could be taken; None since there was one that could."""
        self._held: Picture | None = None
        """What the encoder was given in a DMA-BUF, and may be given again."""
        self._scratch = Scratch()
        self._provoke = provoke
        self._begins_anew = begins_anew
        self._number = shared.owner
        self._stream = shared.stream
        self._interval_ns = 1_000_000_000 // mode.refresh_hz
        self._keepalive_ns = keepalive_ns
        self._frames = FrameMaker(mode, colours, read_marker=read_marker)
        self._told = ToldPointer(mode, colours, self._painted)
        self._pointer, self._reporter = self._told.painter, self._told.reporter
        self._was_told = False
        """Whether somebody else has drawn the pointer."""
        self._moved_ns = 0
        """When the pointer has moved."""
        self._unchanged = 0
        self._size = mode.width, mode.height
        self._bands = BandConverter(colours)
        self._partly = 0
        self._makes_do = False
        self._patient_until_ns = 0
        if shared.cursor is not None:
            self._pointed(shared.cursor)
        self._closed = False

    @property
    def counters(self) -> dict[str, int]:
        """``captured``, ``repeated`` (nothing changed), ``left_out`` (too many); ``empty``, ``corrupted`` buffers.

        ``cursor_told``: changes of the pointer that cost no frame, as somebody else draws it; ``unchanged``: pictures
        that came with them and are like the one before.
        """
        of_stream = self._stream.counters
        return {
            **self._frames.counters,
            "left_out": of_stream.replaced,
            "empty": of_stream.empty,
            "corrupted": of_stream.corrupted,
            "partly_converted": self._partly,
            "cursor_told": self._reporter.told,
            "unchanged": self._unchanged,
        }

    def separate_cursor(self, listener: CursorListener | None) -> None:
        """Report the pointer to ``listener`` and leave it out of the pictures; see :class:`CursorSource`."""
        self._told.listen(listener)

    def capture(self) -> RawFrame:
        """Return the next picture, or the last one again after the keep-alive time without a change.

        Raises MediaError when the node or PipeWire has gone, or when no first picture comes.
        """
        if self._closed:
            raise MediaError("the capture is closed", "open a new one")
        if self._handover.changes != self._changes:
            self._ask_for_others()
        try:
            if self._frames.has_frame:
                return self._next()
            return self._inherited() or self._first()
        except MediaError as error:
            if self._refusal is None:
                raise
            # PipeWire says no more than that both sides agree on nothing.
            raise self._refusal from error

    def close(self) -> None:
        """End the stream. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._frames.close()
            self._give_held_back()
            leave(self._shared)

    def _next(self) -> RawFrame:
        deadline = self._frames.again_at_ns(self._keepalive_ns)
        seen = 0
        held_back = False
        if self._told.repaints and (repainted := self._repainted()) is not None:
            return repainted
        while True:
            news = self._stream.wait((deadline - monotonic_ns()) / 1e9, seen)
            if self._is_superseded():
                time.sleep(self._interval_ns / 1e9)
                return self._frames.again()
            if news is None and not held_back:
                self._ask_for_better()
                return self._frames.again()
            if news is not None and self._moved_alone():
                continue
            if news is not None and not self._frames.in_time(monotonic_ns()):
                # One too many, unless it is the last one: then it is what the screen shows now.
                if not held_back:
                    deadline = monotonic_ns() + self._interval_ns
                seen, held_back = news, True
                continue
            frame = self._take()
            if frame is not None:
                return frame
            if not self._frames.has_frame:
                return self._first()
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
            if self._provoke is not None:
                self._provoke()
            elif self._begins_anew:
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
        """Make a frame of what is new; None of a pointer that moves over nothing yet, and of what cannot be taken."""
        update = self._stream.take()
        if update.cursor is not None:
            self._shared.note(update.cursor)
            self._pointed(update.cursor)
        if update.picture is not None:
            return self._frame_of(update.picture)
        return self._repainted()

    def _repainted(self) -> RawFrame | None:
        """Return the last frame with the pointer as it is now, or without it; None where it cannot be drawn into."""
        if not self._frames.can_change:
            return None
        self._told.repaints = False
        return self._noted(self._frames.change(self._pointer.draw, monotonic_ns()))

    def _moved_alone(self) -> bool:
        """Report a pointer that somebody else draws; return whether that is all that is new."""
        if not self._reporter.is_told:
            return False
        cursor, pictured = self._stream.take_cursor()
        if cursor is not None:
            self._shared.note(cursor)
            self._pointed(cursor)
        return not (pictured or self._told.repaints)

    def _pointed(self, cursor: Cursor) -> None:
        self._told.update(cursor)
        self._moved_ns = monotonic_ns()

    def _painted(self, painted: bool) -> None:
        # Each change is a new format. One back is enough: a pointer that is too large now and then is shaken.
        if painted or not self._was_told:
            self._handover.need(POINTER_DRAWN, painted)
        self._was_told = True

    def _frame_of(self, picture: Picture) -> RawFrame | None:
        """Make a frame of a picture, the way that is decided; None where it cannot be taken: others are asked for."""
        handed_on = False
        try:
            handed_on = self._way(picture) is Way.IMPORTED
            if handed_on:
                return self._handed_on(picture)
            frame = self._converted(picture)
            self._unchanged += frame is None
        except DmaBufError as error:
            self._refuse(picture, error)
            return None
        finally:
            if not handed_on:
                self._stream.give_back(picture)
        self._give_held_back()
        self._refusal = None
        return frame

    def _way(self, picture: Picture) -> Way:
        buffer = picture.buffer
        if not buffer.is_dma_buf:
            return self._handover.of_memory(copied=buffer.is_copied)
        whole = picture.crop is None and picture.size == self._size
        return self._handover.of_dma_buf(buffer.video.fourcc, buffer.video.modifier or 0, whole=whole)

    def _handed_on(self, picture: Picture) -> RawFrame:
        """Make a frame of a picture in a DMA-BUF as it is, and keep that until there is another one."""
        former, self._held = self._held, picture
        if former is not None:
            self._stream.give_back(former)
        self._pointer.forget_frame()
        self._makes_do, self._refusal, self._told.repaints = False, None, False
        self._shared.last = self._shared.pointer = None
        return self._frames.hand_on(picture.dma_buf(), picture.stamp_ns)

    def _give_held_back(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._stream.give_back(held)

    def _refuse(self, picture: Picture, error: DmaBufError) -> None:
        """Take note that a picture in a DMA-BUF could not be taken, and ask for others."""
        video = picture.buffer.video
        mapped = not isinstance(error, LayoutError)
        if self._handover.refuse(video.fourcc, video.modifier or 0, error.cause, mapped=mapped):
            self._ask_for_others()
        self._refusal = error

    def _ask_for_others(self) -> None:
        """Ask for what is offered now; what was handed on before is not given again, as it may be what was refused."""
        self._changes, self._refusal = self._handover.changes, self._handover.refusal
        self._wish = replace(self._wish, dma_bufs=self._handover.offers)
        if self._held is not None:
            self._frames.forget()
            self._give_held_back()
        if self._shared.owner == self._number:
            self._stream.ask(self._wish)

    def _converted(self, picture: Picture) -> RawFrame | None:
        """Make a frame of a picture; None where somebody else draws the pointer, and nothing but that has moved.

        A compositor without a plane for the pointer may paint the screen anew beneath it (Mutter its own monitors).
        """
        width, height = picture.size
        self._told.scale(width, height)
        moved = monotonic_ns() - self._moved_ns < _AFTER_MOVE_NS
        maybe_same = moved and self._reporter.is_told and not self._told.repaints
        self._told.repaints = False
        unscaled = self._size == (width, height) and not self._makes_do
        band = band_of(picture.damage, height) if unscaled and self._frames.can_change else None
        if band is not None:
            self._partly += 1
            change = self._frames.change_if_other if maybe_same else self._frames.change
            return self._noted(change(self._drawer(picture, band), picture.stamp_ns))
        self._pointer.forget_frame()
        with picture.reading(self._scratch) as pixels:
            view = av.VideoFrame.from_numpy_buffer(pixels, format=picture.format)
            maybe_same, self._makes_do = maybe_same and not self._makes_do, False
            make = self._frames.make_if_other if maybe_same else self._frames.make
            return self._noted(make(view, picture.stamp_ns, self._pointer.draw))

    def _drawer(self, picture: Picture, band: Band) -> Callable[[av.VideoFrame], None]:
        """Return what makes of a copy of the last frame that of a picture which differs in some rows only."""

        def draw(frame: av.VideoFrame) -> None:
            self._pointer.erase(frame)
            with picture.reading(self._scratch, slice(*rows_of(band, picture.size[1]))) as pixels:
                self._bands.convert(pixels, picture.format, band, frame)
            self._pointer.draw(frame)

        return draw

    def _noted(self, frame: RawFrame | None) -> RawFrame | None:
        """Return a frame that a later capture may begin with, if it is one."""
        if frame is not None:
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
