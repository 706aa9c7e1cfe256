"""When a client asks for a key frame again."""

from __future__ import annotations

import pytest

from punktfunk.client.key_frames import patience_s


@pytest.mark.parametrize(
    ("round_trip_ms", "seconds"),
    [(0, 0.1), (20, 0.14), (199, 0.498), (200, 0.5), (201, 0.5), (5000, 0.5), (None, 0.5)],
)
def test_a_key_frame_is_asked_for_again_once_it_should_have_come(
    round_trip_ms: int | None, seconds: float
) -> None:
    """Two round trips and what a key frame takes; half a second at most, and where nobody knows."""
    nanoseconds = None if round_trip_ms is None else round_trip_ms * 1_000_000
    assert patience_s(nanoseconds) == pytest.approx(seconds)
