"""Noise that remembers: what a machine's slow phases look like in measured values."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np


def remembering(noise: Any, keep: float) -> Any:
    """Return ``y[n] = noise[n] + keep * y[n - 1]`` of one row of values, an autoregression of order one.

    ``scipy.signal.lfilter`` does the same, and takes 0.6 s of CPU to load in every process that collects the tests.
    """
    return np.fromiter(accumulate(noise.tolist(), lambda before, new: new + keep * before), float, noise.size)
