"""What tests of GameStream share: ports that are free, and RTSP as a client speaks it."""

from __future__ import annotations

import contextlib
import os
import random
import socket

from punktfunk.gamestream.ports import Ports
from punktfunk.gamestream.rtsp import Headers, RtspRequest, RtspResponse
from punktfunk.gamestream.rtsp_cipher import FrameReader, RtspCipher
from tests.support.waiting import PATIENCE_S

_FIRST_PORT, _PARTS, _PART_PORTS, _SPAN = 12_000, 8, 2_500, 30
"""Where the drawn ports lie: 12,000 to 31,999, for each process a part; a host's lie within so many of the first."""


def free_ports() -> Ports:
    """Return ports of which none is taken; below those that the kernel gives out itself.

    Each process of pytest-xdist draws in a part of its own: between this look and their use another would take them.
    """
    draw = random.Random(os.urandom(8))
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS
    while True:
        ports = Ports(_FIRST_PORT + part * _PART_PORTS + draw.randrange(_PART_PORTS - _SPAN))
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for kind, numbers in (
                (socket.SOCK_STREAM, (ports.http, ports.https, ports.rtsp)),
                (socket.SOCK_DGRAM, (ports.video, ports.control, ports.audio)),
            ):
                for number in numbers:
                    probe = stack.enter_context(socket.socket(socket.AF_INET, kind))
                    probe.bind(("127.0.0.1", number))
            return ports


def exchange(address: tuple[str, int], raw: bytes, *, pieces: int = 0) -> bytes:
    """Send bytes as one connection, ``pieces`` at a time if given; return all that comes until the host closes it."""
    with socket.create_connection(address, PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = pieces or len(raw) or 1
        for start in range(0, len(raw), step):
            connection.sendall(raw[start : start + step])
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(65_536):
                answer += more
        return answer


class RtspClient:
    """Asks a host one request a connection, sealed where it has a key."""

    def __init__(self, address: tuple[str, int], key: bytes | None, *, host: str = "127.0.0.1") -> None:
        self.cipher = None if key is None else RtspCipher(key, "client")
        self._address, self._host = address, host
        self._count = 0

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
        """Return the bytes of the next request."""
        self._count += 1
        fields = {"CSeq": str(self._count), "X-GS-ClientVersion": "14", "Host": self._host, **headers}
        if body:
            fields |= {"Content-type": "application/sdp", "Content-length": str(len(body))}
        raw = RtspRequest(method, target, Headers(fields), body).encode()
        return raw if self.cipher is None else self.cipher.seal(raw)

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> RtspResponse:
        """Ask, and return the answer."""
        return self.read(exchange(self._address, self.request(method, target, body, **headers)))

    def read(self, raw: bytes) -> RtspResponse:
        """Return the answer that some bytes are."""
        if self.cipher is None:
            return RtspResponse.decode(raw)
        frame = FrameReader(1 << 20).feed(raw)
        assert frame is not None, f"not a whole frame: {raw!r}"
        return RtspResponse.decode(self.cipher.open(frame))
