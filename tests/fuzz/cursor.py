"""The pointer that a host of punktfunk/1 tells its client: messages of the control stream, and datagrams."""

from __future__ import annotations

from punktfunk import cursor
from punktfunk.errors import ProtocolError
from punktfunk.native import datagrams, messages
from punktfunk.native.cursor import CACHED_SHAPES, CursorCache
from punktfunk.native.datagrams import CursorState
from tests.fuzz.target import Target, chunked, chunks


def pointer(data: bytes) -> bool:
    """Messages and datagrams, one a chunk: what is to be drawn is a shape within its bounds, and few are kept."""
    cache = CursorCache()
    understood = 0
    for chunk in chunks(data):
        if messages.is_typed(chunk):
            try:
                message = messages.decode(chunk)
            except ProtocolError:
                continue
            if isinstance(message, messages.CursorShape):
                cache.shaped(message)
                understood += 1
        elif isinstance(state := datagrams.decode_from_host(chunk), CursorState):
            cache.moved(state)
            understood += 1
        drawn = cache.pointer.shape
        assert not cache.pointer.visible or drawn is not None
        if drawn is not None:
            assert drawn.fits
            assert drawn.hot_x < drawn.width
            assert drawn.hot_y < drawn.height
        assert len(cache._shapes) <= CACHED_SHAPES
    return understood > 1


def _told() -> list[bytes]:
    small = cursor.CursorShape(2, 3, 1, 1, bytes(range(24)))
    shapes = [messages.CursorShape(serial, small).encode() for serial in (1, 2)]
    states = [datagrams.encode(CursorState(serial, 1, -1, 7)) for serial in (1, 2, 9)]
    return [chunked(shapes[0], states[0]), chunked(states[1], *shapes, *states)]


TARGETS = (
    Target(
        "cursor_pointer",
        pointer,
        _told,
        (b"PKFc\x50", b"\xd0", (120).to_bytes(2, "little"), (121).to_bytes(2, "little"), bytes(16)),
    ),
)
