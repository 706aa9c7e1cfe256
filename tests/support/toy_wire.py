"""A wire for tests of the harness: a host that sends numbered datagrams on two ports, and a client that only listens.

Run as a program it is one of the two ends; imported it is both as peers. Nothing in the harness knows of it: a test
enters it into the registry. Its client is as a foreign program is: it leaves neither statistics nor records.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from pathlib import Path
from typing import ClassVar

VIDEO, SOUND, CONTROL = 47_998, 48_000, 47_999
COUNTS = {VIDEO: 300, SOUND: 100, CONTROL: 30}
_EVERY_S = 0.002
_SILENCE_S = 1.0
_PATIENCE_S = 30.0


def host(address: str, out: Path) -> None:
    """Wait for a hello on the video port, send, and count what belongs to the stream."""
    ports = {}
    for port in COUNTS:
        ports[port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ports[port].bind((address, port))
    say("ready")
    ports[VIDEO].settimeout(_PATIENCE_S)
    _, client = ports[VIDEO].recvfrom(100)
    sent = 0
    for number in range(max(COUNTS.values())):
        for port, count in COUNTS.items():
            if number < count:
                ports[port].sendto(number.to_bytes(4) * 50, client)
                sent += port != CONTROL
        time.sleep(_EVERY_S)
    counters = {"packets_sealed": sent, "packets_sent": sent}
    out.write_text(json.dumps(counters), encoding="utf-8")


def client(address: str) -> None:
    """Print hello until something comes, and listen until it is silent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        deadline = time.monotonic() + _PATIENCE_S
        while not select.select([here], [], [], 0.1)[0]:
            if time.monotonic() > deadline:
                sys.exit("nothing came")
            here.sendto(b"hello", (address, VIDEO))
        say("ready")
        while select.select([here], [], [], _SILENCE_S)[0]:
            here.recv(1000)


def say(event: str) -> None:
    """Write an event as the programs of this repository do."""
    print(json.dumps({"event": event}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "host":
        host(sys.argv[2], Path(sys.argv[3]))
    else:
        client(sys.argv[2])
    sys.exit(0)

from harness.analysis.records import Records  # noqa: E402 - the program above needs nothing of it
from harness.peers.peer import Place, Role, Stats  # noqa: E402
from harness.peers.process import ProgramPeer  # noqa: E402
from harness.scenario.model import Session  # noqa: E402


class _Toy(ProgramPeer):
    program: ClassVar[str]

    def __init__(self, spec: Session, place: Place) -> None:
        super().__init__(place)
        self._out = place.folder / "toy.json"

    def start(self) -> None:
        link = self._place.link
        words = [self.role, link.host_address.ipv4, str(self._out)]
        self._run([sys.executable, __file__, *words], link.host if self.role == "host" else link.client)

    def stats(self) -> Stats | None:
        return None

    def records(self) -> Records | None:
        return None


class ToyHost(_Toy):
    """Counts what it sends, and keeps no records."""

    role: ClassVar[Role] = "host"
    program: ClassVar[str] = "toy host"
    ports: ClassVar[frozenset[int]] = frozenset({VIDEO, SOUND})

    def set_bitrate(self, kbps: int) -> None:
        raise AssertionError("no event asks for it")

    def stats(self) -> Stats:
        return Stats(json.loads(self._out.read_text(encoding="utf-8")))


class ToyClient(_Toy):
    """Tells nothing."""

    role: ClassVar[Role] = "client"
    program: ClassVar[str] = "toy client"
