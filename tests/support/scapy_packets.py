"""Packets of punktfunk/1 for scapy, which takes a fifth of a second of CPU to load: import this where one is made."""

from __future__ import annotations

from scapy.fields import ByteField, LEIntField, LELongField, LEShortField
from scapy.packet import Packet


class Header(Packet):  # type: ignore[misc]  # scapy has no types
    """The plain punktfunk/1 header (section 4.4)."""

    name = "punktfunk/1"
    fields_desc = (
        LELongField("pts_ns", 0),
        LEIntField("frame_index", 0),
        LEIntField("stream_seq", 0),
        LEIntField("frame_bytes", 0),
        LEIntField("user_flags", 5),
        LEShortField("block_index", 0),
        LEShortField("block_count", 1),
        LEShortField("k", 1),
        LEShortField("m", 0),
        LEShortField("shard_index", 0),
        LEShortField("shard_bytes", 200),
        ByteField("magic", 0xC9),
        ByteField("version", 1),
        ByteField("scheme", 1),
        ByteField("flags", 1),
    )
