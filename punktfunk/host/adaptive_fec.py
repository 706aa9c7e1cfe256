"""How much FEC a stream gets after what its client says of the path."""

from __future__ import annotations

from punktfunk.native.control import fec_percent_for_loss

RETREAT = 0.9
"""What a calm report leaves of the percentage: from 20 % to 1 % in 21 s of reports every 750 ms."""


class AdaptiveFec:
    """Follow loss reports up at once and down slowly.

    Loss comes in bursts, and the report about one arrives after it: a percentage that fell with the first calm
    report would be gone when the next burst comes. The reference goes down at once (punktfunk/1 section 2.4); the
    percentage is the sender's alone, so receivers of every generation follow this as well.
    """

    def __init__(self, percent: int) -> None:
        self._percent = float(percent)

    def follow(self, loss_ppm: int) -> int:
        """Return the percentage for the next frames after a report of ``loss_ppm`` parts per million."""
        self._percent = max(float(fec_percent_for_loss(loss_ppm)), self._percent * RETREAT)
        return round(self._percent)
