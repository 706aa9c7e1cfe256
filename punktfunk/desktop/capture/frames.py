"""From a compositor's pictures to a stream's frames: scaled, converted, held to a rate, numbered, and given again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from punktfunk.clock import monotonic_ns
from punktfunk.errors import MediaError
from punktfunk.media import frame_marker
from punktfunk.media.conversion import destination
from punktfunk.media.dma_buf import DmaBuf
from punktfunk.media.planes import plane_view
from punktfunk.media.types import BT709, PIXEL_FORMAT, Colours, RawFrame
from punktfunk.units import Mode

_CONVERT_THREADS: Final = 2
_LIVELY_REPEATS: Final = 20
"""So often a picture is given again after the keep-alive time: an encoder makes it better, a client notices loss."""
_STILL_NS: Final = 500_000_000
"""Between two of a picture that has stood still for longer than that; clients expect one every few seconds at least."""


class FrameMaker:
    """Makes frames of ``mode``'s size; what every capture of a compositor shares. For one thread.

    At most ``mode.refresh_hz`` pictures a second are admitted on average: outputs may run faster than asked for. Each
    frame is stamped later than the one before, for a stream's time does not go back. With
    ``read_marker`` frames have the number of the test card's marker, -1 where there is none to read.
    """

    def __init__(self, mode: Mode, colours: Colours = BT709, *, read_marker: bool = False) -> None:
        self._mode = mode
        self._read_marker = read_marker
        self._reformatter = VideoReformatter()
        self._destination = destination(colours)
        self._pace = Pace(mode.refresh_hz)
        self._last: av.VideoFrame | DmaBuf | None = None
        # Who has been given a frame may read it until two more have been given.
        self._copies: deque[av.VideoFrame | None] = deque([None] * 3)
        self._number = self._repeats = 0
        self._made_ns = -1
        self.given_ns = monotonic_ns()
        """When the last frame was given."""
        self.counters = {"captured": 0, "repeated": 0, "left_out": 0}
        """``captured``, ``repeated`` (nothing changed), ``left_out`` (too many)."""

    @property
    def has_frame(self) -> bool:
        """Whether there is a picture that can be given again."""
        return self._last is not None

    @property
    def can_change(self) -> bool:
        """Whether there is a picture that can be drawn into: one in memory."""
        return isinstance(self._last, av.VideoFrame)

    def admits(self, made_ns: int) -> bool:
        """Return whether a picture made at ``made_ns`` may become a frame; count it where it is one too many."""
        admitted = self._pace.admits(made_ns)
        self.counters["left_out"] += not admitted
        return admitted

    def in_time(self, now_ns: int) -> bool:
        """Return whether another frame may be made now; who asks counts for itself."""
        return self._pace.admits(now_ns)

    def make(
        self, picture: av.VideoFrame, made_ns: int, draw: Callable[[av.VideoFrame], None] | None = None
    ) -> RawFrame:
        """Return the frame of an admitted picture, which is free afterwards; ``draw`` adds to the frame."""
        return self._captured(self._converted(picture, draw), made_ns)

    def make_if_other(
        self, picture: av.VideoFrame, made_ns: int, draw: Callable[[av.VideoFrame], None] | None = None
    ) -> RawFrame | None:
        """Return as :meth:`make`, or None where that is what the last frame shows already."""
        made = self._converted(picture, draw)
        if isinstance(self._last, av.VideoFrame) and _is_same(made, self._last):
            return None
        return self._captured(made, made_ns)

    def hand_on(self, picture: DmaBuf, made_ns: int) -> RawFrame:
        """Return the frame of an admitted picture as it is, which the caller keeps until there is another one."""
        self._last = picture
        self.counters["captured"] += 1
        self._repeats = 0
        return self._give(picture, made_ns)

    def forget(self) -> None:
        """Forget the last picture: there is none to give again."""
        self._last = None

    def again(self) -> RawFrame:
        """Return the last picture once more: nothing has changed, so that is what the screen shows now.

        Raises MediaError before the first one.
        """
        if self._last is None:
            raise MediaError("there is no picture yet")
        self.counters["repeated"] += 1
        self._repeats += 1
        return self._give(self._last, monotonic_ns())

    def change(self, changes: Callable[[av.VideoFrame], None], made_ns: int) -> RawFrame:
        """Return a copy of the last picture that ``changes`` has changed; raise MediaError without one in memory."""
        changed, _ = self._changed(changes)
        return self._captured(changed, made_ns)

    def change_if_other(self, changes: Callable[[av.VideoFrame], None], made_ns: int) -> RawFrame | None:
        """Return as :meth:`change`, or None where ``changes`` has changed nothing."""
        changed, former = self._changed(changes)
        if _is_same(changed, former):
            # Nobody is given this copy: who has the ones before keeps them for as long as ever.
            self._copies.rotate(-1)
            return None
        return self._captured(changed, made_ns)

    def again_at_ns(self, keepalive_ns: int) -> int:
        """Return when the last picture is to be given again unless there is another one by then."""
        still = self._repeats >= _LIVELY_REPEATS
        return self.given_ns + (max(keepalive_ns, _STILL_NS) if still else keepalive_ns)

    def close(self) -> None:
        """Let go of the last picture."""
        self._last = None

    def _converted(
        self, picture: av.VideoFrame, draw: Callable[[av.VideoFrame], None] | None
    ) -> av.VideoFrame:
        made = self._reformatter.reformat(
            picture,
            width=self._mode.width,
            height=self._mode.height,
            format=PIXEL_FORMAT,
            **self._destination,
            interpolation=Interpolation.BILINEAR,
            threads=_CONVERT_THREADS,
        )
        if draw is not None:
            draw(made)
        return made

    def _changed(self, changes: Callable[[av.VideoFrame], None]) -> tuple[av.VideoFrame, av.VideoFrame]:
        """Return a changed copy of the last picture, and that."""
        if not isinstance(self._last, av.VideoFrame):
            raise MediaError("there is no picture in memory yet")
        # A fresh one each time would cost more in page faults than the copy itself.
        self._copies.rotate()
        changed = self._copies[0] = copied(self._last, self._copies[0])
        changes(changed)
        return changed, self._last

    def _captured(self, made: av.VideoFrame, made_ns: int) -> RawFrame:
        self._last = made
        self.counters["captured"] += 1
        self._repeats = 0
        return self._give(made, made_ns)

    def _give(self, picture: av.VideoFrame | DmaBuf, made_ns: int) -> RawFrame:
        number, self._number = self._number, self._number + 1
        self.given_ns = monotonic_ns()
        # A picture may have waited unread while the one before it was given again, which is stamped with that time.
        self._made_ns = max(made_ns, self._made_ns + 1)
        given = RawFrame(picture, number, self._made_ns, self.given_ns)
        if self._read_marker:
            reading = frame_marker.read(given.luma)
            return replace(given, frame=-1 if reading is None else reading.frame)
        return given


def copied(picture: av.VideoFrame, into: av.VideoFrame | None = None) -> av.VideoFrame:
    """Return a frame of its own with the same content: ``into`` if there is one, which is of the same size."""
    copy = av.VideoFrame(picture.width, picture.height, picture.format.name) if into is None else into
    copy.colorspace, copy.color_range = picture.colorspace, picture.color_range
    for index in range(len(picture.planes)):
        plane_view(copy, index)[...] = plane_view(picture, index)
    return copy


def _is_same(one: av.VideoFrame, other: av.VideoFrame) -> bool:
    """Return whether two frames of one size have the same content."""
    return all(
        np.array_equal(plane_view(one, index), plane_view(other, index)) for index in range(len(one.planes))
    )


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
