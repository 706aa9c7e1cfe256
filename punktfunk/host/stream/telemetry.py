"""What a stream worker says of its last second: how long frames spent in each stage, and at which rates they left.

Computed from the frame records of the core once a second, between two frames; a figure that nothing was measured
for is absent. In plain Python, 0.4 ms at 240 frames a second: to load NumPy for it took a third of a worker's start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Final

from punktfunk.core._core import FLAG_PROBE

STAGES: Final = (
    ("convert", "captured_ns", "converted_ns"),
    ("encode wait", "converted_ns", "encode_begin_ns"),
    ("encode", "encode_begin_ns", "encode_end_ns"),
    ("seal", "encode_end_ns", "sealed_ns"),
    ("queue", "sealed_ns", "sent_first_ns"),
    ("send", "sent_first_ns", "sent_last_ns"),
)
"""The host's part of the frame path, without a gap: name, first and last stamp of each stage."""

TOTAL: Final = ("total", "captured_ns", "sent_last_ns")
"""The whole of it."""

_SENT: Final = 0
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Figures:
    """One second of a stream.

    ``stages`` holds 50th and 95th percentile and maximum in µs by stage, and ``total``. ``rates`` holds ``fps``
    (frames whose last packet left), ``media_kbps`` (their access units) and ``wire_kbps`` (payload of the UDP
    datagrams that left: headers, FEC and authentication tags included).
    """

    stages: dict[str, list[int]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)


class Telemetry:
    """Turn records and counters into figures; each call is about the time since the one before."""

    def __init__(self, now_ns: int) -> None:
        self._last_ns = now_ns
        self._bytes_sent = 0

    def sample(self, records: Mapping[str, bytes], stats: Mapping[str, int], now_ns: int) -> Figures:
        """Return the figures since the last sample.

        ``records`` are what ``HostStream.take_records`` gave for that time, ``stats`` the counters now.
        """
        elapsed_ns, self._last_ns = now_ns - self._last_ns, now_ns
        wire_bytes, self._bytes_sent = stats["bytes_sent"] - self._bytes_sent, stats["bytes_sent"]
        columns = {name: memoryview(column).cast("q").tolist() for name, column in records.items()}
        # Filler of a bandwidth probe is no picture: it counts on the wire and in no other figure.
        sent = [
            status == _SENT and not flags & FLAG_PROBE
            for status, flags in zip(columns.get("status", ()), columns.get("flags", ()), strict=True)
        ]
        if not all(sent):
            columns = {name: list(compress(column, sent)) for name, column in columns.items()}
        stages = {}
        for name, begin, end in (*STAGES, TOTAL):
            spans = _spans(columns.get(begin, ()), columns.get(end, ()))
            if spans:
                stages[name] = [
                    percentile(spans, 50) // 1000,
                    percentile(spans, 95) // 1000,
                    spans[-1] // 1000,
                ]
        if elapsed_ns <= 0:
            return Figures(stages)
        media_bytes = sum(columns.get("bytes", ()))
        rates = {
            "fps": round(sum(sent) * _NS_PER_S / elapsed_ns, 2),
            "media_kbps": round(media_bytes * 8e6 / elapsed_ns, 1),
            "wire_kbps": round(wire_bytes * 8e6 / elapsed_ns, 1),
        }
        return Figures(stages, rates)


def percentile(ordered: Sequence[int], percent: int) -> int:
    """Return a percentile of one value or more in ascending order: the least value that so many reach."""
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def _spans(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """Return the ns between two stamps of the frames that have both, in ascending order."""
    return sorted(last - first for first, last in zip(begin, end, strict=False) if first >= 0 and last >= 0)
