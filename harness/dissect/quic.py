"""Open the QUIC side of a capture with a key log: handshakes, control messages, QUIC datagrams.

Packet protection and header parsing are aioquic's. Initial packets open without keys, and name the handshake; what
follows opens with the secrets that the key log has of it. Of a connection that began before the capture those are found
by trying (``begun``); what it says on its control stream waits for a beginning that is not there. Kept of a connection
are the handshake's first messages and what of the control stream has not come in order, both within caps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from aioquic._crypto import CryptoError
from aioquic.buffer import Buffer, BufferReadError  # type: ignore[attr-defined]  # from an extension without types
from aioquic.quic.crypto import CryptoContext, CryptoPair, apply_key_phase, next_key_phase
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    is_long_header,
    pull_quic_header,
)
from aioquic.tls import CipherSuite

from harness.dissect import punktfunk1
from harness.dissect.begun import CID_BYTES, Search, number_of
from harness.dissect.datagrams import Datagram, Endpoint
from harness.dissect.keys import Keys, StreamKey
from harness.dissect.layers import described, layer_of
from harness.dissect.quic_frames import (
    CLOSES,
    CRYPTO,
    DATAGRAMS,
    STREAM_FIRST,
    STREAM_LAST,
    QuicFrame,
    frames,
)
from punktfunk.native.framing import FrameReader
from punktfunk.printable import printable

MAX_CONNECTIONS: Final = 256
_MAX_HANDSHAKE_BYTES: Final = 64 << 10
_MAX_STREAM_BYTES: Final = 1 << 20
"""Of the control stream, what may wait for an earlier part that a lossy capture lacks."""
_MAX_PIECES: Final = 256
_MAX_FRAMES_SHOWN: Final = 6
_MAX_CHARACTERS: Final = 400
"""Of what is said of a datagram."""
BEGAN_BEFORE: Final = "it began before the capture did"
"""A handshake's first message names its secrets in a key log; without it they are looked for."""
NO_SECRETS: Final = "the key log has no secrets of it"
_CONTROL_STREAM: Final = 0
_RANDOM_AT, _RANDOM_END = 6, 38
"""Where the random number stands in a ClientHello, behind the message's type and length and the version."""
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_PACKET_NAMES: Final = {
    QuicPacketType.INITIAL: "Initial",
    QuicPacketType.ZERO_RTT: "0-RTT",
    QuicPacketType.HANDSHAKE: "Handshake",
    QuicPacketType.RETRY: "Retry",
    QuicPacketType.VERSION_NEGOTIATION: "Version Negotiation",
    QuicPacketType.ONE_RTT: "1-RTT",
}


@dataclass(frozen=True, slots=True)
class Said:
    """A control message or a QUIC datagram that was read."""

    time_ns: int
    from_host: bool
    text: str


@dataclass(slots=True)
class _Pieces:
    """Bytes that come in pieces, in any order and more than once."""

    limit: int
    _waiting: dict[int, bytes] = field(default_factory=dict)
    _at: int = 0
    _held: int = 0

    def add(self, offset: int, data: bytes) -> bytes:
        """Take a piece; return what is now whole behind what was before."""
        if offset + len(data) <= self._at or self._held + len(data) > self.limit:
            return b""
        if len(self._waiting) >= _MAX_PIECES and offset not in self._waiting:
            return b""
        if len(data) > len(self._waiting.get(offset, b"")):
            self._held += len(data) - len(self._waiting.get(offset, b""))
            self._waiting[offset] = data
        whole = bytearray()
        for begins in sorted(self._waiting):
            if begins > self._at:
                break
            piece = self._waiting.pop(begins)
            self._held -= len(piece)
            whole += piece[self._at - begins :]
            self._at = max(self._at, begins + len(piece))
        return bytes(whole)


