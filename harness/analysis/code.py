"""How a wire cuts and protects frames, as far as theory has to know it.

Stated anew on purpose, as all of theory: it judges the core and asks it nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from harness.analysis import theory
from harness.analysis.theory import Blocks
from punktfunk.errors import UsageError

_SHORT_HEADER_BYTES: Final = 8
"""In front of every frame of GameStream (gamestream section 7.4)."""
_MAX_PROTECTED, _MAX_BLOCKS, _MAX_BLOCK = 255, 4, 1023
"""Shards of a protected block, blocks of a frame, data shards of an unprotected block (gamestream section 7.3)."""


@lru_cache(maxsize=65536)
def gamestream_blocks(frame_bytes: int, payload_bytes: int, fec_percent: int, min_recovery: int) -> Blocks:
    """Return the blocks ``(k, m)`` of an access unit in GameStream's packets (gamestream section 7.3).

    ``payload_bytes`` of the frame lie in a packet; ``min_recovery``, at most 2, is what the client wants of a block.
    """
    packets = -(-(_SHORT_HEADER_BYTES + frame_bytes) // payload_bytes)
    if frame_bytes < 0 or not 0 <= fec_percent <= 255 or packets > _MAX_BLOCKS * _MAX_BLOCK:
        raise UsageError(f"no packets of GameStream for {frame_bytes} bytes with {fec_percent} %")
    count = -(-packets // (_MAX_PROTECTED * 100 // (100 + fec_percent)))
    if count > _MAX_BLOCKS:
        count, fec_percent = _MAX_BLOCKS, 0
    size = -(-packets // count)
    sizes = [min(size, packets - first) for first in range(0, packets, size)]
    if fec_percent == 0:
        return tuple((k, 0) for k in sizes)
    return tuple((k, max(min_recovery, -(-k * fec_percent // 100))) for k in sizes)


@dataclass(frozen=True, slots=True)
class Code:
    """Sizes and protection of a stream's packets; with ``min_recovery`` GameStream's, else those of punktfunk/1."""

    shard_bytes: int
    """Bytes of the frame in a data packet."""
    block_shards: int
    """Data shards of a block at most."""
    fec_percent: int
    min_recovery: int | None = None
    """Fewest recovery packets of a block that GameStream's client asks for."""

    @classmethod
    def gamestream(cls, packet_size: int, fec_percent: int, min_recovery: int = 2) -> Self:
        """Return that of a GameStream of packets of this announced size (gamestream section 7.1)."""
        return cls(packet_size - 16, _MAX_BLOCK, fec_percent, min_recovery)

    @classmethod
    def of(cls, found: Mapping[str, float]) -> Self:
        """Return what :meth:`numbers` made these numbers of."""
        least = found.get("min_recovery")
        return cls(
            int(found["shard_bytes"]),
            int(found["block_shards"]),
            int(found["fec_percent"]),
            None if least is None else int(least),
        )

    def numbers(self) -> dict[str, float]:
        """Return it as a result keeps it."""
        numbers: dict[str, float] = {
            "shard_bytes": self.shard_bytes,
            "block_shards": self.block_shards,
            "fec_percent": self.fec_percent,
        }
        return numbers if self.min_recovery is None else {**numbers, "min_recovery": self.min_recovery}

    def blocks(self, frame_bytes: int) -> Blocks:
        """Return the blocks ``(k, m)`` of an access unit, in the order in which they leave."""
        if self.min_recovery is None:
            return theory.geometry(frame_bytes, self.shard_bytes, self.block_shards, self.fec_percent)
        return gamestream_blocks(frame_bytes, self.shard_bytes, self.fec_percent, self.min_recovery)
