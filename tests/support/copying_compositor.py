"""The Wayland socket of a compositor with ext-image-copy-capture, which none of the machines that run tests may have.

It does what wlroots does: into a client's buffer go the parts of the screen that have changed since the last copy and
those that the client says its buffer lacks, and nothing else.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np

from punktfunk.clock import monotonic_ns

OUTPUT = 2
GLOBALS = {
    1: ("wl_shm", 1),
    OUTPUT: ("wl_output", 4),
    3: ("ext_output_image_capture_source_manager_v1", 1),
    4: ("ext_image_copy_capture_manager_v1", 1),
}
XRGB8888 = 1
_STOPPED = 2
"""Why a copy fails: its session has ended."""
_HEADER = struct.Struct("=II")


class CopyingCompositor(threading.Thread):
    """One output, ``OUT-1``, of that size, black at first; serves one client."""

    def __init__(
        self, path: Path, width: int, height: int, *, formats: tuple[int, ...] = (XRGB8888,)
    ) -> None:
        super().__init__(daemon=True)
        self.screen = np.zeros((height, width, 4), np.uint8)
        self.copied: list[tuple[int, int, int, int]] = []
        """What was written into a buffer for each copy: x, y, width, height."""
        self.fail_next = False
        self.stamp_ns: int | None = None
        """When it says that it has presented a picture; None: when it did."""
        self.globals = GLOBALS
        self.paints_pointer = False
        """Whether its client wants the pointer in the pictures."""
        self.transform = 0
        self._formats = formats
        self._lock = threading.Lock()
        self._objects: dict[int, tuple[str, Any]] = {1: ("wl_display", None)}
        self._session = 0
        self._stopped = False
        self._fails_copies = True
        self._damage: list[tuple[int, int, int, int]] = []
        self._frame: dict[str, Any] = {}
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._client: socket.socket | None = None
        self.start()

    def draw(self, x: int, y: int, width: int, height: int, value: int) -> None:
        """Fill a part of the screen, and copy it if that was asked for."""
        with self._lock:
            self.screen[y : y + height, x : x + width] = value
            self._damage.append((x, y, width, height))
            self._answer()

    def resize(self, width: int, height: int) -> None:
        """Give the output another mode: the copy that was asked for fails, and another layout is told."""
        with self._lock:
            self.screen = np.zeros((height, width, 4), np.uint8)
            self._tell_layout()
            self._damage = [(0, 0, width, height)]
            self._fail(1)

    def stop_session(self, *, fails_copies: bool = True) -> None:
        """End the session, as an output that goes does; fail what is asked for now and later, or forget that."""
        with self._lock:
            self._stopped, self._fails_copies = True, fails_copies
            self._send(self._session, 5)
            self._answer()

    def close(self) -> None:
        """Hang up."""
        for end in (self._listening, self._client):
            if end is not None:
                with_shutdown(end)
        self.join()

    def run(self) -> None:
        """Serve the client until it leaves."""
        try:
            self._client = self._listening.accept()[0]
        except OSError:
            return
        data, descriptors = b"", []
        while True:
            try:
                part, fds, _, _ = socket.recv_fds(self._client, 65_536, 8)
            except OSError:
                break
            if not part:
                break
            data += part
            descriptors += fds
            while len(data) >= _HEADER.size:
                number, word = _HEADER.unpack_from(data)
                size, opcode = word >> 16, word & 0xFFFF
                if len(data) < size:
                    break
                try:
                    with self._lock:
                        self._handle(number, opcode, data[_HEADER.size : size], descriptors)
                except OSError:  # hung up meanwhile
                    return
                data = data[size:]
        self._client.close()

    def _handle(self, number: int, opcode: int, body: bytes, descriptors: list[int]) -> None:
        kind, held = self._objects[number]
        words = struct.unpack(f"={len(body) // 4}I", body)
        if kind in {"session", "frame"}:
            self._handle_copies(kind, opcode, number, words, body)
            return
        match kind, opcode:
            case "wl_display", 0:
                self._send(words[0], 0, 0)
                self._send(1, 1, words[0])
            case "wl_display", 1:
                self._objects[words[0]] = ("wl_registry", None)
                for name, (interface, version) in self.globals.items():
                    self._send(words[0], 0, name, interface, version)
            case "wl_registry", 0:
                self._objects[words[-1]] = (self.globals[words[0]][0], None)
                if words[0] == OUTPUT:
                    self._tell_output(words[-1])
            case "wl_shm", 0:
                descriptor = descriptors.pop(0)
                self._objects[words[0]] = ("wl_shm_pool", mmap.mmap(descriptor, words[1]))
                os.close(descriptor)
            case "wl_shm_pool", 0:
                offset, width, height, stride = words[1:5]
                rows = np.frombuffer(held, np.uint8, stride * height, offset).reshape(height, stride)
                self._objects[words[0]] = ("wl_buffer", rows[:, : width * 4].reshape(height, width, 4))
            case "ext_output_image_capture_source_manager_v1", 0:
                self._objects[words[0]] = ("ext_image_capture_source_v1", None)
            case "ext_image_copy_capture_manager_v1", 0:
                self._session, self.paints_pointer = words[0], bool(words[2])
                self._objects[words[0]] = ("session", None)
                height, width = self.screen.shape[:2]
                self._damage = [(0, 0, width, height)]
                self._tell_layout()
            case _, _:  # a destructor
                self._gone(number)

    def _handle_copies(
        self, kind: str, opcode: int, number: int, words: tuple[int, ...], body: bytes
    ) -> None:
        match kind, opcode:
            case "session", 0:
                assert not self._frame, "one frame at a time"
                self._objects[words[0]] = ("frame", None)
                self._frame = {"number": words[0], "lacks": [], "asked": False}
            case "frame", 1:
                self._frame["buffer"] = self._objects[words[0]][1]
            case "frame", 2:
                self._frame["lacks"].append(struct.unpack("=4i", body))
            case "frame", 3:
                self._frame["asked"] = True
                self._answer()
            case _, _:  # a destructor
                if kind == "frame":
                    self._frame = {}
                self._gone(number)

    def _tell_output(self, number: int) -> None:
        height, width = self.screen.shape[:2]
        self._send(number, 0, 0, 0, 0, 0, 0, "maker", "model", self.transform)
        self._send(number, 1, 1, width, height, 60_000)
        self._send(number, 4, "OUT-1")
        self._send(number, 2)

    def _answer(self) -> None:
        """Copy what has changed, if that is asked for and anything has; there is no more when the session has ended."""
        if self._stopped:
            if self._fails_copies:
                self._fail(_STOPPED)
            return
        if not self._frame.get("asked") or not self._damage:
            return
        if self.fail_next:
            self.fail_next = False
            self._fail(0)
            return
        number, buffer = self._frame["number"], self._frame["buffer"]
        if buffer.shape != self.screen.shape:
            self._fail(1)
            return
        x, y, right, bottom = _around([*self._damage, *self._frame["lacks"]])
        buffer[y:bottom, x:right] = self.screen[y:bottom, x:right]
        self.copied.append((x, y, right - x, bottom - y))
        for part in self._damage:
            self._send(number, 1, *part)
        seconds, nanoseconds = divmod(
            monotonic_ns() if self.stamp_ns is None else self.stamp_ns, 1_000_000_000
        )
        self._send(number, 2, seconds >> 32, seconds & 0xFFFF_FFFF, nanoseconds)
        self._send(number, 3)
        self._damage = []
        self._frame["asked"] = False

    def _fail(self, reason: int) -> None:
        if self._frame.get("asked"):
            self._frame["asked"] = False
            self._send(self._frame["number"], 4, reason)

    def _tell_layout(self) -> None:
        height, width = self.screen.shape[:2]
        self._send(self._session, 0, width, height)
        for each in self._formats:
            self._send(self._session, 1, each)
        self._send(self._session, 4)

    def _gone(self, number: int) -> None:
        del self._objects[number]
        self._send(1, 1, number)

    def _send(self, number: int, opcode: int, *arguments: int | str) -> None:
        body = b"".join(_argument(each) for each in arguments)
        assert self._client is not None
        self._client.sendall(_HEADER.pack(number, (_HEADER.size + len(body)) << 16 | opcode) + body)


def with_shutdown(end: socket.socket) -> None:
    """Close a socket that another thread may wait at."""
    with contextlib.suppress(OSError):  # the other end was faster
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _argument(value: int | str) -> bytes:
    if isinstance(value, int):
        return struct.pack("=I", value & 0xFFFF_FFFF)
    text = value.encode() + b"\0"
    return struct.pack("=I", len(text)) + text + bytes(-len(text) % 4)


def _around(parts: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the smallest rectangle around them."""
    return (
        min(x for x, _, _, _ in parts),
        min(y for _, y, _, _ in parts),
        max(x + width for x, _, width, _ in parts),
        max(y + height for _, y, _, height in parts),
    )
