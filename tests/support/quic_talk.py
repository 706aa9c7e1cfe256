"""A control connection of punktfunk/1 from handshake to close, as datagrams: both ends are the product's own."""

from __future__ import annotations

from collections.abc import Sequence

from punktfunk.native.dialect import Dialect
from punktfunk.native.framing import frame
from punktfunk.native.quic_connection import client_connection, host_connection
from punktfunk.trust.identity import Identity
from tests.support.captures import BEGAN_NS, Sent

_STEP_NS = 1_000_000


def talk(
    host: Identity,
    client: Identity,
    said: Sequence[tuple[bool, bytes]],
    datagrams: Sequence[tuple[bool, bytes]] = (),
) -> list[Sent]:
    """Return what both ends send, where one says these control messages (``True``: the host) and QUIC datagrams."""
    ends = {False: client_connection(client, Dialect.PKF1, None)}
    ends[False].connect(("10.0.0.1", 9777), now=0.0)
    sent: list[Sent] = []
    clock = 0

    def exchange() -> None:
        nonlocal clock
        while True:
            clock += 1
            now = clock / 1000
            moved = [
                (True, data) for data, _to in (ends[True].datagrams_to_send(now) if True in ends else [])
            ]
            moved += [(False, data) for data, _to in ends[False].datagrams_to_send(now)]
            if not moved:
                return
            for from_host, data in moved:
                sent.append(Sent(BEGAN_NS + clock * _STEP_NS, from_host, data, control=True))
                if not from_host and True not in ends:
                    ends[True] = host_connection(host, data[6 : 6 + data[5]])
                ends[not from_host].receive_datagram(data, ("10.0.0.1", 9777), now=now)

    exchange()
    for from_host, message in said:
        ends[from_host].send_stream_data(0, frame(message))
        exchange()
    for from_host, data in datagrams:
        ends[from_host].send_datagram_frame(data)
        exchange()
    ends[True].close(error_code=0, reason_phrase="done")
    exchange()
    return sent
