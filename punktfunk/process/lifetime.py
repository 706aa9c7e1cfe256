"""When a headless program ends: SIGTERM, SIGINT, or the end of its standard input."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

_MAX_LINE_BYTES = 65_536


async def until_told_to_end(on_line: Callable[[bytes], None] | None = None) -> str:
    """Wait for the first of SIGTERM, SIGINT and, with ``on_line``, the end of standard input; return which.

    ``on_line`` is called with every whole line that comes in before the end.

    A program that was started with a pipe as its standard input ends with the one who holds the other side,
    however that one ends.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()

    def tell(why: str) -> None:
        if not told.done():
            told.set_result(why)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell, number.name)
    descriptor = -1 if on_line is None else sys.stdin.fileno()
    watched = on_line is not None and _watch(loop, descriptor, tell, on_line)
    try:
        return await told
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if watched:
            loop.remove_reader(descriptor)


def _watch(
    loop: asyncio.AbstractEventLoop,
    descriptor: int,
    tell: Callable[[str], None],
    on_line: Callable[[bytes], None],
) -> bool:
    begun = b""

    def readable() -> None:
        nonlocal begun
        data = os.read(descriptor, 4096)
        if not data:
            loop.remove_reader(descriptor)
            tell("end of standard input")
            return
        *lines, begun = (begun + data).split(b"\n")
        begun = begun[-_MAX_LINE_BYTES:]
        for line in lines:
            on_line(line)

    try:
        loop.add_reader(descriptor, readable)
    except PermissionError:
        # A regular file or /dev/null cannot be watched, and has no other side that could end.
        return False
    return True
