"""How close a decoded picture is to its source: PSNR and SSIM of the luma plane.

SSIM is Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13(4), 2004, with K1 = 0.01 and K2 = 0.03, over square
windows of 8 × 8 pixels every 4 pixels instead of the paper's Gaussian ones: the form that x264 and FFmpeg's
ssim filter report, so that figures compare with theirs, and fast enough for use during a run.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from punktfunk.errors import UsageError
from punktfunk.media.planes import Plane

_PEAK = 255
_BLOCK = 4
_SAMPLES = 64
"""Pixels in a window of 8 × 8."""
_C1 = 0.01 * 0.01 * _PEAK * _PEAK * _SAMPLES
_C2 = 0.03 * 0.03 * _PEAK * _PEAK * _SAMPLES * (_SAMPLES - 1)
"""The stabilising constants, scaled to sums over a window."""


def psnr(reference: Plane, picture: Plane) -> float:
    """Return the peak signal-to-noise ratio in dB (peak 255); infinite for equal planes."""
    _check(reference, picture)
    difference = np.subtract(reference, picture, dtype=np.int16)
    # int16 differences squared fit int32; their sum over any picture fits float64 exactly enough.
    squared = float(np.square(difference, dtype=np.int32).sum(dtype=np.int64))
    if squared == 0:
        return math.inf
    return 10 * math.log10(_PEAK * _PEAK * reference.size / squared)


def ssim(reference: Plane, picture: Plane) -> float:
    """Return the mean structural similarity, 1.0 for equal planes. At least 8 × 8 pixels."""
    _check(reference, picture)
    rows, columns = (size // _BLOCK for size in reference.shape)
    if rows < 2 or columns < 2:
        raise UsageError(
            f"a picture of shape {reference.shape} has no 8 x 8 window", "compare larger pictures"
        )
    cut = (slice(rows * _BLOCK), slice(columns * _BLOCK))
    # A sum over a window of squares or products of 8-bit values fits 32 bits; 16 bits hold a single one.
    x = reference[cut].astype(np.uint16)
    y = picture[cut].astype(np.uint16)
    s1, s2 = _windows(x), _windows(y)
    ss = _windows(x * x) + _windows(y * y)
    s12 = _windows(x * y)
    product = s1 * s2
    squares = s1 * s1 + s2 * s2
    variances = ss * _SAMPLES - squares
    covariance = s12 * _SAMPLES - product
    index = (2 * product + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
    return float(index.mean())


def _windows(plane: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Return the sums over 8 × 8 windows every 4 pixels, from sums over 4 × 4 blocks."""
    # Rows first: adding whole rows is several times faster than a reduction over two axes of four.
    rows = np.add(plane[0::4], plane[1::4], dtype=np.uint32)
    rows += plane[2::4]
    rows += plane[3::4]
    blocks = rows[:, 0::4] + rows[:, 1::4] + rows[:, 2::4] + rows[:, 3::4]
    pairs = blocks[:-1] + blocks[1:]
    windows: NDArray[np.float64] = np.add(pairs[:, :-1], pairs[:, 1:], dtype=np.float64)
    return windows


def _check(reference: Plane, picture: Plane) -> None:
    if reference.shape != picture.shape or reference.ndim != 2:
        raise UsageError(
            f"planes of shapes {reference.shape} and {picture.shape} cannot be compared",
            "scale one to the size of the other first",
        )
