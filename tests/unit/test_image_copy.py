"""Capture by ext-image-copy-capture, from a compositor that copies no more than it has to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pywayland", reason="pip install 'punktfunk[desktop]'")
from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture import WlrScreen, frames, open_capture
from punktfunk.errors import MediaError
from punktfunk.media import VideoSource
from punktfunk.media.types import RawFrame
from punktfunk.units import Mode
from tests.support.copying_compositor import CopyingCompositor

WIDTH, HEIGHT = 64, 48
MODE = Mode(WIDTH, HEIGHT, 60)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the compositor's thread, which a busy machine gives no time, and give no picture again meanwhile."""
    monkeypatch.setattr(frames, "_LIVELY_REPEATS", 0)
    monkeypatch.setattr(frames, "_STILL_NS", 30_000_000_000)


@pytest.fixture
def compositor(tmp_path: Path) -> Iterator[CopyingCompositor]:
    served = CopyingCompositor(tmp_path / "wayland", WIDTH, HEIGHT)
    yield served
    served.close()


def opened(tmp_path: Path, mode: Mode = MODE) -> VideoSource:
    return open_capture(WlrScreen(display=str(tmp_path / "wayland"), output="OUT-1", keepalive_ms=1000), mode)


def luma(value: int) -> int:
    return 16 + round(value * 219 / 255)


def shown(frame: RawFrame) -> set[int]:
    """Return which grey values the picture has, as far as they cover more than the edges between them."""
    values, counts = np.unique(frame.luma, return_counts=True)
    return {int(value) for value, count in zip(values, counts, strict=True) if count >= 16}


def test_every_picture_is_whole_though_only_what_changed_is_copied(
    compositor: CopyingCompositor, tmp_path: Path
) -> None:
    capture = opened(tmp_path)
    assert shown(capture.capture()) == {luma(0)}
    expected = np.full((HEIGHT, WIDTH), luma(0), np.uint8)
    for turn in range(1, 9):
        x, value = turn * 6, turn * 25
        compositor.draw(x, 8, 4, 8, value)
        expected[8:16, x : x + 4] = luma(value)
        difference = np.abs(capture.capture().luma.astype(int) - expected)
        assert difference.max() <= 1, (
            f"a buffer lacked what changed while others were filled (picture {turn})"
        )
    assert len(compositor.copied) == 9
    assert compositor.copied[0] == (0, 0, WIDTH, HEIGHT)
    assert all(width <= 16 for _, _, width, _ in compositor.copied[4:]), (
        "no more than what three buffers lack"
    )
    assert capture.counters == {
        "captured": 9,
        "repeated": 0,
        "left_out": 0,
        "failed_copies": 0,
        "cursor_told": 0,
    }
    capture.close()


def test_a_mode_change_fails_one_copy_and_the_next_picture_fits(
    compositor: CopyingCompositor, tmp_path: Path
) -> None:
    capture = opened(tmp_path)
    capture.capture()
    compositor.resize(32, 16)
    compositor.draw(0, 0, 32, 16, 200)
    frame = capture.capture()
    assert (frame.picture.width, frame.picture.height) == (WIDTH, HEIGHT), "scaled to the stream"
    assert shown(frame) == {luma(200)}
    compositor.fail_next = True
    compositor.draw(0, 0, 32, 16, 100)
    assert shown(capture.capture()) == {luma(100)}
    assert capture.counters["failed_copies"] == 2
    capture.close()


@pytest.mark.parametrize("stamp_ns", [1, 1_800_000_000_000_000_000, (1 << 64) * 1_000_000_000 - 1])
def test_a_time_of_another_clock_or_of_none_is_not_believed(
    compositor: CopyingCompositor, tmp_path: Path, stamp_ns: int
) -> None:
    compositor.stamp_ns = stamp_ns
    capture = opened(tmp_path)
    begun_ns = monotonic_ns()
    assert begun_ns <= capture.capture().captured_ns <= monotonic_ns()
    capture.close()


@pytest.mark.parametrize("fails_copies", [True, False])
def test_an_output_that_goes_ends_the_capture_with_a_reason(
    compositor: CopyingCompositor, tmp_path: Path, *, fails_copies: bool
) -> None:
    capture = opened(tmp_path)
    capture.capture()
    compositor.stop_session(fails_copies=fails_copies)
    with pytest.raises(MediaError, match="OUT-1 has gone"):
        # A process that was kept waiting may give the last picture again first.
        list(islice(iter(capture.capture, None), 3))
    capture.close()


def test_formats_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    compositor = CopyingCompositor(tmp_path / "wayland", WIDTH, HEIGHT, formats=(0x20203852,))
    capture = opened(tmp_path)
    with pytest.raises(MediaError, match="no known format of shared memory: 0x20203852"):
        capture.capture()
    capture.close()
    compositor.close()
