"""One connection of a GameStream client by HTTP or HTTPS: one request, one reply, closed (gamestream section 2.1).

Whoever connects has proven nothing, so each step has a bound: how many connections there are and of whom
(:mod:`punktfunk.link_quota`), how many handshakes a second, how long a request may take to come in and a reply to be
read, how many bytes either has.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

import h11
from OpenSSL import SSL

from punktfunk.addresses import host_of, parse_address, source_of
from punktfunk.clock import monotonic_ns
from punktfunk.errors import StatusError
from punktfunk.gamestream import xml
from punktfunk.gamestream.query import Target
from punktfunk.host.gamestream.tls import TlsError, TlsServer
from punktfunk.link_quota import FairQuota, HandshakeGate, Verdict
from punktfunk.trust.store import PairedClient

MAX_STRANGERS, MAX_STRANGERS_PER_SOURCE = 128, 16
"""Connections of clients that are not paired, or have not shown it yet. A newcomer takes the place of the oldest of
whoever holds most."""
MAX_PAIRED, MAX_PER_CLIENT = 64, 8
MAX_HEAD_BYTES = 24_576
"""Of a request: the longest has a certificate of at most 8 KiB in hex."""
MAX_IGNORED_BYTES = 65_536
"""What a client may send behind its request, such as a body: more is cut off."""
REQUEST_LIMIT_S = 8.0
"""From the connection to the end of its request, TLS included."""
REPLY_LIMIT_S = 8.0
"""From the reply until the client has read it and closed its end."""
HANDSHAKE_RETRY_S = 0.1
"""How long a handshake waits that would be one too many now."""
KEEPALIVE_S = 30
"""After how long in silence a client is asked whether it is there: one that waits for its PIN says nothing."""
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with."""

    body: bytes
    content_type: str = xml.CONTENT_TYPE
    http_status: int = 200
    """Of HTTP itself, which says nothing but that there is a reply: clients read that of the document."""


