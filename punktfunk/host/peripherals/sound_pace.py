"""Sound that has to be as long as time is: what a busy sound server left out is filled in, what is too much left out.

A sink without hardware that misses its turns loses their time for ever, and a client that plays on would wait for it
again and again. No clock is read here: times are CLOCK_MONOTONIC ns, given by the caller.
"""

from __future__ import annotations

from punktfunk.desktop.audio import CHUNK_SAMPLES, SAMPLE_RATE

CHUNK_NS = CHUNK_SAMPLES * 1_000_000_000 // SAMPLE_RATE
SLACK_CHUNKS = 12
"""60 ms: more than a server holds back at once, less than what clients let wait (gamestream section 9.1)."""


class SoundPace:
    """Compare chunks of 5 ms with the time that has passed since the first."""

    def __init__(self) -> None:
        self._began_ns: int | None = None
        self._chunks = 0

    def missing(self, now_ns: int) -> int:
        """Return how many chunks of silence have to stand in before the one that has come."""
        behind = self._behind(now_ns)
        if behind <= SLACK_CHUNKS:
            return 0
        self._chunks += behind
        return behind

    def take(self, now_ns: int) -> bool:
        """Return whether the chunk that has come is to be heard; ``False``: there is more of it than of time."""
        if self._behind(now_ns) < -SLACK_CHUNKS:
            return False
        self._chunks += 1
        return True

    def _behind(self, now_ns: int) -> int:
        if self._began_ns is None:
            self._began_ns = now_ns
        return (now_ns - self._began_ns) // CHUNK_NS - self._chunks
