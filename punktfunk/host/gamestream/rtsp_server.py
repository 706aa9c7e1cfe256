"""The RTSP server: one request a connection, which the host closes behind its answer (gamestream section 5.1).

Whose request it is, its key tells, or for clients without encryption the address that they come from. Nobody has to
prove anything to connect, so there is a bound on connections, on the time that one takes, and on bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeVar

from punktfunk.addresses import source_of
from punktfunk.errors import CryptoError, StatusError
from punktfunk.gamestream.rtsp import Headers, RequestReader, RtspRequest, RtspResponse
from punktfunk.gamestream.rtsp_cipher import FrameReader, RtspCipher, RtspFrame
from punktfunk.gamestream.rtsp_exchange import RtspExchange
from punktfunk.host.gamestream.listening import bound_sockets
from punktfunk.link_quota import FairQuota

REQUEST_LIMIT_S = 5.0
"""From the connection to the end of its answer: clients send a request at once, in small segments."""
MAX_CONNECTIONS = 64
MAX_CONNECTIONS_PER_SOURCE = 16
"""A client has one at a time; more of one source are some clients behind one address. A newcomer takes the place of the
oldest of whoever holds most."""
_READ_BYTES = 4096
_LINGER_S = 1.0
"""What a client may take to close its end, so that its last segment does not turn the answer into a reset."""


W_co = TypeVar("W_co", covariant=True)


class _Pieces(Protocol[W_co]):
    """Puts together something from pieces."""

    def feed(self, data: bytes) -> W_co | None:
        """Take a piece; return the whole once it is there."""


class RtspSession(Protocol):
    """A session that clients may ask about."""

    @property
    def exchange(self) -> RtspExchange:
        """What it is answered."""

    @property
    def cipher(self) -> RtspCipher | None:
        """What it is sealed with; ``None`` for a client that speaks plainly."""

    @property
    def remote_address(self) -> str:
        """Where its client launched it from."""


class RtspOwner(Protocol):
    """Who knows the sessions."""

    def rtsp_sessions(self) -> Iterable[RtspSession]:
        """Return the sessions that are not over, the latest first."""


class RtspServer:
    """Listens at a port until it is closed. Raises ``CapabilityError`` from :meth:`open` when that is taken.

    Counters: ``rtsp_requests``, ``rtsp_evicted`` (too many connections), ``rtsp_malformed``, ``rtsp_unmatched`` (no
    session, or none with that key), ``rtsp_late``, ``rtsp_gone`` (the client hung up).
    """

    def __init__(self, bind: str, port: int, owner: RtspOwner) -> None:
        self.counters: Counter[str] = Counter()
        self._bind, self._port, self._owner = bind, port, owner
        self._servers: list[asyncio.Server] = []
        self._quota: FairQuota[asyncio.Task[None]] = FairQuota(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE)
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self, held: list[socket.socket] | None = None) -> None:
        """Begin to listen, by the sockets that hold the port already."""
        for bound in held or bound_sockets(self._bind, self._port, socket.SOCK_STREAM, "RTSP"):
            self._servers.append(await asyncio.start_server(self._connected, sock=bound, limit=_READ_BYTES))

    def close(self) -> None:
        """Stop to listen, and cut what is open."""
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        address = peer[0] if peer else ""
        task = asyncio.get_running_loop().create_task(self._limited(reader, writer, address))
        self._tasks[task] = writer
        task.add_done_callback(self._ended)
        victim = self._quota.add(task, source_of(address))
        if victim is not None:
            self.counters["rtsp_evicted"] += 1
            victim.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._quota.remove(task)
        writer = self._tasks.pop(task)
        if not writer.transport.is_closing():
            # It was cancelled before its first step, and has closed nothing.
            writer.transport.abort()

    async def _limited(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                await self._serve(reader, writer, address)
        except TimeoutError:
            self.counters["rtsp_late"] += 1
            writer.transport.abort()
        except OSError:
            self.counters["rtsp_gone"] += 1
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        try:
            answer = await self._answer(reader, address)
        except StatusError as error:
            self.counters["rtsp_malformed"] += 1
            answer = RtspResponse(error.status, Headers({"CSeq": "0"})).encode()
        except CryptoError:
            # Without the key there is nothing to be said that the client could read.
            self.counters["rtsp_unmatched"] += 1
            return
        if answer is None:
            return
        writer.write(answer)
        await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while await reader.read(_READ_BYTES):
                    pass

    async def _answer(self, reader: asyncio.StreamReader, address: str) -> bytes | None:
        """Read a request and return its answer; ``None`` where nothing came: clients probe whether there is a port."""
        first = await reader.read(_READ_BYTES)
        if not first:
            return None
        if first[0] & 0x80:
            return self._answer_sealed(await _whole(FrameReader(), first, reader))
        request = await _whole(RequestReader(), first, reader)
        self.counters["rtsp_requests"] += 1
        return self._answer_plain(request, address).encode()

    def _answer_plain(self, request: RtspRequest, address: str) -> RtspResponse:
        for session in self._owner.rtsp_sessions():
            if session.cipher is None and session.remote_address == address:
                return session.exchange.answer(request)
        self.counters["rtsp_unmatched"] += 1
        return RtspResponse(454, Headers({"CSeq": request.sequence or "0"}))

    def _answer_sealed(self, frame: RtspFrame) -> bytes:
        session, cipher, message = self._opened(frame)
        self.counters["rtsp_requests"] += 1
        try:
            answer = session.exchange.answer(RtspRequest.decode(message))
        except StatusError as error:
            answer = RtspResponse(error.status, Headers({"CSeq": "0"}))
        return cipher.seal(answer.encode())

    def _opened(self, frame: RtspFrame) -> tuple[RtspSession, RtspCipher, bytes]:
        """Find the session by its key; raise ``CryptoError`` where there is none, or the message was there before."""
        for session in self._owner.rtsp_sessions():
            cipher = session.cipher
            if cipher is None:
                continue
            with contextlib.suppress(CryptoError):
                return session, cipher, cipher.open(frame)
        raise CryptoError("no session has the key of this RTSP message")


async def _whole(reader: _Pieces[W_co], first: bytes, stream: asyncio.StreamReader) -> W_co:
    """Feed pieces until they are one whole; raise ``StatusError`` (400) when they end before."""
    piece = first
    while (whole := reader.feed(piece)) is None:
        piece = await stream.read(_READ_BYTES)
        if not piece:
            raise StatusError("the request is cut short", status=400)
    return whole
