"""Senders that send nothing: one tells by its counters what a worker asked of it, one is held. For tests only."""

from __future__ import annotations

import os
import threading
from collections import Counter

from punktfunk.host.stream.sender import Sender
from punktfunk.host.stream.spec import StreamSpec
from punktfunk.media import AccessUnit
from punktfunk.process import stall_watch


class TellingSender(Sender):
    """Counters beside the usual ones: ``rates_asked``, ``last_rate_asked``, ``last_fec_asked``, ``filled``.

    ``descriptor_is_open`` is whether the client's socket is still open in the worker's name.
    """

    payload_bytes = 1000

    def __init__(self, spec: StreamSpec, descriptor: int) -> None:
        self._descriptor = descriptor
        self._counts = Counter(
            bytes_sent=0, packets_sent=0, frames_sent=0, rates_asked=0, last_rate_asked=0,
            last_fec_asked=spec.fec_percent, filled=0, closed=0,
        )  # fmt: skip

    def submit(self, unit: AccessUnit) -> int:
        self._counts.update(frames_sent=1, packets_sent=1, bytes_sent=len(unit.data))
        return self._counts["frames_sent"] - 1

    def fill(self, data: bytes | memoryview) -> None:
        self._counts.update(filled=1, packets_sent=len(data) // self.payload_bytes, bytes_sent=len(data))

    def flush(self, limit_s: float) -> bool:
        return True

    def set_rate(self, kbps: int) -> None:
        self._counts["rates_asked"] += 1
        self._counts["last_rate_asked"] = kbps

    def set_fec_percent(self, percent: int) -> None:
        self._counts["last_fec_asked"] = percent

    def stats(self) -> dict[str, int]:
        try:
            os.fstat(self._descriptor)
        except OSError:
            return {**self._counts, "descriptor_is_open": 0}
        return {**self._counts, "descriptor_is_open": 1}

    def close(self) -> None:
        self._counts["closed"] += 1


class HeldSender(TellingSender):
    """Never returns from its third picture, as a library does whose threads wait for each other.

    From then on its worker is looked at as often as ever, but ten times as fast: a test waits 2 s and not 20.
    """

    def submit(self, unit: AccessUnit) -> int:
        if self._counts["frames_sent"] == 2:
            stall_watch.LOOK_S = 0.05  # type: ignore[misc]  # in the worker's process, which ends by it
            threading.Event().wait()
        return super().submit(unit)
