"""A host's and a client's QUIC link without sockets: what one sends is handed to the other by the test."""

from __future__ import annotations

from collections import deque
from typing import Any

from punktfunk.native.dialect import Dialect
from punktfunk.native.quic import Link
from punktfunk.native.quic_connection import client_connection, host_connection
from punktfunk.trust.identity import Identity

CLIENT, HOST = ("192.0.2.1", 1000), ("192.0.2.2", 2000)


class Deaf:
    """A handler that does nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments: None


class Pair:
    """A host's and a client's link with two queues between them instead of sockets."""

    def __init__(self, host_identity: Identity, client_identity: Identity) -> None:
        self.to_host: deque[bytes] = deque()
        self.to_client: deque[bytes] = deque()
        quic = client_connection(client_identity, Dialect.PKF1, None)
        self.client = Link(quic, Deaf(), lambda data, _to: self.to_host.append(data))
        self.client.connect(HOST)
        self.host = Link(
            host_connection(host_identity, quic.original_destination_connection_id),
            Deaf(),
            lambda data, _to: self.to_client.append(data),
        )
        self.deliver()
        assert self.host.peer is not None

    def deliver(self) -> None:
        while self.to_host or self.to_client:
            while self.to_host:
                self.host.receive(self.to_host.popleft(), CLIENT)
            while self.to_client:
                self.client.receive(self.to_client.popleft(), HOST)

    def end(self) -> None:
        for link in (self.client, self.host):
            link.abandon("the test is over")
