"""How a client's programs wait: until the stream is over, or somebody says that it is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from punktfunk.client.summary import Summary
from punktfunk.process.lifetime import until_told_to_end


class Receiving(Protocol):
    """A client whose stream runs."""

    def stop(self) -> None:
        """Begin to end the stream."""

    async def finished(self) -> Summary:
        """Return how the stream ended, once it has."""


async def until_end(
    client: Receiving, wind_down_s: float, on_line: Callable[[bytes], None] | None = None
) -> None:
    """Wait for the stream's end, or for a signal, and with ``on_line`` for the end of standard input as well.

    A stream that is to end by the latter two has ``wind_down_s`` for it. ``on_line`` gets the lines of standard input.
    """
    ending = asyncio.ensure_future(until_told_to_end(on_line))
    finishing = asyncio.ensure_future(client.finished())
    await asyncio.wait({ending, finishing}, return_when=asyncio.FIRST_COMPLETED)
    if not finishing.done():
        client.stop()
        await asyncio.wait({finishing}, timeout=wind_down_s)
    ending.cancel()
