"""How often a picture that does not change is given again: quickly at first, then twice a second."""

from __future__ import annotations

import av

from punktfunk.desktop.capture.frames import FrameMaker
from punktfunk.units import Mode

_KEEPALIVE_NS = 100_000_000


def test_a_picture_is_given_again_less_often_once_it_stands_still_and_as_before_after_a_change() -> None:
    frames = FrameMaker(Mode(64, 64, 60))
    for _ in range(2):
        frames.make(av.VideoFrame(64, 64, "bgra"), 1)
        pauses = []
        for _ in range(25):
            pauses.append(frames.again_at_ns(_KEEPALIVE_NS) - frames.given_ns)
            frames.again()
        assert pauses == [_KEEPALIVE_NS] * 20 + [500_000_000] * 5
    assert frames.again_at_ns(1_000_000_000) - frames.given_ns == 1_000_000_000, "never sooner than asked for"
