"""The server: uvicorn's HTTP in the host's own event loop, started and ended with the host."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from uvicorn.config import Config

from punktfunk import log
from punktfunk.addresses import parse_address
from punktfunk.clock import monotonic_ns
from punktfunk.errors import CredentialError
from punktfunk.interfaces import reachable_addresses
from punktfunk.log_limit import StrangerLog
from punktfunk.mgmt.app import compose
from punktfunk.mgmt.connection import KEEP_ALIVE_S, Connection, Connections
from punktfunk.mgmt.console_sessions import ConsoleSessions
from punktfunk.mgmt.endpoint import Endpoint
from punktfunk.mgmt.gate import Gate, own_names
from punktfunk.mgmt.interface import HostControl
from punktfunk.mgmt.login import Password
from punktfunk.mgmt.shell import MAX_HEAD_BYTES
from punktfunk.mgmt.sign_in import SignIn
from punktfunk.mgmt.token import URL_FILE, BearerToken, load_or_create_token
from punktfunk.trust.private_file import write_private

HANDSHAKE_LIMIT_S = 5.0
END_LIMIT_S = 0.5
"""How long answers that are under way may take when the host ends."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The identity that HTTPS shows: PEM files of certificate and key."""

    certificate: Path
    key: Path


class ManagementServer:
    """Serve the API and the console of one host, from :meth:`start` to :meth:`end`.

    Raises ``CapabilityError`` when the endpoint cannot be had, ``CredentialError`` when token, password or
    certificate cannot be used; then nothing listens.
    """

    def __init__(
        self,
        control: HostControl,
        endpoint: Endpoint,
        state_dir: Path,
        certificate: Certificate,
    ) -> None:
        self.endpoint = endpoint
        self.port = 0
        self.closing = asyncio.Event()
        """Set when the server ends; event streams end with it."""
        self.connections = Connections()
        """What is connected, and how long it is waited for."""
        self._control = control
        self._state_dir = state_dir
        self._certificate = certificate
        self.stranger_log = StrangerLog(log.get("mgmt"))
        """Where failures to sign in are written of."""
        self._gate: Gate | None = None
        self._server: asyncio.Server | None = None

    @property
    def counters(self) -> Counter[str]:
        """What happened to connections, by name."""
        return self.connections.counters

    @property
    def url(self) -> str:
        """Where programs of this machine find the API."""
        return self.endpoint.url(self.port)

    def console_link(self) -> str:
        """Return a link that signs a browser in once; the ticket is in the fragment, which no server sees."""
        assert self._gate is not None
        # For the device that somebody holds in their hands, if others than this machine can come in at all.
        # It listens in one family, where a host listens in both.
        own = self.endpoint.address
        reachable = (a for a in reachable_addresses(str(own)) if parse_address(a).version == own.version)
        url = self.endpoint.url(self.port, next(reachable, None))
        return f"{url}/#ticket={self._gate.sessions.issue_ticket(monotonic_ns())}"

    async def start(self) -> None:
        """Listen."""
        _quiet_uvicorn()
        context = await asyncio.to_thread(_tls, self._certificate) if self.endpoint.secure else None
        token = BearerToken(load_or_create_token(self._state_dir))
        sign_in = SignIn(Password(self._state_dir), self.stranger_log)
        listener = self.endpoint.open()
        try:
            self.port = listener.getsockname()[1]
            self._gate = Gate(
                token, ConsoleSessions(), port=self.port, secure=self.endpoint.secure, names=own_names()
            )
            config = Config(
                compose(self._control, self._gate, sign_in, self.closing, self.counters),
                interface="asgi3",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
            config.load()
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(config, self.connections),
                sock=listener,
                ssl=context,
                ssl_handshake_timeout=None if context is None else HANDSHAKE_LIMIT_S,
            )
            self._tell_where()
        except BaseException:
            listener.close()
            raise
        log.get("mgmt").info("management API listens", url=self.url)

    async def end(self) -> None:
        """Stop listening, let answers that are under way finish for half a second, and cut the rest off."""
        self.closing.set()
        if self._server is None:
            return
        with contextlib.suppress(
            OSError
        ):  # a folder that cannot be written any more must not keep anything open
            (self._state_dir / URL_FILE).unlink()
        self._server.close()
        state = self.connections.state
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            _, late = await asyncio.wait(list(state.tasks), timeout=END_LIMIT_S)
            for task in late:
                task.cancel()
        for connection in list(state.connections):
            connection.transport.abort()
        # Let the transports say goodbye to their connections, whose timers end with them.
        await asyncio.sleep(0)
        self.stranger_log.close()
        self._server = None

    def _tell_where(self) -> None:
        try:
            write_private(self._state_dir / URL_FILE, f"{self.url}\n".encode())
        except OSError as error:
            log.get("mgmt").warning("punktfunk console will not find this host", cause=error.strerror)


def _tls(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate.certificate, certificate.key)
    except (OSError, ssl.SSLError) as error:
        raise CredentialError(
            f"HTTPS cannot use the host's identity {certificate.certificate}: {error.strerror or error}",
            "bind the management API to loopback, or repair the identity",
        ) from error
    return context


def _quiet_uvicorn() -> None:
    """Keep uvicorn's own log lines back: strangers can cause them, and what they tell is counted or logged here."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
