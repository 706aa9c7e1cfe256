"""Two UDP sockets with a receiver between them that gets no time for a while: its buffer overflows in the kernel."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading

from tests.support.waiting import eventually

_SO_MEMINFO = 55
_SMALLEST_BUFFER, _BUFFER = 2304, 4 << 20
_EVERY_S = 0.05


class StarvedLink:
    """Reads nothing until the kernel has dropped datagrams ``times`` times, then hands everything on.

    Where that is ``None`` it is starved for ever: a datagram passes now and then, and never many that are sent at once.
    """

    def __init__(self, times: int | None = 1) -> None:
        self._times = times
        self._over = threading.Event()
        self._in, self._out, self._sender, self._receiver = (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)
        )
        for end in (self._in, self._out, self._sender, self._receiver):
            end.bind(("127.0.0.1", 0))
        self._sender.connect(self._in.getsockname())
        self._out.connect(self._receiver.getsockname())
        self._receiver.connect(self._out.getsockname())
        self._thread = threading.Thread(target=self._relay)

    @property
    def dropped(self) -> int:
        """Datagrams for which there was no room."""
        info = self._in.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
        return struct.unpack("9I", info)[8]

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Return the sending and the receiving end."""
        return self._sender, self._receiver

    def _relay(self) -> None:
        if self._times is None:
            while not self._over.wait(_EVERY_S):
                if select.select([self._in], [], [], 0)[0]:
                    self._out.send(self._in.recv(1 << 16))
            return
        for _ in range(self._times):
            self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST_BUFFER)
            before = self.dropped
            eventually(
                lambda before=before: self._over.is_set() or self.dropped > before, "datagrams are dropped"
            )
            self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._hand_on(0.0)
        while not self._over.is_set():
            self._hand_on(_EVERY_S)

    def _hand_on(self, wait_s: float) -> None:
        while select.select([self._in], [], [], wait_s)[0]:
            with contextlib.suppress(ConnectionRefusedError):
                self._out.send(self._in.recv(1 << 16))
            wait_s = 0.0

    def __enter__(self) -> StarvedLink:
        if self._times != 0:
            self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST_BUFFER)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for end in (self._in, self._out, self._sender, self._receiver):
            end.close()
