"""Silence in real time, where a stream has to have sound and a desktop has none."""

from __future__ import annotations

import time
from typing import Self

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.audio import CHUNK_SAMPLES, SAMPLE_RATE, AudioChunk

_CHUNK_NS = CHUNK_SAMPLES * 1_000_000_000 // SAMPLE_RATE
_LATE_NS = 40_000_000
"""What a reader that fell behind may catch up, as with recorded sound; what is older is left out."""


class SilentCapture:
    """An :class:`~punktfunk.desktop.audio.AudioCapture` of nothing, as fast as time goes."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self._due_ns = monotonic_ns() + _CHUNK_NS

    def read(self) -> AudioChunk:
        """Wait for the next 5 ms."""
        import numpy as np

        now_ns = monotonic_ns()
        if now_ns < self._due_ns:
            time.sleep((self._due_ns - now_ns) / 1e9)
        behind = now_ns - self._due_ns - _LATE_NS
        if behind > 0:
            self._due_ns += -(-behind // _CHUNK_NS) * _CHUNK_NS
        began_ns, self._due_ns = self._due_ns - _CHUNK_NS, self._due_ns + _CHUNK_NS
        return AudioChunk(np.zeros((CHUNK_SAMPLES, self.channels), np.float32), began_ns)

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
