"""aioquic's state machine with a cap on everything that a peer can make it keep or compute.

aioquic 1.7.2 bounds much itself: packet numbers, ACK ranges (64), network paths (8), path challenges (32 a path),
connection IDs at once (8). What it lets a peer grow is held here; a link that asks for more is closed by QUIC with
the error beside it, and :attr:`BoundedConnection.exceeded` names the limit for the listener's counters.

==========================  ===================================  ======================================
what a peer makes grow      cap a link                           when it bites
==========================  ===================================  ======================================
control stream, unread      `CONTROL_WINDOW_BYTES`, sliding      FLOW_CONTROL_ERROR
holes in stream or CRYPTO   `MAX_HOLES` each                     PROTOCOL_VIOLATION, ``holes``
streams                     stream 0 alone                       STREAM_LIMIT_ERROR
CRYPTO, no message yet      `MAX_CRYPTO_BYTES`, holes included   CRYPTO_BUFFER_EXCEEDED, ``crypto``
connection IDs in all       `MAX_CONNECTION_IDS`, either end's   CONNECTION_ID_LIMIT_ERROR,
                                                                 ``connection_ids``
packets not acknowledged    `MAX_PACKETS_IN_FLIGHT`              no more is sent
ACKs not acknowledged       `MAX_SENT_ACKS`                      the oldest are forgotten
keys that are slow          `MAX_RSA_BITS` and exponent          TLS alert bad_certificate
a UDP datagram              `MAX_UDP_PAYLOAD_BYTES`, announced   the socket's owner drops it
==========================  ==========================================

Everything together a hostile link costs less than `WORST_LINK_BYTES`, and a datagram of it less than 10 ms of CPU
(`tests/security/test_quic_limits.py`, which also fails when an aioquic renames what is used here).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer, encode_uint_var  # type: ignore[attr-defined]  # from an extension without types
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    Limit,
    QuicConnection,
    QuicConnectionError,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream, QuicStreamReceiver
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from punktfunk.addresses import SocketAddress

CONTROL_STREAM = 0
"""The one stream of punktfunk/1, opened by the client and open for the session (section 1.4)."""
CONTROL_WINDOW_BYTES = 16 * 1024
"""Bytes of the control stream that may be on their way. The longest message of any release has some 300 bytes (Hello
with name and launch id, sections 2.4 and 2.5); one of 64 KiB, the most of the framing, passes in several windows."""
MAX_HOLES = 64
"""Gaps in received data, as many as aioquic keeps ACK ranges: an honest sender's window of 16 KiB is 14 packets."""
MAX_CRYPTO_BYTES = 8 * 1024
"""TLS bytes that are no whole message yet. RFC 9000 section 7.5 asks for 4096; a ClientHello with two post-quantum key
shares takes 3 KiB, a certificate of RSA-4096 2 KiB."""
MAX_CONNECTION_IDS = 128
"""That an end may issue in all. A client spends one each time it changes networks."""
MAX_PACKETS_IN_FLIGHT = 256
"""Ack-eliciting packets without an answer: more than a second of sound at 200 a second."""
MAX_SENT_ACKS = 64
"""Packets of nothing but an ACK that are remembered; a peer need not acknowledge them."""
MAX_RSA_BITS = 8192
MAX_RSA_EXPONENT_BITS = 64
"""Of a peer's certificate. Any key within verifies in 1 ms; RSA-3072 with an exponent of its own size takes 6 ms."""
MAX_UDP_PAYLOAD_BYTES = 1500
"""Told to the peer as max_udp_payload_size: no Ethernet path carries more, and implementations stop at 1452."""
WORST_LINK_BYTES = 512 * 1024

_MAX_UDP_PAYLOAD_PARAMETER = 0x03
"""Transport parameter max_udp_payload_size (RFC 9000 section 18.2), which aioquic does not send."""


