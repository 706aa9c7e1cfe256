"""When a client asks for a key frame again: one rule for every wire."""

from __future__ import annotations

LONGEST_WAIT_S = 0.5
"""A key frame that was asked for and has not come by then is asked for again on any link: it may have been lost."""
_KEY_FRAME_S = 0.1
"""Beyond two round trips, what a key frame takes: the host's frame interval, encoding, its many packets."""


def patience_s(round_trip_ns: int | None) -> float:
    """Return after how many seconds to ask again; ``None`` where nobody knows the round trip.

    Waiting longer than a key frame can take only freezes the picture.
    """
    if round_trip_ns is None:
        return LONGEST_WAIT_S
    return min(LONGEST_WAIT_S, 2 * round_trip_ns / 1e9 + _KEY_FRAME_S)
