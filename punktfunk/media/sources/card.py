"""The test card as a source."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from punktfunk.clock import monotonic_ns
from punktfunk.media.testcard import TestCard
from punktfunk.media.types import RawFrame

_PICTURES = 3
"""Pictures in rotation; see RawFrame for how long one stays valid."""


class TestCardSource:
    """Draws a new card at each capture, stamped with the moment that drawing began."""

    __test__ = False
    self_paced = False
    counters: Mapping[str, int] = MappingProxyType({})

    def __init__(self, card: TestCard) -> None:
        self.card = card
        self._pictures = [card.new_picture() for _ in range(_PICTURES)]
        self._frame = 0

    def capture(self) -> RawFrame:
        """Draw and return the next picture; its frame marker shows its number and ``captured_ns`` in µs."""
        frame = self._frame
        picture = self._pictures[frame % _PICTURES]
        captured_ns = monotonic_ns()
        self.card.draw(picture, frame=frame, time_us=captured_ns // 1000)
        self._frame = frame + 1
        return RawFrame(picture, frame, captured_ns, monotonic_ns())

    def close(self) -> None:
        """Free the pictures."""
        self._pictures.clear()
