"""The HTTP and HTTPS servers of a GameStream host: discovery, pairing, apps, launch (gamestream sections 2 to 4)."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

from OpenSSL import SSL

from punktfunk.gamestream.ports import Ports
from punktfunk.host.gamestream.http_connection import Connection, Connections
from punktfunk.host.gamestream.http_owner import HttpOwner
from punktfunk.host.gamestream.http_routes import HttpRoutes
from punktfunk.host.gamestream.listening import bound_sockets
from punktfunk.host.gamestream.pairing import GameStreamPairing
from punktfunk.host.gamestream.tls import server_context


class HttpServer:
    """Listens at both ports until it is closed. Raises ``CapabilityError`` from :meth:`open` when one is taken.

    Its identity is that of ``pairing``, since clients that have paired expect the certificate that they were given.
    """

    def __init__(self, bind: str, ports: Ports, owner: HttpOwner, pairing: GameStreamPairing) -> None:
        self._bind, self._ports = bind, ports
        self._context = server_context(pairing.identity)
        self.connections = Connections(owner.paired, HttpRoutes(ports, owner, pairing).answer)
        self._servers: list[asyncio.Server] = []

    @property
    def counters(self) -> Counter[str]:
        """What happened to connections, by name: see :class:`~.http_connection.Connections`."""
        return self.connections.counters

    async def open(
        self, http: list[socket.socket] | None = None, https: list[socket.socket] | None = None
    ) -> None:
        """Begin to listen, by the sockets that hold the ports already."""
        await self._listen(http or self._bound(self._ports.http, "HTTP"), None)
        await self._listen(https or self._bound(self._ports.https, "HTTPS"), self._context)

    def close(self) -> None:
        """Stop to listen, and cut what is open."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        self.connections.close()

    def _bound(self, port: int, what: str) -> list[socket.socket]:
        return bound_sockets(self._bind, port, socket.SOCK_STREAM, what)

    async def _listen(self, sockets: list[socket.socket], context: SSL.Context | None) -> None:
        loop = asyncio.get_running_loop()
        for bound in sockets:
            self._servers.append(
                await loop.create_server(lambda: Connection(self.connections, context), sock=bound)
            )
