"""Capture by wlr-screencopy: the compositor copies each changed picture of an output into shared memory.

The next copy is asked for as soon as one is ready, so that the compositor's own commits set the pace, and the
answer to it comes while the last picture is being encoded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.desktop.wayland.shm import Buffers
from punktfunk.errors import DesktopError, MediaError
from punktfunk.media import frame_marker
from punktfunk.media.conversion import destination
from punktfunk.media.types import BT709, PIXEL_FORMAT, Colours, RawFrame
from punktfunk.units import Mode

_BUFFERS: Final = 3
"""One being filled, one being converted, one for the copy that is asked for meanwhile."""
_FIRST_PICTURE_LIMIT_NS: Final = 3_000_000_000
_Y_INVERT: Final = 1
_FAILED_COPIES_LIMIT: Final = 10
_CONVERT_THREADS: Final = 2


def _fourcc(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


_FFMPEG_FORMATS: Final = {
    0: "bgra",  # wl_shm argb8888; names of wl_shm read a little-endian word, those of FFmpeg bytes
    1: "bgra",  # wl_shm xrgb8888, whose fourth byte the conversion leaves out as it does alpha
    _fourcc("AB24"): "rgba",
    _fourcc("XB24"): "rgba",
}


class ScreencopyCapture:
    """The pictures of one output; see :class:`punktfunk.media.VideoSource`.

    ``capture`` waits for the compositor's next picture, but no longer than the keep-alive time: then the last one is
    given again. At most ``mode.refresh_hz`` a second pass on average: headless outputs are run faster than asked for,
    and those that are too many are left out. Owns its connection.
    """

    self_paced = True

    def __init__(
        self,
        connection: Connection,
        output: str,
        mode: Mode,
        *,
        cursor: bool = True,
        keepalive_ns: int = 100_000_000,
        read_marker: bool = False,
        colours: Colours = BT709,
    ) -> None:
        self._connection = connection
        self._output = connection.output(output)
        self._mode = mode
        self._cursor = cursor
        self._keepalive_ns = keepalive_ns
        self._read_marker = read_marker
        self._manager = connection.bind("zwlr_screencopy_manager_v1", 3)
        connection.on_output_gone = self._output_gone
        self._reformatter = VideoReformatter()
        self._destination = destination(colours)
        self._buffers: Buffers | None = None
        self._pictures: list[av.VideoFrame] = []
        self._geometry: tuple[int, int, int, int] | None = None
        self._copy: _Copy | None = None
        self._turn = 0
        self._frame = 0
        self._last: av.VideoFrame | None = None
        self._given_ns = monotonic_ns()
        self._pace = Pace(mode.refresh_hz)
        self._gone = False
        self._failed_in_a_row = 0
        self._closed = False
        self._counters = {"captured": 0, "repeated": 0, "left_out": 0, "failed_copies": 0}

    @property
    def counters(self) -> dict[str, int]:
        """``captured``, ``repeated`` (nothing changed), ``left_out`` (too many), ``failed_copies``."""
        return dict(self._counters)

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
        self._pictures.clear()
        self._last = None
        if self._copy is not None:
            self._copy.end()
        if self._buffers is not None:
            self._buffers.close()
        self._connection.close()

    def _next(self) -> RawFrame:
        limit = self._keepalive_ns if self._last is not None else _FIRST_PICTURE_LIMIT_NS
        deadline = self._given_ns + limit if self._last is not None else monotonic_ns() + limit
        while True:
            if self._copy is None:
                self._ask()
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
            left = deadline - monotonic_ns()
            if left <= 0:
                # What has arrived while the last picture was encoded counts, however late it is.
                if self._connection.dispatch(0):
                    continue
                if self._last is None:
                    raise MediaError(f"no picture came from {self._output.name}", "is the output enabled?")
                return self._again(self._last)
            self._connection.dispatch(left / 1e9)

    def _ask(self) -> None:
        """Ask for the next change. The very first copy is of what there is, changed or not."""
        frame = self._manager.capture_output(int(self._cursor), self._output.proxy)
        self._copy = _Copy(frame, self._buffer_for, with_damage=self._last is not None)
        self._connection.flush()

    def _buffer_for(self, geometry: tuple[int, int, int, int] | None) -> tuple[Any, int]:
        """Return a buffer of that format, width, height and stride, and its number."""
        if geometry is None:
            raise MediaError("the compositor offers no pictures in shared memory")
        if geometry != self._geometry or self._buffers is None:
            format_code, width, height, stride = geometry
            if format_code not in _FFMPEG_FORMATS:
                raise MediaError(f"the compositor gives pictures in the unknown format {format_code:#x}")
            if self._buffers is not None:
                self._pictures.clear()
                self._buffers.close()
            self._buffers = Buffers(
                self._connection, _BUFFERS, format_code=format_code, width=width, height=height, stride=stride
            )
            name = _FFMPEG_FORMATS[format_code]
            self._pictures = [
                av.VideoFrame.from_numpy_buffer(pixels, format=name) for pixels in self._buffers.pixels
            ]
            self._geometry = geometry
        self._turn = (self._turn + 1) % _BUFFERS
        return self._buffers.proxies[self._turn], self._turn

    def _take(self, copy: _Copy) -> RawFrame | None:
        """Make a frame of a finished copy; None where it failed or is one too many."""
        if copy.error is not None:
            raise copy.error
        if copy.ready_ns is None:
            self._counters["failed_copies"] += 1
            self._failed_in_a_row += 1
            if self._gone or self._failed_in_a_row >= _FAILED_COPIES_LIMIT:
                raise MediaError(f"the compositor cannot copy {self._output.name}", "is the output enabled?")
            self._connection.round_trip()  # a mode change fails the copy under way; the next one fits again
            return None
        self._failed_in_a_row = 0
        if not self._pace.admits(copy.ready_ns):
            self._counters["left_out"] += 1
            return None
        self._ask()
        picture = self._pictures[copy.buffer]
        if copy.flags & _Y_INVERT:
            assert self._buffers is not None
            upright = np.ascontiguousarray(self._buffers.pixels[copy.buffer][::-1])
            picture = av.VideoFrame.from_numpy_buffer(upright, format=picture.format.name)
        self._last = self._reformatter.reformat(
            picture,
            width=self._mode.width,
            height=self._mode.height,
            format=PIXEL_FORMAT,
            **self._destination,
            interpolation=Interpolation.BILINEAR,
            threads=_CONVERT_THREADS,
        )
        self._counters["captured"] += 1
        return self._give(self._last, copy.ready_ns)

    def _again(self, last: av.VideoFrame) -> RawFrame:
        """Give the last picture once more: nothing has changed, so that is what the screen shows now."""
        self._counters["repeated"] += 1
        return self._give(last, monotonic_ns())

    def _give(self, picture: av.VideoFrame, captured_ns: int) -> RawFrame:
        frame, self._frame = self._frame, self._frame + 1
        self._given_ns = monotonic_ns()
        given = RawFrame(picture, frame, captured_ns, self._given_ns)
        if self._read_marker:
            reading = frame_marker.read(given.luma)
            return replace(given, frame=-1 if reading is None else reading.frame)
        return given

    def _output_gone(self, output: Output) -> None:
        if output is self._output:
            self._gone = True


class _Copy:
    """One request for a picture and what became of it."""

    def __init__(self, frame: Any, buffer_for: Any, *, with_damage: bool) -> None:
        self._frame = frame
        self._buffer_for = buffer_for
        self._with_damage = with_damage
        self.done = False
        self.ready_ns: int | None = None
        """When the compositor had made the picture (CLOCK_MONOTONIC); None where it could not."""
        self.error: MediaError | None = None
        self.flags = 0
        self.buffer = -1
        self._geometry: tuple[int, int, int, int] | None = None
        for event in ("buffer", "buffer_done", "flags", "ready", "failed"):
            frame.dispatcher[event] = getattr(self, f"_on_{event}")

    def end(self) -> None:
        """Free the request."""
        if self._frame is not None:
            self._frame.destroy()
            self._frame = None

    def _on_buffer(self, _frame: Any, format_code: int, width: int, height: int, stride: int) -> None:
        self._geometry = (format_code, width, height, stride)

    def _on_buffer_done(self, frame: Any) -> None:
        try:
            buffer, self.buffer = self._buffer_for(self._geometry)
        except MediaError as error:  # handlers run within libwayland and must not raise
            self.error = error
            self._finish()
            return
        if self._with_damage:
            frame.copy_with_damage(buffer)
        else:
            frame.copy(buffer)

    def _on_flags(self, _frame: Any, flags: int) -> None:
        self.flags = flags

    def _on_ready(self, _frame: Any, seconds_high: int, seconds_low: int, nanoseconds: int) -> None:
        self.ready_ns = ((seconds_high << 32) + seconds_low) * 1_000_000_000 + nanoseconds
        self._finish()

    def _on_failed(self, _frame: Any) -> None:
        self._finish()

    def _finish(self) -> None:
        self.done = True
        self.end()


class Pace:
    """Lets pictures through at no more than a rate on average (a token bucket of half a second).

    The depth is what makes up for a stall, of the compositor or of who reads: what comes in quick succession
    afterwards passes, and the average is kept.
    """

    def __init__(self, refresh_hz: int) -> None:
        self._refresh_hz = refresh_hz
        self._depth = max(2.0, refresh_hz / 2)
        self._tokens = self._depth
        self._last_ns: int | None = None

    def admits(self, ready_ns: int) -> bool:
        """Return whether a picture made at ``ready_ns`` may pass."""
        if self._last_ns is not None:
            gained = max(0, ready_ns - self._last_ns) * self._refresh_hz / 1e9
            self._tokens = min(self._depth, self._tokens + gained)
        self._last_ns = ready_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
