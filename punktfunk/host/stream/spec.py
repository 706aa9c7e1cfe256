"""What a stream is made of, whatever the wire: one description, made where it is agreed on and read by the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.clock import SessionClock
from punktfunk.host.stream.sources import WorkerSource
from punktfunk.media import EncoderConfig


class Pacing(BaseModel):
    """How packets of a frame leave: a burst at once, then at max(``packets_per_ms``, factor × rate)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    burst_packets: int = Field(default=32, ge=1, le=65535)
    packets_per_ms: int = Field(default=100, ge=1, le=100_000)
    rate_factor: float = Field(default=1.25, ge=1.0, le=100.0)


class SendOptions(BaseModel):
    """How packets go to the kernel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gso: bool = True
    send_buffer_bytes: int
    realtime: bool = True
    """Let the thread that sends go before all normal ones (SCHED_FIFO), where this process may."""


class StreamLimits(BaseModel):
    """Where a stream ends by itself, and what its client may ask for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int | None = None
    seconds: float | None = None
    probe_kbps: int = 0
    """Highest rate of a bandwidth probe; 0 refuses them."""


class RecordOptions(BaseModel):
    """What a worker leaves behind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    frames: bool = True
    """Leave the record of every frame too, beside the counters."""


class Transport(BaseModel):
    """How frames leave for the client: by which sender, and what only that one understands."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    sender: str
    """Factory of a :class:`~punktfunk.host.stream.sender.Sender` as ``module:function``. The worker opens it only if it
    is among those that it was started with."""
    values: dict[str, Any] = Field(default_factory=dict, repr=False)
    """JSON values, keys of the session among them: not in ``repr``, nor in what validation says."""


class StreamSpec(BaseModel):
    """Everything that a stream worker has to know before it is given the client's socket."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source: WorkerSource
    encoder: EncoderConfig
    left_alone: tuple[str, ...] = ()
    """Of encoders that would come first, and are suspect: why, in words. For the host, which tells people."""
    separate_cursor: bool = False
    """Report the pointer beside the pictures, where the source can, in place of painting it."""
    transport: Transport
    rate_kbps: int
    """What is encoded and paced for at first."""
    fec_percent: int
    """Recovery packets, percent of data packets, at first."""
    pacing: Pacing = Pacing()
    queue_frames: int
    """Frames that wait for the network at most; the newest replaces them."""
    send: SendOptions
    clock: SessionClock
    limits: StreamLimits = StreamLimits()
    records: RecordOptions | None = None
