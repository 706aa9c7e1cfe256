"""When a headless program ends: SIGTERM, SIGINT, or the end of its standard input."""

from __future__ import annotations

import asyncio
import os
import signal
import sys


async def until_told_to_end(with_stdin: bool) -> str:
    """Wait for the first of SIGTERM, SIGINT and (``with_stdin``) the end of standard input; say which.

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
    descriptor = sys.stdin.fileno() if with_stdin else -1
    watched = with_stdin and _watch(loop, descriptor, tell)
    try:
        return await told
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if watched:
            loop.remove_reader(descriptor)


def _watch(loop: asyncio.AbstractEventLoop, descriptor: int, tell: object) -> bool:
    def readable() -> None:
        if not os.read(descriptor, 4096) and callable(tell):
            loop.remove_reader(descriptor)
            tell("end of standard input")

    try:
        loop.add_reader(descriptor, readable)
    except PermissionError:
        # A regular file or /dev/null cannot be watched, and has no other side that could end.
        return False
    return True
