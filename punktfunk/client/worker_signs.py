"""Wait for what a receive worker has to say before its stream goes on; the same on every wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from punktfunk.client.summary import Summary
from punktfunk.errors import MediaError


async def until_worker(
    sign: asyncio.Event,
    ended: asyncio.Event,
    limit_s: float,
    what: str,
    summary: Callable[[], Summary | None],
) -> None:
    """Wait for a sign of the worker; raise ``MediaError`` when its stream has ended instead, or it takes too long.

    ``what`` says what it has not done by then; ``summary`` returns how the stream has ended, if it has.
    """
    waiting = [asyncio.ensure_future(event.wait()) for event in (sign, ended)]
    await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    if not sign.is_set():
        over = summary()
        slow = f"the receive worker did not {what} within {limit_s:.0f} s"
        raise MediaError(over.reason if over else slow, "look at its log lines")
