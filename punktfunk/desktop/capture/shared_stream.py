"""One stream a node in a worker: a capture that is opened anew takes over the stream of the one before it.

A node gives one format to all of its consumers, and nothing at all while its screen stands still. A second stream
beside the first, as a change of mode would make, could neither have another size nor see a first picture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import av

from punktfunk.desktop.capture.pointer import Pointer
from punktfunk.desktop.pipewire.buffers import Cursor
from punktfunk.desktop.pipewire.formats import Wish
from punktfunk.desktop.pipewire.stream import PipeWireStream


@dataclass(eq=False)
class SharedStream:
    """A stream, the captures that have it, and what a later one has to know of the time before."""

    key: tuple[int, str | None]
    stream: PipeWireStream
    users: int = 1
    owner: int = 0
    """Number of the capture that came last: others leave what comes in another format to it."""
    owned_since: int = 0
    """Formats that had been agreed on by then."""
    cursor: Cursor | None = None
    last: av.VideoFrame | None = None
    """What has been made of the last picture."""
    pointer: Pointer | None = None
    """What has drawn the pointer into that."""

    def is_for(self, number: int) -> bool:
        """Return whether what comes now is for the capture of that number."""
        return number == self.owner or self.stream.counters.formats == self.owned_since

    def note(self, cursor: Cursor) -> None:
        """Remember the pointer."""
        self.cursor = cursor.after(self.cursor)


_streams: dict[tuple[int, str | None], SharedStream] = {}
_lock = threading.Lock()


def join(
    key: tuple[int, str | None], wish: Wish, opened: Callable[[], PipeWireStream], unused: Callable[[], None]
) -> SharedStream:
    """Return the stream of a node, which the caller owns from now on: one that runs, asked for ``wish``, or a new one.

    ``unused`` is called where a new one was not wanted. Raises what ``opened`` raises.
    """
    with _lock:
        shared = _streams.get(key)
        if shared is not None and not shared.stream.is_over:
            unused()
            shared.users += 1
            shared.owner += 1
            shared.owned_since = shared.stream.counters.formats
            shared.stream.ask(wish)
            return shared
        shared = _streams[key] = SharedStream(key, opened())
        return shared


def leave(shared: SharedStream) -> None:
    """Let go of a stream; it is closed with its last capture."""
    with _lock:
        shared.users -= 1
        if shared.users:
            return
        if _streams.get(shared.key) is shared:
            del _streams[shared.key]
    shared.stream.close()
