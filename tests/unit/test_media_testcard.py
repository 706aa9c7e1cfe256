"""The test card is a function of its parameters, and entropy does what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.errors import MediaError, UsageError
from punktfunk.media import TestCardSpec, frame_marker, open_source
from punktfunk.media.planes import Plane, plane_view
from punktfunk.media.testcard import TestCard
from punktfunk.units import Mode, Resolution

_SIZE = Resolution(960, 540)


def _drawn(card: TestCard, frame: int, time_us: int = 1000) -> list[Plane]:
    picture = card.new_picture()
    card.draw(picture, frame=frame, time_us=time_us)
    return [plane_view(picture, index).copy() for index in range(3)]


def test_the_receiver_can_draw_the_very_picture_that_was_sent() -> None:
    sender, receiver = (TestCard(_SIZE, entropy=0.4, seed=9) for _ in range(2))
    _drawn(sender, 3)  # what was drawn before does not matter
    for ours, theirs in zip(_drawn(sender, 1000), _drawn(receiver, 1000), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("change", [{"seed": 10}, {"entropy": 0.5}])
def test_seed_and_entropy_change_the_picture(change: dict[str, float]) -> None:
    plain = _drawn(TestCard(_SIZE, entropy=0.4, seed=9), 5)
    other = _drawn(TestCard(_SIZE, **{"entropy": 0.4, "seed": 9, **change}), 5)  # type: ignore[arg-type]
    assert (plain[0] != other[0]).mean() > 0.5


def test_every_frame_shows_its_number_its_time_and_the_tag() -> None:
    card = TestCard(_SIZE, tag=0x1234)
    for frame in (0, 1, 59, 2**20):
        luma, *_ = _drawn(card, frame, time_us=frame * 16_667)
        assert frame_marker.read(luma) == frame_marker.MarkerReading(frame, frame * 16_667, 0x1234)


def test_the_picture_stays_within_limited_range_at_every_entropy() -> None:
    for entropy in (0.0, 0.5, 1.0):
        luma, *chroma = _drawn(TestCard(_SIZE, entropy=entropy), 7)
        assert luma.min() >= 16
        assert luma.max() <= 235
        assert min(plane.min() for plane in chroma) >= 16
        assert max(plane.max() for plane in chroma) <= 240


def test_more_entropy_leaves_more_that_motion_cannot_predict() -> None:
    residuals = []
    for entropy in (0.0, 0.25, 0.5, 0.75, 1.0):
        card = TestCard(_SIZE, entropy=entropy)
        first, second = _drawn(card, 0)[0], _drawn(card, 1)[0]
        # Within one band, below the frame marker, the best whole-pixel shift predicts everything but the noise.
        band = slice(100, 170)
        best = min(
            np.abs(
                second[band, 16:-16].astype(int)
                - first[band.start + dy : band.stop + dy, 16 + dx : dx - 16].astype(int)
            ).mean()
            for dx in range(-8, 9)
            for dy in range(3)
        )
        residuals.append(best)
    assert residuals[0] == 0
    assert residuals == sorted(residuals)
    assert residuals[-1] > 20


def test_motion_never_stops() -> None:
    card = TestCard(_SIZE, entropy=0.0)
    frames = [_drawn(card, frame)[0][64:] for frame in range(300)]
    assert all((a != b).mean() > 0.3 for a, b in itertools.pairwise(frames))


def test_the_strip_shows_the_capture_stamp() -> None:
    source = open_source(TestCardSpec(), Mode.parse("1280x720@60"))
    before = monotonic_ns()
    frames = [source.capture() for _ in range(5)]
    after = monotonic_ns()
    source.close()
    assert [frame.frame for frame in frames] == [0, 1, 2, 3, 4]
    stamps = [stamp for frame in frames for stamp in (frame.captured_ns, frame.converted_ns)]
    assert [before, *stamps, after] == sorted([before, *stamps, after])
    for frame in frames[-2:]:  # earlier pictures have been drawn over, as RawFrame says
        reading = frame_marker.read(frame.luma)
        assert reading is not None
        assert (reading.frame, reading.time_us) == (frame.frame, frame.captured_ns // 1000)


def test_an_entropy_out_of_range_and_a_tiny_card_are_refused() -> None:
    with pytest.raises(UsageError, match="entropy"):
        TestCard(_SIZE, entropy=1.5)
    with pytest.raises(MediaError, match="no room"):
        TestCard(Resolution(320, 240))
