"""One frame of a capture, put together: by its data where that came, by the core's FEC where it did not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from harness.dissect import gamestream
from harness.dissect.fields import picker
from harness.dissect.frames import Block
from harness.dissect.reading import Row
from harness.dissect.streams import Stream
from punktfunk.core import FecScheme, fec_decode, fec_encode
from punktfunk.errors import FecError

MAX_KEPT_BYTES: Final = 128 << 20
"""Of a frame's packets; an access unit has 64 MiB at most."""
_HEADER: Final = 40
"""Of punktfunk/1; what is behind it is the shard. On GameStream the shard is the whole packet."""
_short = picker(gamestream.ShortHeader, "type", "last_bytes")


@dataclass(slots=True)
class BlockFound:
    """What could be made of a block."""

    block: Block
    rebuilt: list[int] = field(default_factory=list)
    """Data shards that the core's FEC gave."""
    agreeing: int = 0
    """Recovery shards that are what FEC makes of the data."""
    contradicting: int = 0
    """Recovery shards that are not."""
    data: list[bytes] = field(default_factory=list)
    """All data shards; empty where they cannot be had."""
    why: str = ""
    """Why nothing was made of it: the core's FEC refused, or it would have been too much."""


class FramePackets:
    """Packets of one frame of one stream, kept while a capture is read."""

    def __init__(self, stream: int, frame: int) -> None:
        self.rows: list[Row] = []
        self._stream, self.frame = stream, frame
        self._shards: dict[tuple[int, int], bytes] = {}
        self._kept = 0

    def see(self, row: Row) -> None:
        """Keep a row, and its shard, where they are of the frame."""
        video = row.video
        if video is None or row.stream.number != self._stream or video.frame != self.frame:
            return
        self._kept += row.size
        if self._kept > MAX_KEPT_BYTES:
            return
        self.rows.append(row)
        if video.shard is not None and video.plain is not None:
            self._shards.setdefault((video.shard.block, video.shard.index), video.plain)

    def blocks(self, stream: Stream) -> dict[int, BlockFound]:
        """Return what can be made of each block of which something came."""
        frame = stream.frames.get(self.frame)
        return (
            {}
            if frame is None
            else {at: self._block(stream, at, block) for at, block in sorted(frame.found.items())}
        )

    def _block(self, stream: Stream, at: int, block: Block) -> BlockFound:
        found = BlockFound(block)
        begins = 0 if stream.is_gamestream else _HEADER
        end = begins + stream.shard_bytes
        came = {
            index: plain[begins:end]
            for (of, index), plain in self._shards.items()
            if of == at and index in block.came and len(plain) >= end
        }
        if len(came) < block.k:
            return found
        if (block.k + block.m) * stream.shard_bytes > MAX_KEPT_BYTES:
            # A packet of a few bytes may say that there are 65,534 recovery shards, which FEC would all make.
            found.why = f"its {block.k + block.m:,} shards would have more than {MAX_KEPT_BYTES >> 20} MiB"
            return found
        scheme: FecScheme = "gf16" if stream.scheme and not stream.is_gamestream else "gf8"
        try:
            given = fec_decode(scheme, block.k, block.m, came) if block.m else {}
            data = [came[index] if index in came else given[index] for index in range(block.k)]
            recovery = fec_encode(scheme, data, block.m) if block.m else []
        except (FecError, KeyError) as error:
            found.why = str(error)
            return found
        found.rebuilt, found.data = sorted(given), data
        # The head of a GameStream packet is written after the code ran, in part.
        head = gamestream.VIDEO_HEADER_BYTES if stream.is_gamestream else 0
        for index in range(block.k, block.k + block.m):
            if index in came:
                same = came[index][head:] == recovery[index - block.k][head:]
                found.agreeing += same
                found.contradicting += not same
        return found

    def access_unit(self, stream: Stream, blocks: dict[int, BlockFound]) -> bytes | None:
        """Return the access unit; None where a part of it is missing."""
        frame = stream.frames.get(self.frame)
        if frame is None or len(blocks) < frame.blocks or not all(found.data for found in blocks.values()):
            return None
        shards = [shard for _at, found in sorted(blocks.items()) for shard in found.data]
        if not stream.is_gamestream:
            whole = b"".join(shards)[: frame.frame_bytes]
            return whole if len(whole) == frame.frame_bytes else None
        parts = [shard[gamestream.VIDEO_HEADER_BYTES :] for shard in shards]
        kind, last = _short(parts[0].ljust(8, b"\0"))
        if kind == 1 and 0 < last <= len(parts[-1]):
            parts[-1] = parts[-1][:last]
        return b"".join(parts)[8:]


def fingerprint(access_unit: bytes) -> str:
    """Return the first digits of an access unit's SHA-256, by which two readings of it can be compared."""
    return hashlib.sha256(access_unit).hexdigest()[:16]
