"""One HTTP request to a GameStream host, plain or with mutual TLS: a connection each, within a time and a size."""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from punktfunk.addresses import written
from punktfunk.client.gamestream.reply import MAX_BYTES, Reply
from punktfunk.errors import HandshakeError, ProtocolError, UntrustedPeerError
from punktfunk.reachability import Unreached, of_error, unreached_error

CONNECT_LIMIT_S: Final = 5.0
ANSWER_LIMIT_S: Final = 7.0
"""What Android waits for an answer (gamestream section 2.1)."""
LAUNCH_LIMIT_S: Final = 120.0
QUIT_LIMIT_S: Final = 30.0
MAX_HEAD_BYTES: Final = 16_384
UNIQUE_ID: Final = "0123456789ABCDEF"
"""What most clients share; it names nobody."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?")


class TlsIdentity:
    """How this client shows itself by TLS, and which certificate the host has to show."""

    def __init__(self, certificate: Path, key: Path, host_certificate_der: bytes) -> None:
        self._pinned = host_certificate_der
        # Neither name nor dates nor issuer mean anything here: the certificate itself is compared.
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_cert_chain(certificate, key)

    def judge(self, shown: bytes | None) -> None:
        """Raise ``UntrustedPeerError`` unless the host showed the certificate that it was paired with."""
        if shown != self._pinned:
            raise UntrustedPeerError(
                "the host shows another certificate than the one that it was paired with",
                "if it was set up anew, pair again; else somebody else answers in its place",
            )


async def ask(
    address: tuple[str, int],
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    tls: TlsIdentity | None = None,
    limit_s: float | None = ANSWER_LIMIT_S,
) -> Reply:
    """GET ``path`` and return the answer.

    ``limit_s`` is for everything behind the connection, ``None`` for as long as it takes. Raises ``HandshakeError``
    where nobody answers, ``UntrustedPeerError`` for another certificate, ``ProtocolError`` for what is no answer.
    """
    parameters = {**(query or {}), "uniqueid": UNIQUE_ID, "uuid": secrets.token_hex(16)}
    request = (
        f"GET {path}?{urlencode(parameters)} HTTP/1.1\r\nHost: {written(*address)}\r\n"
        "Connection: close\r\nAccept: application/xml\r\n\r\n"
    )
    reader, writer = await _connected(address, tls)
    try:
        async with asyncio.timeout(limit_s):
            writer.write(request.encode("ascii"))
            return Reply.decode(await _body(reader))
    except TimeoutError:
        raise HandshakeError(
            f"the host did not answer {path} within {limit_s:.0f} s", "is it hanging? look at its log"
        ) from None
    except (OSError, EOFError) as error:
        raise HandshakeError(f"the host gave no whole answer to {path}: {error}", "") from error
    finally:
        # The answer is in; a host that does not end TLS in order shall not hold this client.
        writer.transport.abort()


async def _connected(
    address: tuple[str, int], tls: TlsIdentity | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            reader, writer = await asyncio.open_connection(
                *address, ssl=None if tls is None else tls.context, limit=MAX_HEAD_BYTES
            )
    except TimeoutError:
        raise await asyncio.to_thread(
            unreached_error, Unreached.SILENT, address, "TCP", waited_s=CONNECT_LIMIT_S
        ) from None
    except OSError as error:
        unreached = of_error(error)
        if unreached is not None:
            raise await asyncio.to_thread(
                unreached_error, unreached, address, "TCP", waited_s=CONNECT_LIMIT_S
            ) from error
        raise HandshakeError(
            f"no connection to {written(*address)}: {error.strerror or error}",
            "does a host run there with GameStream switched on?",
        ) from error
    if tls is not None:
        try:
            tls.judge(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        except UntrustedPeerError:
            writer.transport.abort()
            raise
    return reader, writer


async def _body(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise ProtocolError("the head of the host's answer is too long") from error
    first, *lines = head[:-4].split(b"\r\n")
    matched = _STATUS_LINE.fullmatch(first)
    if matched is None:
        raise ProtocolError(
            "the host's answer is not HTTP", "is this the port of a GameStream host (47989 by default)?"
        )
    length = _length(lines)
    if length is None:
        body = await reader.read(MAX_BYTES + 1)
        while len(body) <= MAX_BYTES and (more := await reader.read(MAX_BYTES + 1 - len(body))):
            body += more
    elif length > MAX_BYTES:
        raise ProtocolError(f"the host's answer has {length} bytes", f"no client takes more than {MAX_BYTES}")
    else:
        body = await reader.readexactly(length)
    if matched[1] != b"200" and not body.lstrip().startswith(b"<"):
        raise ProtocolError(f"the host answered with HTTP status {matched[1].decode()}")
    return body


def _length(lines: list[bytes]) -> int | None:
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            digits = value.strip()
            if not digits.isdigit() or len(digits) > 10:
                raise ProtocolError("the length of the host's answer is no number")
            return int(digits)
    return None