class BoundedConnection(QuicConnection):
    """A QuicConnection whose peer cannot make it grow; see the module's table."""

    exceeded: str | None = None
    """The limit for which this end closes the connection, where a QUIC error code does not name it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._granted_streams = 0 if self._is_client else 1
        self._local_max_streams_bidi = Limit(
            QuicFrameType.MAX_STREAMS_BIDI, "max_streams_bidi", self._granted_streams
        )
        self._local_max_streams_uni = Limit(QuicFrameType.MAX_STREAMS_UNI, "max_streams_uni", 0)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, SocketAddress]]:
        """Send nothing but ACKs and probes to a peer that leaves too many packets unanswered."""
        unanswered = sum(space.ack_eliciting_in_flight for space in self._spaces.values())
        # With the congestion window used up aioquic holds back exactly what would have to be answered.
        penalty = 1 << 40 if unanswered >= MAX_PACKETS_IN_FLIGHT else 0
        congestion = self._loss._cc
        congestion.bytes_in_flight += penalty
        try:
            return super().datagrams_to_send(now=now)
        finally:
            congestion.bytes_in_flight -= penalty
            for space in self._spaces.values():
                _forget_old_acks(space)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        check = _on_affordable_keys(self.tls, self.tls._check_certificate_verify_signature)
        self.tls._check_certificate_verify_signature = check  # type: ignore[method-assign, assignment]  # aioquic has no hook there

    def _serialize_transport_parameters(self) -> bytes:
        value = encode_uint_var(MAX_UDP_PAYLOAD_BYTES)
        parameter = encode_uint_var(_MAX_UDP_PAYLOAD_PARAMETER) + encode_uint_var(len(value)) + value
        return super()._serialize_transport_parameters() + parameter

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_stream_frame(context, frame_type, buf)
        stream = self._streams.get(CONTROL_STREAM)
        if stream is not None:
            self._check_holes(stream.receiver, frame_type)

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(start)
        receiver = self._crypto_streams[context.epoch].receiver
        # What TLS has taken and not yet made a message of would else be bounded by a length of 24 bits.
        if end - receiver.starting_offset() + len(self.tls._receive_buffer) > MAX_CRYPTO_BYTES:
            self._refuse("crypto", QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, frame_type)
        super()._handle_crypto_frame(context, frame_type, buf)
        self._check_holes(receiver, frame_type)

    def _handle_new_connection_id_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        super()._handle_new_connection_id_frame(context, frame_type, buf)
        if len(self._peer_cid_sequence_numbers) > MAX_CONNECTION_IDS:
            self._refuse("connection_ids", QuicErrorCode.CONNECTION_ID_LIMIT_ERROR, frame_type)

    def _handle_retire_connection_id_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        super()._handle_retire_connection_id_frame(context, frame_type, buf)
        if self._host_cid_seq > MAX_CONNECTION_IDS:
            self._refuse("connection_ids", QuicErrorCode.CONNECTION_ID_LIMIT_ERROR, frame_type)

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        """Slide MAX_DATA with what was read, where aioquic doubles it by what was sent; grant no more streams."""
        self._local_max_streams_bidi.value = self._granted_streams
        self._local_max_streams_uni.value = 0
        limit = self._local_max_data
        stream = self._streams.get(CONTROL_STREAM)
        if stream is not None:
            limit.value = _slid(limit.value, stream.receiver)
        if limit.value != limit.sent:
            buffer = builder.start_frame(
                limit.frame_type,
                capacity=CONNECTION_LIMIT_FRAME_CAPACITY,
                handler=self._on_connection_limit_delivery,
                handler_args=(limit,),
            )
            buffer.push_uint_var(limit.value)
            limit.sent = limit.value

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        """Slide MAX_STREAM_DATA likewise."""
        if stream.stream_id != CONTROL_STREAM:
            return
        stream.max_stream_data_local = _slid(stream.max_stream_data_local, stream.receiver)
        if stream.max_stream_data_local != stream.max_stream_data_local_sent:
            buffer = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            buffer.push_uint_var(CONTROL_STREAM)
            buffer.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _check_holes(self, receiver: QuicStreamReceiver, frame_type: int) -> None:
        if len(receiver._ranges) > MAX_HOLES:
            self._refuse("holes", QuicErrorCode.PROTOCOL_VIOLATION, frame_type)

    def _refuse(self, limit: str, code: QuicErrorCode, frame_type: int) -> None:
        self.exceeded = limit
        raise QuicConnectionError(
            error_code=code, frame_type=frame_type, reason_phrase=f"over the limit of {limit}"
        )


def _slid(limit: int, receiver: QuicStreamReceiver) -> int:
    """Return the offset that a peer may send up to; it moves by half windows, so that few frames tell it."""
    target = receiver.starting_offset() + CONTROL_WINDOW_BYTES
    return target if target - limit >= CONTROL_WINDOW_BYTES // 2 else limit


def _forget_old_acks(space: QuicPacketSpace) -> None:
    """Forget the oldest packets that need no answer, half of them at a time."""
    if len(space.sent_packets) <= space.ack_eliciting_in_flight + MAX_SENT_ACKS:
        return
    idle = [number for number, packet in space.sent_packets.items() if not packet.in_flight]
    for number in idle[: -(MAX_SENT_ACKS // 2)]:
        del space.sent_packets[number]


def _on_affordable_keys(
    context: tls.Context, check: Callable[[tls.CertificateVerify], None]
) -> Callable[[tls.CertificateVerify], None]:
    def checked(verify: tls.CertificateVerify) -> None:
        key: object = None
        with contextlib.suppress(UnsupportedAlgorithm, ValueError):  # for ``check`` to say
            key = None if context._peer_certificate is None else context._peer_certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey) and (
            key.key_size > MAX_RSA_BITS or key.public_numbers().e.bit_length() > MAX_RSA_EXPONENT_BITS
        ):
            raise tls.AlertBadCertificate("the certificate's key is too slow to check")
        check(verify)

    return checked
