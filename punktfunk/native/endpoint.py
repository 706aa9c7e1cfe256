"""UDP sockets under QUIC links: the host's listener and a client's connected socket.

The listener answers from the very address that a client dialled (packet info), because clients connect their
data socket to the pair they know (punktfunk/1 section 2.6 point 6). What strangers may hold and cost is limited by
:mod:`punktfunk.link_quota` and :mod:`punktfunk.native.quic_limits`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # from an extension without types
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from punktfunk import link_quota
from punktfunk.addresses import (
    SocketAddress,
    host_of,
    lacks_family,
    places_to_bind,
    socket_address,
    source_of,
)
from punktfunk.clock import monotonic_ns
from punktfunk.errors import CapabilityError
from punktfunk.key_log import key_log
from punktfunk.link_quota import FairQuota, HandshakeGate, Verdict
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.quic import Link, LinkHandler, PeerLoss
from punktfunk.native.quic_connection import client_connection, host_connection
from punktfunk.native.quic_limits import MAX_UDP_PAYLOAD_BYTES
from punktfunk.native.refusals import Advice, RefusalWatch
from punktfunk.reachability import (
    NetworkError,
    Unreached,
    ask_for_errors,
    network_errors,
    of_error,
    unreached_error,
)
from punktfunk.trust.identity import Identity

CONNECTION_ID_BYTES = 8
HANDSHAKE_LIMIT_S = 10.0
_READS_PER_WAKE = 64
_WAKE_LIMIT_S = 0.004
"""Work on received datagrams before the loop's other work has its turn; the last one may take longer."""
_RECEIVE_BUFFER_BYTES = 1 << 20
"""For bursts of Initials of 1200 bytes; without CAP_NET_ADMIN the system's limit stands."""
_FREE_PORT_TRIES = 16
_IP_PKTINFO = 8
_LINK_LOCAL = b"\xfe\x80"
_ANCILLARY_BYTES = 256
_UNREACHED = {
    Unreached.PORT_CLOSED: "nothing listens on that port",
    Unreached.FILTERED: "a firewall refuses that port",
    Unreached.NO_MACHINE: "no machine answers at that address",
    Unreached.NO_ROUTE: "no route leads there",
    Unreached.SILENT: "no answer",
}


class HostLinkHandler(LinkHandler, Protocol):
    """A link handler of the host; it is told its link first."""

    def link_made(self, link: Link, local_address: str) -> None:
        """Take the link; ``local_address`` is the address that the client dialled."""


@dataclass(slots=True)
class _Served:
    """What the listener keeps of a link."""

    local: str
    source: str
    ids: set[bytes]
    deadline: asyncio.TimerHandle | None = field(default=None)