@dataclass(slots=True)
class HttpRequest:
    """A request of a client."""

    method: str
    target: Target
    client: PairedClient | None
    """Who it is; ``None`` for a stranger."""
    secure: bool
    """Whether it came by HTTPS."""
    local_address: str
    """The address of this host that it came to, a link-local one with its zone."""
    remote_address: str
    hold: Callable[[], None] = field(default=lambda: None, repr=False)
    """Takes the connection out of the places that newcomers may have: what it waits for has bounds of its own."""
    on_gone: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called when the client goes before it is answered."""


class Connections:
    """What the connections of a host share. Counters: ``http_requests``, ``http_malformed``, ``http_evicted``,
    ``http_late`` (no request, or nobody who reads the reply, in time), ``http_no_tls``, ``http_handshakes``,
    ``http_handshakes_delayed``.
    """

    def __init__(
        self,
        paired: Callable[[str], PairedClient | None],
        answer: Callable[[HttpRequest], Awaitable[Reply]],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.request_limit_s, self.reply_limit_s = REQUEST_LIMIT_S, REPLY_LIMIT_S
        self.paired, self.answer = paired, answer
        self.strangers: FairQuota[Connection] = FairQuota(MAX_STRANGERS, MAX_STRANGERS_PER_SOURCE)
        self.clients: FairQuota[Connection] = FairQuota(MAX_PAIRED, MAX_PER_CLIENT)
        self.gate = HandshakeGate(monotonic_ns() / _NS_PER_S)
        self.all: set[Connection] = set()

    def close(self) -> None:
        """Cut all of them."""
        for connection in list(self.all):
            connection.abort()

    def evict(self, connection: Connection | None) -> None:
        """Cut the connection that had to go for another."""
        if connection is not None:
            self.counters["http_evicted"] += 1
            connection.abort()


class Connection(asyncio.Protocol):
    """From a client's connecting to its end; ``context`` makes it HTTPS."""

    def __init__(self, shared: Connections, context: SSL.Context | None) -> None:
        self._shared = shared
        self._context = context
        self._tls: TlsServer | None = None
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._held = b""
        self._head = self._ignored = 0
        """Bytes of the request, and behind it."""
        self._request: HttpRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._delay: asyncio.TimerHandle | None = None
        self._closing = self._their_end = self._waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, and wait for a request."""
        self._transport = cast(asyncio.Transport, transport)
        self._local = host_of(transport.get_extra_info("sockname"))
        self._remote = str(parse_address(transport.get_extra_info("peername")[0]))
        self._source = source_of(self._remote)
        shared = self._shared
        shared.all.add(self)
        shared.evict(shared.strangers.add(self, self._source))
        self._wait(shared.request_limit_s)

    def data_received(self, data: bytes) -> None:
        """Take what a client sends; what comes behind its request is ignored, up to a point."""
        if self._request is not None or self._closing:
            self._ignore(data)
        elif self._context is None:
            self._read(data)
        elif self._tls is None:
            self._held += data
            self._begin_tls()
        else:
            self._decrypt(data)

    def eof_received(self) -> bool:
        """Go on until a request is answered: a client may end its side first."""
        self._their_end = True
        if self._request is not None:
            self._request.on_gone()
        return self._request is not None and not self._closing

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        del exc
        self._closing = True
        for timer in (self._timer, self._delay):
            if timer is not None:
                timer.cancel()
        shared = self._shared
        shared.strangers.remove(self)
        shared.clients.remove(self)
        shared.all.discard(self)
        if self._request is not None:
            self._request.on_gone()

    def abort(self) -> None:
        """Cut the connection."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    def _begin_tls(self) -> None:
        """Begin a handshake when the host can spend one on this source."""
        if self._closing:
            return
        shared, now_s = self._shared, monotonic_ns() / _NS_PER_S
        verdict = shared.gate.judge(
            self._source,
            strangers=len(shared.strangers),
            of_source=shared.strangers.held(self._source),
            validated=True,
            now_s=now_s,
        )
        if verdict is not Verdict.ACCEPT:
            shared.counters["http_handshakes_delayed"] += 1
            # No more is read meanwhile than the kernel holds.
            self._transport.pause_reading()
            self._delay = asyncio.get_running_loop().call_later(HANDSHAKE_RETRY_S, self._begin_tls)
            return
        shared.counters["http_handshakes"] += 1
        self._transport.resume_reading()
        assert self._context is not None
        self._tls = TlsServer(self._context)
        held, self._held = self._held, b""
        self._decrypt(held)

    def _decrypt(self, data: bytes) -> None:
        assert self._tls is not None
        before = self._tls.established
        try:
            plain = self._tls.receive(data)
        except TlsError:
            self._shared.counters["http_no_tls"] += 1
            self._transport.write(self._tls.outgoing())
            self._transport.close()
            return
        self._transport.write(self._tls.outgoing())
        if self._tls.established and not before:
            self._identify()
        if plain:
            self._read(plain)

    def _identify(self) -> None:
        """Give a paired client its place among those, where strangers cannot take it."""
        shared, client = self._shared, self._client()
        if client is not None:
            shared.gate.repay(self._source, monotonic_ns() / _NS_PER_S)
            shared.strangers.remove(self)
            shared.evict(shared.clients.add(self, client.fingerprint))

    def _client(self) -> PairedClient | None:
        fingerprint = None if self._tls is None else self._tls.fingerprint
        return None if fingerprint is None else self._shared.paired(fingerprint)

    def _read(self, data: bytes) -> None:
        try:
            event = self._next_event(data)
            if not isinstance(event, h11.Request):
                return
            target = Target.parse(event.target)
        except (h11.RemoteProtocolError, StatusError) as error:
            self._shared.counters["http_malformed"] += 1
            words = (
                error.cause
                if isinstance(error, StatusError)
                else "this is no HTTP request that is understood"
            )
            self._reply(Reply(xml.reply(status=400, message=words)))
            return
        self._shared.counters["http_requests"] += 1
        self._request = HttpRequest(
            event.method.decode("ascii"),
            target,
            self._client(),
            self._context is not None,
            self._local,
            self._remote,
            hold=self._hold,
        )
        self._stop_waiting()
        self._task = asyncio.get_running_loop().create_task(self._answer(self._request))

    def _next_event(self, data: bytes) -> object:
        """Return the request once it is whole; the first event of a server is one, or ``NEED_DATA``."""
        self._head += len(data)
        if self._head > MAX_HEAD_BYTES:
            raise StatusError("the request is too long", status=400)
        self._http.receive_data(data)
        return self._http.next_event()

    def _hold(self) -> None:
        self._waits = True
        self._shared.strangers.remove(self)
        keepalive: socket.socket = self._transport.get_extra_info("socket")
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S // 3),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        ):
            keepalive.setsockopt(level, option, value)

    async def _answer(self, request: HttpRequest) -> None:
        self._reply(await self._shared.answer(request))

    def _reply(self, reply: Reply) -> None:
        """Send a reply and end this side; the client ends its own, or is cut off."""
        if self._closing:
            return
        self._closing = True
        if self._waits:
            # What it waited for is over: from here on it is a stranger's connection as any other.
            self._shared.evict(self._shared.strangers.add(self, self._source))
        headers = [
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(reply.body))),
            ("Connection", "close"),
        ]
        phrase = HTTPStatus(reply.http_status).phrase.encode("ascii")
        head = h11.Response(status_code=reply.http_status, headers=headers, reason=phrase)
        # Not by the connection's own state, which what is malformed has ended.
        raw = h11.Connection(h11.SERVER).send(head) or b""
        if self._request is None or self._request.method != "HEAD":
            raw += reply.body
        if self._tls is not None:
            self._tls.send(raw)
            self._tls.end()
            raw = self._tls.outgoing()
        self._transport.write(raw)
        try:
            if not self._their_end:
                self._transport.write_eof()
        except OSError:  # the client is gone, and nobody has been told yet
            self._their_end = True
        if self._their_end:
            self._transport.close()
        self._wait(self._shared.reply_limit_s)

    def _ignore(self, data: bytes) -> None:
        self._ignored += len(data)
        if self._ignored > MAX_IGNORED_BYTES:
            self.abort()

    def _wait(self, limit_s: float) -> None:
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(limit_s, self._late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._shared.counters["http_late"] += 1
        self.abort()
