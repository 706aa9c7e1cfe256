"""How frames leave over punktfunk/1: the core packetizes, protects, seals and paces them in a thread of its own."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.clock import monotonic_ns
from punktfunk.core._core import FLAG_KEY, FLAG_PICTURE, FLAG_PROBE, HostStream, StreamConfig
from punktfunk.host.stream.core_sender import CoreSender
from punktfunk.host.stream.spec import StreamSpec, Transport
from punktfunk.media import AccessUnit
from punktfunk.native.control import fec_percent_within

SENDER = f"{__name__}:NativeSender"
"""The factory, as a stream names it."""


class NativeTransport(BaseModel):
    """What both ends of a stream agreed on in Welcome; ``key`` (none: not encrypted) and ``salt`` are hex."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    key: str = Field(repr=False)
    salt: str = Field(repr=False)
    fec_scheme: Literal["gf8", "gf16"]
    max_block_shards: int
    shard_bytes: int

    def transport(self) -> Transport:
        """Return it as a stream carries it."""
        return Transport(sender=SENDER, values=self.model_dump())


class NativeSender(CoreSender):
    """A :class:`~punktfunk.host.stream.sender.Sender` around the core's stream."""

    def __init__(self, spec: StreamSpec, descriptor: int) -> None:
        self._agreed = NativeTransport.model_validate(spec.transport.values)
        self._clock = spec.clock
        self._welcome_percent = self._wanted = self._used = self._in_core = spec.fec_percent
        self._stream = HostStream(
            StreamConfig(
                scheme=self._agreed.fec_scheme,
                fec_percent=spec.fec_percent,
                max_block_shards=self._agreed.max_block_shards,
                shard_bytes=self._agreed.shard_bytes,
                key=bytes.fromhex(self._agreed.key) if self._agreed.key else None,
                salt=bytes.fromhex(self._agreed.salt),
            ),
            descriptor,
            rate_kbps=spec.rate_kbps,
            queue_frames=spec.queue_frames,
            burst_packets=spec.pacing.burst_packets,
            packets_per_ms=spec.pacing.packets_per_ms,
            rate_factor=spec.pacing.rate_factor,
            gso=spec.send.gso,
            send_buffer_bytes=spec.send.send_buffer_bytes,
            # The figures of each second are made from the records too, so they are always kept.
            record_frames=True,
            realtime=spec.send.realtime,
        )

    @property
    def payload_bytes(self) -> int:
        """Bytes of a shard."""
        return self._agreed.shard_bytes

    @property
    def fec_percent(self) -> int:
        """What the last picture was protected with, or the first one will be."""
        return self._used

    def submit(self, unit: AccessUnit) -> int:
        """Hand an access unit to the core's thread; return its frame index."""
        # Blocks that old receivers would refuse go out as Welcome said (punktfunk/1 section 2.6 point 4).
        shards = math.ceil(len(unit.data) / self._agreed.shard_bytes)
        self._used = fec_percent_within(
            self._wanted, shards, self._welcome_percent, self._agreed.max_block_shards
        )
        self._protect(self._used)
        return self._submit(
            unit, self._clock.to_wire(unit.pts_ns), FLAG_PICTURE | (FLAG_KEY if unit.key else 0)
        )

    def fill(self, data: bytes | memoryview) -> None:
        """Send filler of a bandwidth probe (section 2.4)."""
        self._protect(0)
        self._stream.submit(data, self._clock.to_wire(monotonic_ns()), FLAG_PROBE)

    def set_fec_percent(self, percent: int) -> None:
        """Protect the next pictures with so much, within what old receivers take."""
        self._wanted = percent

    def describe(self) -> dict[str, Any]:
        """Return scheme, block and shard sizes, and whether packets are sealed."""
        return {
            "fec_scheme": self._agreed.fec_scheme,
            "max_block_shards": self._agreed.max_block_shards,
            "shard_bytes": self._agreed.shard_bytes,
            "encrypted": bool(self._agreed.key),
        }

    def _protect(self, percent: int) -> None:
        if percent != self._in_core:
            self._in_core = percent
            self._stream.set_fec_percent(percent)
