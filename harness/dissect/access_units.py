"""Every frame of a captured stream, put together: its access units, and whether its recovery packets are right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from harness.dissect.reading import Row
from harness.dissect.rebuild import FramePackets
from harness.dissect.streams import Stream

MAX_KEPT_BYTES: Final = 256 << 20
"""Of a capture's packets of video: some minutes of a stream of 10 Mbit/s. Later ones are counted, not kept."""
MAX_FEC_BYTES: Final = 4 << 30
"""Of the shards of all blocks that FEC is asked about, four seconds of CPU time. A stream has little more than what is
kept of it; a packet of a few bytes may say that its block has 80 MB."""


@dataclass(slots=True)
class Rebuilt:
    """What a stream's packets give."""

    units: dict[int, bytes] = field(default_factory=dict)
    """Whole access units by their frames' numbers, in that order."""
    agreeing: int = 0
    """Recovery packets that are what FEC makes of the data."""
    contradicting: int = 0
    """Recovery packets that are not."""
    left_out: int = 0
    """Frames beyond :data:`MAX_FEC_BYTES`."""


class VideoPackets:
    """Packets of all video streams, kept while a capture is read."""

    def __init__(self) -> None:
        self._frames: dict[tuple[int, int], FramePackets] = {}
        self._kept = 0
        self.left_out = 0
        """Packets beyond :data:`MAX_KEPT_BYTES`."""

    def see(self, row: Row) -> None:
        """Keep a row that is a readable packet of video."""
        video = row.video
        if video is None or video.frame is None or video.plain is None:
            return
        if self._kept + row.size > MAX_KEPT_BYTES:
            self.left_out += 1
            return
        self._kept += row.size
        place = (row.stream.number, video.frame)
        if place not in self._frames:
            self._frames[place] = FramePackets(*place)
        self._frames[place].see(row)

    def rebuild(self, stream: Stream) -> Rebuilt:
        """Put the frames of a stream together, by the core's FEC where data is missing."""
        found, worked = Rebuilt(), 0
        for place in sorted(place for place in self._frames if place[0] == stream.number):
            packets = self._frames[place]
            worked += _fec_bytes(stream, place[1])
            if worked > MAX_FEC_BYTES:
                found.left_out += 1
                continue
            blocks = packets.blocks(stream)
            found.agreeing += sum(block.agreeing for block in blocks.values())
            found.contradicting += sum(block.contradicting for block in blocks.values())
            unit = packets.access_unit(stream, blocks)
            if unit is not None:
                found.units[place[1]] = unit
        return found


def _fec_bytes(stream: Stream, frame: int) -> int:
    """Return the bytes of all shards of a frame's blocks, those that FEC makes to compare them included."""
    blocks = stream.frames[frame].found.values() if frame in stream.frames else ()
    return sum(block.k + block.m for block in blocks if len(block.came) >= block.k) * stream.shard_bytes
