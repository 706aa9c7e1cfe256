"""TLS as GameStream needs it: a client's certificate is asked for, and whatever it is the handshake completes.

The standard library's ``ssl`` ends a handshake with a certificate that it cannot verify, and Moonlight clients take
that for a host that is offline; all their certificates have one subject and serial number 0 besides, so that there is
nothing to verify them by (gamestream section 3.1). OpenSSL leaves the decision to its caller. This is a layer without
I/O: bytes of the network in, bytes of the client out, and the other way.
"""

from __future__ import annotations

import hashlib

from OpenSSL import SSL, crypto

from punktfunk.trust.identity import Identity

MAX_HANDSHAKE_BYTES = 131_072
"""What a client may send before its handshake is complete; its certificates, at most 100 KiB, are most of it."""
MAX_REQUEST_BYTES = 32_768
"""What it may send from there to the end of its request. Records that say nothing, or a byte, or change the key, cost
the host as much as any: three clients that sent only such ones held it for seconds."""
_READ_BYTES = 16_384


class TlsError(Exception):
    """The peer does not speak TLS as it should, or has broken off."""


def server_context(identity: Identity) -> SSL.Context:
    """Return how a host of this identity speaks TLS: 1.2 and 1.3, one certificate and no chain, nothing resumed."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    # A session that is resumed shows no certificate.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"punktfunk")
    context.use_certificate(identity.certificate)
    context.use_privatekey(identity.key)
    context.set_verify(SSL.VERIFY_PEER, _accept)
    # Nobody asks who vouches for a client, and to check the signatures of a chain may take half a second.
    context.set_verify_depth(0)
    return context


def _accept(
    _connection: SSL.Connection, _certificate: crypto.X509, _error: int, _depth: int, _valid: int
) -> bool:
    """Let every certificate through: its holder has proven nothing but that, and is judged by its fingerprint."""
    return True


class TlsServer:
    """One connection of a client."""

    def __init__(self, context: SSL.Context) -> None:
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self._received, self._limit = 0, MAX_HANDSHAKE_BYTES
        self.established = False
        """Whether the handshake is complete."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the network, up to a request; return those of the client.

        Raises :class:`TlsError` where they are none, or too many.
        """
        self._received += len(data)
        if self._received > self._limit:
            raise TlsError("the handshake or the request is too long")
        try:
            self._connection.bio_write(data)
            if not self.established:
                self._connection.do_handshake()
                self.established = True
                self._limit = self._received + MAX_REQUEST_BYTES
            return self._read()
        except SSL.WantReadError:
            return b""
        except SSL.Error as error:
            raise TlsError("no handshake, or a broken record") from error

    def send(self, data: bytes) -> None:
        """Encrypt bytes for the client; they are in :meth:`outgoing` then."""
        self._connection.sendall(data)

    def end(self) -> None:
        """Announce that no more is sent."""
        if self.established:
            self._connection.shutdown()

    def outgoing(self) -> bytes:
        """Return the bytes that are due to the network."""
        sent = bytearray()
        try:
            while True:
                sent += self._connection.bio_read(_READ_BYTES)
        except SSL.WantReadError:
            return bytes(sent)

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the DER of the certificate whose key the client has proven to hold; ``None`` without one."""
        found = self._connection.get_peer_certificate() if self.established else None
        if found is None:
            return None
        return hashlib.sha256(crypto.dump_certificate(crypto.FILETYPE_ASN1, found)).hexdigest()

    def _read(self) -> bytes:
        read = bytearray()
        try:
            while True:
                read += self._connection.recv(_READ_BYTES)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            return bytes(read)