class _Side:
    """What one end of a connection sends."""

    def __init__(self) -> None:
        self.initial = CryptoContext()
        self.one_rtt = CryptoContext()
        self.largest: dict[QuicPacketType, int] = {}
        self.handshake = _Pieces(_MAX_HANDSHAKE_BYTES)
        self.hello = b""
        self.control = _Pieces(_MAX_STREAM_BYTES)
        self.messages = FrameReader()


class _Connection:
    """One connection, as far as it could be opened."""

    def __init__(self, client: Endpoint, destination_cid: bytes) -> None:
        self.client = client
        self.sides: dict[bool, _Side] = {}
        """By whether the host sends."""
        self.cid_bytes = {True: CID_BYTES, False: CID_BYTES}
        """Of the connection IDs that packets to this end bear, by whether it is the host."""
        self.random: bytes = b""
        self.suite: CipherSuite | None = None
        self.has_closed = False
        """Whether there were packets that no secret opened."""
        self.began_before = False
        """Whether its beginning is not in the capture, and its secrets were found all the same."""
        self.begin(destination_cid)

    def begin(self, destination_cid: bytes) -> None:
        """Begin, and begin anew after a Retry: with the keys of Initial packets that this connection ID gives."""
        self.sides = {True: _Side(), False: _Side()}
        self.random, self.suite, self.began_before = b"", None, False
        pair = CryptoPair()
        pair.setup_initial(cid=destination_cid, is_client=True, version=QuicProtocolVersion.VERSION_1)
        self.sides[False].initial, self.sides[True].initial = pair.send, pair.recv


@dataclass(frozen=True, slots=True)
class _Packet:
    """A packet that is being opened."""

    connection: _Connection
    kind: QuicPacketType
    from_host: bool
    time_ns: int


