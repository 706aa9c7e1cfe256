"""The stamps of captured frames: when a picture was made, and never before that of the frame that went before."""

from __future__ import annotations

import av

from punktfunk.desktop.capture.frames import FrameMaker
from punktfunk.units import Mode


def test_a_picture_that_waited_while_the_last_one_was_given_again_is_stamped_after_that() -> None:
    frames = FrameMaker(Mode(64, 64, 60))
    picture = av.VideoFrame(64, 64, "bgra")
    first = frames.make(picture, 1_000)
    again = frames.again()
    late = frames.make(picture, again.captured_ns - 500)
    on_time = frames.make(picture, again.captured_ns + 500)
    assert [first.captured_ns, late.captured_ns, on_time.captured_ns] == [
        1_000,
        again.captured_ns + 1,
        again.captured_ns + 500,
    ]