class Listener:
    """Accept QUIC connections on one UDP port.

    A link belongs to a stranger until its owner calls :meth:`Link.admit`. ``counters``: ``links`` made, ``admitted``,
    ``retries`` asked for, ``evicted`` (strangers and admitted ones, for newcomers), ``handshake_too_slow``,
    ``dropped_rate`` (Initials), ``dropped_unparsable``, ``dropped_stray`` (no link knows them), ``dropped_oversize``,
    ``send_failed``, ``receive_failed``, and those of :class:`~punktfunk.native.quic.Link`.
    """

    def __init__(
        self, bind: str, port: int, identity: Identity, make_handler: Callable[[], HostLinkHandler]
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._make_handler = make_handler
        self._links: dict[bytes, Link] = {}
        self._served: dict[Link, _Served] = {}
        self._loop = asyncio.get_running_loop()
        self._strangers: FairQuota[Link] = FairQuota(
            link_quota.MAX_STRANGERS, link_quota.MAX_STRANGERS_PER_SOURCE
        )
        self._admitted: FairQuota[Link] = FairQuota(
            link_quota.MAX_ADMITTED, link_quota.MAX_ADMITTED_PER_CERTIFICATE
        )
        self._gate = HandshakeGate(self._loop.time())
        self._tokens = QuicRetryTokenHandler()
        self._sockets = {bound.family: bound for bound in _bound_sockets(bind, port)}
        for bound in self._sockets.values():
            self._loop.add_reader(bound.fileno(), self._readable, bound)
        key_log()  # a host says that it writes one when it starts, not when its first client comes

    @property
    def port(self) -> int:
        """The UDP port in use (of interest when 0 was asked for), the same in each family."""
        return int(next(iter(self._sockets.values())).getsockname()[1])

    @property
    def strangers(self) -> int:
        """Links whose peer is not admitted."""
        return len(self._strangers)

    def close(self) -> None:
        """Stop listening and forget every link at once; close links with a code beforehand."""
        for bound in self._sockets.values():
            if bound.fileno() >= 0:
                self._loop.remove_reader(bound.fileno())
        for link in list(self._served):
            link.abandon("the host has ended")
        for bound in self._sockets.values():
            bound.close()

    def _readable(self, bound: socket.socket) -> None:
        until = self._loop.time() + _WAKE_LIMIT_S
        for _ in range(_READS_PER_WAKE):
            try:
                data, ancillary, flags, address = bound.recvmsg(MAX_UDP_PAYLOAD_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self.counters["receive_failed"] += 1
                return
            if flags & socket.MSG_TRUNC:
                self.counters["dropped_oversize"] += 1
            else:
                self._datagram(data, address, _dialled_address(ancillary))
            if self._loop.time() >= until:
                return

    def _datagram(self, data: bytes, address: SocketAddress, local: str) -> None:
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
            # No client picks a shorter ID (RFC 9000 section 7.2); strangers with an empty one would share a link.
            short = len(header.destination_cid) < CONNECTION_ID_BYTES
            if short or header.packet_type is not QuicPacketType.INITIAL:
                self.counters["dropped_stray"] += 1
                return
            link = self._newcomer(header, address, local)
            if link is None:
                return
        self._served[link].local = local
        link.receive(data, address)

    def _newcomer(self, header: QuicHeader, address: SocketAddress, local: str) -> Link | None:
        """Judge an Initial that no link knows: make a link for it, ask it to prove its address, or drop it."""
        source = source_of(address[0])
        original_cid = self._retried_cid(header, address)
        verdict = self._gate.judge(
            source,
            strangers=len(self._strangers),
            of_source=self._strangers.held(source),
            validated=original_cid is not None,
            now_s=self._loop.time(),
        )
        if verdict is Verdict.RETRY:
            self._ask_for_retry(header, address, local)
            return None
        if verdict is Verdict.WAIT:
            self.counters["dropped_rate"] += 1
            return None
        if original_cid is None:
            return self._accept(header.destination_cid, None, source, local)
        return self._accept(original_cid, header.destination_cid, source, local)

    def _retried_cid(self, header: QuicHeader, address: SocketAddress) -> bytes | None:
        """Return the first connection ID of a client that comes back from a Retry.

        Any other token is like none: clients may bring one that another host gave them (RFC 9000 section 8.1.3).
        """
        if not header.token:
            return None
        try:
            return self._tokens.validate_token(
                address=address,
                destination_cid=header.destination_cid,
                token=header.token,
                now=self._loop.time(),
            )
        except ValueError:
            return None

    def _ask_for_retry(self, header: QuicHeader, address: SocketAddress, local: str) -> None:
        """Send a Retry, an eighth of the Initial in size; nothing is kept."""
        source_cid = os.urandom(CONNECTION_ID_BYTES)
        token = self._tokens.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source_cid,
            now=self._loop.time(),
        )
        answer = encode_quic_retry(
            version=QuicProtocolVersion.VERSION_1,
            source_cid=source_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self.counters["retries"] += 1
        self._transmit(answer, address, local)

    def _accept(self, original_cid: bytes, retry_cid: bytes | None, source: str, local: str) -> Link:
        handler = self._make_handler()
        quic = host_connection(self._identity, original_cid, retry_cid)
        link = Link(quic, handler, lambda data, to: self._send_from(link, data, to), self.counters)
        served = _Served(local, source, {retry_cid or original_cid, quic.host_cid})
        self._served[link] = served
        for cid in served.ids:
            self._links[cid] = link
        link.on_connection_id = lambda cid, issued: self._connection_id(link, cid, issued)
        link.on_admitted = lambda key: self._admit(link, key)
        link.on_end = lambda: self._forget(link)
        served.deadline = self._loop.call_later(HANDSHAKE_LIMIT_S, self._check_handshake, link)
        self.counters["links"] += 1
        self._make_room(self._strangers.add(link, source))
        handler.link_made(link, local or host_of(next(iter(self._sockets.values())).getsockname()))
        return link

    def _admit(self, link: Link, key: Hashable) -> None:
        if link in self._strangers:
            self._strangers.remove(link)
            self.counters["admitted"] += 1
            if key is not None:
                self._gate.repay(self._served[link].source, self._loop.time())
            self._make_room(self._admitted.add(link, link if key is None else key))

    def _make_room(self, evicted: Link | None) -> None:
        if evicted is not None:
            self.counters["evicted"] += 1
            evicted.expel(CloseCode.BUSY)

    def _check_handshake(self, link: Link) -> None:
        if link.peer is None:
            self.counters["handshake_too_slow"] += 1
            link.abandon("the QUIC handshake took longer than 10 s")

    def _connection_id(self, link: Link, cid: bytes, issued: bool) -> None:
        served = self._served.get(link)
        if served is None:
            return
        if issued:
            served.ids.add(cid)
            self._links[cid] = link
        else:
            served.ids.discard(cid)
            self._links.pop(cid, None)

    def _forget(self, link: Link) -> None:
        served = self._served.pop(link)
        for cid in served.ids:
            self._links.pop(cid, None)
        if served.deadline is not None:
            # It would keep the link, with all that its peer made it hold, until it fires.
            served.deadline.cancel()
        self._strangers.remove(link)
        self._admitted.remove(link)

    def _send_from(self, link: Link, data: bytes, address: SocketAddress) -> None:
        served = self._served.get(link)
        if served is not None:
            self._transmit(data, address, served.local)

    def _transmit(self, data: bytes, address: SocketAddress, local: str) -> None:
        bound = self._sockets[socket.AF_INET6 if len(address) == 4 else socket.AF_INET]
        try:
            bound.sendmsg([data], _from_address(local), 0, address)
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
        *,
        idle_timeout_s: float | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket, self._address = connected_socket(address)
        quic = client_connection(identity, dialect, pin, idle_timeout_s)
        self.link = Link(quic, handler, lambda data, _to: self._send(data))
        self.link.on_end = self._ended
        self._refusals = RefusalWatch()
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self.link.connect(self._address)

    def abandon(self, reason: str) -> None:
        """Give the link up without waiting for QUIC to drain."""
        self.link.abandon(reason)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError:
            # What ICMP says of an earlier datagram is in the error queue, too; after a full buffer QUIC sends again.
            return

    def _readable(self) -> None:
        for error in network_errors(self._socket):
            self._network_said(error)
        until = self._loop.time() + _WAKE_LIMIT_S
        for _ in range(_READS_PER_WAKE):
            if self.link.closed is not None or self._loop.time() >= until:
                return
            try:
                data, _, flags, _ = self._socket.recvmsg(MAX_UDP_PAYLOAD_BYTES)
            except OSError:
                return
            if flags & socket.MSG_TRUNC:
                self.link.counters["dropped_oversize"] += 1
                continue
            self.link.receive(data, self._address)

    def _network_said(self, error: NetworkError) -> None:
        """Believe ICMP at once before the handshake; later, a path that is broken for a moment ends nothing."""
        if error.kind is Unreached.PORT_CLOSED:
            self._refused(error)
        elif self.link.peer is None:
            self.link.abandon(_UNREACHED[error.kind], unreached=error)

    def _refused(self, error: NetworkError | None = None) -> None:
        """Believe a refusal at once before the handshake; later it can be forged, and the host is asked as well."""
        if self.link.closed is not None:
            return
        if self.link.peer is None:
            closed = error or NetworkError(Unreached.PORT_CLOSED)
            self.link.abandon(_UNREACHED[Unreached.PORT_CLOSED], unreached=closed)
            return
        now = monotonic_ns()
        match self._refusals.refused(
            1, now, now, heard_ns=self.link.heard_ns, rtt_ns=self.link.rtt_ns, now_ns=now
        ):
            case Advice.ASK:
                self.link.ask()
            case Advice.GIVE_UP:
                self.link.abandon("its port refuses packets", PeerLoss.REFUSED)

    def _ended(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()


def connected_socket(address: tuple[str, int]) -> tuple[socket.socket, SocketAddress]:
    """Return a UDP socket to ``address``, which keeps what the network says of it, and the address as QUIC knows it."""
    connected: socket.socket | None = None
    try:
        target = socket_address(*address)
        family = socket.AF_INET6 if len(target) == 4 else socket.AF_INET
        connected = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        ask_for_errors(connected)
        connected.connect(target)
    except OSError as error:
        if connected is not None:
            connected.close()
        raise unreached_error(of_error(error) or Unreached.NO_ROUTE, address, "UDP") from error
    return connected, target


def _bound_sockets(bind: str, port: int) -> list[socket.socket]:
    """Bind a UDP port, in both families where ``bind`` is all addresses; 0 takes a port that is free in each."""
    for _ in range(_FREE_PORT_TRIES):
        made: list[socket.socket] = []
        wanted = port
        try:
            for place, may_lack in places_to_bind(bind):
                try:
                    made.append(_bound_socket(place, wanted))
                except OSError as error:
                    if not (may_lack and lacks_family(error)):
                        raise
                wanted = int(made[0].getsockname()[1])
        except OSError as error:
            for each in made:
                each.close()
            if made and port == 0 and error.errno == errno.EADDRINUSE:
                continue
            raise CapabilityError(
                f"UDP port {port} of {bind} cannot be bound: {error.strerror}",
                "choose another port (punktfunk serve: --native-port), or see who holds it: ss -lupn",
            ) from error
        return made
    raise CapabilityError(
        f"no UDP port is free in both IPv4 and IPv6 ({_FREE_PORT_TRIES} tried)", "name a --native-port"
    )


def _bound_socket(place: str, port: int) -> socket.socket:
    address = socket_address(place, port)
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _dialled_address(ancillary: list[tuple[int, int, bytes]]) -> str:
    """Return the address that a datagram came to; a link-local one, which is of one interface, with its zone."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            return socket.inet_ntop(socket.AF_INET, data[8:12])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            local = socket.inet_ntop(socket.AF_INET6, data[:16])
            return (
                f"{local}%{struct.unpack_from('@I', data, 16)[0]}" if data.startswith(_LINK_LOCAL) else local
            )
    return ""


def _from_address(local: str) -> list[tuple[int, int, bytes]]:
    """Return the control message that makes the kernel send from ``local``; a zone is in the destination as well."""
    if not local:
        return []
    if ":" in local:
        packed = socket.inet_pton(socket.AF_INET6, local.partition("%")[0])
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("@16sI", packed, 0))]
    packed = socket.inet_pton(socket.AF_INET, local)
    return [(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("@I4s4s", 0, packed, bytes(4)))]
