"""The pointer from a stream's worker: never waited for, and never without its shape."""

from __future__ import annotations

from typing import Any, cast

from punktfunk.cursor import CursorShape, CursorUpdate
from punktfunk.host.stream import messages
from punktfunk.host.stream.worker import StreamProgram


class Host:
    """The host's end of a worker; reads while ``reads`` is set."""

    def __init__(self) -> None:
        self.reads = True
        self.told: list[CursorUpdate] = []

    def offer(self, message: messages.CursorTold) -> bool:
        if self.reads:
            self.told.append(message.update)
        return self.reads


def test_what_a_slow_host_was_not_told_of_the_pointer_it_is_told_with_the_next_movement() -> None:
    host, program = Host(), object.__new__(StreamProgram)
    program._end, program._untold_cursor = cast(Any, host), None
    shape = CursorShape(1, 1, 0, 0, b"\1\2\3\4")
    program._tell_cursor(CursorUpdate(True, 1, 1))
    host.reads = False
    program._tell_cursor(CursorUpdate(True, 2, 2, shape))
    program._tell_cursor(CursorUpdate(True, 3, 3))
    host.reads = True
    assert program._untold_cursor == CursorUpdate(True, 3, 3, shape)
    program._tell_cursor(program._untold_cursor)
    program._tell_cursor(CursorUpdate(True, 4, 4))
    assert host.told == [CursorUpdate(True, 1, 1), CursorUpdate(True, 3, 3, shape), CursorUpdate(True, 4, 4)]
