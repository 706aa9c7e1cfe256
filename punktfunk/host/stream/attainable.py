"""The frame rate that an encoder reaches, by what its pictures take: lowered where they take too long, raised again.

An encoder that is too slow for the rate that it was opened for makes what it can, of pictures that are too small:
its rate control shares the bit rate out among frames that never come. Told the rate that it reaches, it makes better
ones.
"""

from __future__ import annotations

from typing import Final

from punktfunk.media import EncoderName

FOLLOWS: Final = frozenset({EncoderName.X265, EncoderName.SVT_AV1})
"""Encoders that a CPU may not drive at a display's rate; x264 is several times as fast, a GPU's are faster still."""
_SHARE: Final = 0.85
"""Of a frame interval, for encoding; the rest is for capture, conversion and what else the machine does."""
_SLOW_SECONDS: Final = 2
"""So long in a row it has to be too slow: one busy second is no reason."""
_FAST_SECONDS: Final = 5
"""So long it has to be fast enough for more; twice as long each time that more was too much."""
_MOST_FAST_SECONDS: Final = 80
_STEP: Final = 1.25
"""What is gained at least by a higher rate: each change costs a key frame."""
LEAST_HZ: Final = 5


class AttainableRate:
    """Follows one encoder of a stream that wants ``refresh_hz``, from second to second."""

    def __init__(self, refresh_hz: int) -> None:
        self.hz = refresh_hz
        """What it is to be opened for."""
        self._wanted_hz = refresh_hz
        self._slow = self._fast = 0
        self._patience = _FAST_SECONDS
        self._raised = False

    def second(self, encode_us: int | None) -> bool:
        """Take the median of what a picture took to encode in the last second; return whether ``hz`` is another now."""
        if not encode_us:
            return False
        reached = min(self._wanted_hz, max(LEAST_HZ, int(1e6 * _SHARE / encode_us)))
        too_slow = encode_us > 1e6 / self.hz and reached < self.hz
        self._slow = self._slow + 1 if too_slow else 0
        # What is wanted counts as a step however small it is.
        more = reached >= self.hz * _STEP or (reached == self._wanted_hz > self.hz)
        self._fast = self._fast + 1 if more else 0
        if self._slow >= _SLOW_SECONDS:
            self._patience = min(self._patience * 2, _MOST_FAST_SECONDS) if self._raised else self._patience
            return self._take(reached, raised=False)
        if self._fast >= self._patience:
            return self._take(reached, raised=True)
        return False

    def _take(self, hz: int, *, raised: bool) -> bool:
        self.hz, self._raised = hz, raised
        self._slow = self._fast = 0
        return True
