"""PSNR and SSIM are those that everyone else reports."""

from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np
import pytest
from av.filter import Graph

from punktfunk.errors import UsageError
from punktfunk.media import quality
from punktfunk.media.planes import plane_view


def _noisy_pair(seed: int, width: int, height: int, deviation: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    across = np.linspace(20, 220, width)[None, :] + 20 * np.sin(np.arange(height) / 7)[:, None]
    reference = np.clip(across, 0, 255).astype(np.uint8)
    picture = np.clip(reference + rng.normal(0, deviation, reference.shape), 0, 255).astype(np.uint8)
    return reference, picture


def _by_ffmpeg(name: str, key: str, reference: np.ndarray, picture: np.ndarray) -> float:
    """Return what FFmpeg's filter of that name says about the Y planes."""
    height, width = reference.shape
    graph = Graph()
    inputs = [
        graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 60)
        )
        for _ in "ab"
    ]
    judge = graph.add(name)
    sink = graph.add("buffersink")
    for pad, source in enumerate(inputs):
        source.link_to(judge, 0, pad)
    judge.link_to(sink)
    graph.configure()
    for source, luma in zip(inputs, (picture, reference), strict=True):
        frame = av.VideoFrame(width, height, "yuv420p")
        plane_view(frame, 0)[...] = luma
        for chroma in (1, 2):
            plane_view(frame, chroma)[...] = 128
        frame.pts, frame.time_base = 0, Fraction(1, 60)
        source.push(frame)
        source.push(None)
    return float(sink.pull().metadata[key])


@pytest.mark.parametrize("deviation", [1, 5, 20, 60])
@pytest.mark.parametrize("size", [(320, 240), (198, 102)])
def test_ssim_is_what_ffmpeg_reports(size: tuple[int, int], deviation: float) -> None:
    reference, picture = _noisy_pair(3, *size, deviation)
    expected = _by_ffmpeg("ssim", "lavfi.ssim.Y", reference, picture)
    # FFmpeg rounds its constants to integers and prints six digits.
    assert quality.ssim(reference, picture) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("deviation", [1, 5, 20, 60])
def test_psnr_is_what_ffmpeg_reports(deviation: float) -> None:
    reference, picture = _noisy_pair(4, 320, 240, deviation)
    expected = _by_ffmpeg("psnr", "lavfi.psnr.psnr.y", reference, picture)
    assert quality.psnr(reference, picture) == pytest.approx(expected, abs=0.006)


def test_equal_planes_are_perfect() -> None:
    reference, _ = _noisy_pair(5, 320, 240, 1)
    assert quality.psnr(reference, reference) == math.inf
    assert quality.ssim(reference, reference) == pytest.approx(1.0, abs=1e-12)


def test_a_known_error_gives_the_known_psnr() -> None:
    reference = np.full((16, 16), 100, np.uint8)
    assert quality.psnr(reference, reference + 1) == pytest.approx(20 * math.log10(255))
    black, white = np.zeros((2160, 3840), np.uint8), np.full((2160, 3840), 255, np.uint8)
    assert quality.psnr(black, white) == pytest.approx(0.0, abs=1e-9)  # no overflow at 4K


def test_structure_counts_and_not_only_error() -> None:
    """A constant shift and noise of equal mean squared error: SSIM tells them apart, as the paper shows."""
    reference, _ = _noisy_pair(6, 320, 240, 1)
    middle = np.clip(reference, 30, 200)
    rng = np.random.default_rng(6)
    shifted = middle + np.uint8(12)
    noisy = (middle.astype(int) + rng.choice([-12, 12], middle.shape)).astype(np.uint8)
    assert quality.psnr(middle, shifted) == pytest.approx(quality.psnr(middle, noisy))
    assert quality.ssim(middle, shifted) > 0.9
    assert quality.ssim(middle, noisy) < 0.6


def test_planes_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        quality.psnr(np.zeros((8, 8), np.uint8), np.zeros((8, 16), np.uint8))
    with pytest.raises(UsageError, match="8 x 8 window"):
        quality.ssim(np.zeros((4, 64), np.uint8), np.zeros((4, 64), np.uint8))
