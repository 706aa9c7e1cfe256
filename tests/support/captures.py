"""Captures for tests, made of the product's own packets: a stream as it passes a device behind a link that loses.

Packets are the core's; which of them arrive, and how often, the test says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import cli
from harness.dissect.keys import Keys
from harness.dissect.reading import Reading, Survey
from harness.network.pcapng import LINKTYPE_RAW, Writer
from punktfunk.core import _core

HOST, CLIENT = "10.0.0.1", "10.0.0.2"
CONTROL_PORT, DATA_PORT, CLIENT_PORT = 9777, 20_000, 40_000
KEY = bytes(range(16))
BEGAN_NS = 1_700_000_000 * 10**9
_FRAME_NS = 16_666_667
_PACKET_NS = 20_000


def udp(
    source: tuple[str, int], destination: tuple[str, int], payload: bytes, *, spoilt: bool = False
) -> bytes:
    """Return an IPv4 packet with a UDP datagram; ``spoilt`` has a wrong checksum."""
    ends = b"".join(bytes(map(int, host.split("."))) for host, _port in (source, destination))
    length = 8 + len(payload)
    head = struct.pack("!HHH", source[1], destination[1], length)
    summed = ends + struct.pack("!HH", 17, length) + head + bytes(2) + payload + bytes(length % 2)
    checksum = 0xFFFF - int.from_bytes(summed, "big") % 0xFFFF or 0xFFFF
    datagram = head + struct.pack("!H", checksum ^ (0x5555 if spoilt else 0)) + payload
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + ends + datagram


@dataclass
class Sent:
    """One packet of a session, at its time."""

    time_ns: int
    from_host: bool
    payload: bytes
    control: bool = False
    spoilt: bool = False

    def packet(self) -> bytes:
        """Return it as it passes a device."""
        ports = (CONTROL_PORT, CLIENT_PORT + 1) if self.control else (DATA_PORT, CLIENT_PORT)
        ends = ((HOST, ports[0]), (CLIENT, ports[1]))
        source, destination = ends if self.from_host else ends[::-1]
        return udp(source, destination, self.payload, spoilt=self.spoilt)


def write(path: Path, packets: Iterable[Sent], *, missed: int | None = 0) -> Path:
    """Write a capture; ``missed`` None leaves out what it says of packets that it missed."""
    with Writer(path.open("wb"), LINKTYPE_RAW, "tun0") as out:
        count, last_ns = 0, BEGAN_NS
        for sent in packets:
            out.write(sent.time_ns, sent.packet())
            count, last_ns = count + 1, sent.time_ns
        if missed is not None:
            out.statistics(last_ns, count + missed, missed)
    return path


@dataclass
class Stream:
    """Frames of a host, packet by packet; ``fate`` says of each, by frame and place in it, how often it arrives."""

    config: _core.StreamConfig | _core.GameStreamConfig
    sizes: list[int]
    first_frame: int = 0
    began_ns: int = BEGAN_NS
    units: list[bytes] = field(default_factory=list)
    contents: Sequence[bytes] = ()
    """Access units in place of a pattern; ``sizes`` are theirs then."""

    def packets(self, fate: Callable[[int, int], int] = lambda _frame, _packet: 1) -> Iterator[Sent]:
        """Yield the packets that arrive, in order, with their times."""
        number = 0
        for at, size in enumerate(self.sizes):
            unit = self.contents[at] if self.contents else bytes((7 * at + i) & 0xFF for i in range(size))
            self.units.append(unit)
            flags = _core.FLAG_PICTURE | (_core.FLAG_KEY if at == 0 else 0)
            now_ns = self.began_ns + at * _FRAME_NS
            frame = self.first_frame + at
            for place, packet in enumerate(_core.packetize(self.config, unit, now_ns, flags, frame, number)):
                number += 1
                for _ in range(fate(at, place)):
                    yield Sent(now_ns + place * _PACKET_NS, True, bytes(packet))


def gamestream(key: bytes | None, sizes: list[int], contents: Sequence[bytes] = ()) -> Stream:
    """Return a stream of GameStream, encrypted where there is a key."""
    return Stream(_core.GameStreamConfig(packet_size=1024, key=key), sizes, first_frame=1, contents=contents)


def survey(path: Path, *keys: bytes) -> Survey:
    """Return what is in a capture, read with the keys of its streams."""
    given = Keys()
    for key in keys:
        given.name(key.hex())
    return Reading(path, given).read()


def dissect(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Run ``punktfunk-lab dissect`` and return its exit code and all that it says."""
    code = cli.main(["dissect", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out + said.err
