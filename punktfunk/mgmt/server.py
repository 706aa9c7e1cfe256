"""The server: uvicorn's HTTP in the host's own event loop, started by its first client and ended with the host."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from punktfunk import log
from punktfunk.addresses import parse_address
from punktfunk.clock import monotonic_ns
from punktfunk.errors import CredentialError
from punktfunk.interfaces import reachable_addresses
from punktfunk.log_limit import StrangerLog
from punktfunk.mgmt.connection_limits import KEEP_ALIVE_S, Connections
from punktfunk.mgmt.console_sessions import ConsoleSessions
from punktfunk.mgmt.endpoint import Endpoint
from punktfunk.mgmt.gate import Gate, own_names
from punktfunk.mgmt.interface import HostControl
from punktfunk.mgmt.login import Password
from punktfunk.mgmt.shell import MAX_HEAD_BYTES
from punktfunk.mgmt.token import URL_FILE, BearerToken, load_or_create_token
from punktfunk.process import loading
from punktfunk.trust.private_file import write_private

if TYPE_CHECKING:
    from uvicorn.config import Config

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

    What speaks HTTP and describes the routes takes 0.3 s of CPU and 17 MB, so it is loaded for the first client, who
    waits for it. A host that nobody looks at never has it.

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
        self._password: Password | None = None
        self._context: ssl.SSLContext | None = None
        self._listener: socket.socket | None = None
        """Until the server has it."""
        self._opening: asyncio.Task[None] | None = None
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
        if self.endpoint.secure:
            self._context = await asyncio.to_thread(_tls, self._certificate)
        token = BearerToken(load_or_create_token(self._state_dir))
        self._password = Password(self._state_dir)
        self._listener = listener = self.endpoint.open()
        self.port = listener.getsockname()[1]
        self._gate = Gate(
            token, ConsoleSessions(), port=self.port, secure=self.endpoint.secure, names=own_names()
        )
        asyncio.get_running_loop().add_reader(listener, self._first_client)
        self._tell_where()
        log.get("mgmt").info("management API listens", url=self.url)

    def _first_client(self) -> None:
        assert self._listener is not None
        asyncio.get_running_loop().remove_reader(self._listener)
        self._opening = asyncio.ensure_future(self._open(self._listener))
        self._opening.add_done_callback(self._opened)

    async def _open(self, listener: socket.socket) -> None:
        """Accept clients, who have waited in the backlog meanwhile."""
        # Not in the loop, in which the host answers its clients.
        await asyncio.to_thread(_load)
        from punktfunk.mgmt.connection import Connection

        config = self._configuration()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(config, self.connections),
            sock=listener,
            ssl=self._context,
            ssl_handshake_timeout=None if self._context is None else HANDSHAKE_LIMIT_S,
        )
        self._listener = None

    def _configuration(self) -> Config:
        from uvicorn.config import Config

        from punktfunk.mgmt.app import compose
        from punktfunk.mgmt.sign_in import SignIn

        assert self._gate is not None
        assert self._password is not None
        sign_in = SignIn(self._password, self.stranger_log)
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
        return config

    def _opened(self, opening: asyncio.Task[None]) -> None:
        """Refuse all clients where the installation is damaged: they would wait in the backlog for ever."""
        error = None if opening.cancelled() else opening.exception()
        if error is not None:
            self._refuse_all()
            log.get("mgmt").error("management API ended", cause=str(error) or type(error).__name__)

    def _refuse_all(self) -> None:
        """Close what no server has yet, and let nobody look for this host here."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            self._forget_where()

    async def end(self) -> None:
        """Stop listening, let answers that are under way finish for half a second, and cut the rest off."""
        self.closing.set()
        if self._opening is not None:
            await asyncio.wait([self._opening])
        self._refuse_all()
        if self._server is not None:
            self._forget_where()
            await self._end_connections(self._server)
            self._server = None
        self.stranger_log.close()

    async def _end_connections(self, server: asyncio.Server) -> None:
        server.close()
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

    def _tell_where(self) -> None:
        try:
            write_private(self._state_dir / URL_FILE, f"{self.url}\n".encode())
        except OSError as error:
            log.get("mgmt").warning("punktfunk console will not find this host", cause=error.strerror)

    def _forget_where(self) -> None:
        # A folder that cannot be written any more must not keep anything open.
        with contextlib.suppress(OSError):
            (self._state_dir / URL_FILE).unlink()


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


def _load() -> None:
    """Load the routes and uvicorn, in any thread."""
    with loading.more():
        importlib.import_module("punktfunk.mgmt.app")
        importlib.import_module("punktfunk.mgmt.connection")
    # Strangers can cause uvicorn's own log lines, and what they tell is counted or logged here.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
