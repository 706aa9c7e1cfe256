"""QUIC connections with punktfunk/1's two dialects: ALPN as the client has it, client certificates, the client's pin.

Two places of aioquic's TLS context are wrapped, because its public interface lacks them: the ALPN list is settled per
ClientHello (one endpoint serves clients with and without ALPN, section 1.7), and the client checks the pin where TLS
wants a certificate refused, before it shows its own certificate. What a peer can make a connection hold is bounded in
:mod:`punktfunk.native.quic_limits`.
"""

from __future__ import annotations

import ssl
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # from an extension without types
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion

from punktfunk.key_log import key_log
from punktfunk.native.dialect import SERVER_NAME, Dialect
from punktfunk.native.quic_limits import CONTROL_WINDOW_BYTES, BoundedConnection
from punktfunk.trust.identity import Identity, fingerprint_of

MAX_DATAGRAM_FRAME_BYTES = 65535


class _AlertAccessDenied(tls.Alert):
    description = tls.AlertDescription.access_denied


class _DialectConnection(BoundedConnection):
    """A QuicConnection that settles the dialect per ClientHello (host) or checks the pin in TLS (client)."""

    def __init__(self, *, pin: str | None = None, **arguments: Any) -> None:
        self._pin = pin
        super().__init__(**arguments)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if self._is_client:
            self._wrap_certificate_check()
        else:
            self.tls._request_client_certificate = True
            self._wrap_client_hello()

    def _wrap_client_hello(self) -> None:
        handle = self.tls._server_handle_hello

        def settle_dialect(input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
            offered = tls.pull_client_hello(input_buf).alpn_protocols
            input_buf.seek(0)
            dialect = Dialect.PLAIN if offered is None else Dialect.PKF1
            self.tls._alpn_protocols = dialect.alpn
            # The transport parameters were written before the dialect and with it the idle time was known.
            self._configuration.idle_timeout = dialect.idle_timeout_s
            self.tls.handshake_extensions = [
                (tls.ExtensionType.QUIC_TRANSPORT_PARAMETERS, self._serialize_transport_parameters())
            ]
            handle(input_buf, initial_buf, handshake_buf)
            # As objects they would take 30 times their size on the wire, as long as the link lives.
            self.tls.received_extensions = []

        self.tls._server_handle_hello = settle_dialect  # type: ignore[method-assign]  # aioquic has no hook there

    def _wrap_certificate_check(self) -> None:
        verify = self.tls._client_handle_certificate_verify

        def check_pin(input_buf: Buffer) -> None:
            verify(input_buf)
            certificate = self.tls._peer_certificate
            if self._pin is not None and (certificate is None or fingerprint_of(certificate) != self._pin):
                raise _AlertAccessDenied("the host's certificate is not the pinned one")

        self.tls._client_handle_certificate_verify = check_pin  # type: ignore[method-assign]  # aioquic has no hook there


def _configuration(identity: Identity, *, is_client: bool, dialect: Dialect) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=dialect.alpn,
        certificate=identity.certificate,
        private_key=identity.key,
        idle_timeout=dialect.idle_timeout_s,
        max_data=CONTROL_WINDOW_BYTES,
        max_datagram_frame_size=MAX_DATAGRAM_FRAME_BYTES,
        max_stream_data=CONTROL_WINDOW_BYTES,
        secrets_log_file=key_log(),
        server_name=SERVER_NAME if is_client else None,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        verify_mode=ssl.CERT_NONE,
    )


def host_connection(
    identity: Identity, original_cid: bytes, retry_cid: bytes | None = None
) -> BoundedConnection:
    """Make the host's end for a client whose Initial carried ``original_cid``.

    ``retry_cid`` is the connection ID of the Retry that sent the client here, if one did.
    """
    return _DialectConnection(
        configuration=_configuration(identity, is_client=False, dialect=Dialect.PLAIN),
        original_destination_connection_id=original_cid,
        retry_source_connection_id=retry_cid,
    )


def client_connection(
    identity: Identity, dialect: Dialect, pin: str | None, idle_timeout_s: float | None = None
) -> BoundedConnection:
    """Make a client's end; with a ``pin`` any other certificate fails the handshake with 0x131.

    ``idle_timeout_s`` takes the place of the dialect's; of both ends' the shorter one holds.
    """
    configuration = _configuration(identity, is_client=True, dialect=dialect)
    if idle_timeout_s is not None:
        configuration.idle_timeout = idle_timeout_s
    return _DialectConnection(configuration=configuration, pin=pin)
