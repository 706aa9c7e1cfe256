"""ENet as Python has it: both roles in virtual time, and what strangers do to a server (gamestream section 10.1)."""

from __future__ import annotations

import struct

import pytest

from punktfunk.core import EnetEndpoint
from punktfunk.errors import CoreError, InvalidConfigError, SessionClosedError
from tests.support.enet_pair import CLIENT, MS, SERVER, WAITING, EnetPair, payloads

CAPTURED = bytes.fromhex(
    "8fff0259 82ff0001 0000ffff 00000384 00010000 00000030 00000000 00000000"
    "00001388 00000002 00000002 6f0117b3 7e6f02e3"
)
VERIFY = bytes.fromhex(
    "83ff0001 00000000 00000384 00010000 00000030 00000000 00000000 00001388 00000002 00000002 6f0117b3"
)
"""The captured handshake of section 10.1, without the time that it was sent."""


def connect_datagram(data: int, connect_id: int) -> bytes:
    return CAPTURED[:-8] + struct.pack(">II", connect_id, data)


@pytest.mark.conformance(68)
def test_the_captured_handshake_is_answered_bit_by_bit() -> None:
    server = EnetEndpoint(seed=1, admit=lambda data, _address: data == WAITING)
    assert server.feed(CAPTURED, CLIENT, now_ns=0) == []
    [(answer, remote, _)] = server.datagrams()
    assert remote == CLIENT
    assert answer[:2] == b"\x80\x00"
    assert answer[4:] == VERIFY, "48 channels, and the connect ID that was asked with"
    sent = answer[2:4]
    [event] = server.feed(bytes.fromhex("8000 0261 01ff0001 0001") + sent, CLIENT, now_ns=MS)
    assert (event.kind, event.data, event.remote) == ("connected", WAITING, CLIENT)
    [message] = server.feed(bytes.fromhex("8000 0262 86000001 0003") + b"abc", CLIENT, now_ns=2 * MS)
    assert (message.kind, message.peer, message.channel, message.payload) == (
        "received",
        event.peer,
        0,
        b"abc",
    )
    [(acknowledgement, _, _)] = server.datagrams()
    assert acknowledgement == bytes.fromhex("0000 01000001 0001 0262")


@pytest.mark.conformance(68)
def test_a_connect_with_other_data_is_not_answered() -> None:
    pair = EnetPair()
    pair.connect(WAITING ^ 1)
    assert pair.asked == [(WAITING ^ 1, CLIENT[0])]
    assert pair.server.peers == 0
    assert [end for end, _ in pair.wire] == ["client"]
    assert pair.server.counters()["refused"] == 1


def test_a_connect_that_is_repeated_is_asked_about_once_and_answered_again() -> None:
    server = EnetEndpoint(seed=1, admit=lambda data, _address: data == WAITING)
    for at in (0, 100 * MS):
        server.feed(CAPTURED, CLIENT, now_ns=at)
    assert server.peers == 1
    server.tick(now_ns=700 * MS)
    assert [datagram[4:] for datagram, _, _ in server.datagrams()] == [VERIFY, VERIFY]


def test_messages_arrive_in_every_way_of_sending_them() -> None:
    pair = EnetPair()
    peer = pair.connect()
    for delivery in ("reliable", "unreliable", "unsequenced"):
        assert pair.client.send(peer, 47, delivery.encode(), delivery, now_ns=pair.now)
    pair.exchange()
    assert payloads(pair.at_server) == [b"reliable", b"unreliable", b"unsequenced"]
    assert {event.channel for event in pair.at_server[1:]} == {47}
    assert pair.server.send(pair.server_peer, 0, b"back", now_ns=pair.now)
    assert pair.server.unacknowledged(pair.server_peer) == 1
    pair.exchange()
    assert payloads(pair.at_client) == [b"back"]
    assert pair.server.unacknowledged(pair.server_peer) == 0


def test_what_is_lost_comes_later_and_in_order() -> None:
    pair = EnetPair()
    peer = pair.connect()
    pair.lose = lambda datagram: b"first" in datagram
    pair.client.send(peer, 3, b"first", now_ns=pair.now)
    pair.client.send(peer, 3, b"second", now_ns=pair.now)
    pair.client.send(peer, 4, b"other", now_ns=pair.now)
    pair.exchange()
    assert payloads(pair.at_server) == [b"other"]
    pair.lose = lambda _datagram: False
    pair.pass_time(1.5)
    assert payloads(pair.at_server) == [b"other", b"first", b"second"]


