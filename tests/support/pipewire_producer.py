"""A producer of video for PipeWire, and a server of its own for it: what a compositor is to a consumer, at will.

It allocates its buffers itself, as compositors do, so that it can also lie about them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture import PipeWireScreen, open_capture
from punktfunk.desktop.pipewire import library, pods
from punktfunk.desktop.pipewire.pods import ChoiceKind
from punktfunk.errors import MediaError
from punktfunk.units import Mode
from tests.support.waiting import PATIENCE_S, eventually

BGRX, BGRA = 8, 12
FLAG_DRIVER, FLAG_ALLOC_BUFFERS = 1 << 3, 1 << 8
DIRECTION_OUTPUT = 1
HEADER, CROP, DAMAGE, CURSOR, BUSY = 1, 2, 3, 5, 7
METAS = {HEADER: 32, CROP: 16, DAMAGE: 16 * 4, CURSOR: 28 + 20 + 64 * 64 * 4}


class Producer:
    """A node that gives pictures when it is told to, and a white one whenever it begins to be captured.

    ``lie`` may change what a buffer says of its memory; the first ``silent_starts`` beginnings give nothing, others
    a white picture ``start_after_s`` later: a compositor draws it first. With ``modifiers`` it gives DMA-BUFs, in whose
    place are memory files, and none in memory unless it is told ``memory_too``; of those that both can it chooses the
    first in its own order. Its memory is ``sealed`` against shortening, as that of most compositors.
    """

    def __init__(
        self,
        remote: str,
        *,
        width: int = 320,
        height: int = 180,
        any_size: bool = False,
        video_format: int = BGRX,
        modifiers: Sequence[int] = (),
        memory_too: bool = False,
        sealed: bool = True,
        metas: Mapping[int, int] = METAS,
        lie: Callable[[library.Data], None] | None = None,
        silent_starts: int = 0,
        start_after_s: float = 0.02,
    ) -> None:
        self._pw = library.load()
        self._offers = [_format(width, height, any_size, video_format, modifiers)]
        if modifiers and memory_too:
            self._offers.append(_format(width, height, any_size, video_format, ()))
        self._order = list(modifiers)
        self._sealed = sealed
        self.modifier: int | None = None
        """Of the DMA-BUFs that it gives; None: it gives memory."""
        self.chosen: list[int | None] = []
        """As that, of each format that was agreed on."""
        self._metas = metas
        self._lie = lie
        self._ready = threading.Condition()
        self.silent_starts = silent_starts
        self._start_after_s = start_after_s
        self._first: list[threading.Timer] = []
        """Who give first pictures, each in a thread of its own."""
        self.first_stamps: set[int] = set()
        """When those were drawn: one that begins anew gives another, and it may come late."""
        self._closing = self._is_short = False
        self.size = (0, 0)
        self.given_ns = 0
        self.states: list[int] = []
        self._memory: dict[int, mmap.mmap] = {}
        self._descriptors: dict[int, int] = {}
        self._hook = library.Hook()
        self._events = library.StreamEvents(
            version=2,
            state_changed=library.OnState(self._on_state),
            param_changed=library.OnParam(self._on_param),
            add_buffer=library.OnBuffer(self._on_add_buffer),
            remove_buffer=library.OnBuffer(self._on_remove_buffer),
        )
        self._loop = self._pw.pw_thread_loop_new(b"producer", None)
        self._context = self._pw.pw_context_new(self._pw.pw_thread_loop_get_loop(self._loop), None, 0)
        self._pw.pw_thread_loop_start(self._loop)
        with self._locked():
            named = self._pw.pw_properties_new_string(f'{{ remote.name = "{remote}" }}'.encode())
            self._core = self._pw.pw_context_connect(self._context, named, 0)
            assert self._core, "PipeWire does not answer"
            properties = self._pw.pw_properties_new_string(
                b"{ media.class = Video/Source node.name = producer }"
            )
            self._stream = self._pw.pw_stream_new(self._core, b"producer", properties)
            self._pw.pw_stream_add_listener(
                self._stream, ctypes.byref(self._hook), ctypes.byref(self._events), None
            )
            offers, count, _kept = library.pointers(self._offers)
            flags = FLAG_DRIVER | FLAG_ALLOC_BUFFERS
            assert (
                self._pw.pw_stream_connect(
                    self._stream, DIRECTION_OUTPUT, library.ID_ANY, flags, offers, count
                )
                == 0
            )
        with self._ready:
            assert self._ready.wait_for(lambda: 2 in self.states, PATIENCE_S), self.states
        self._pw.pw_stream_get_node_id.restype = ctypes.c_uint32
        self._pw.pw_stream_get_node_id.argtypes = [ctypes.c_void_p]
        self.node: int = self._pw.pw_stream_get_node_id(self._stream)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody takes the pictures."""
        with self._ready:
            return self.states[-1] == library.STREAM_STREAMING and len(self._memory) >= 2

    def wait_until_wanted(self) -> None:
        """Wait until somebody takes the pictures."""
        with self._ready:
            assert self._ready.wait_for(
                lambda: self.states[-1] == library.STREAM_STREAMING and len(self._memory) >= 2, PATIENCE_S
            ), self.states

    def give(
        self,
        pixels: np.ndarray | None = None,
        *,
        pts: int | None = None,
        sequence: int = 0,
        metas: Mapping[int, bytes] | None = None,
        chunk: Mapping[str, int] | None = None,
    ) -> None:
        """Give a picture (height, width, 4), or none; ``metas`` are put in as they are, and so is ``chunk``."""
        now = self.given_ns = monotonic_ns() if pts is None else pts
        given = {HEADER: struct.pack("=IIqqQ", 0, 0, now, 0, sequence), **(metas or {})}

        def done() -> bool:
            if self._closing:
                return True
            # In one: another format takes the buffers away, those that are being drawn into as well.
            with self._locked():
                handle = self._pw.pw_stream_dequeue_buffer(self._stream)
                if not handle:
                    return False
                self._fill(handle, pixels, given, chunk or {})
                self._pw.pw_stream_queue_buffer(self._stream, handle)
            return True

        eventually(done, "a free buffer")

    def _fill(
        self, handle: int, pixels: np.ndarray | None, metas: Mapping[int, bytes], chunk: Mapping[str, int]
    ) -> None:
        buffer = library.StreamBuffer.from_address(handle).buffer.contents
        for number in range(buffer.n_metas):
            meta = buffer.metas[number]
            if meta.type == BUSY:
                continue  # the library counts in it who has the buffer
            value = metas.get(meta.type, bytes(min(meta.size, 64)))
            ctypes.memmove(meta.data, value, min(len(value), meta.size))
        size = 0
        if pixels is not None:
            # Drawn for the size that was: nobody is to see it in another.
            size = min(pixels.nbytes, len(self._memory[handle]))
            if not self._is_short:
                self._memory[handle][:size] = pixels.tobytes()[:size]
        fields = {"offset": 0, "size": size, "stride": self.size[0] * 4, "flags": 0, **chunk}
        for name, number in fields.items():
            setattr(buffer.datas[0].chunk.contents, name, number)

    def deliver(self, pixels: np.ndarray, arrived: Callable[[], bool], **more: Any) -> None:
        """Give a picture, and again if PipeWire loses it, as it does while the cycle before is not over."""
        deadline = time.monotonic() + PATIENCE_S
        while not arrived():
            assert time.monotonic() < deadline, "no picture arrives"
            self.give(pixels, **more)
            with contextlib.suppress(pytest.fail.Exception):
                eventually(arrived, "the picture", within_s=1.0)

    def offer(self, width: int, height: int, *, video_format: int = BGRX) -> None:
        """Change to another size, as a screen that is resized."""
        self._offers = [_format(width, height, False, video_format, ())]
        offers, count, _kept = library.pointers(self._offers)
        with self._locked():
            self._pw.pw_stream_update_params(self._stream, offers, count)

    def shorten(self) -> None:
        """Take the memory of all pictures away from under whoever reads it; nothing more is drawn."""
        self._is_short = True
        self._end_first()
        for descriptor in self._descriptors.values():
            os.ftruncate(descriptor, 0)

    def close(self) -> None:
        """Take the node away."""
        if self._loop is None:
            return
        self._closing = True
        self._end_first()
        with self._locked():
            self._pw.pw_stream_destroy(self._stream)
            self._pw.pw_core_disconnect(self._core)
        self._pw.pw_thread_loop_stop(self._loop)
        self._pw.pw_context_destroy(self._context)
        self._pw.pw_thread_loop_destroy(self._loop)
        self._loop = None

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _on_state(self, _data: Any, _old: int, new: int, _error: bytes | None) -> None:
        with self._ready:
            self.states.append(new)
            self._ready.notify_all()
        if new == library.STREAM_STREAMING:
            self.silent_starts -= 1
            if self.silent_starts < 0 and not self._closing:
                timer = threading.Timer(self._start_after_s, self._give_first)
                timer.start()
                self._first.append(timer)

    def _end_first(self) -> None:
        """Wait for who give a first picture just now: they would use what is taken away."""
        for timer in tuple(self._first):
            timer.cancel()
            timer.join(PATIENCE_S)

    def _give_first(self) -> None:
        if self.is_wanted:
            stamp = monotonic_ns()
            self.first_stamps.add(stamp)
            self.give(np.full((self.size[1], self.size[0], 4), 255, np.uint8), pts=stamp)

    def _on_param(self, _data: Any, identity: int, address: int | None) -> None:
        if identity != 4 or not address:
            return
        size = pods.size_with_head(ctypes.string_at(address, 8))
        parameters = pods.parse_object(ctypes.string_at(address, size))
        agreed, video_format = parameters.fixed(0x20003), parameters.fixed(0x20001)
        assert isinstance(agreed, pods.Rectangle)
        assert isinstance(video_format, int)
        modifiers = parameters.properties.get(0x20002)
        if isinstance(modifiers, pods.Choice) and modifiers.kind is ChoiceKind.ENUM:
            self._fixate(agreed, video_format, set(modifiers.values))
            return
        modifier = parameters.fixed(0x20002)
        self.size, self.modifier = (
            (agreed.width, agreed.height),
            modifier if isinstance(modifier, int) else None,
        )
        self.chosen.append(self.modifier)
        wishes = [
            pods.pod_object(
                0x40004,
                5,
                {
                    1: pods.choice(ChoiceKind.RANGE, pods.integer(4), pods.integer(2), pods.integer(8)),
                    2: pods.integer(1),
                    3: pods.integer(agreed.width * agreed.height * 4),
                    4: pods.integer(agreed.width * 4),
                    6: pods.choice(ChoiceKind.FLAGS, pods.integer(1 << self._kind)),
                },
            ),
            *(
                pods.pod_object(0x40005, 6, {1: pods.identifier(kind), 2: pods.integer(length)})
                for kind, length in self._metas.items()
            ),
        ]
        listed, count, _kept = library.pointers(wishes)
        self._pw.pw_stream_update_params(self._stream, listed, count)

    @property
    def _kind(self) -> int:
        return 2 if self.modifier is None else 3

    def _fixate(self, size: pods.Rectangle, video_format: int, possible: set[pods.Value]) -> None:
        """Choose a modifier out of those that both can, as whoever allocates has to."""
        chosen = next(each for each in self._order if each in possible)
        fixed = _format(size.width, size.height, False, video_format, [chosen], fixed=True)
        listed, count, _kept = library.pointers([fixed, *self._offers])
        self._pw.pw_stream_update_params(self._stream, listed, count)

    def _on_add_buffer(self, _data: Any, handle: int) -> None:
        data = library.StreamBuffer.from_address(handle).buffer.contents.datas[0]
        size = self.size[0] * self.size[1] * 4
        descriptor = os.memfd_create("picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size)
        if self._sealed:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        data.type, data.flags, data.fd = self._kind, 3, descriptor
        data.mapoffset, data.maxsize = 0, size
        if self._lie is not None:
            self._lie(data)
        with self._ready:
            self._memory[handle] = mmap.mmap(descriptor, size)
            self._descriptors[handle] = descriptor
            self._ready.notify_all()

    def _on_remove_buffer(self, _data: Any, handle: int) -> None:
        os.close(self._descriptors.pop(handle))
        self._memory.pop(handle).close()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._pw.pw_thread_loop_lock(self._loop)
        try:
            yield
        finally:
            self._pw.pw_thread_loop_unlock(self._loop)


def _format(
    width: int,
    height: int,
    any_size: bool,
    video_format: int,
    modifiers: Sequence[int],
    *,
    fixed: bool = False,
) -> bytes:
    properties: dict[int, Any] = {
        1: pods.identifier(2),
        2: pods.identifier(1),
        0x20001: pods.identifier(video_format),
    }
    if modifiers:
        longs = [pods.long(each) for each in modifiers]
        several = pods.choice(ChoiceKind.ENUM, longs[0], *longs)
        properties[0x20002] = (1 << 3, longs[0]) if fixed else (1 << 3 | 1 << 4, several)
    size = pods.rectangle(width, height)
    if any_size:
        size = pods.choice(ChoiceKind.RANGE, size, pods.rectangle(1, 1), pods.rectangle(8192, 8192))
    rates = pods.fraction(60), pods.fraction(1), pods.fraction(240)
    properties |= {
        0x20003: size,
        0x20004: pods.fraction(0),
        0x20005: pods.choice(ChoiceKind.RANGE, *rates),
    }
    return pods.pod_object(0x40003, 3, properties)


class Server:
    """PipeWire, its session manager and a bus for that, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.remote = str(folder / "pipewire-0")
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PIPEWIRE_")},
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus",
        }
        self._log = (folder / "log").open("wb")
        self._bus = self._started("dbus-daemon", "--session", "--nofork", f"--address=unix:path={folder}/bus")
        eventually((folder / "bus").exists, "the bus")
        self._programs: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        """Start PipeWire and its session manager; return when a picture passes, for which both are needed."""
        self._programs = [self._started("pipewire")]
        eventually(self._answers, "PipeWire")
        self._programs.append(self._started("wireplumber"))
        eventually(self._passes_pictures, "the session manager")

    def stop(self) -> None:
        """Kill both."""
        for program in self._programs:
            program.kill()
            program.wait()
        self._programs.clear()

    def connection(self) -> int:
        """Return a connection to the server, as a portal opens one."""
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(self.remote)
        return connected.detach()

    def close(self) -> None:
        """End all of it."""
        self.stop()
        self._bus.kill()
        self._bus.wait()
        self._log.close()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.remote) == 0

    def _passes_pictures(self) -> bool:
        with Producer(self.remote) as producer:
            screen = PipeWireScreen(node=producer.node, remote=self.remote)
            capture = open_capture(screen, Mode(320, 180, 60))
            try:
                capture.capture()
            except MediaError:  # nobody has made a link
                return False
            finally:
                capture.close()
            return True

    def _started(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=self._env, stdout=self._log, stderr=self._log)
