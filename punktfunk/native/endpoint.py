"""UDP sockets under QUIC links: the host's listener and a client's connected socket.

The listener answers from the very address that a client dialled (packet info), because clients connect their
data socket to the pair they know (punktfunk/1 section 2.6 point 6).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_version_negotiation,
    pull_quic_header,
)

from punktfunk.errors import CapabilityError, HandshakeError
from punktfunk.native.dialect import Dialect
from punktfunk.native.identity import Identity
from punktfunk.native.quic import Link, LinkHandler, client_connection, host_connection

CONNECTION_ID_BYTES = 8
MAX_LINKS = 64
"""Links of one listener in any state; an Initial beyond is dropped unanswered and counted."""
MAX_UNPROVEN_LINKS_PER_ADDRESS = 16
"""Links of one address before their handshake is complete, so that one address cannot hold all of them."""
HANDSHAKE_LIMIT_S = 10.0
_MAX_DATAGRAM_BYTES = 65535
_READS_PER_WAKE = 64
_IP_PKTINFO = 8
_ANCILLARY_BYTES = 256


class HostLinkHandler(LinkHandler, Protocol):
    """A link handler of the host; it is told its link first."""

    def link_made(self, link: Link, local_address: str) -> None:
        """Take the link; ``local_address`` is the address that the client dialled."""


class Listener:
    """Accept QUIC connections on one UDP port.

    ``counters``: ``links`` made, ``dropped_full``, ``dropped_unparsable``, ``dropped_stray`` (no link knows
    them), ``send_failed``.
    """

    def __init__(
        self, bind: str, port: int, identity: Identity, make_handler: Callable[[], HostLinkHandler]
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._make_handler = make_handler
        self._links: dict[bytes, Link] = {}
        self._ids: dict[Link, set[bytes]] = {}
        self._local: dict[Link, str] = {}
        self._origin: dict[Link, str] = {}
        self._loop = asyncio.get_running_loop()
        self._socket = _bound_socket(bind, port)
        self._loop.add_reader(self._socket.fileno(), self._readable)

    @property
    def port(self) -> int:
        """The UDP port in use (of interest when 0 was asked for)."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Stop listening and forget every link at once; close links with a code beforehand."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        for link in list(self._ids):
            link.abandon("the host has ended")
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                data, ancillary, _, address = self._socket.recvmsg(_MAX_DATAGRAM_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self.counters["receive_failed"] += 1
                return
            self._datagram(data, address, _dialled_address(ancillary))

    def _datagram(self, data: bytes, address: Any, local: str) -> None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_BYTES)
        except ValueError:
            self.counters["dropped_unparsable"] += 1
            return
        link = self._links.get(header.destination_cid)
        if link is None:
            if len(data) < SMALLEST_MAX_DATAGRAM_SIZE or header.version is None:
                self.counters["dropped_stray"] += 1
                return
            if header.version != QuicProtocolVersion.VERSION_1:
                if header.packet_type is not QuicPacketType.VERSION_NEGOTIATION:
                    answer = encode_quic_version_negotiation(
                        source_cid=header.destination_cid,
                        destination_cid=header.source_cid,
                        supported_versions=[QuicProtocolVersion.VERSION_1],
                    )
                    self._transmit(answer, address, local)
                return
            if header.packet_type is not QuicPacketType.INITIAL:
                self.counters["dropped_stray"] += 1
                return
            link = self._accept(header.destination_cid, local, str(address[0]))
            if link is None:
                return
        self._local[link] = local
        link.receive(data, address)

    def _accept(self, original_cid: bytes, local: str, source: str) -> Link | None:
        unproven = sum(origin == source and link.peer is None for link, origin in self._origin.items())
        if len(self._ids) >= MAX_LINKS or unproven >= MAX_UNPROVEN_LINKS_PER_ADDRESS:
            self.counters["dropped_full"] += 1
            return None
        handler = self._make_handler()
        quic = host_connection(self._identity, original_cid)
        link = Link(quic, handler, lambda data, to: self._transmit(data, to, self._local.get(link, "")))
        self._origin[link] = source
        self._ids[link] = {original_cid, quic.host_cid}
        for cid in self._ids[link]:
            self._links[cid] = link
        link.on_connection_id = lambda cid, issued: self._connection_id(link, cid, issued)
        link.on_end = lambda: self._forget(link)
        self.counters["links"] += 1
        handler.link_made(link, local or self._bound_address())
        self._loop.call_later(HANDSHAKE_LIMIT_S, self._check_handshake, link)
        return link

    def _check_handshake(self, link: Link) -> None:
        if link.peer is None:
            link.abandon("the QUIC handshake took longer than 10 s")

    def _connection_id(self, link: Link, cid: bytes, issued: bool) -> None:
        if issued and link in self._ids:
            self._ids[link].add(cid)
            self._links[cid] = link
        elif not issued:
            self._ids.get(link, set()).discard(cid)
            self._links.pop(cid, None)

    def _forget(self, link: Link) -> None:
        for cid in self._ids.pop(link, set()):
            self._links.pop(cid, None)
        self._local.pop(link, None)
        self._origin.pop(link, None)

    def _bound_address(self) -> str:
        return str(self._socket.getsockname()[0])

    def _transmit(self, data: bytes, address: Any, local: str) -> None:
        try:
            self._socket.sendmsg([data], _from_address(local), 0, address)
        except OSError:
            # Full buffers and unreachable peers are what QUIC's own timers are for.
            self.counters["send_failed"] += 1


