"""Streams over loopback: real sockets, real threads, the state machines' promises kept."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pytest

from punktfunk.core import FLAG_KEY, FLAG_PICTURE, ClientStream, HostStream, StreamConfig
from punktfunk.errors import InvalidConfigError, SessionClosedError
from tests.support.slices import set_slice, slice_ns, threads_named
from tests.support.waiting import PATIENCE_S, eventually

T = TypeVar("T")
KEY = bytes(range(16))
KEY_FRAME = FLAG_PICTURE | FLAG_KEY
PATIENCE = PATIENCE_S
SHORT_SLICE_NS = 100_000


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with bound() as host, bound() as client:
        host.connect(client.getsockname())
        client.connect(host.getsockname())
        yield host, client


@contextlib.contextmanager
def streams(
    sockets: tuple[socket.socket, socket.socket],
    config: StreamConfig | None = None,
    host: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
) -> Iterator[tuple[HostStream, ClientStream]]:
    config = config or StreamConfig(key=KEY)
    sender = HostStream(config, sockets[0].fileno(), **({"rate_kbps": 100_000} | (host or {})))
    receiver = ClientStream(config, sockets[1].fileno(), **(client or {}))
    try:
        yield sender, receiver
    finally:
        sender.close()
        receiver.close()


def frames_of(client: ClientStream, count: int) -> list[Any]:
    found = []
    while len(found) < count:
        frame = client.next_frame(PATIENCE)
        assert frame is not None, f"{len(found)} of {count} frames in {PATIENCE} s: {client.stats()}"
        found.append(frame)
    return found


@pytest.mark.parametrize("gso", [True, False])
@pytest.mark.parametrize("gro", [True, False])
@pytest.mark.parametrize("key", [KEY, None])
def test_frames_arrive_as_they_were_sent(
    sockets: tuple[socket.socket, socket.socket], gso: bool, gro: bool, key: bytes | None, rng: random.Random
) -> None:
    units = [rng.randbytes(n) for n in (0, 1, 1200, 1201, 41_667, 300_000)]
    with streams(sockets, StreamConfig(key=key), {"gso": gso}, {"gro": gro}) as (host, client):
        for number, unit in enumerate(units):
            assert host.submit(unit, 1_000 + number, KEY_FRAME) == number
            (frame,) = frames_of(client, 1)
            assert bytes(frame) == unit
            assert (frame.index, frame.pts_ns, frame.flags, len(frame)) == (
                number,
                1_000 + number,
                5,
                len(unit),
            )
            assert (frame.key, frame.decodable, frame.gap) == (True, True, 0)
        assert host.flush(PATIENCE)
        host.close()
        sent = host.stats()
        # The last frame was whole before its last packets were read.
        eventually(lambda: client.stats()["packets_received"] >= sent["packets_sent"], "the last packets")
        client.close()
        received = client.stats()
    assert sent["records_dropped"] == received["records_dropped"] == 0
    assert sent["packets_sealed"] == sent["packets_sent"] == received["packets_received"]
    assert received["packets_received"] == received["packets_used"]
    assert received["packets_lost"] == 0
    assert received["frames_complete"] == len(units)
    assert 0 < sent["cpu_ns"] < 5_000_000_000
    assert 0 < received["cpu_ns"] < 5_000_000_000


def test_access_units_are_taken_from_any_contiguous_buffer(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    data = bytes(range(256)) * 20
    array = np.frombuffer(data, np.uint8)
    with streams(sockets) as (host, client):
        for buffer in (data, bytearray(data), memoryview(data), array):
            host.submit(buffer, 0, KEY_FRAME)
            assert bytes(frames_of(client, 1)[0]) == data
        with pytest.raises(BufferError):
            host.submit(array[::2], 0, KEY_FRAME)


def test_a_received_frame_lends_its_bytes_without_a_copy(
    sockets: tuple[socket.socket, socket.socket], rng: random.Random
) -> None:
    unit = rng.randbytes(50_000)
    with streams(sockets) as (host, client):
        host.submit(unit, 0, KEY_FRAME)
        (frame,) = frames_of(client, 1)
    view, again = memoryview(frame), memoryview(frame)
    assert view.readonly
    assert view == unit
    addresses = [np.frombuffer(v, np.uint8).__array_interface__["data"][0] for v in (view, again)]
    assert addresses[0] == addresses[1]
    del frame
    assert view == unit, "a view keeps its frame alive"


def test_stamps_follow_the_frames_way(
    sockets: tuple[socket.socket, socket.socket], rng: random.Random
) -> None:
    with streams(sockets) as (host, client):
        begin = time.monotonic_ns()
        for _ in range(20):
            host.submit(
                rng.randbytes(100_000), 0, KEY_FRAME, captured_ns=begin, encode_end_ns=time.monotonic_ns()
            )
            frames_of(client, 1)
        end = time.monotonic_ns()
        assert host.flush(PATIENCE)
        client.close()
        sent, received = host.take_records(), client.take_records()
    column = lambda table, name: np.frombuffer(table[name], "<i8")  # noqa: E731
    stamps = np.array(
        [column(sent, n) for n in ("captured_ns", "encode_end_ns", "sealed_ns", "sent_first_ns")]
        + [column(received, n) for n in ("recv_last_ns", "complete_ns", "released_ns")]
    )
    assert stamps.shape == (7, 20)
    assert (np.diff(stamps, axis=0) >= 0).all()
    assert stamps.min() == begin
    assert stamps.max() < end
    assert (column(sent, "converted_ns") == -1).all()
    assert (column(sent, "sent_last_ns") >= column(sent, "sent_first_ns")).all()
    assert (column(received, "recv_first_ns") <= column(received, "recv_last_ns")).all()


def test_nobody_listening_is_counted_and_never_raised() -> None:
    with bound() as host, bound() as gone:
        host.connect(gone.getsockname())
        gone.close()
        stream = HostStream(StreamConfig(key=KEY), host.fileno(), rate_kbps=10_000)
        for _ in range(20):
            stream.submit(b"x" * 5000, 0, KEY_FRAME)
            assert stream.flush(PATIENCE)
        stats = stream.stats()
        stream.close()
    assert stats["frames_sent"] == 20
    assert stats["packets_sealed"] == stats["packets_sent"] + stats["packets_socket_dropped"]
    assert stats["socket_refused"] > 0


def test_a_closed_stream_refuses_work_and_keeps_its_books(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    with streams(sockets) as (host, client):
        host.submit(b"last", 0, KEY_FRAME)
        assert host.flush(PATIENCE)
        eventually(lambda: client.stats()["frames_complete"] == 1, "a whole frame")
        for _ in range(2):
            host.close()
            client.close()
        with pytest.raises(SessionClosedError):
            host.submit(b"x", 0, KEY_FRAME)
        assert bytes(frames_of(client, 1)[0]) == b"last", "what was in turn can still be taken"
        with pytest.raises(SessionClosedError):
            client.next_frame(PATIENCE)
        assert host.stats()["frames_sent"] == client.stats()["frames_complete"] == 1
        assert len(host.take_records()["index"]) == len(client.take_records()["index"]) == 8


def test_closing_wakes_a_reader_that_waits(sockets: tuple[socket.socket, socket.socket]) -> None:
    with streams(sockets) as (_, client):
        ended = threading.Event()

        def read() -> None:
            with contextlib.suppress(SessionClosedError):
                client.next_frame(3600)
            ended.set()

        reader = threading.Thread(target=read)
        reader.start()
        client.close()
        assert ended.wait(PATIENCE)
        reader.join()


def test_what_the_pacer_lets_go_has_left_when_submit_returns(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    """Without waking the sending thread, which would cost more than the packets."""
    with streams(sockets, host={"burst_packets": 32, "packets_per_ms": 1, "rate_factor": 0.1}) as (host, _):
        left = []
        for number in range(1, 9):
            host.submit(bytes(3000), number, KEY_FRAME)
            left.append(host.stats()["packets_sent"])
        each = left[0]
        assert each > 0
        assert left == [each * number for number in range(1, 9)]
        assert host.flush(PATIENCE)
        stats = host.stats()
        assert stats["queue_packets"] == 0
        assert 0 < stats["cpu_at_once_ns"] <= stats["cpu_ns"]


def test_submitting_never_waits_for_the_network(sockets: tuple[socket.socket, socket.socket]) -> None:
    """A pacer far below the offered rate drops whole frames; the encoder does not feel it."""
    slow = {"rate_kbps": 1, "packets_per_ms": 1, "burst_packets": 1, "rate_factor": 1.0, "queue_frames": 2}
    with streams(sockets, host=slow) as (host, _):
        begin = time.monotonic()
        for _ in range(50):
            host.submit(b"x" * 100_000, 0, FLAG_PICTURE)
        taken = time.monotonic() - begin
        stats = host.stats()
        assert taken < 2, "50 frames of 101 packets at one packet a ms would take five seconds"
        assert stats["frames_queue_dropped"] >= 46
        assert host.take_recovery_request()
        assert not host.take_recovery_request()
        assert not host.flush(0.0)
        host.close()
        stats = host.stats()
    assert stats["queue_packets"] == 0
    assert stats["packets_sealed"] == stats["packets_sent"] + stats["packets_queue_dropped"]


def test_a_reader_that_does_not_read_costs_bounded_memory(
    sockets: tuple[socket.socket, socket.socket], rng: random.Random
) -> None:
    with streams(sockets, client={"queue_frames": 4}) as (host, client):
        for number in range(30):
            host.submit(rng.randbytes(20_000), 0, KEY_FRAME if number % 10 == 0 else FLAG_PICTURE)
            assert host.flush(PATIENCE)
        eventually(lambda: client.stats()["frames_complete"] == 30, "30 whole frames")
        stats = client.stats()
        assert client.take_recovery_request()
        assert stats["frames_queue_dropped"] >= 10
        assert stats["memory_bytes"] <= 5 * 30_000
        waiting = []
        while (frame := client.next_frame(0.0)) is not None:
            waiting.append(frame)
    assert len(waiting) + stats["frames_queue_dropped"] + stats["frames_undecodable"] == 30
    assert not waiting or waiting[0].key, "nothing is handed out that its reader could not decode"


def test_the_callers_descriptor_stays_its_own(sockets: tuple[socket.socket, socket.socket]) -> None:
    with streams(sockets) as (host, client):
        for sock in sockets:
            sock.close()
        host.submit(b"still here", 0, KEY_FRAME)
        assert bytes(frames_of(client, 1)[0]) == b"still here"


def test_what_is_no_udp_socket_is_refused() -> None:
    config = StreamConfig()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, pytest.raises((OSError, ValueError)):
        HostStream(config, tcp.fileno(), rate_kbps=1000)
    with pytest.raises(OSError, match="descriptor"):
        ClientStream(config, -1)
    with bound() as sock, pytest.raises(InvalidConfigError):
        HostStream(config, sock.fileno(), rate_kbps=1000, burst_packets=0)


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), float("inf")])
def test_a_timeout_that_cannot_be_meant_is_refused(
    sockets: tuple[socket.socket, socket.socket], timeout: float
) -> None:
    with streams(sockets) as (host, client):
        with pytest.raises(ValueError, match="timeout"):
            client.next_frame(timeout)
        with pytest.raises(ValueError, match="timeout"):
            host.flush(timeout)


def test_settling_counts_what_was_lost_at_the_very_end(sockets: tuple[socket.socket, socket.socket]) -> None:
    with streams(sockets) as (host, client):
        host.submit(b"x" * 1000, 0, KEY_FRAME)
        frames_of(client, 1)
        eventually(lambda: client.stats()["packets_received"] == 2, "the recovery packet")
        client.close()
        host.submit(b"x" * 1000, 0, KEY_FRAME)
        assert host.flush(PATIENCE)
        sent = host.stats()
        client.settle(sent["frames_submitted"], sent["packets_sealed"])
        stats = client.stats()
    assert (stats["frames_complete"], stats["frames_unrecoverable"], stats["packets_lost"]) == (1, 1, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scheme": "gf4"},
        {"scheme": "gf8"},
        {"shard_bytes": 1201},
        {"shard_bytes": 9154},
        {"key": bytes(16)},
        {"max_block_shards": 0},
        {"max_frame_bytes": 0},
        {"loss_window_frames": 0},
    ],
)
def test_parameters_outside_the_wires_limits_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfigError):
        StreamConfig(**wrong)
    with pytest.raises(ValueError, match="key must have 16 bytes"):
        StreamConfig(key=b"short")


@pytest.mark.root
def test_threads_become_real_time_when_asked_and_allowed(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    for realtime in (False, True):
        with streams(sockets, host={"realtime": realtime}, client={"realtime": realtime}) as (host, client):
            host.submit(b"x", 0, KEY_FRAME)
            frames_of(client, 1)
            if realtime:
                # The first frame needs no thread: the one that submits has sent it.
                eventually(
                    lambda: host.stats()["realtime"] == client.stats()["realtime"] == 1, "both threads"
                )
                assert host.stats()["slice_ns"] == client.stats()["slice_ns"] == 0
            else:
                assert host.stats()["realtime"] == client.stats()["realtime"] == 0


def test_threads_that_are_not_real_time_get_short_slices_where_the_kernel_keeps_slices(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    kept = SHORT_SLICE_NS if kernel_keeps_slices() else 0
    before = slice_ns(0)
    with streams(sockets) as (host, client):
        host.submit(b"x", 0, KEY_FRAME)
        frames_of(client, 1)
        eventually(lambda: host.stats()["slice_ns"] == kept == client.stats()["slice_ns"], "both threads")
        if kept:
            [sending], [receiving] = threads_named("pf-send"), threads_named("pf-recv")
            assert slice_ns(sending) == slice_ns(receiving) == kept
        assert slice_ns(0) == before, "no other thread's changes"


def test_where_real_time_is_refused_slices_are_short(sockets: tuple[socket.socket, socket.socket]) -> None:
    kept = SHORT_SLICE_NS if kernel_keeps_slices() else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, hard))
    try:
        refused = stats_of(sockets, lambda: drop_effective_capability(CAP_SYS_NICE), realtime=True)
    finally:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (soft, hard))
    assert [(stats["realtime"], stats["slice_ns"]) for stats in refused] == [(0, kept)] * 2


def test_a_thread_whose_slice_the_kernel_does_not_keep_says_so(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    """SCHED_IDLE stands for kernels before 6.12: both take the request and ignore it."""
    ignored = stats_of(sockets, lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)))
    assert [(stats["realtime"], stats["slice_ns"]) for stats in ignored] == [(0, 0)] * 2


def stats_of(
    sockets: tuple[socket.socket, socket.socket], prepare: Callable[[], None], **options: bool
) -> list[dict[str, int]]:
    """Return what host and client count whose threads are started by one that was prepared."""

    def count() -> list[dict[str, int]]:
        prepare()
        with streams(sockets, host=options, client=options) as (host, client):
            host.submit(b"x", 0, KEY_FRAME)
            frames_of(client, 1)
            for stream in (host, client):
                stream.close()
            return [host.stats(), client.stats()]

    return in_a_thread(count)


def kernel_keeps_slices() -> bool:
    """Return whether a thread of this process can have a slice of its own, by another value than the core's."""

    def ask() -> int:
        set_slice(0, SHORT_SLICE_NS * 3)
        return slice_ns(0)

    return in_a_thread(ask) == SHORT_SLICE_NS * 3


def in_a_thread(work: Callable[[], T]) -> T:
    """Return what the work returns on a thread of its own, which keeps what it does to itself."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


CAP_SYS_NICE = 23
_CAPABILITIES_VERSION = 0x20080522


def drop_effective_capability(number: int) -> None:
    """Take a capability from the calling thread, where it has it."""
    library = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _CAPABILITIES_VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    assert library.capget(header, sets) == 0
    effective, *others = struct.unpack("6I", sets.raw)
    assert library.capset(header, struct.pack("6I", effective & ~(1 << number), *others)) == 0
