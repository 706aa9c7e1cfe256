"""What came of each frame, from packet headers alone: which shards, which twice, what FEC could rebuild.

This is a reading of its own. It shares no code with the receiver, so that a counter that lies there is found here;
what it does not know is a receiver's patience (which frames were given up before their last shard came), and it says
so where that matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_FRAMES: Final = 1 << 17
"""Of a stream; 36 minutes at 60 a second. Later ones are counted, not taken apart."""
MAX_BLOCK_SHARDS: Final = 65_535
"""Of a block, by the widest field of either wire."""
_BEGINS_WITHIN: Final = 4096
"""A capture whose first number is below this one shows the stream from its beginning: what is missing was lost."""


class Outcome(StrEnum):
    """What a packet brought to its frame."""

    USED = "used"
    WHOLE = "makes its block whole"
    SURPLUS = "its block was whole"
    TWICE = "twice"
    CONTRADICTS = "contradicts its block"


@dataclass(frozen=True, slots=True)
class Shard:
    """The place of a packet in its frame, and what it says of the frame."""

    frame: int
    block: int
    blocks: int
    index: int
    k: int
    m: int
    frame_bytes: int | None = None
    """Length of the access unit, on a wire that says it."""
    key: bool | None = None
    """Whether the frame stands on its own; None where this packet does not say."""

    @property
    def is_data(self) -> bool:
        """Whether it is a part of the access unit, not recovery."""
        return self.index < self.k

    @property
    def possible(self) -> bool:
        """Whether a block can have such a shard at all."""
        return (
            0 < self.k <= self.k + self.m <= MAX_BLOCK_SHARDS
            and self.index < self.k + self.m
            and self.block < self.blocks
        )


@dataclass(slots=True)
class Block:
    """One block of a frame."""

    k: int
    m: int
    came: dict[int, int] = field(default_factory=dict)
    """Shards that came, by their index, with the time of their first coming."""
    again: dict[int, int] = field(default_factory=dict)
    """How often each came again."""
    surplus: set[int] = field(default_factory=set)
    """Those that came when there were k already."""
    rebuilt: int = 0
    """Data shards that FEC had to rebuild, once there were k shards."""
    whole_ns: int | None = None
    """When the k-th shard came."""

    @property
    def data(self) -> int:
        """How many data shards came."""
        return sum(index < self.k for index in self.came)

    @property
    def recovery(self) -> int:
        """How many recovery shards came."""
        return len(self.came) - self.data

    @property
    def whole(self) -> bool:
        """Whether there are k shards, from which all data can be rebuilt."""
        return self.whole_ns is not None

    @property
    def missing(self) -> int:
        """Data shards that neither came in time for FEC nor were rebuilt by it."""
        return 0 if self.whole else self.k - self.data

    def lost(self) -> list[int]:
        """Return the shards that did not come."""
        return [index for index in range(self.k + self.m) if index not in self.came]


@dataclass(slots=True)
class Frame:
    """One frame."""

    number: int
    blocks: int
    """Blocks that it is said to have."""
    frame_bytes: int | None = None
    key: bool | None = None
    first_ns: int = 0
    last_ns: int = 0
    packets: int = 0
    twice: int = 0
    found: dict[int, Block] = field(default_factory=dict)
    """Blocks of which something came."""

    def add(self, shard: Shard, time_ns: int) -> Outcome:
        """Take a packet of this frame."""
        if not self.packets:
            self.first_ns = time_ns
        self.packets += 1
        self.last_ns = max(self.last_ns, time_ns)
        self.key = shard.key if self.key is None else self.key
        if (shard.blocks, shard.frame_bytes) != (self.blocks, self.frame_bytes):
            return Outcome.CONTRADICTS
        block = self.found.setdefault(shard.block, Block(shard.k, shard.m))
        if (block.k, block.m) != (shard.k, shard.m):
            return Outcome.CONTRADICTS
        if shard.index in block.came:
            block.again[shard.index] = block.again.get(shard.index, 0) + 1
            self.twice += 1
            return Outcome.TWICE
        block.came[shard.index] = time_ns
        if block.whole:
            block.surplus.add(shard.index)
            return Outcome.SURPLUS
        if len(block.came) < block.k:
            return Outcome.USED
        block.whole_ns = time_ns
        block.rebuilt = block.k - block.data
        return Outcome.WHOLE

    @property
    def whole(self) -> bool:
        """Whether every block can be had, by its data or by FEC."""
        return len(self.found) == self.blocks and all(block.whole for block in self.found.values())

    @property
    def k(self) -> int:
        """Data shards of the blocks that were seen."""
        return sum(block.k for block in self.found.values())

    @property
    def m(self) -> int:
        """Recovery shards of the blocks that were seen."""
        return sum(block.m for block in self.found.values())

    @property
    def data(self) -> int:
        """Data shards that came."""
        return sum(block.data for block in self.found.values())

    @property
    def recovery(self) -> int:
        """Recovery shards that came."""
        return sum(block.recovery for block in self.found.values())

    @property
    def surplus(self) -> int:
        """Packets that came when their block was whole."""
        return sum(len(block.surplus) for block in self.found.values())

    @property
    def rebuilt(self) -> int:
        """Data shards that FEC had to rebuild."""
        return sum(block.rebuilt for block in self.found.values())

    @property
    def lost(self) -> int:
        """Packets of the blocks that were seen which did not come."""
        return self.k + self.m - self.data - self.recovery

    @property
    def short_of(self) -> int:
        """How many more shards its blocks wanted to be whole; those of unseen blocks, which nobody knows, left out."""
        return sum(block.k - len(block.came) for block in self.found.values() if not block.whole)

    @property
    def damaged(self) -> bool:
        """Whether anything of it is missing, came twice, or was rebuilt."""
        return bool(self.lost or self.twice or self.rebuilt or len(self.found) < self.blocks)


@dataclass(slots=True)
class Numbers:
    """The packet numbers of a stream: which came, which twice, which after a later one."""

    first: int | None = None
    """Where the counting begins: 0, or the lowest number of a capture that begins in mid-stream."""
    highest: int = -1
    duplicates: int = 0
    reordered: int = 0
    _seen: set[int] = field(default_factory=set)

    def add(self, number: int) -> bool:
        """Take a number; return whether it is new."""
        if number in self._seen:
            self.duplicates += 1
            return False
        self._seen.add(number)
        if self.first is None:
            self.first = 0 if number < _BEGINS_WITHIN else number
        self.first = min(self.first, number)
        if number < self.highest:
            self.reordered += 1
        self.highest = max(self.highest, number)
        return True

    @property
    def distinct(self) -> int:
        """How many different ones came."""
        return len(self._seen)

    @property
    def missing(self) -> int:
        """How many did not, up to the highest that did."""
        return 0 if self.first is None else self.highest + 1 - self.first - self.distinct
