"""How frames leave over GameStream: the core packetizes, protects, encrypts and paces them in a thread of its own."""

from __future__ import annotations

import os
import socket
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.clock import monotonic_ns
from punktfunk.core._core import FLAG_KEY, FLAG_PICTURE, GameStreamConfig, HostStream
from punktfunk.host.gamestream.traffic_class import mark_traffic
from punktfunk.host.stream.core_sender import CoreSender
from punktfunk.host.stream.spec import StreamSpec, Transport
from punktfunk.media import AccessUnit

SENDER = f"{__name__}:GameStreamSender"
"""The factory, as a stream names it."""

_MAX_PERCENT = 255
"""What the header of a packet can say (gamestream section 7.2)."""
_HEADER_BYTES, _NV_HEADER_BYTES = 8, 16
"""In front of a frame, and of what a packet has of it (gamestream sections 7.1 and 7.4)."""
_MAX_BLOCKS, _MAX_SHARDS = 4, 255
"""Of a frame that is protected, and of each of them (gamestream section 7.3)."""


class GameStreamTransport(BaseModel):
    """What a client announced and the host took on; ``key`` (none: not encrypted) is hex."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    packet_size: int
    """As announced, exactly (gamestream section 7.1): of an encrypted stream the client has taken 32 off already."""
    min_fec: int = Field(default=2, ge=0, le=255)
    """``minRequiredFecPackets``."""
    codec: Literal["h264", "hevc", "av1"]
    key: str = Field(default="", repr=False)
    """The session's ``rikey`` where video is encrypted."""
    dscp: int = Field(default=0, ge=0, le=63)
    """Traffic class of the packets, where the client wants one (gamestream section 7.9): 40 is usual for video."""

    def transport(self) -> Transport:
        """Return it as a stream carries it."""
        return Transport(sender=SENDER, values=self.model_dump())


class GameStreamSender(CoreSender):
    """A :class:`~punktfunk.host.stream.sender.Sender` around the core's stream, whose frames count from 1.

    The descriptor is a UDP socket, bound to the port that the client pings and connected to where its pings come from.
    """

    def __init__(self, spec: StreamSpec, descriptor: int) -> None:
        self._agreed = GameStreamTransport.model_validate(spec.transport.values)
        self._clock = spec.clock
        self._asked = self._fec_percent = self._in_core = min(spec.fec_percent, _MAX_PERCENT)
        # RTP timestamps begin near 0 and wrap after 13 hours, not whenever the wall clock says so.
        self._origin_ns = self._clock.to_wire(monotonic_ns())
        if self._agreed.dscp:
            with socket.socket(fileno=os.dup(descriptor)) as held:
                mark_traffic(held, self._agreed.dscp)
        self._stream = HostStream(
            GameStreamConfig(
                packet_size=self._agreed.packet_size,
                fec_percent=self._fec_percent,
                min_fec=self._agreed.min_fec,
                key=bytes.fromhex(self._agreed.key) if self._agreed.key else None,
                codec=self._agreed.codec,
                origin_ns=self._origin_ns,
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
    def fec_percent(self) -> int:
        """What pictures are protected with; small ones with more, large ones with nothing (gamestream section 7.3)."""
        return self._fec_percent

    def submit(self, unit: AccessUnit) -> int:
        """Hand an access unit to the core's thread; return its frame index, from 1.

        A picture that is too large for a raised percentage goes with the one that was asked for, if that is less:
        it would go without any protection (gamestream section 7.3).
        """
        percent = self._fec_percent
        if not self._fits(len(unit.data), percent):
            percent = min(percent, self._asked)
        if percent != self._in_core:
            self._in_core = percent
            self._stream.set_fec_percent(percent)
        return self._submit(
            unit, self._clock.to_wire(unit.pts_ns), FLAG_PICTURE | (FLAG_KEY if unit.key else 0)
        )

    def set_fec_percent(self, percent: int) -> None:
        """Protect the next pictures with so much, at most 255 %."""
        self._fec_percent = min(percent, _MAX_PERCENT)

    def _fits(self, picture_bytes: int, percent: int) -> bool:
        """Whether a picture is protected with so much (gamestream section 7.3)."""
        packets = -(-(_HEADER_BYTES + picture_bytes) // (self._agreed.packet_size - _NV_HEADER_BYTES))
        return packets <= _MAX_BLOCKS * (_MAX_SHARDS * 100 // (100 + percent))

    def describe(self) -> dict[str, Any]:
        """Return packet size, codec, whether packets are encrypted, and the pts that has RTP timestamp 0."""
        return {
            "packet_size": self._agreed.packet_size,
            "min_fec": self._agreed.min_fec,
            "codec": self._agreed.codec,
            "encrypted": bool(self._agreed.key),
            "rtp_origin_ns": self._origin_ns,
        }
