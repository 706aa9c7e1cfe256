"""Sessions of ext-image-copy-capture: what they take for buffers, and the pointer that they tell of an output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pywayland.protocol.wayland import WlOutput, WlSeat

from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.errors import CapabilityError

MANAGER: Final = "ext_image_copy_capture_manager_v1"
SOURCES: Final = "ext_output_image_capture_source_manager_v1"


class Constraints:
    """What a capture session takes for buffers, as the compositor tells it, and whether there are any more pictures."""

    def __init__(self, session: Any) -> None:
        self.size = (0, 0)
        """Width and height; 0 and 0 while there is nothing to capture."""
        self.formats: list[int] = []
        """As wl_shm names them."""
        self.stopped = False
        self.on_change: Callable[[], None] = _nothing
        """Called when what is taken has been told anew."""
        self.on_stop: Callable[[], None] = _nothing
        """Called when there will be no more pictures."""
        self._coming_formats: list[int] = []
        for event in ("buffer_size", "shm_format", "done", "stopped"):
            session.dispatcher[event] = getattr(self, f"_on_{event}")

    def _on_buffer_size(self, _session: Any, width: int, height: int) -> None:
        self.size = width, height

    def _on_shm_format(self, _session: Any, format_code: int) -> None:
        self._coming_formats.append(format_code)

    def _on_done(self, _session: Any) -> None:
        self.formats, self._coming_formats = self._coming_formats, []
        self.on_change()

    def _on_stopped(self, _session: Any) -> None:
        self.stopped = True
        self.on_stop()


class PointerSource:
    """The pointer over an output, which cursor sessions tell of.

    Raises CapabilityError where there is none, or where the compositor tells of none.
    """

    def __init__(self, connection: Connection, output: Output) -> None:
        if output.transform != WlOutput.transform.normal:
            # Pictures are taken as they lie in its memory, and places would be those of the upright picture.
            raise CapabilityError(f"the output {output.name} is turned", "turn it upright")
        self._manager, sources = connection.bind(MANAGER, 1), connection.bind(SOURCES, 1)
        self._pointer = _pointer_of(connection)
        self._source: Any = sources.create_source(output.proxy)
        session = self.begin()
        images = session.get_capture_session()
        told = Constraints(images)
        connection.round_trip()
        images.destroy()
        session.destroy()
        if told.stopped:
            self.close()
            raise CapabilityError(
                f"the compositor tells no pointer beside the pictures of {output.name}",
                "it is painted into them",
            )

    def begin(self) -> Any:
        """Return a new cursor session, which is told all that there is to be known at first."""
        return self._manager.create_pointer_cursor_session(self._source, self._pointer)

    def close(self) -> None:
        """Free it; sessions that have begun go on. Before the connection is closed."""
        self._source.destroy()


def is_offered(connection: Connection) -> bool:
    """Return whether the compositor copies its outputs by ext-image-copy-capture."""
    return connection.offers(MANAGER) and connection.offers(SOURCES)


def tells_cursor(connection: Connection, output: Output) -> bool:
    """Return whether the compositor tells the pointer beside the pictures of an output."""
    try:
        PointerSource(connection, output).close()
    except CapabilityError:
        return False
    return True


def _nothing() -> None: ...


def _pointer_of(connection: Connection) -> Any:
    """Return the pointer of the first seat; to ask for that of a seat without one ends the connection."""
    seat = connection.bind("wl_seat", 1)
    told = [0]

    def note(_seat: Any, capabilities: int) -> None:
        told.append(capabilities)

    seat.dispatcher["capabilities"] = note
    connection.round_trip()
    if not told[-1] & WlSeat.capability.pointer:
        raise CapabilityError("the compositor has no pointer", "connect a mouse")
    return seat.get_pointer()
