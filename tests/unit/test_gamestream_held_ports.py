"""Ports that are held before a host starts: all of them or none, and nobody else's from then on."""

from __future__ import annotations

import socket

import pytest

from punktfunk.errors import CapabilityError
from punktfunk.host.gamestream.listening import HeldPorts
from tests.support.gamestream import free_ports


@pytest.mark.conformance(2)
@pytest.mark.parametrize(("kind", "use"), [("TCP", "rtsp"), ("UDP", "audio")])
def test_of_ports_of_which_one_is_taken_none_is_held(kind: str, use: str) -> None:
    ports = free_ports()
    taken = getattr(ports, use)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "TCP" else socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", taken))
        with pytest.raises(CapabilityError, match=f"{kind} port {taken} of 127.0.0.1") as error:
            HeldPorts("127.0.0.1", ports)
    assert "--gamestream-port" in error.value.hint
    HeldPorts("127.0.0.1", ports).close()


def test_held_ports_cannot_be_taken_by_another_host_that_starts_now() -> None:
    """Two sockets of TCP may be bound to one port with SO_REUSEADDR, as hosts bind: the one that listens has it."""
    ports = free_ports()
    held = HeldPorts("127.0.0.1", ports)
    try:
        for number in ports.tcp:
            with socket.socket() as late:
                late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    late.bind(("127.0.0.1", number))
        with pytest.raises(CapabilityError):
            HeldPorts("127.0.0.1", ports)
    finally:
        held.close()


def test_ports_that_were_taken_over_outlive_those_that_were_not() -> None:
    ports = free_ports()
    held = HeldPorts("127.0.0.1", ports)
    [mine] = held.take(ports.http)
    held.close()
    with mine, socket.create_connection(("127.0.0.1", ports.http), 5):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports.rtsp), 5)
