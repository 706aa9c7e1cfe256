"""What a receiver makes of a captured stream: the core's own session, fed with the capture and its times.

:mod:`harness.dissect.frames` counts what came; whether it came while its frame's turn lasted is for the rules of the
receiver to say, and they are the core's alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from harness.analysis.records import Records
from harness.dissect.frames import Block
from harness.dissect.streams import Stream
from punktfunk.core import _core
from punktfunk.errors import InvalidConfigError

REORDER_WINDOW_NS: Final = 20_000_000
"""What clients wait unless they are told otherwise (``--reorder-window``, ``stream.reorder_window``)."""
_MEMORY_BYTES: Final = 64 << 20
_PACKET_HEADER_BYTES: Final = 16
"""By which a plain GameStream packet is longer than the announced packet size."""


class Receiver:
    """A receiver of one stream; ``None`` from :func:`receiver` where no receiver takes such a stream."""

    def __init__(self, replay: _core.ClientReplay) -> None:
        self._replay = replay

    def take(self, payload: bytes, time_ns: int) -> str:
        """Return what became of a datagram, in words of :data:`WORDS`."""
        verdict = self._replay.receive(payload, time_ns)
        return WORDS.get(verdict, verdict.replace("rejected_", "rejected: ").replace("_", " "))

    def settle(self) -> tuple[Mapping[str, int], Records]:
        """End the stream; return the counters and the frames' records."""
        self._replay.settle()
        columns = self._replay.take_records()
        records: Records = {name: np.frombuffer(column, "<i8") for name, column in columns.items()}
        return self._replay.stats(), records


WORDS: Final = {
    "stored": "used",
    "completed": "makes the frame whole",
    "surplus": "surplus",
    "late_data": "late: rebuilt before",
    "late": "late: turn over",
    "duplicate": "twice",
    "rejected_replay": "twice",
}
"""What the core's verdicts are called here."""


def receiver(stream: Stream, reorder_window_ns: int = REORDER_WINDOW_NS) -> Receiver | None:
    """Return a receiver for a stream whose headers could be read: within the largest blocks that it has.

    ``reorder_window_ns`` is how long it keeps a whole frame back for an earlier one.
    """
    blocks = [block for frame in stream.frames.values() for block in frame.found.values()]
    if not blocks:
        return None
    key = stream.key.key if stream.key is not None else None
    lowest = min(stream.frames)
    begins_late = bool(stream.numbers.first)
    first = (lowest & 0xFFFF_FFFF, (stream.numbers.first or 0) & 0xFFFF_FFFF) if begins_late else None
    try:
        return Receiver(_core.ClientReplay(_config(stream, blocks, key, reorder_window_ns), first=first))
    except (InvalidConfigError, OverflowError, ValueError):
        return None


def _config(
    stream: Stream, blocks: list[Block], key: bytes | None, reorder_window_ns: int
) -> _core.StreamConfig | _core.GameStreamConfig:
    if stream.is_gamestream:
        return _core.GameStreamConfig(
            packet_size=stream.shard_bytes - _PACKET_HEADER_BYTES,
            key=key,
            reorder_window_ns=reorder_window_ns,
            memory_cap_bytes=_MEMORY_BYTES,
        )
    most = max(block.k for block in blocks)
    percent = max(-(-100 * block.m // block.k) for block in blocks)
    ceiling = 65_535 if stream.scheme else 255
    percent = min(percent, (ceiling - most) * 100 // most)
    salt = stream.key.salt if stream.key is not None else b"pkf1"
    return _core.StreamConfig(
        scheme="gf16" if stream.scheme else "gf8",
        fec_percent=percent,
        max_block_shards=most,
        shard_bytes=stream.shard_bytes,
        key=key,
        salt=salt,
        reorder_window_ns=reorder_window_ns,
        memory_cap_bytes=_MEMORY_BYTES,
    )
