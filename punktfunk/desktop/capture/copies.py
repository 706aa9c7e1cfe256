"""Capture of an output by copies that a compositor makes into our shared memory, whatever protocol asks for them.

The next copy is asked for as soon as one is ready, so that the compositor's own commits set the pace, and the
answer to it comes while the last picture is being encoded.
"""

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple, Protocol

import av
import numpy as np

from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorListener
from punktfunk.desktop.capture.frames import FrameMaker
from punktfunk.desktop.capture.told_pointer import ToldPointer
from punktfunk.desktop.pipewire.buffers import Cursor
from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.desktop.wayland.shm import Buffers
from punktfunk.errors import DesktopError, MediaError
from punktfunk.media.types import BT709, Colours, RawFrame
from punktfunk.units import Mode

BUFFERS: Final = 3
"""One being filled, one being converted, one for the copy that is asked for meanwhile."""
MAX_SIDE: Final = 16_384
"""Pixels; no encoder takes more, and a compositor that says so is wrong."""
_BYTES_PER_PIXEL: Final = 4
_FIRST_PICTURE_LIMIT_NS: Final = 3_000_000_000
_FAILED_COPIES_LIMIT: Final = 10
_OLDEST_NS: Final = 10_000_000_000
"""A picture that was made longer ago would have been taken before."""


