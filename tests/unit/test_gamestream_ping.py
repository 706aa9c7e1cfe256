"""Pings show whose media goes where, and ports follow from one."""

from __future__ import annotations

import pytest

from punktfunk.errors import ConfigError
from punktfunk.gamestream.ping import LEGACY, Ping, PingBook, new_payload
from punktfunk.gamestream.ports import MAX_BASE_PORT, MIN_BASE_PORT, Ports


@pytest.mark.conformance(44)
def test_a_payload_is_sixteen_upper_case_hex_digits_and_new_each_time() -> None:
    payloads = {new_payload() for _ in range(100)}
    assert len(payloads) == 100
    assert all(len(payload) == 16 and payload == f"{int(payload, 16):016X}" for payload in payloads)


def test_a_ping_is_its_payload_and_a_count() -> None:
    raw = Ping(b"0123456789ABCDEF", 0x01020304).encode()
    assert raw == b"0123456789ABCDEF\x01\x02\x03\x04"
    assert Ping.decode(raw) == Ping(b"0123456789ABCDEF", 0x01020304)
    assert Ping.decode(raw[:-1]) is None
    assert Ping.decode(raw + b"\0") is None


def test_sessions_behind_one_address_are_told_apart_by_their_payload() -> None:
    book = PingBook[int]()
    payloads = [new_payload(), new_payload()]
    for session, payload in enumerate(payloads):
        book.expect(session, payload=payload, address=None)
    for session, payload in enumerate(payloads):
        assert book.session_of(Ping(payload.encode(), 1).encode(), "10.0.0.9") == session
    assert book.session_of(Ping(b"0123456789ABCDEF", 1).encode(), "10.0.0.9") is None
    assert book.session_of(LEGACY, "10.0.0.9") is None


def test_a_ping_without_payload_belongs_to_the_latest_session_of_its_address_if_that_may_send_it() -> None:
    book = PingBook[int]()
    book.expect(1, payload=new_payload(), address="::ffff:10.0.0.9")
    book.expect(2, payload=new_payload(), address="10.0.0.9")
    assert book.session_of(LEGACY, "10.0.0.9") == 2
    assert book.session_of(LEGACY, "10.0.0.8") is None
    assert book.session_of(LEGACY + b"\0", "10.0.0.9") is None
    book.forget(2)
    assert book.session_of(LEGACY, "::ffff:10.0.0.9") == 1
    book.forget(1)
    book.forget(1)
    assert book.session_of(LEGACY, "10.0.0.9") is None


def test_a_forgotten_session_has_no_payload_any_more() -> None:
    book = PingBook[int]()
    payload = new_payload()
    book.expect(1, payload=payload, address=None)
    book.forget(1)
    assert book.session_of(Ping(payload.encode(), 1).encode(), "10.0.0.9") is None


@pytest.mark.conformance(2)
@pytest.mark.parametrize("base", [47989, 48989])
def test_all_ports_are_a_fixed_distance_from_the_base(base: int) -> None:
    ports = Ports(base)
    found = (ports.http, ports.https, ports.rtsp, ports.video, ports.control, ports.audio)
    assert tuple(port - base for port in found) == (0, -5, 21, 9, 10, 11)


def test_the_default_ports_are_those_that_clients_try_first() -> None:
    ports = Ports()
    assert (ports.https, ports.rtsp, ports.video, ports.control, ports.audio) == (
        47984,
        48010,
        47998,
        47999,
        48000,
    )


def test_a_base_that_leaves_no_room_for_a_port_is_refused() -> None:
    Ports(MIN_BASE_PORT)
    Ports(MAX_BASE_PORT)
    for base in MIN_BASE_PORT - 1, MAX_BASE_PORT + 1:
        with pytest.raises(ConfigError, match="base port"):
            Ports(base)
