"""The binomial distribution and its exact test, by SciPy's special functions.

``scipy.stats`` has them as well, but takes most of a second to load, which every run and every worker of its pool would
pay. The tests hold these against it.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

_TIES = 1 + 1e-7
"""Outcomes whose probabilities differ by no more than rounding are equally likely."""


def binomial_pmf(k: ArrayLike, n: int, p: float) -> NDArray[np.float64]:
    """Return the probability of ``k`` successes in ``n`` independent trials."""
    k = np.asarray(k, dtype=np.float64)
    choices = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    pmf: NDArray[np.float64] = np.exp(choices + special.xlogy(k, p) + special.xlog1py(n - k, -p))
    return pmf


def binomial_p_value(successes: int, trials: int, probability: float) -> float:
    """Return the p-value of the exact two-sided binomial test: of all outcomes that are no likelier than this one."""
    mean = trials * probability
    if successes == mean:
        return 1.0
    reached = float(binomial_pmf(successes, trials, probability)) * _TIES
    below = successes < mean
    # Beyond the mean the probability falls, so what is no likelier begins at one place there.
    beyond = range(math.ceil(mean), trials + 1) if below else range(math.floor(mean), -1, -1)
    first = bisect_left(beyond, True, key=lambda k: bool(binomial_pmf(k, trials, probability) <= reached))
    edge = beyond.start + first * beyond.step
    low, high = (successes, edge) if below else (edge, successes)
    tails = special.bdtr(low, trials, probability) if low >= 0 else 0.0
    tails += special.bdtrc(high - 1, trials, probability) if high <= trials else 0.0
    return min(1.0, float(tails))
