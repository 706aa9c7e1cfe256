"""What a stream worker says of its last second: how long frames spent in each stage, and at which rates they left.

Computed from the frame records of the core once a second, between two frames; a figure that nothing was measured
for is absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from punktfunk.core._core import FLAG_PROBE

STAGES: Final = (
    ("convert", "captured_ns", "converted_ns"),
    ("encode wait", "converted_ns", "encode_begin_ns"),
    ("encode", "encode_begin_ns", "encode_end_ns"),
    ("seal", "encode_end_ns", "sealed_ns"),
    ("queue", "sealed_ns", "sent_first_ns"),
    ("send", "sent_first_ns", "sent_last_ns"),
)
"""The host's part of a frame's way, without a gap: name, first and last stamp of each stage."""

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
        columns = {name: np.frombuffer(column, "<i8") for name, column in records.items()}
        # Filler of a bandwidth probe is no picture: it counts on the wire and in no other figure.
        sent = (
            (columns["status"] == _SENT) & (columns["flags"] & FLAG_PROBE == 0)
            if columns
            else np.zeros(0, bool)
        )
        columns = {name: column[sent] for name, column in columns.items()}
        stages = {}
        for name, begin, end in (*STAGES, TOTAL):
            spans = _spans(columns, begin, end)
            if spans.size:
                stages[name] = [percentile(spans, 50) // 1000, percentile(spans, 95) // 1000]
                stages[name].append(int(spans.max()) // 1000)
        if elapsed_ns <= 0:
            return Figures(stages)
        media_bytes = int(columns["bytes"].sum()) if "bytes" in columns else 0
        rates = {
            "fps": round(int(sent.sum()) * _NS_PER_S / elapsed_ns, 2),
            "media_kbps": round(media_bytes * 8e6 / elapsed_ns, 1),
            "wire_kbps": round(wire_bytes * 8e6 / elapsed_ns, 1),
        }
        return Figures(stages, rates)


def percentile(values: NDArray[np.int64], percent: int) -> int:
    """Return a percentile of one value or more as an order statistic: the least value that so many reach."""
    rank = max(math.ceil(len(values) * percent / 100), 1) - 1
    return int(np.partition(values, rank)[rank])


def _spans(columns: Mapping[str, NDArray[np.int64]], begin: str, end: str) -> NDArray[np.int64]:
    """Return the ns between two stamps of the frames that have both."""
    if begin not in columns or end not in columns:
        return np.zeros(0, np.int64)
    first, last = columns[begin], columns[end]
    both = (first >= 0) & (last >= 0)
    spans: NDArray[np.int64] = (last - first)[both]
    return spans
