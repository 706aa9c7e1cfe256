"""The pointer of an output beside its pictures, by a cursor session of ext-image-copy-capture.

It is told while the compositor has it in a plane of its own. While that paints it into the pictures, for want of a
plane or for another program that records the screen, it is told as not to be seen: so it is there once, always.
"""

from __future__ import annotations

from typing import Any, Final

from punktfunk.desktop.pipewire.buffers import Cursor, CursorBitmap
from punktfunk.desktop.pipewire.formats import MAX_CURSOR_SIDE
from punktfunk.desktop.wayland.capture_session import Constraints, PointerSource
from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.desktop.wayland.shm import Buffers, Pixels
from punktfunk.errors import MediaError

_BYTES_PER_PIXEL: Final = 4
_CHANNELS: Final = {0: (2, 1, 0, 3), 0x3432_4241: (0, 1, 2, 3)}
"""Where red, green, blue and alpha lie in the formats that are taken: argb8888 and abgr8888 of wl_shm."""
_PAINTED: Final = "serve with --cursor painted"


class CursorSession:
    """The pointer of one output, in pixels of its pictures; belongs to the thread that dispatches its connection.

    Raises CapabilityError where the compositor tells it of no pointer there.
    """

    def __init__(self, connection: Connection, output: Output) -> None:
        self._connection = connection
        self._source = PointerSource(connection, output)
        self._session: Any = self._source.begin()
        self._images: Any = self._session.get_capture_session()
        self._told = Constraints(self._images)
        self._told.on_change = self._on_change
        self._inside = False
        self._x = self._y = 0
        self.has_news = True
        """Whether anything was told since it was taken."""
        self._image: Pixels | None = None
        """What has been captured and was not taken yet."""
        self._frame: Any = None
        """What has been asked for; there may be one at a time."""
        self._buffers: Buffers | None = None
        self._layout: tuple[int, int, int] | None = None
        """Format, width and height of the buffer."""
        for event in ("enter", "leave", "position"):
            self._session.dispatcher[event] = getattr(self, f"_on_{event}")

    def take(self) -> Cursor | None:
        """Return what is new of it, with its image if that is; None for nothing.

        Raises MediaError for an image that cannot be taken, and DesktopError when the compositor has gone.
        """
        if not self.has_news:
            return None
        self.has_news = False
        self._ask()
        image, self._image = self._image, None
        bitmap = None if image is None else CursorBitmap(image, *self._hot_spot())
        return Cursor(self._inside, self._x, self._y, bitmap)

    def close(self) -> None:
        """End the session with the compositor. Before the connection is closed."""
        if self._session is None:
            return
        for each in (self._frame, self._images, self._session):
            if each is not None:
                each.destroy()
        self._source.close()
        self._frame = self._session = None
        if self._buffers is not None:
            self._buffers.close()
            self._buffers = None

    def _ask(self) -> None:
        """Ask for the next image, where there is any and none is asked for."""
        width, height = self._told.size
        if self._frame is not None or self._told.stopped or not width or not height:
            return
        if max(width, height) > MAX_CURSOR_SIDE:
            raise MediaError(f"the compositor's pointer is {width}x{height} pixels large", _PAINTED)
        taken = next((each for each in _CHANNELS if each in self._told.formats), None)
        if taken is None:
            offered = ", ".join(f"{each:#x}" for each in self._told.formats) or "none"
            raise MediaError(f"the compositor gives its pointer in no known format: {offered}", _PAINTED)
        self._frame = self._images.create_frame()
        self._frame.dispatcher["ready"] = self._on_ready
        self._frame.dispatcher["failed"] = self._on_failed
        self._frame.attach_buffer(self._buffer(taken, width, height))
        self._frame.damage_buffer(0, 0, width, height)
        self._frame.capture()

    def _buffer(self, taken: int, width: int, height: int) -> Any:
        layout = taken, width, height
        if self._buffers is None or layout != self._layout:
            if self._buffers is not None:
                self._buffers.close()
            stride = width * _BYTES_PER_PIXEL
            self._buffers = Buffers(
                self._connection, 1, format_code=taken, width=width, height=height, stride=stride
            )
            self._layout = layout
        return self._buffers.proxies[0]

    def _hot_spot(self) -> tuple[int, int]:
        """Return which pixel of the image that there is now is at the pointer's place.

        A session of its own is told that: one that runs does not hear of an x that has become 0 (wlroots 0.20).
        """
        found = [(0, 0)]
        session = self._source.begin()
        session.dispatcher["hotspot"] = lambda _session, x, y: found.append((x, y))
        self._connection.round_trip()
        session.destroy()
        return found[-1]

    def _on_change(self) -> None:
        self.has_news = True

    def _on_enter(self, _session: Any) -> None:
        self._inside = self.has_news = True

    def _on_leave(self, _session: Any) -> None:
        self._inside, self.has_news = False, True

    def _on_position(self, _session: Any, x: int, y: int) -> None:
        self._x, self._y, self.has_news = x, y, True

    def _on_ready(self, _frame: Any) -> None:
        assert self._buffers is not None
        assert self._layout is not None
        self._image = self._buffers.pixels[0][..., _CHANNELS[self._layout[0]]]
        self._end_frame()
        self.has_news = True

    def _on_failed(self, _frame: Any, _reason: int) -> None:
        self._end_frame()
        # An image of another size is asked for at once, one that could not be copied when the pointer moves again.
        self.has_news = self.has_news or self._layout is None or self._told.size != self._layout[1:]

    def _end_frame(self) -> None:
        self._frame.destroy()
        self._frame = None
