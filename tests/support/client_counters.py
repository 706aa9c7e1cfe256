"""What a client in this process counts, to be waited for: a stream ends after a number of frames, not of seconds."""

from __future__ import annotations

import asyncio

import pytest

import punktfunk
from tests.support.waiting import soon


async def counted(client: punktfunk.Client, counter: str, more: int) -> None:
    """Wait until a counter of the client has grown by that much, from what it says first.

    Fails with the client's reason when the stream ends before.
    """
    read: list[int] = []
    client.on_progress = lambda progress: read.append(progress.counters[counter])
    ended = asyncio.ensure_future(client.finished())
    try:
        await soon(
            lambda: ended.done() or (read and read[-1] - read[0] >= more), f"{counter} to grow by {more}"
        )
        if ended.done():
            pytest.fail(f"the stream ended before {counter} had grown by {more}: {ended.result().reason}")
    finally:
        ended.cancel()