class Opener:
    """Reads the QUIC packets of a capture in their order."""

    def __init__(self, keys: Keys) -> None:
        self.said: list[Said] = []
        """What was read lately; whoever reads it clears it."""
        self._keys = keys
        self._search = Search(keys)
        self._connections: dict[frozenset[Endpoint], _Connection] = {}
        self._begun: set[frozenset[Endpoint]] = set()
        """Ends of connections of which no Initial packet was seen."""

    def why_closed(self, ends: frozenset[Endpoint]) -> str:
        """Return why nothing of the connection between two ends could be opened; "" where something was.

        Also where no key log was given: nobody asked for it then.
        """
        connection = self._connections.get(ends)
        if connection is None:
            return BEGAN_BEFORE if ends in self._begun else ""
        if not connection.has_closed or any(side.one_rtt.aead for side in connection.sides.values()):
            return ""
        if not connection.random:
            return BEGAN_BEFORE
        return NO_SECRETS if self._keys.has_secrets else ""

    def read(self, datagram: Datagram) -> str:
        """Return in a line what is in a datagram, and add to :attr:`said`. Nothing that is in one raises."""
        found: list[str] = []
        try:
            found.extend(self._packets(datagram))
        except (ValueError, BufferReadError, CryptoError, AssertionError, IndexError, OverflowError) as error:
            found.append(f"malformed: {printable(str(error) or type(error).__name__, 80)}")
        return printable("; ".join(found), _MAX_CHARACTERS)

    def takes_up(self, datagram: Datagram) -> bool:
        """Return whether a datagram between ends of which nothing is known is QUIC, by a secret that opens it."""
        ends = frozenset((datagram.source, datagram.destination))
        if datagram.cut or ends in self._connections:
            return False
        return self._take_up(ends, datagram, datagram.payload) is not None

    def _take_up(self, ends: frozenset[Endpoint], datagram: Datagram, packet: bytes) -> _Connection | None:
        """Return the connection of a 1-RTT packet whose handshake was not seen, where a secret opens it."""
        if len(self._connections) >= MAX_CONNECTIONS and ends not in self._connections:
            return None
        found = self._search.find(ends, packet)
        if found is None:
            return None
        connection = _Connection(datagram.destination if found.from_host else datagram.source, b"")
        connection.random, connection.suite, connection.began_before = found.random, found.suite, True
        # The packet is read again as any other.
        connection.sides[found.from_host].largest[QuicPacketType.ONE_RTT] = found.number - 1
        self._connections[ends] = connection
        self._begun.discard(ends)
        return connection

    def _packets(self, datagram: Datagram) -> Iterator[str]:
        if datagram.cut:
            yield "cut by the capture"
            return
        ends = frozenset((datagram.source, datagram.destination))
        connection = self._connections.get(ends)
        buffer = Buffer(data=datagram.payload)
        while not buffer.eof():
            begins = buffer.tell()
            if begins and not any(datagram.payload[begins:]):
                return  # a client may fill its first datagrams up behind the packet as well
            is_short = not is_long_header(datagram.payload[begins])
            if is_short and (connection is None or not connection.random):
                connection = self._take_up(ends, datagram, datagram.payload[begins:]) or connection
            if is_short and connection is None:
                self._note_begun(ends)
                yield "1-RTT of a connection whose beginning is not in the capture"
                return
            to_host = connection is not None and datagram.source == connection.client
            header = pull_quic_header(buffer, connection.cid_bytes[to_host] if connection else CID_BYTES)
            encrypted_at = buffer.tell() - begins
            packet = datagram.payload[begins : begins + header.packet_length]
            name = _PACKET_NAMES[header.packet_type]
            if header.packet_type in (QuicPacketType.RETRY, QuicPacketType.VERSION_NEGOTIATION):
                yield name
                return
            if header.packet_type is QuicPacketType.INITIAL:
                connection = self._of_initial(connection, header, datagram)
            if connection is None:
                self._note_begun(ends)
                yield f"{name}, of too many connections or of one without a beginning"
                return
            from_host = datagram.source != connection.client
            if is_long_header(packet[0]):
                connection.cid_bytes[from_host] = len(header.source_cid)
            found = _Packet(connection, header.packet_type, from_host, datagram.time_ns)
            shown = self._opened(found, header, packet, encrypted_at)
            yield f"{name}: {shown}" if shown else name
            buffer.seek(begins + header.packet_length)

    def _note_begun(self, ends: frozenset[Endpoint]) -> None:
        if len(self._connections) < MAX_CONNECTIONS and len(self._begun) < MAX_CONNECTIONS:
            self._begun.add(ends)

    def _of_initial(
        self, connection: _Connection | None, header: QuicHeader, datagram: Datagram
    ) -> _Connection | None:
        """Return the connection of an Initial packet, which a client's first one makes."""
        if connection is not None:
            return connection
        if len(self._connections) >= MAX_CONNECTIONS:
            return None
        connection = _Connection(datagram.source, header.destination_cid)
        self._connections[frozenset((datagram.source, datagram.destination))] = connection
        return connection

    def _opened(self, packet: _Packet, header: QuicHeader, data: bytes, encrypted_at: int) -> str:
        """Return the frames of a packet in words; "" for one that cannot be opened."""
        side = packet.connection.sides[packet.from_host]
        if packet.kind is QuicPacketType.ONE_RTT and side.one_rtt.aead is None:
            self._find_secret(packet.connection, packet.from_host)
            packet.connection.has_closed = packet.connection.has_closed or side.one_rtt.aead is None
        crypto = {QuicPacketType.INITIAL: side.initial, QuicPacketType.ONE_RTT: side.one_rtt}.get(packet.kind)
        if crypto is None or crypto.aead is None:
            return ""
        expected = side.largest.get(packet.kind, -1) + 1
        if packet.connection.began_before and not expected and packet.kind is QuicPacketType.ONE_RTT:
            expected = number_of(crypto, data, encrypted_at) or 0
        try:
            _header, payload, number, phase = crypto.decrypt_packet(data, encrypted_at, expected)
        except CryptoError:
            if packet.kind is not QuicPacketType.INITIAL or packet.from_host:
                return "does not authenticate"
            # After a Retry the client begins anew, with the connection ID that it was given.
            packet.connection.begin(header.destination_cid)
            side = packet.connection.sides[packet.from_host]
            crypto = side.initial
            _header, payload, number, phase = crypto.decrypt_packet(data, encrypted_at, 0)
        if phase:
            apply_key_phase(crypto, next_key_phase(crypto), trigger="capture")
        side.largest[packet.kind] = max(side.largest.get(packet.kind, -1), number)
        said = Counter(text for frame in frames(payload) for text in self._said(side, frame, packet))
        shown = [f"{text} ×{count}" if count > 1 else text for text, count in said.items()]
        return ", ".join(shown[:_MAX_FRAMES_SHOWN]) + (" …" if len(shown) > _MAX_FRAMES_SHOWN else "")

    def _find_secret(self, connection: _Connection, from_host: bool) -> None:
        label = "SERVER_TRAFFIC_SECRET_0" if from_host else "CLIENT_TRAFFIC_SECRET_0"
        secret = self._keys.secret(connection.random, label)
        if secret is None:
            return
        suite = connection.suite
        if suite is None:  # the ServerHello was lost: the length of its secrets tells most of it
            suite = CipherSuite.AES_256_GCM_SHA384 if len(secret) == 48 else CipherSuite.AES_128_GCM_SHA256
        connection.sides[from_host].one_rtt.setup(
            cipher_suite=suite, secret=secret, version=QuicProtocolVersion.VERSION_1
        )

    def _said(self, side: _Side, frame: QuicFrame, packet: _Packet) -> list[str]:
        """Return in words what a frame says, and keep what is a message of ours."""
        if frame.kind == CRYPTO and packet.kind is QuicPacketType.INITIAL:
            side.hello = (side.hello + side.handshake.add(frame.offset, frame.data))[:_MAX_HANDSHAKE_BYTES]
            return [_hello(packet.connection, side.hello) or frame.name]
        texts = []
        if STREAM_FIRST <= frame.kind <= STREAM_LAST and frame.number == _CONTROL_STREAM:
            messages = side.messages.feed(side.control.add(frame.offset, frame.data))
            texts = [self._message(message, packet.from_host) for message in messages]
            if packet.connection.began_before and not texts:
                return [f"{frame.name}, whose beginning is not in the capture"]
        elif frame.kind in DATAGRAMS:
            layer = punktfunk1.datagram_layer(frame.data)
            texts = [described(layer_of(layer, frame.data)) or f"datagram of {len(frame.data)} bytes"]
        elif frame.kind in CLOSES:
            reason = printable(frame.data.decode("utf-8", "replace"), 80)
            texts = [f"close {frame.number:#x} {reason}".rstrip()]
        self.said += [Said(packet.time_ns, packet.from_host, text) for text in texts]
        return texts or [frame.name]

    def _message(self, message: bytes, from_host: bool) -> str:
        layer = punktfunk1.message_layer(message, from_host=from_host)
        read = layer_of(layer, message)
        if layer is punktfunk1.Welcome and read is not None and read.encrypt:
            self._keys.add(StreamKey(bytes(read.key), bytes(read.salt)))
        if layer is punktfunk1.Typed and read is not None and read.type in punktfunk1.NAMES:
            return punktfunk1.NAMES[read.type]
        return described(read) or f"message of {len(message)} bytes"


def _hello(connection: _Connection, messages: bytes) -> str:
    """Note what a hello says as soon as enough of it is there; return its name, "" for something else."""
    if len(messages) >= _RANDOM_END and messages[0] == _CLIENT_HELLO:
        connection.random = messages[_RANDOM_AT:_RANDOM_END]
        return "ClientHello"
    if messages and messages[0] == _SERVER_HELLO:
        at = _RANDOM_END + 1 + (messages[_RANDOM_END] if len(messages) > _RANDOM_END else 0)
        if len(messages) >= at + 2:
            known = {suite.value: suite for suite in CipherSuite}
            connection.suite = known.get(int.from_bytes(messages[at : at + 2], "big"))
        return "ServerHello"
    return ""