def _fourcc(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


FFMPEG_FORMATS: Final = {
    1: "bgra",  # wl_shm xrgb8888, whose fourth byte the conversion leaves out as it does alpha
    0: "bgra",  # wl_shm argb8888; names of wl_shm read a little-endian word, those of FFmpeg bytes
    _fourcc("XB24"): "rgba",
    _fourcc("AB24"): "rgba",
}
"""FFmpeg's names of the formats that are taken, the preferred one first."""


class Geometry(NamedTuple):
    """How a picture lies in memory."""

    format: int
    """As wl_shm names it."""
    width: int
    height: int
    stride: int
    """Bytes from one row to the next."""


class Copy:
    """One request for a picture and what became of it."""

    def __init__(self) -> None:
        self.done = False
        self.made_ns: int | None = None
        """When the compositor had made the picture (CLOCK_MONOTONIC); None where it could not."""
        self.error: MediaError | None = None
        self.upside_down = False
        self.buffer = -1

    def end(self) -> None:
        """Free the request."""


class Copier(Protocol):
    """A protocol by which a compositor copies its output; handlers of its events do not raise."""

    def ask(self, *, changed: bool) -> Copy:
        """Ask for the next picture: that of the next change, or of what there is now."""
        ...

    def close(self) -> None:
        """Free what was asked for. Before the connection is closed."""
        ...


class Pointing(Protocol):
    """What tells the pointer beside the pictures."""

    @property
    def has_news(self) -> bool:
        """Whether there is something to take."""
        ...

    def take(self) -> Cursor | None:
        """Return what is new of it; None for nothing."""
        ...

    def close(self) -> None:
        """Free what was asked for. Before the connection is closed."""
        ...


class CopyBuffers:
    """The buffers that copies are made into, in turn, and FFmpeg's view of them; others when the geometry changes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._buffers: Buffers | None = None
        self._pictures: list[av.VideoFrame] = []
        self._geometry: Geometry | None = None
        self._turn = 0

    def next(self, geometry: Geometry | None) -> tuple[Any, int]:
        """Return a buffer of that geometry, and its number; raise MediaError for one that cannot be, or for none."""
        if geometry is None:
            raise MediaError("the compositor offers no pictures in shared memory")
        if geometry != self._geometry or self._buffers is None:
            self._make(geometry)
        assert self._buffers is not None
        self._turn = (self._turn + 1) % BUFFERS
        return self._buffers.proxies[self._turn], self._turn

    def picture(self, number: int, *, upside_down: bool = False) -> av.VideoFrame:
        """Return a view of a buffer, or where it is upside down an upright copy."""
        picture = self._pictures[number]
        if not upside_down or self._buffers is None:
            return picture
        upright = np.ascontiguousarray(self._buffers.pixels[number][::-1])
        return av.VideoFrame.from_numpy_buffer(upright, format=picture.format.name)

    def close(self) -> None:
        """Give the memory back."""
        self._pictures.clear()
        if self._buffers is not None:
            self._buffers.close()
            self._buffers = None

    def _make(self, geometry: Geometry) -> None:
        if geometry.format not in FFMPEG_FORMATS:
            raise MediaError(f"the compositor gives pictures in the unknown format {geometry.format:#x}")
        sides = 0 < geometry.width <= MAX_SIDE and 0 < geometry.height <= MAX_SIDE
        if not sides or not 0 <= geometry.stride - geometry.width * _BYTES_PER_PIXEL <= MAX_SIDE:
            raise MediaError(
                f"the compositor gives pictures of {geometry.width}x{geometry.height}, {geometry.stride} bytes a row"
            )
        self.close()
        self._buffers = Buffers(
            self._connection,
            BUFFERS,
            format_code=geometry.format,
            width=geometry.width,
            height=geometry.height,
            stride=geometry.stride,
        )
        name = FFMPEG_FORMATS[geometry.format]
        self._pictures = [
            av.VideoFrame.from_numpy_buffer(pixels, format=name) for pixels in self._buffers.pixels
        ]
        self._geometry = geometry


class CopyCapture:
    """The pictures of one output; see :class:`punktfunk.media.VideoSource`.

    ``capture`` waits for the compositor's next picture, but no longer than the keep-alive time: then the last one is
    given again. Owns its connection, the copier, the buffers and ``pointing``, without which the pointer is in the
    pictures. One that somebody else draws is told as it moves, and no frame is made for that.
    """

    self_paced = True

    def __init__(
        self,
        connection: Connection,
        output: Output,
        copier: Copier,
        buffers: CopyBuffers,
        mode: Mode,
        *,
        pointing: Pointing | None = None,
        keepalive_ns: int = 100_000_000,
        read_marker: bool = False,
        colours: Colours = BT709,
    ) -> None:
        self._connection = connection
        self._output = output
        self._copier = copier
        self._buffers = buffers
        self._pointing = pointing
        self._interval_ns = 1_000_000_000 // mode.refresh_hz
        self._keepalive_ns = keepalive_ns
        self._frames = FrameMaker(mode, colours, read_marker=read_marker)
        self._told = ToldPointer(mode, colours)
        # Who draws it draws none until one is told: it is in the pictures as long as none is.
        self._told.update(Cursor(visible=False))
        connection.on_output_gone = self._output_gone
        self._copy: Copy | None = None
        self._gone = False
        self._failed_copies = self._failed_in_a_row = 0
        self._closed = False

    @property
    def counters(self) -> dict[str, int]:
        """``captured``, ``repeated`` (nothing changed), ``left_out`` (too many), ``failed_copies``.

        ``cursor_told``: changes of the pointer that cost no frame, as somebody else draws it.
        """
        return {
            **self._frames.counters,
            "failed_copies": self._failed_copies,
            "cursor_told": self._told.reporter.told,
        }

    def separate_cursor(self, listener: CursorListener | None) -> None:
        """Report the pointer to ``listener`` and leave it out of the pictures; see :class:`CursorSource`."""
        self._told.listen(listener)

    def capture(self) -> RawFrame:
        """Return the next picture, or the last one again after the keep-alive time without a change.

        Raises MediaError when the output or the compositor is gone, or when no first picture comes.
        """
        if self._closed:
            raise MediaError("the capture is closed", "open a new one")
        try:
            return self._next()
        except DesktopError as error:
            raise MediaError(f"the capture ended: {error.cause}", error.hint) from error

    def close(self) -> None:
        """Free the buffers and disconnect."""
        if self._closed:
            return
        self._closed = True
        self._frames.close()
        if self._copy is not None:
            self._copy.end()
        self._copier.close()
        if self._pointing is not None:
            self._pointing.close()
        self._buffers.close()
        self._connection.close()

    def _next(self) -> RawFrame:
        if self._frames.has_frame:
            deadline = self._frames.again_at_ns(self._keepalive_ns)
        else:
            deadline = monotonic_ns() + _FIRST_PICTURE_LIMIT_NS
        while True:
            if self._copy is None:
                self._ask()
            self._follow_pointer()
            copy = self._copy
            assert copy is not None
            if copy.done:
                self._copy = None
                frame = self._take(copy)
                if frame is not None:
                    return frame
                continue
            if self._gone:
                raise MediaError(f"the output {self._output.name} has gone", "open another one")
            if (repainted := self._repainted()) is not None:
                return repainted
            left = deadline - monotonic_ns()
            if left <= 0:
                # What has arrived while the last picture was encoded counts, however late it is.
                if self._connection.dispatch(0):
                    continue
                if not self._frames.has_frame:
                    raise MediaError(f"no picture came from {self._output.name}", "is the output enabled?")
                return self._frames.again()
            self._connection.dispatch(min(left, self._patience_ns) / 1e9)

    def _follow_pointer(self) -> None:
        """Report what is new of a pointer that is told, or have it painted into the next frame."""
        cursor = None if self._pointing is None else self._pointing.take()
        if cursor is not None:
            was_shown = self._told.painter.is_shown
            self._told.update(cursor)
            self._told.repaints = self._told.repaints or was_shown or self._told.painter.is_shown

    @property
    def _patience_ns(self) -> int:
        """How long may be waited for events while there is something to be done for the pointer."""
        if self._pointing is not None and self._pointing.has_news:
            return 0
        return self._interval_ns if self._told.repaints else sys.maxsize

    def _repainted(self) -> RawFrame | None:
        """Return the last frame with the pointer as it is now, or without it; None where that is not to be yet."""
        if not (self._told.repaints and self._frames.can_change and self._frames.in_time(monotonic_ns())):
            return None
        self._told.repaints = False
        return self._frames.change(self._told.painter.draw, monotonic_ns())

    def _ask(self) -> None:
        """Ask for the next change. The very first copy is of what there is, changed or not."""
        self._copy = self._copier.ask(changed=self._frames.has_frame)
        self._connection.flush()

    def _take(self, copy: Copy) -> RawFrame | None:
        """Make a frame of a finished copy; None where it failed or is one too many."""
        if copy.error is not None:
            raise copy.error
        if copy.made_ns is None:
            self._failed_copies += 1
            self._failed_in_a_row += 1
            if self._gone or self._failed_in_a_row >= _FAILED_COPIES_LIMIT:
                raise MediaError(f"the compositor cannot copy {self._output.name}", "is the output enabled?")
            self._connection.round_trip()  # a mode change fails the copy under way; the next one fits again
            return None
        self._failed_in_a_row = 0
        made_ns = _believed(copy.made_ns)
        if not self._frames.admits(made_ns):
            return None
        # Before the next one is asked for, which may want other buffers.
        picture = self._buffers.picture(copy.buffer, upside_down=copy.upside_down)
        self._ask()
        self._told.scale(picture.width, picture.height)
        self._told.painter.forget_frame()
        self._told.repaints = False
        return self._frames.make(picture, made_ns, self._told.painter.draw)

    def _output_gone(self, output: Output) -> None:
        if output is self._output:
            self._gone = True


def _believed(made_ns: int) -> int:
    """Return the time that a compositor gives, or now where that is of another clock, or none: clients reckon by it."""
    now_ns = monotonic_ns()
    return made_ns if now_ns - _OLDEST_NS < made_ns <= now_ns else now_ns
