"""What a stranger can make GameStream's TLS work for: chains of certificates, and records that say nothing."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from punktfunk.host.gamestream import tls
from punktfunk.host.gamestream.tls import MAX_REQUEST_BYTES, TlsError, TlsServer, server_context
from tests.support.gamestream_host import HOST_IDENTITY

CERTIFICATES = 12


def chain(count: int) -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]]:
    """Return a key, and its certificate before all those that vouch for it."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(count)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"c{n}")]) for n in range(count)]
    now = datetime.now(UTC)
    certificates = [
        x509.CertificateBuilder(
            names[min(n + 1, count - 1)], names[n], keys[n].public_key(), n + 1, now, now + timedelta(days=1)
        )
        .add_extension(x509.BasicConstraints(n > 0, None), critical=True)
        .sign(keys[min(n + 1, count - 1)], hashes.SHA256())
        for n in range(count)
    ]
    return keys[0], certificates


def connected(client: SSL.Context) -> tuple[TlsServer, SSL.Connection]:
    """Let a client and a server shake hands."""
    server, peer = TlsServer(server_context(HOST_IDENTITY)), SSL.Connection(client, None)
    peer.set_connect_state()
    while not server.established:
        with contextlib.suppress(SSL.WantReadError):
            peer.do_handshake()
        server.receive(peer.bio_read(1 << 17))
        peer.bio_write(server.outgoing())
    return server, peer


def test_of_a_chain_that_a_client_shows_no_more_than_one_signature_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each may cost 10 ms: a stranger's 70 certificates held the host for half a second."""
    depths: list[int] = []

    def accept(_c: SSL.Connection, _x: crypto.X509, _error: int, depth: int, _valid: int) -> bool:
        depths.append(depth)
        return True

    monkeypatch.setattr(tls, "_accept", accept)
    key, certificates = chain(CERTIFICATES)
    client = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client.use_privatekey(key)
    client.use_certificate(certificates[0])
    for other in certificates[1:]:
        client.add_extra_chain_cert(other)
    server, _ = connected(client)
    assert server.fingerprint == certificates[0].fingerprint(hashes.SHA256()).hex()
    assert max(depths) <= 1


def test_records_that_are_more_wrapping_than_request_are_cut_off() -> None:
    """A record costs the host as much as it would with a request in it, or more where it brings a new key."""
    server, peer = connected(SSL.Context(SSL.TLS_CLIENT_METHOD))
    peer.send(b"GET /serverinfo HTTP/1.1\r\n\r\n")
    assert server.receive(peer.bio_read(1 << 17)).startswith(b"GET")

    def go_on() -> None:
        for _ in range(MAX_REQUEST_BYTES // 20):
            peer.send(b"A")
            server.receive(peer.bio_read(1 << 17))

    with pytest.raises(TlsError, match="too long"):
        go_on()