def test_a_client_goes_by_channel_0_where_the_host_grants_fewer() -> None:
    pair = EnetPair(server_channels=2)
    peer = pair.connect()
    pair.client.send(peer, 47, b"far", now_ns=pair.now)
    pair.client.send(peer, 1, b"near", now_ns=pair.now)
    pair.exchange()
    assert [(e.channel, e.payload) for e in pair.at_server[1:]] == [(0, b"far"), (1, b"near")]
    pair.client.disconnect(peer, now_ns=pair.now)
    pair.exchange()
    assert pair.client.peers == 0


@pytest.mark.conformance(74)
def test_a_client_that_leaves_is_acknowledged_at_once() -> None:
    pair = EnetPair()
    peer = pair.connect()
    left = pair.now
    pair.client.disconnect(peer, 5, now_ns=pair.now)
    pair.exchange()
    assert (pair.at_server[-1].kind, pair.at_server[-1].data, pair.at_server[-1].cause) == (
        "disconnected",
        5,
        "peer",
    )
    assert (pair.at_client[-1].kind, pair.at_client[-1].cause) == ("disconnected", "local")
    assert pair.now - left < 10 * MS
    assert pair.server.peers == pair.client.peers == 0
    assert pair.server.next_timeout() is None


def test_a_host_that_ends_a_connection_waits_for_what_it_has_said() -> None:
    pair = EnetPair()
    pair.connect()
    pair.lose = lambda datagram: b"terminated" in datagram
    pair.server.send(pair.server_peer, 0, b"terminated", now_ns=pair.now)
    pair.server.disconnect(pair.server_peer, now_ns=pair.now)
    pair.exchange()
    assert pair.at_client[-1].kind == "connected"
    pair.lose = lambda _datagram: False
    pair.pass_time(1.5)
    assert payloads(pair.at_client) == [b"terminated"]
    assert pair.at_client[-1].kind == "disconnected"
    assert pair.at_server[-1].cause == "local"


def test_a_silent_client_is_gone_after_ten_seconds() -> None:
    pair = EnetPair()
    pair.connect()
    silent = pair.now
    pair.lose = lambda _datagram: True
    pair.pass_time(9)
    assert pair.server.peers == 1
    pair.pass_time(4)
    assert pair.at_server[-1].cause == "timeout"
    assert pair.server.peers == 0
    assert pair.now - silent < 14e9


def test_an_idle_connection_stays_up() -> None:
    pair = EnetPair()
    pair.connect()
    pair.pass_time(30)
    assert pair.server.peers == pair.client.peers == 1


def test_unconfirmed_connections_last_a_second() -> None:
    server = EnetEndpoint(seed=1, admit=lambda _data, _address: True)
    server.feed(CAPTURED, CLIENT, now_ns=0)
    server.tick(now_ns=990 * MS)
    assert server.peers == 1
    server.tick(now_ns=1000 * MS)
    assert server.peers == 0
    assert server.counters()["expired"] == 1


def test_a_hundred_thousand_connects_from_forged_addresses_leave_a_client_its_place() -> None:
    """Without the number they cost a look; with it they crowd each other out, and its client comes in between."""
    pair = EnetPair()
    knowing = 20_000
    for number in range(100_000):
        data = WAITING if number < knowing else number
        address = (f"10.{number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}", 1024 + number % 50_000)
        pair.server.feed(connect_datagram(data, number + 1), address, now_ns=pair.now)
        if number % 1000 == 0:
            pair.server.datagrams()
    assert pair.server.peers <= 16
    counters = pair.server.counters()
    assert counters["refused"] == 100_000 - knowing
    assert counters["crowded_out"] == knowing - 16
    pair.server.datagrams()
    begun = pair.now
    pair.connect()
    assert [event.kind for event in pair.at_server] == ["connected"]
    assert pair.now - begun < 10 * MS, "in the flood's own second"


def test_datagrams_of_strangers_are_dropped() -> None:
    pair = EnetPair()
    pair.connect()
    message = bytes.fromhex("8000 0262 86000001 0003") + b"abc"
    assert pair.server.feed(message, ("203.0.113.5", CLIENT[1]), now_ns=pair.now) == []
    assert pair.server.feed(b"\x90\x00" + message[2:], CLIENT, now_ns=pair.now) == [], (
        "another session's bits"
    )
    assert pair.server.feed(b"\x80\x05" + message[2:], CLIENT, now_ns=pair.now) == [], "no such peer"
    assert pair.server.counters()["strangers"] == 3
    for malformed in (b"", b"\x80", b"\xc0\x00" + message[2:], bytes(1501)):
        assert pair.server.feed(malformed, CLIENT, now_ns=pair.now) == []
    assert pair.server.counters()["malformed"] == 4
    assert payloads(pair.server.feed(message, CLIENT, now_ns=pair.now)) == [b"abc"]


