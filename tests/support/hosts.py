"""What a test looks at inside a host of its own process."""

from __future__ import annotations

import punktfunk
from punktfunk.host.native.server import NativeServer
from punktfunk.native.datagrams import FromHost
from punktfunk.native.endpoint import Listener


def server_of(host: punktfunk.Host) -> NativeServer:
    """Return its server of punktfunk/1."""
    assert host.native is not None
    return host.native


def listener_of(host: punktfunk.Host) -> Listener:
    """Return what its clients dial."""
    listener = server_of(host).listener
    assert listener is not None
    return listener


def send(host: punktfunk.Host, datagram: FromHost, number: int | None = None) -> int:
    """Send a datagram to one stream's client, or to all; return how many were sent it."""
    sent = 0
    for session in server_of(host).connected:
        report = host.sessions.report_of(session)
        if report is not None and number in (None, report.number):
            session.send(datagram)
            sent += 1
    return sent
