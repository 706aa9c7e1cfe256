"""The messages between a client's control process and its receive worker.

What is done in the window travels as the :class:`punktfunk.input.InputEvent` that it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from punktfunk.cursor import PackedShape
from punktfunk.input import InputEvent
from punktfunk.units import Mode


@dataclass(frozen=True, slots=True)
class Receive:
    """Receive a stream on the connected UDP socket whose descriptor comes along.

    ``frames`` > 0 asks for verification of that many test frames; ``codec`` is ``None`` where nothing is to
    be decoded. ``key`` and ``salt`` are hex and stay out of ``repr``.
    """

    key: str = field(repr=False)
    salt: str = field(repr=False)
    fec_scheme: str
    fec_percent: int
    max_block_shards: int
    shard_bytes: int
    hold_undecodable: bool
    reorder_window_ns: int
    loss_window_ns: int
    queue_frames: int
    gro: bool
    receive_buffer_bytes: int
    frames: int
    codec: str | None
    mode: Mode
    read_marker: bool
    title: str | None
    """Title of the window to show pictures in; None opens none."""
    reference: dict[str, Any] | None
    reference_every: int
    recovery: bool
    loss_reports: bool
    artefacts: str | None
    record_frames: bool
    out: str | None
    clock_offset_ns: int
    clock_error_ns: int


@dataclass(frozen=True, slots=True)
class HostClock:
    """The host's pts clock against this machine's: host = local + offset, wrong by at most ``error_ns``."""

    offset_ns: int
    error_ns: int
    rtt_ns: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The control connection is over: take what is still on the way, then end.

    ``end`` is an :class:`~punktfunk.client.ending.End`, ``reason`` the same in words.
    """

    reason: str
    end: str


@dataclass(frozen=True, slots=True)
class CursorShaped:
    """The host has told the shape of its pointer that has this serial."""

    serial: int
    shape: PackedShape


@dataclass(frozen=True, slots=True)
class CursorMoved:
    """The host has told where its pointer is: the fields of :class:`punktfunk.native.datagrams.CursorState`."""

    serial: int
    flags: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Up:
    """Worker: started, everything imported, waiting for :class:`Receive`."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker: the socket is being read."""

    receive_buffer_bytes: int


@dataclass(frozen=True, slots=True)
class NeedKeyframe:
    """Worker: a frame is lost and decoding cannot go on."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Worker: loss over the last 750 ms, parts per million."""

    ppm: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Worker: the last second and all counters so far.

    ``latency_us`` is capture to complete access unit, p50, p95 and largest of the last second, ``None`` when
    no frame came or the clocks are not known; each is wrong by at most ``latency_error_us``, below zero too.
    Counter keys are those of ``ClientStream.stats`` and of :data:`COUNTERS`. ``last_packet_ns`` (CLOCK_MONOTONIC)
    is ``None`` before the first packet.
    """

    counters: dict[str, int]
    frames: int
    bytes: int
    latency_us: list[int] | None
    last_packet_ns: int | None
    latency_error_us: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """Worker: the end, an :class:`~punktfunk.client.ending.End` and the same in words.

    ``counters`` leaves out what is not known of loss; ``at_least`` has those as far as they were seen.
    """

    end: str
    reason: str
    counters: dict[str, int]
    at_least: dict[str, int]
    last_packet_ns: int | None
    silent_ns: int
    """Time without a packet before the end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker: the stream cannot be received on."""

    code: str
    cause: str
    hint: str


COUNTERS = (
    "test_frames_intact",
    "test_frames_mismatched",
    "pictures",
    "pictures_concealed",
    "decode_errors",
    "pictures_presented",
    "strips_read",
    "strips_unreadable",
    "recovery_requests",
    "bytes_received",
    "probe_frames",
)
"""What a worker counts beside its stream; see :mod:`punktfunk.client.worker`."""

CursorOrder = CursorShaped | CursorMoved
"""What the control process tells the window of the pointer."""

Order = Receive | HostClock | Drain | CursorOrder
"""What the control process tells its worker."""

Notice = Up | Ready | NeedKeyframe | Loss | InputEvent | Progress | Ended | Failed
"""What the worker tells."""

VOCABULARY: tuple[type[Order | Notice], ...] = (*get_args(Order), *get_args(Notice))
