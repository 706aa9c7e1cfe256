"""A toy wire, complete: what a second protocol has to bring to a host, and nothing else. For tests only.

A client connects by TCP on loopback and says ``hello FINGERPRINT NAME`` in one line; a toy believes it. It is answered
``pending``, ``busy`` or ``welcome`` in a line, and then with access units, each after its length (4 bytes, big-endian).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections import Counter
from dataclasses import dataclass

from punktfunk import log
from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.ending import EndReason
from punktfunk.errors import CapacityFullError
from punktfunk.host.client_session import ClientSession, StreamRequest
from punktfunk.host.config import HostConfig
from punktfunk.host.protocol_server import HostServices
from punktfunk.host.stream.handle import WorkerStream
from punktfunk.host.stream.sender import Sender
from punktfunk.host.stream.spec import RecordOptions, SendOptions, StreamSpec, Transport
from punktfunk.media import AccessUnit, EncoderConfig, SyntheticSpec, TestCardSpec
from punktfunk.units import Bitrate, Mode

HELLO = re.compile(rb"hello ([0-9a-f]{64}) ([^\n]{1,64})\n")
MODE, BITRATE = Mode(640, 360, 30), Bitrate(2_000_000)


@dataclass(frozen=True)
class EchoClient:
    address: tuple[str, int]
    fingerprint: str


class EchoSession(ClientSession):
    """A connection that streams, or is about to."""

    def __init__(self, server: EchoServer, peer: EchoClient, writer: asyncio.StreamWriter) -> None:
        self._server, self._peer, self._writer = server, peer, writer
        self.log, self.dropped_datagrams = log.get("echo"), Counter[str]()
        self.worker: WorkerStream | None = None
        self.reason = ""

    @property
    def peer(self) -> EchoClient:
        return self._peer

    @property
    def ending(self) -> bool:
        return bool(self.reason)

    def close(self, reason: str) -> None:
        if not self.ending and self.worker is not None:
            self.reason = reason
            self.worker.stop()
            # The worker holds the connection too.
            with contextlib.suppress(OSError):
                self._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            asyncio.get_running_loop().call_soon(self._server.over, self)

    def end(self, reason: EndReason) -> None:
        self.close(reason.value)

    stream_finished = stream_failed = close


class EchoServer:
    """A :class:`~punktfunk.host.protocol_server.ProtocolServer`; streams leave by :class:`EchoSender`."""

    name = "echo"
    sender = f"{__name__}:EchoSender"

    def __init__(self, services: HostServices) -> None:
        self.counters: Counter[str] = Counter()
        self.port = 0
        self._services, self._config = services, services.config
        self._sessions: set[EchoSession] = set()
        self._listener: asyncio.Server | None = None

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=256)
        self.port = self._listener.sockets[0].getsockname()[1]

    def end_all(self) -> None:
        for session in list(self._sessions):
            session.end(EndReason.HOST_STOPPED)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def revoke(self, fingerprint: str) -> None:
        for session in list(self._sessions):
            if session.peer.fingerprint == fingerprint:
                self._services.sessions.end(session, EndReason.UNPAIRED)

    def reconfigure(self, config: HostConfig) -> None:
        self._config = config

    def banner(self) -> list[str]:
        return [f"echo host    127.0.0.1:{self.port} (TCP)"]

    def over(self, session: EchoSession) -> None:
        self._sessions.discard(session)
        self._services.sessions.over(session, session.reason)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counters["echo_hellos"] += 1
        with contextlib.suppress(ValueError):  # a line without an end
            if (hello := HELLO.fullmatch(await reader.readline())) is not None:
                peer = EchoClient(writer.get_extra_info("peername"), hello[1].decode())
                session = EchoSession(self, peer, writer)
                writer.write(self._answer(session, hello[2].decode(errors="replace")))
                if session.worker is not None:
                    await writer.drain()
                    session.worker.begin(writer.get_extra_info("socket"))
                    while not session.ending and await reader.read(256):
                        pass
                    session.close("client left")
        writer.close()

    def _answer(self, session: EchoSession, name: str) -> bytes:
        pending, peer = self._services.pending, session.peer
        assert pending is not None
        if pending.trust.find(peer.fingerprint) is None:
            pending.ask(self.name, peer.fingerprint, name, peer.address[0], monotonic_ns())
            return b"pending\n"
        try:
            self._services.sessions.reserve(session)
            session.worker = self._services.sessions.start(session, self._request(name))
        except CapacityFullError:
            return b"busy\n"
        self._sessions.add(session)
        return b"welcome\n"

    def _request(self, name: str) -> StreamRequest:
        source, send_buffer_bytes = self._config.source, self._config.send_buffer_bytes
        assert isinstance(source, TestCardSpec | SyntheticSpec)

        def spec(records: RecordOptions | None, screen: ScreenSpec | None) -> StreamSpec:
            return StreamSpec(
                source=screen or source,
                encoder=EncoderConfig(encoder="x264", mode=MODE, bitrate=BITRATE),
                transport=Transport(sender=self.sender),
                rate_kbps=BITRATE.kbps,
                fec_percent=0,
                queue_frames=1,
                send=SendOptions(send_buffer_bytes=send_buffer_bytes),
                clock=SessionClock.start(),
                records=records,
            )

        return StreamRequest(
            name=name, mode=MODE, source=source.kind, bitrate_kbps=BITRATE.kbps, max_kbps=BITRATE.kbps,
            fec_scheme="none", fec_percent=0, fec_floor=None, record_frames=False, spec=spec,
        )  # fmt: skip


class EchoSender(Sender):
    """Frames over TCP: a frame that finds one before it unsent is dropped."""

    def __init__(self, _spec: StreamSpec, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._unsent = b""
        self._counts = Counter(bytes_sent=0, packets_sent=0, frames_sent=0, frames_submitted=0)
        self._dropped = False

    def submit(self, unit: AccessUnit) -> int:
        self._counts["frames_submitted"] += 1
        if self.flush(0):
            self._unsent = len(unit.data).to_bytes(4, "big") + unit.data
            self._counts["frames_sent"] += 1
            self.flush(0)
        else:
            self._dropped = True
        return self._counts["frames_submitted"] - 1

    def flush(self, limit_s: float) -> bool:
        with contextlib.suppress(OSError):  # full, or gone, which the host sees as well
            while self._unsent:
                sent = self._socket.send(self._unsent)
                self._unsent = self._unsent[sent:]
                self._counts.update(bytes_sent=sent, packets_sent=1)
        return not self._unsent

    def take_recovery_request(self) -> bool:
        dropped, self._dropped = self._dropped, False
        return dropped

    def stats(self) -> dict[str, int]:
        return dict(self._counts)

    def close(self) -> None:
        self._socket.close()