class Dialer:
    """A client's UDP socket, connected to the host, under one link."""

    def __init__(
        self,
        address: tuple[str, int],
        identity: Identity,
        dialect: Dialect,
        pin: str | None,
        handler: LinkHandler,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ipaddress.ip_address(address[0]).version == 6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise HandshakeError(
                f"{address[0]} cannot be reached: {error.strerror}", "check the route"
            ) from error
        self.link = Link(
            client_connection(identity, dialect, pin), handler, lambda data, _to: self._send(data)
        )
        self.link.on_end = self._ended
        self._address = address
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self.link.connect(address)

    def abandon(self, reason: str) -> None:
        """Give the link up without waiting for QUIC to drain."""
        self.link.abandon(reason)

    def _send(self, data: bytes) -> None:
        # An ICMP error of an earlier datagram surfaces here; the reader sees it as well.
        with contextlib.suppress(OSError):
            self._socket.send(data)

    def _readable(self) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                data = self._socket.recv(_MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                # Believed only before the handshake: afterwards a forged ICMP message could end a session.
                if self.link.peer is None:
                    self.link.abandon("nothing listens on that port")
                return
            except OSError:
                return
            self.link.receive(data, self._address)
            if self.link.closed is not None:
                return

    def _ended(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()


def _bound_socket(bind: str, port: int) -> socket.socket:
    version = ipaddress.ip_address(bind).version
    bound = socket.socket(
        socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    try:
        if version == 6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        bound.bind((bind, port))
    except OSError as error:
        bound.close()
        raise CapabilityError(
            f"UDP port {port} of {bind} cannot be bound: {error.strerror}",
            "choose another --port, or find the program that holds it with 'ss -lupn'",
        ) from error
    return bound


def _dialled_address(ancillary: list[tuple[int, int, bytes]]) -> str:
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            return socket.inet_ntop(socket.AF_INET, data[8:12])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return socket.inet_ntop(socket.AF_INET6, data[:16])
    return ""


def _from_address(local: str) -> list[tuple[int, int, bytes]]:
    """Return the control message that makes the kernel send from ``local``."""
    if not local:
        return []
    if ":" in local:
        packed = socket.inet_pton(socket.AF_INET6, local)
        # A mapped IPv4 address on a dual-stack socket: the kernel chooses the source by the route.
        if packed.startswith(bytes(10) + b"\xff\xff"):
            return []
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("@16sI", packed, 0))]
    packed = socket.inet_pton(socket.AF_INET, local)
    return [(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("@I4s4s", 0, packed, bytes(4)))]