def test_a_disconnect_in_a_clients_name_needs_its_numbers() -> None:
    pair = EnetPair()
    pair.connect()
    for command in ("84ff4000", "84fff000", "44ff0000", "04ff0002", "84000002"):
        forged = bytes.fromhex("8000 0262" + command + "00000000")
        assert pair.server.feed(forged, CLIENT, now_ns=pair.now) == [], command
    pair.exchange()
    assert pair.server.peers == 1
    assert pair.server.counters()["dropped_commands"] == 5
    assert pair.server.feed(bytes.fromhex("8000 0262 84ff0002 00000000"), CLIENT, now_ns=pair.now)


def test_what_a_client_does_not_acknowledge_is_refused_at_last() -> None:
    pair = EnetPair()
    pair.connect()
    pair.lose = lambda _datagram: True
    taken = sum(pair.server.send(pair.server_peer, 0, bytes(800), now_ns=pair.now) for _ in range(1000))
    assert taken == 512
    assert not pair.server.send(pair.server_peer + 1, 0, b"", now_ns=pair.now)
    with pytest.raises(ValueError, match="fit"):
        pair.server.send(pair.server_peer, 0, bytes(837), now_ns=pair.now)


def test_paths_come_back_with_what_goes_to_a_peer() -> None:
    server = EnetEndpoint(seed=1, admit=lambda _data, _address: True)
    remote = ("fe80::1", 50000, 0, 3)
    server.feed(CAPTURED, remote, now_ns=0, path=bytes(range(23)))
    [(_, to, path)] = server.datagrams()
    assert (to, path) == (remote, bytes(range(23)))
    with pytest.raises(ValueError, match="23 bytes"):
        server.feed(CAPTURED, remote, now_ns=0, path=bytes(24))


def test_wrong_uses_are_told() -> None:
    with pytest.raises(InvalidConfigError):
        EnetEndpoint(seed=1, peers=0)
    with pytest.raises(ValueError, match="no address"):
        EnetEndpoint(seed=1).connect(("localhost", 1), now_ns=0)
    client = EnetEndpoint(seed=1, peers=1)
    client.connect(SERVER, now_ns=0)
    with pytest.raises(SessionClosedError):
        client.connect(SERVER, now_ns=0)
    with pytest.raises(ValueError, match="delivery"):
        client.send(1, 0, b"", "hopefully", now_ns=0)  # type: ignore[arg-type]

    def calls_back(_data: int, _address: str) -> bool:
        server.tick(now_ns=0)
        return True

    server = EnetEndpoint(seed=1, admit=calls_back)
    with pytest.raises(CoreError, match="at work"):
        server.feed(CAPTURED, CLIENT, now_ns=0)
    assert server.peers == 0


def test_an_abandoned_connection_is_gone_without_an_event() -> None:
    pair = EnetPair()
    pair.connect()
    pair.server.abandon(pair.server_peer, now_ns=pair.now)
    assert pair.server.peers == 0
    [(farewell, _, _)] = pair.server.datagrams()
    assert farewell[-8] & 0xF == 4
    assert pair.server.tick(now_ns=pair.now) == []


def test_a_client_whose_confirmation_is_lost_is_not_forgotten() -> None:
    """It believes itself connected: forgotten, it would talk to nobody for ten seconds."""
    pair = EnetPair()
    pair.lose = lambda datagram: b"\x01\xff\x00" in datagram and pair.now < 1.4e9
    peer = pair.connect()
    assert [event.kind for event in pair.at_client] == ["connected"]
    pair.client.send(peer, 0, b"start", now_ns=pair.now)
    pair.pass_time(1.3)
    assert pair.at_server == []
    pair.pass_time(3)
    assert payloads(pair.at_server) == [b"start"]


def test_a_round_trip_is_measured_from_message_to_acknowledgement() -> None:
    pair = EnetPair()
    peer = pair.connect()
    for _ in range(40):
        assert pair.client.send(peer, 0, b"there", now_ns=pair.now)
        there = [datagram for datagram, _, _ in pair.client.datagrams()]
        pair.now += 30 * MS
        for datagram in there:
            pair.server.feed(datagram, CLIENT, now_ns=pair.now)
        back = [datagram for datagram, _, _ in pair.server.datagrams()]
        for datagram in back:
            pair.client.feed(datagram, SERVER, now_ns=pair.now)
    measured = pair.client.round_trip_ns(peer)
    assert measured is not None
    # ENet smooths by eighths of whole milliseconds, and so may stay up to seven below.
    assert 23 * MS <= measured <= 31 * MS
    assert pair.client.round_trip_ns(peer + 1) is None
