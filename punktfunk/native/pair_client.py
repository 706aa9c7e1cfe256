"""The client's side of a pairing on the wire: dial, ask, prove, be told (punktfunk/1 section 6)."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from punktfunk.addresses import written
from punktfunk.errors import HandshakeError, PairingError, PairingRefusedError, ProtocolError, RejectedError
from punktfunk.native import messages
from punktfunk.native.client import CONNECT_LIMIT_S, closed_error, no_answer
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.endpoint import Dialer
from punktfunk.native.framing import FrameReader, frame
from punktfunk.native.pairing import ClientCeremony
from punktfunk.native.quic import ALPN_MISMATCH, Closed, Peer
from punktfunk.trust.identity import Identity

CEREMONY_LIMIT_S = 90.0
"""For the whole ceremony, as the reference client has it (section 6.1)."""
_DRAIN_LIMIT_S = 2.0
_MAX_WAITING = 16

M = TypeVar("M", messages.PairChallenge, messages.PairResult)


async def pair_with(
    address: tuple[str, int], identity: Identity, dialects: list[Dialect], pin: str, name: str
) -> str:
    """Pair with the host at ``address`` and return its fingerprint, proven by the PIN.

    Any certificate is dialled: the PIN, not a pin, tells the host from a man in the middle. Raises
    ``PairingRefusedError`` (with the close code) when the host would not hear of it, ``PairingError`` when the
    PIN is wrong or the host could not store this client, ``HandshakeError`` when it cannot be reached.
    """
    for dialect in dialects:
        connection = _PairingConnection(address, identity, dialect)
        try:
            async with asyncio.timeout(CEREMONY_LIMIT_S):
                peer = await connection.established()
                if peer is not None:
                    return await _ceremony(connection, peer, identity, pin, name)
        except TimeoutError:
            raise PairingError(
                f"the pairing took longer than {CEREMONY_LIMIT_S:.0f} s", "try again"
            ) from None
        finally:
            connection.abandon()
    tried = " and ".join(dialect.value for dialect in dialects)
    raise HandshakeError(
        f"the host at {written(*address)} speaks no common protocol (ALPN tried: {tried})",
        "it may speak another generation of punktfunk, or be no punktfunk host",
    )


async def _ceremony(
    connection: _PairingConnection, peer: Peer, identity: Identity, pin: str, name: str
) -> str:
    if peer.fingerprint is None:
        raise PairingError("the host showed no certificate")
    ceremony = ClientCeremony(pin, bytes.fromhex(identity.fingerprint), bytes.fromhex(peer.fingerprint), name)
    try:
        connection.send((await asyncio.to_thread(ceremony.request)).encode())
        challenge = await connection.message(messages.PairChallenge)
        # Whoever does not know the PIN gets nothing: a proof sent now would be a guess for free.
        connection.send((await asyncio.to_thread(ceremony.prove, challenge)).encode())
        result = await connection.message(messages.PairResult)
    except PairingError:
        await connection.close(CloseCode.ERROR)
        raise
    if not result.ok:
        await connection.close(CloseCode.ERROR)
        raise PairingError(
            "the PIN was right and the host could not finish the pairing",
            "it came too late, or the host cannot write its list of paired clients: look at the host",
        )
    await connection.close(CloseCode.DONE)
    return peer.fingerprint


class _PairingConnection:
    """A link handler that hands on whole control messages."""

    def __init__(self, address: tuple[str, int], identity: Identity, dialect: Dialect) -> None:
        self._address = address
        self._reader = FrameReader()
        self._messages: asyncio.Queue[messages.TypedMessage | None] = asyncio.Queue(_MAX_WAITING)
        self._settled = asyncio.Event()
        self._over = asyncio.Event()
        self._peer: Peer | None = None
        self._closed: Closed | None = None
        self._dialer = Dialer(address, identity, dialect, None, self)

    async def established(self) -> Peer | None:
        """Wait for the handshake; ``None`` when the host does not speak this dialect."""
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await self._settled.wait()
        except TimeoutError:
            raise await no_answer(self._address) from None
        if self._peer is None and self._closed is not None:
            if not self._closed.application and self._closed.code == ALPN_MISMATCH:
                return None
            raise closed_error(self._address, self._closed)
        return self._peer

    def send(self, payload: bytes) -> None:
        """Send one message."""
        self._dialer.link.send_stream(frame(payload))

    async def message(self, kind: type[M]) -> M:
        """Return the next message of that kind; others are ignored. Raises ``PairingError`` at the end."""
        while (message := await self._messages.get()) is not None:
            if isinstance(message, kind):
                return message
        assert self._closed is not None
        error = closed_error(self._address, self._closed)
        if isinstance(error, RejectedError):
            raise PairingRefusedError(error.cause, error.hint, close_code=error.close_code or 0)
        raise PairingError(error.cause, error.hint)

    async def close(self, code: CloseCode) -> None:
        """Close and wait for QUIC to drain, two seconds at most, so that the host hears of it."""
        assert self._peer is not None
        self._dialer.link.close(self._peer.dialect.close_code(code), "pair done")
        try:
            async with asyncio.timeout(_DRAIN_LIMIT_S):
                await self._over.wait()
        except TimeoutError:
            pass

    def abandon(self) -> None:
        """Forget the connection."""
        self._dialer.abandon("over")

    def link_established(self, peer: Peer) -> None:
        """Take note of whom this is."""
        self._peer = peer
        self._settled.set()

    def stream_received(self, data: bytes) -> None:
        """Take control bytes; what is no message, and what nobody waits for, is dropped."""
        for payload in self._reader.feed(data):
            try:
                message = messages.decode(payload)
                self._messages.put_nowait(message)
            except (ProtocolError, asyncio.QueueFull):
                continue

    def stream_ended(self) -> None:
        """Wait for the close: a host that refuses may end its stream first (section 1.6)."""

    def datagram_received(self, data: bytes) -> None:
        """Ignore input, audio and feedback channels."""

    def link_closed(self, closed: Closed) -> None:
        """Wake whoever waits."""
        self._closed = closed
        self._settled.set()
        self._over.set()
        while True:
            try:
                self._messages.put_nowait(None)
            except asyncio.QueueFull:
                self._messages.get_nowait()
            else:
                return
