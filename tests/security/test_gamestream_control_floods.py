"""CONNECTs from forged addresses at a real control port: a session's client comes in between them (section 10.1)."""

from __future__ import annotations

import asyncio
import socket
import struct

from punktfunk.gamestream import control
from punktfunk.host.gamestream.control_server import ControlServer
from tests.support.gamestream import free_ports
from tests.support.gamestream_control import ControlClient, Owner

DATA = 0x7E6F02E3
BATCHES, BATCH = 100, 200
"""20,000 in all; 100,000 from a process of their own: `nox -s bench -- gamestream_floods`."""
_IP_PKTINFO = 8
_CONNECT = bytes.fromhex(
    "8fff0259 82ff0001 0000ffff 00000384 00010000 00000030 00000000 00000000 00001388 00000002 00000002"
)


class Forger:
    """Sends from any address of 127.0.0.0/8."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("0.0.0.0", 0))
        self._to = ("127.0.0.1", port)
        self.sent = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            source = bytes([127, 1 + (self.sent >> 16), self.sent >> 8 & 0xFF, 1 + self.sent % 250])
            info = struct.pack("=i4s4s", 0, source, bytes(4))
            datagram = _CONNECT + struct.pack(">II", self.sent, self.sent)
            self._socket.sendmsg([datagram], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, self._to)

    def close(self) -> None:
        self._socket.close()


def test_a_client_connects_in_the_midst_of_forged_connects() -> None:
    async def run() -> None:
        owner = Owner()
        session = owner.expect(DATA)
        server = ControlServer("127.0.0.1", free_ports().control, owner)
        server.open()
        forger, client = Forger(server.port), ControlClient(("127.0.0.1", server.port))
        try:
            batches_until_there = 0
            for batch in range(BATCHES):
                forger.send(BATCH)
                if batch == 10:
                    client.connect(DATA)
                if "connected" in client.kinds and not client.unacknowledged and not owner.arrived:
                    client.say(control.IdrRequest())
                if not owner.arrived:
                    batches_until_there = batch
                await asyncio.sleep(0.001)
            assert owner.arrived == [session]
            assert batches_until_there < BATCHES - 1, "while the flood went on"
            counters = server.counters
            assert counters["refused"] > forger.sent / 2, "the flood was looked at, and not lost before"
            assert counters["expired"] == counters["crowded_out"] == 0, "and nothing was kept of it"
        finally:
            client.close()
            forger.close()
            server.close()

    asyncio.run(run())
