"""How much FEC a stream gets after what its client says of the path."""

from __future__ import annotations

MAX_FEC_PERCENT = 50
"""What a loss report can lead to at most."""
RETREAT = 0.9
"""What a step down leaves of the percentage: from 20 % to 1 % in 28 steps, at most one a report (every 750 ms)."""
CALM_PACKETS = 1000
"""Packets sent without a reported loss that allow a step down: with 95 % confidence the path then loses less than
0.3 % (three in a thousand, the rule of three), which 2 % of recovery packets carry by the formula of the wire."""


def percent_for_loss(loss_ppm: int) -> int:
    """Map a loss report to a FEC percentage: ceil(loss % × 1.4) + 1, within 1..50 (punktfunk/1 section 2.4)."""
    percent = -(-loss_ppm * 14 // 100_000) + 1
    return min(max(percent, 1), MAX_FEC_PERCENT)


class AdaptiveFec:
    """Follow loss reports up at once and down slowly, never below ``floor`` percent.

    Loss comes in bursts, and the report about one arrives after it: a percentage that fell with the first calm
    report would be gone when the next burst comes. Time alone proves nothing either, since a desktop at rest sends a
    few packets a second: a step down takes :data:`CALM_PACKETS` packets of evidence. And the wire's formula is
    for the mean: at 8 % of loss its 13 % leave one frame of 64 KiB in forty unrepaired, so the floor is what the
    operator asked for. The reference goes down at once (punktfunk/1 section 2.4); the percentage is the sender's
    alone, so receivers of every generation follow this as well.
    """

    def __init__(self, percent: int, floor: int) -> None:
        self.floor = floor
        self._percent = float(percent)
        self._calm_since: int | None = None

    def follow(self, loss_ppm: int, packets_sent: int) -> int:
        """Return the percentage for the next frames after a report of ``loss_ppm`` parts per million.

        ``packets_sent`` is the stream's count so far.
        """
        if loss_ppm > 0 or self._calm_since is None:
            self._calm_since = None if loss_ppm > 0 else packets_sent
        elif packets_sent - self._calm_since >= CALM_PACKETS:
            self._calm_since = packets_sent
            self._percent *= RETREAT
        self._percent = max(self._percent, percent_for_loss(loss_ppm), self.floor)
        return round(self._percent)


class FecChoice:
    """The percentage of one stream: as asked for, or following loss above a floor where there is one."""

    def __init__(self, percent: int, floor: int | None) -> None:
        self._percent = percent
        self._adaptive = None if floor is None else AdaptiveFec(percent, floor)

    def reported(self, loss_ppm: int, packets_sent: int) -> int | None:
        """Return the percentage after a loss report; ``None`` where nothing follows it."""
        return None if self._adaptive is None else self._adaptive.follow(loss_ppm, packets_sent)

    def change(self, percent: int, floor: int | None) -> int | None:
        """Take what is asked for now; return the percentage to use at once, ``None`` to leave it.

        Another percentage, and the end of following, go back to what is asked for; another floor holds from the
        next report on.
        """
        begins_anew = percent != self._percent or (floor is None and self._adaptive is not None)
        self._percent = percent
        if floor is None:
            self._adaptive = None
        elif self._adaptive is None or begins_anew:
            self._adaptive = AdaptiveFec(percent, floor)
        else:
            self._adaptive.floor = floor
        return percent if begins_anew else None
