"""Secrets of a QUIC connection that began before its capture: found by trying, within bounds."""

from __future__ import annotations

import time

import pytest
from aioquic.quic.crypto import CryptoContext, next_key_phase
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

from harness.dissect import begun
from harness.dissect import keys as key_logs
from harness.dissect.begun import CID_BYTES, MAX_HANDSHAKES, MAX_PACKETS, NUMBERS, Search
from harness.dissect.datagrams import Datagram, Endpoint
from harness.dissect.keys import Keys
from harness.dissect.quic import Opener

ENDS: frozenset[Endpoint] = frozenset({("10.0.0.1", 9777), ("10.0.0.2", 40_001)})
SUITES = {
    CipherSuite.AES_128_GCM_SHA256: 32,
    CipherSuite.CHACHA20_POLY1305_SHA256: 32,
    CipherSuite.AES_256_GCM_SHA384: 48,
}


def secret(handshake: int, *, host: bool, size: int = 32) -> bytes:
    return bytes([handshake, host]) * (size // 2)


def log(handshakes: range, size: int = 32) -> Keys:
    keys = Keys()
    keys.take(
        f"{'SERVER' if host else 'CLIENT'}_TRAFFIC_SECRET_0 {n:064x} {secret(n, host=host, size=size).hex()}".encode()
        for n in handshakes
        for host in (False, True)
    )
    return keys


def packet(
    handshake: int,
    number: int,
    *,
    host: bool = True,
    suite: CipherSuite = CipherSuite.AES_128_GCM_SHA256,
    updated: bool = False,
) -> bytes:
    """Return a 1-RTT packet with the last 16 bits of its number, as aioquic sends it."""
    crypto = CryptoContext()
    known = secret(handshake, host=host, size=SUITES[suite])
    crypto.setup(cipher_suite=suite, secret=known, version=QuicProtocolVersion.VERSION_1)
    seal = next_key_phase(crypto) if updated else crypto
    header = bytes([0x41 | updated << 2]) + bytes(CID_BYTES) + (number & 0xFFFF).to_bytes(2)
    sealed = seal.aead.encrypt(b"\x01" * 24, header, number)  # type: ignore[union-attr]  # it was set up
    return crypto.hp.apply(header, sealed)  # type: ignore[union-attr]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("host", [False, True])
def test_the_secret_that_opens_a_packet_tells_handshake_side_and_cipher(
    suite: CipherSuite, host: bool
) -> None:
    found = Search(log(range(1, 5), SUITES[suite])).find(ENDS, packet(2, 77, host=host, suite=suite))
    assert found is not None
    assert (found.random, found.suite, found.from_host, found.number) == (bytes(31) + b"\2", suite, host, 77)


@pytest.mark.parametrize(
    ("number", "known"), [(0, True), (65_535, True), (65_536, True), (NUMBERS - 1, True), (NUMBERS, False)]
)
def test_numbers_of_which_a_packet_has_the_last_bits_are_found_up_to_a_bound(
    number: int, known: bool
) -> None:
    found = Search(log(range(1, 2))).find(ENDS, packet(1, number))
    assert (found is not None and found.number == number) is known


def test_a_packet_after_a_key_update_opens_too() -> None:
    assert Search(log(range(1, 2))).find(ENDS, packet(1, 9, updated=True)) is not None


def test_how_much_is_tried_is_bounded_and_the_newest_handshakes_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = log(range(1, MAX_HANDSHAKES + 2))
    assert Search(keys).find(ENDS, packet(1, 0)) is None, "the oldest of one too many"
    assert Search(keys).find(ENDS, packet(2, 0)) is not None
    search = Search(log(range(1, 2)))
    for _ in range(MAX_PACKETS):
        assert search.find(ENDS, packet(3, 0)) is None
    assert search.find(ENDS, packet(1, 0)) is None, "so many packets were of something else"
    others = frozenset({("10.0.0.1", 9777), ("10.0.0.3", 40_001)})
    assert search.find(others, packet(1, 0)) is not None
    # Two sides with two ciphers each: the fourth try is that of the other side's packet.
    for tries, opens in ((2, False), (3, True)):
        monkeypatch.setattr(begun, "MAX_TRIES", tries)
        assert (Search(log(range(1, 2))).find(ENDS, packet(1, 0)) is not None) is opens
    assert Search(Keys()).find(ENDS, packet(1, 0)) is None


def test_a_search_costs_the_same_whatever_else_a_key_log_has() -> None:
    """A capture may have a million packets that are tried; a walk over 65,536 secrets took 9 ms for each."""

    def cost_s(keys: Keys) -> float:
        search, begun_s = Search(keys), time.thread_time()
        for port in range(50):
            assert search.find(frozenset({("10.0.0.1", 9777), ("10.0.0.2", port)}), packet(1, 0)) is None
        return time.thread_time() - begun_s

    few, many = Keys(), Keys()
    for keys, count in ((few, 64), (many, 10_000)):
        for label in ("CLIENT_TRAFFIC_SECRET_0", "EXPORTER_SECRET"):
            keys.take(f"{label} {n:064x} {n:032x}".encode() for n in range(count))
    assert cost_s(many) < 5 * cost_s(few)


def test_a_handshake_is_forgotten_with_its_last_secret_and_new_when_it_is_said_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_logs, "MAX_SECRETS", 4)
    keys = log(range(1, 3))

    def named() -> list[int]:
        return [random[-1] for random in keys.handshakes(9)]

    assert named() == [2, 1]
    said = [f"{label} {n:064x} {n:064x}".encode() for n in (1, 3) for label in key_logs.TRAFFIC]
    keys.take(said[:1])
    assert named() == [1, 2], "said again"
    keys.take(said[2:3])
    assert named() == [3, 1, 2], "one of its two secrets is left"
    keys.take([b"EXPORTER_SECRET " + said[3].split(b" ", 1)[1]])
    assert named() == [3, 1, 2], "no other label makes a handshake one whose traffic is known"
    keys.take(said[3:4])
    assert named() == [3, 1]


def test_each_side_is_read_from_whatever_number_it_has_come_to() -> None:
    opener = Opener(log(range(1, 2)))
    client, host = ("10.0.0.2", 40_001), ("10.0.0.1", 9777)

    def sent(number: int, *, by_host: bool, whole: bool = True) -> Datagram:
        payload = packet(1, number, host=by_host)
        source, destination = (host, client) if by_host else (client, host)
        return Datagram(1, source, destination, payload, len(payload) + (not whole), intact=True)

    assert not opener.takes_up(sent(70_000, by_host=True, whole=False)), "what was cut authenticates nothing"
    assert opener.takes_up(sent(70_000, by_host=True))
    assert not opener.takes_up(sent(70_001, by_host=True)), "it is known by now"
    for number, by_host in ((70_000, True), (140_000, False), (70_001, True), (140_900, False)):
        assert opener.read(sent(number, by_host=by_host)) == "1-RTT: PING ×24"
    assert opener.why_closed(ENDS) == ""
