"""A client of the toy wire of :mod:`tests.support.echo_protocol`."""

from __future__ import annotations

import socket

from tests.support.echo_protocol import EchoServer
from tests.support.managed_host import ManagedHost
from tests.support.waiting import PATIENCE_S


class Television:
    """Asks for a stream as soon as it is made."""

    def __init__(self, host: ManagedHost, fingerprint: str, name: str = "television") -> None:
        server = host.serving.host.protocols["echo"]
        assert isinstance(server, EchoServer)
        self._socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        self._file = self._socket.makefile("rb")
        self._socket.sendall(f"hello {fingerprint} {name}\n".encode())

    def __enter__(self) -> Television:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def answer(self) -> str:
        """Return the line that it is answered with; empty when there is none."""
        return self._file.readline().decode().strip()

    def frame(self) -> bytes:
        """Return the next access unit; empty when there is none any more."""
        return self._file.read(int.from_bytes(self._file.read(4), "big"))
