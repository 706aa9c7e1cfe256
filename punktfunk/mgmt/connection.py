"""One HTTP connection: uvicorn's, which ends where its peer is slower than the limits (P15)."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from punktfunk.mgmt.connection_limits import Connections
from punktfunk.mgmt.shell import SECURITY_HEADERS, error_payload


class Connection(H11Protocol):
    """A connection that is given a time for each request, and for each answer to be read."""

    def __init__(self, config: Config, connections: Connections) -> None:
        super().__init__(config, connections.state, {})
        self._connections = connections
        self._source: str | None = None
        self._request_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """Begin to wait for a request."""
        super().connection_made(transport)
        source = self.client[0] if self.client else ""
        if not self._connections.admit(source):
            transport.abort()
            return
        self._source = source
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_waiting()
        self.resume_writing()
        if self._source is not None:
            self._connections.release(self._source)
            self._source = None

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request, of which the first starts its time."""
        if self._request_timer is None and not self._answering:
            self._wait_for_request()
        super().data_received(data)
        if self._answering:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Go on with a request that was sent behind the one just answered; its time starts now."""
        super().on_response_complete()
        behind = self.cycle is not None and not self.cycle.response_complete
        if behind and not self._answering and self._request_timer is None:
            self._wait_for_request()

    def pause_writing(self) -> None:
        """Give a peer that does not read a while."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._connections.write_limit_s, self._reap, "slow_readers")

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP as every error is answered."""
        self._connections.counters["malformed"] += 1
        body = error_payload("this is no HTTP request that is understood")
        headers = [
            *SECURITY_HEADERS,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            events: list[h11.Event] = [
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ]
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    @property
    def _answering(self) -> bool:
        """Whether a whole request is here and its answer is not out yet."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _wait_for_request(self) -> None:
        self._request_timer = self.loop.call_later(
            self._connections.request_limit_s, self._reap, "slow_requests"
        )

    def _stop_waiting(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _reap(self, counter: str) -> None:
        self._connections.counters[counter] += 1
        self.transport.abort()
