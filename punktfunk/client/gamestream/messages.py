"""The messages between the GameStream client's control process and its receive worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from punktfunk.client.messages import Drain, Ended, Failed, NeedKeyframe, Progress, Ready, Up
from punktfunk.media.sound import SoundFormat
from punktfunk.units import Mode


@dataclass(frozen=True, slots=True)
class Receive:
    """Receive a stream on two connected UDP sockets whose descriptors come along: video, sound.

    ``key`` is hex and stays out of ``repr``; it is used where ``encrypted_video`` or ``encrypted_sound`` say so.
    ``codec`` is ``None`` where nothing is to be decoded.
    """

    key: str = field(repr=False)
    key_id: int
    encrypted_video: bool
    encrypted_sound: bool
    video_ping: str
    """Payload of the pings, which are text."""
    sound_ping: str
    packet_bytes: int
    codec: Literal["h264", "hevc", "av1"]
    decode: bool
    mode: Mode
    hold_undecodable: bool
    queue_frames: int
    receive_buffer_bytes: int
    sound: SoundFormat
    read_marker: bool
    reference: dict[str, Any] | None
    reference_every: int
    recovery: bool
    artefacts: str | None
    record_frames: bool
    out: str | None


@dataclass(frozen=True, slots=True)
class PingVideo:
    """The control connection is up: from now on the host may send video, to where it is pinged from."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What the control connection measures: an IDR frame can be here after one, so nobody waits much longer for it."""

    nanoseconds: int


@dataclass(frozen=True, slots=True)
class BlocksDamaged:
    """Worker: what came of blocks that FEC rebuilt or that were lost, for the host to know (gamestream section 8.3).

    Each is a list of the fields of :class:`~punktfunk.gamestream.control.FecStatus`.
    """

    blocks: list[list[int]]


COUNTERS = (
    "pictures",
    "pictures_concealed",
    "decode_errors",
    "strips_read",
    "strips_unreadable",
    "recovery_requests",
    "blocks_reported",
    "bytes_received",
    "pings_sent",
)
"""What a worker counts beside its streams; see :mod:`punktfunk.client.gamestream.worker`."""

Order = Receive | PingVideo | RoundTrip | Drain
"""What the control process tells its worker."""

Notice = Up | Ready | NeedKeyframe | BlocksDamaged | Progress | Ended | Failed
"""What the worker tells."""

VOCABULARY: tuple[type[Order | Notice], ...] = (*get_args(Order), *get_args(Notice))
