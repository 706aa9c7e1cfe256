"""The event stream: server-sent events for the console and for programs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from punktfunk.mgmt.events import COMMENT, MAX_STREAMS, EventHub, Subscription
from punktfunk.mgmt.gate import Gate, Principal
from punktfunk.mgmt.routing import ApiError, failures, router

COMMENT_S = 10.0

routes = router("events")


class EventStream(Response):
    """An answer that goes on until its reader leaves, lags, may no longer read, or the host ends.

    ``may_read`` is asked before each event and at least every ten seconds.
    """

    media_type = "text/event-stream"

    def __init__(self, reader: Subscription, may_read: Callable[[], bool], closing: asyncio.Event) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._reader = reader
        self._may_read = may_read
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come."""
        del scope
        ends: set[asyncio.Future[Any]] = {
            asyncio.ensure_future(_until_gone(receive)),
            asyncio.ensure_future(self._closing.wait()),
        }
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while not any(end.done() for end in ends) and self._may_read():
                event = self._reader.take()
                if event is None:
                    if self._reader.over:
                        break
                    event = await self._wait(ends)
                if event:
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._reader.close()
            for end in ends:
                end.cancel()

    async def _wait(self, ends: set[asyncio.Future[Any]]) -> bytes:
        """Wait for something to happen; after ten quiet seconds a comment shows that the host is still there."""
        woken: asyncio.Future[Any] = asyncio.ensure_future(self._reader.woken())
        try:
            done, _ = await asyncio.wait(
                {woken, *ends}, timeout=COMMENT_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            woken.cancel()
        return b"" if done else COMMENT


async def _until_gone(receive: Receive) -> None:
    with contextlib.suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass


async def _reader(request: Request) -> Subscription:
    hub: EventHub = request.app.state.events
    reader = hub.subscribe()
    if reader is None:
        raise ApiError(503, f"{MAX_STREAMS} event streams are open already", {"retry-after": "10"})
    return reader


@routes.get(
    "/events",
    operation_id="streamEvents",
    response_class=Response,
    responses={
        **failures(401, 503),
        200: {
            "description": "Server-sent events: state, session, session_ended, log.",
            "content": {"text/event-stream": {}},
        },
    },
)
async def events(request: Request, reader: Annotated[Subscription, Depends(_reader)]) -> Response:
    """Follow the host: its state first and whenever it changes, sessions every second, their ends, log lines."""
    gate: Gate = request.app.state.gate
    principal: Principal = request.scope["state"]["principal"]
    return EventStream(reader, lambda: gate.alive(principal), request.app.state.closing)
