"""Whether a difference is real: order statistics, intervals, and tests that stay honest on frame latencies.

Latencies of neighbouring frames are alike (one slow moment of the machine slows many frames), so a test that
counts every frame as a sample flags noise. Two remedies are used, both checked against autocorrelated noise
in the tests: intervals shrink the sample to its effective size, and comparisons take one figure per *segment*
of a stream, from segments of A and B that alternate in random order (:func:`interleave`).

Rank tests are SciPy's, loaded with the first comparison: ``scipy.stats`` takes most of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from punktfunk.errors import UsageError

FloatArray: TypeAlias = NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]
Better: TypeAlias = Literal["lower", "higher", "none"]


# --- one sample ---------------------------------------------------------------------------------------------


def percentile(values: ArrayLike, q: float) -> float | None:
    """Return the order statistic of rank ``ceil(q n)``, a value that was observed; ``q`` in (0, 1].

    None where the sample is too small to hold one above it in the mean (``n < 1 / (1 - q)``): the 99.9th
    percentile of 200 frames is their maximum by another name.
    """
    x = np.asarray(values)
    if not 0 < q <= 1:
        raise UsageError(f"{q} is no quantile")
    if x.size == 0 or (q < 1 and x.size * (1 - q) < 1 - 1e-9):
        return None
    rank = _rank(q, x.size)
    return float(np.partition(x, rank)[rank])


def _rank(q: float, n: int) -> int:
    return min(n - 1, max(0, math.ceil(q * n - 1e-9) - 1))


def correlation_time(series: ArrayLike) -> float:
    """Return the integrated autocorrelation time in samples, >= 1: how many samples are worth one.

    Geyer's initial positive sequence: autocorrelations are summed in pairs until a pair is no longer
    positive.
    """
    x = np.asarray(series, dtype=np.float64)
    n = x.size
    if n < 4 or np.ptp(x) == 0:
        return 1.0
    x = x - x.mean()
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(x, size)
    rho = np.fft.irfft(spectrum * spectrum.conj(), size)[: n // 2]
    rho = rho / rho[0]
    pairs = rho[: rho.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if negative.size else pairs
    return float(min(n, max(1.0, 2 * kept.sum() - 1)))


def percentile_interval(values: ArrayLike, q: float, confidence: float = 0.95) -> Interval | None:
    """Return a bootstrap interval of :func:`percentile` for ``values`` in the order of time.

    The bootstrap distribution of an order statistic is known in closed form (its rank is Beta distributed),
    so this is the limit of infinitely many resamples and draws nothing. The sample counts as its effective
    size, judged on the indicator of exceeding the percentile. None where the sample bounds the percentile on
    one side only.
    """
    x = np.asarray(values)
    point = percentile(x, q)
    if point is None or q == 1:
        return None
    effective = x.size / correlation_time(x > point)
    tail = (1 - confidence) / 2
    if q**effective > tail or (1 - q) ** effective > tail:
        return None
    rank = max(q * effective, 1e-9)
    low, high = special.betaincinv(rank, effective - rank + 1, np.array([tail, 1 - tail]))
    ordered = np.sort(x)
    return float(ordered[_rank(float(low), x.size)]), float(ordered[_rank(float(high), x.size)])


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    seed: int,
    confidence: float = 0.95,
    block: int | None = None,
    resamples: int = 2000,
) -> Interval | None:
    """Return the percentile bootstrap interval of ``statistic`` over blocks of neighbours.

    ``statistic`` maps an array of shape (resamples, n) to (resamples,). ``block`` is the length of the blocks
    that are kept together; by default twice the correlation time and at least the cube root of n. None below
    8 values.
    """
    x = np.asarray(values, dtype=np.float64)
    n = x.size
    if n < 8:
        return None
    length = block or max(math.ceil(2 * correlation_time(x)), round(n ** (1 / 3)))
    length = min(length, n // 2)
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n, size=(resamples, -(-n // length)))
    index = (starts[:, :, None] + np.arange(length)).reshape(resamples, -1)[:, :n] % n
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(x[index]), [tail, 1 - tail])
    return float(low), float(high)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval | None:
    """Return the Student interval of the mean of independent ``values``; None below two of them."""
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        return None
    half = float(special.stdtrit(x.size - 1, (1 + confidence) / 2) * x.std(ddof=1) / math.sqrt(x.size))
    return float(x.mean()) - half, float(x.mean()) + half


def wilson(successes: float, trials: float, confidence: float = 0.95) -> Interval | None:
    """Return the Wilson score interval of a proportion; None without trials.

    Trials need not be whole: correlated ones count as their effective number.
    """
    if trials <= 0:
        return None
    z = float(special.ndtri((1 + confidence) / 2))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return max(0.0, centre - half) if successes else 0.0, min(1.0, centre + half) if share < 1 else 1.0


# --- tests --------------------------------------------------------------------------------------------------


def holm(p_values: ArrayLike) -> list[float]:
    """Return Holm's adjusted p-values, to be held against the family-wise error whatever their dependence."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(p.size)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, p[order] * (p.size - np.arange(p.size))))
    found: list[float] = adjusted.tolist()
    return found


def mann_whitney(a: ArrayLike, b: ArrayLike) -> float:
    """Return the two-sided p-value of the Mann–Whitney test of two samples of independent figures."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.size == 0 or y.size == 0:
        return 1.0
    from scipy import stats as sps

    return float(sps.mannwhitneyu(x, y, alternative="two-sided").pvalue)


# --- segments and interleaving ------------------------------------------------------------------------------


def segment_percentiles(values: ArrayLike, segment: int, q: float = 0.5) -> FloatArray:
    """Return the percentile of each whole segment of neighbouring values, shape (n // segment,)."""
    x = np.asarray(values, dtype=np.float64)
    whole = x[: x.size // segment * segment].reshape(-1, segment)
    rank = _rank(q, segment)
    result: FloatArray = np.partition(whole, rank, axis=1)[:, rank] if whole.size else np.empty(0)
    return result


def interleave(pairs: int, seed: int) -> list[Literal["a", "b"]]:
    """Return the order in which to run ``pairs`` segments of A and of B: neighbours pair, a coin orders them.

    The coin is what makes the test valid: with A always first, a machine that warms up would look like a
    change.
    """
    rng = np.random.default_rng(seed)
    order: list[Literal["a", "b"]] = []
    for first_is_a in rng.random(pairs) < 0.5:
        order += ["a", "b"] if first_is_a else ["b", "a"]
    return order


class Verdict(StrEnum):
    """What an A/B comparison can say about one figure."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    SAME = "same"  # and a change of the size looked for would have been seen
    TOO_FEW = "too few samples"


@dataclass(frozen=True, slots=True)
class Gate:
    """How sure a comparison must be, and how small a change it must be able to see."""

    alpha: float = 0.001
    """Family-wise error over all figures of one comparison."""
    tolerance: float = 0.01
    """Changes up to this ratio are nobody's concern: the null hypothesis is B <= A (1 + tolerance)."""
    effect: float = 0.05
    """The change that must be seen with ``power``; what could have missed it is not called same."""
    power: float = 0.9

    def fewest_pairs(self, figures: int) -> int:
        """Return how many pairs the signed-rank test needs before any data could be significant."""
        return math.ceil(math.log2(figures / self.alpha))


@dataclass(frozen=True, slots=True)
class Judgement:
    """One figure of an A/B comparison. ``ratio`` is B / A, 1 where nothing moved."""

    name: str
    verdict: Verdict
    ratio: float
    interval: Interval
    """95 % interval of the ratio (from the signed-rank test, not corrected for the number of figures)."""
    p_value: float
    """Holm-adjusted over the figures, against the tolerance."""
    p_unpaired: float
    """Mann–Whitney over the same segments, for comparison; ignores the pairing and decides nothing."""
    pairs: int
    detectable: float
    """Smallest ratio change that this sample detects with the gate's power (inf: none)."""
    pairs_needed: int
    """Pairs that would detect the gate's effect at this noise."""

    def __str__(self) -> str:
        low, high = self.interval
        text = (
            f"{self.name}: {self.verdict}, B/A {self.ratio:.3f} [{low:.3f}, {high:.3f}], p {self.p_value:.2g}"
        )
        if self.verdict is Verdict.TOO_FEW:
            text += f"; {self.pairs} pairs, about {self.pairs_needed} wanted"
        return text


def judge(
    pairs: Mapping[str, Sequence[tuple[float, float]]],
    *,
    better: Mapping[str, Better] | None = None,
    gate: Gate | None = None,
) -> list[Judgement]:
    """Compare B with A on every figure of ``pairs``: name → (A, B) of neighbouring segments, above 0.

    The test is Wilcoxon's signed-rank on the log-ratios of the pairs, one-sided in both directions beyond the
    tolerance, Holm-corrected over the figures. ``better`` says which direction is a regression (default:
    higher).
    """
    gate = gate or Gate()
    better = better or {}
    logs = {name: _log_ratios(name, values) for name, values in pairs.items()}
    count = max(1, len(logs))
    edge = math.log1p(gate.tolerance)
    up = holm([signed_rank(x - edge) for x in logs.values()])
    down = holm([signed_rank(-x - edge) for x in logs.values()])
    found = []
    for (name, x), p_up, p_down in zip(logs.items(), up, down, strict=True):
        worse, nicer = (p_down, p_up) if better.get(name) == "higher" else (p_up, p_down)
        centre, low, high = hodges_lehmann(x)
        detectable, needed = detectable_change(x.size, (high - low) / 2, count, gate)
        if worse <= gate.alpha:
            verdict = Verdict.REGRESSION
        elif nicer <= gate.alpha:
            verdict = Verdict.IMPROVEMENT
        else:
            verdict = Verdict.SAME if detectable <= gate.effect else Verdict.TOO_FEW
        values = np.asarray(pairs[name], dtype=np.float64).reshape(-1, 2)
        found.append(
            Judgement(
                name=name,
                verdict=verdict,
                ratio=math.exp(centre),
                interval=(math.exp(low), math.exp(high)),
                p_value=min(worse, nicer),
                p_unpaired=mann_whitney(values[:, 0], values[:, 1]),
                pairs=int(x.size),
                detectable=detectable,
                pairs_needed=needed,
            )
        )
    return found


def _log_ratios(name: str, values: Sequence[tuple[float, float]]) -> FloatArray:
    table = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    if not np.all(table > 0):
        raise UsageError(f"{name}: a ratio wants figures above 0")
    result: FloatArray = np.log(table[:, 1] / table[:, 0])
    return result


def signed_rank(x: FloatArray) -> float:
    """Return the one-sided p-value of Wilcoxon's signed-rank test that ``x`` lies above 0; 1 where nothing differs."""
    if x.size == 0 or not np.any(x):
        return 1.0
    # Exact whatever ties there are, for which SciPy approximates or counts all permutations.
    if np.all(x >= 0):
        return 0.5 ** int(np.count_nonzero(x))
    if np.all(x <= 0):
        return 1.0
    from scipy import stats as sps

    return float(sps.wilcoxon(x, alternative="greater").pvalue)


def hodges_lehmann(x: FloatArray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the centre of ``x`` (median of pairwise means) and its interval from the signed-rank test.

    The interval is infinite where the sample cannot support the confidence (fewer than six values for 95 %).
    """
    n = x.size
    if n == 0:
        return 0.0, -math.inf, math.inf
    i, j = np.triu_indices(n)
    walsh = np.sort((x[i] + x[j]) / 2)
    spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    cut = math.floor(n * (n + 1) / 4 - special.ndtri((1 + confidence) / 2) * spread)
    if cut < 1 or n < math.log2(2 / (1 - confidence)):
        return float(np.median(walsh)), -math.inf, math.inf
    return float(np.median(walsh)), float(walsh[cut - 1]), float(walsh[-cut])


def detectable_change(n: int, half_width: float, figures: int, gate: Gate) -> tuple[float, int]:
    """Return the smallest detectable ratio change and the pairs that would detect the gate's effect."""
    fewest = gate.fewest_pairs(figures)
    if not math.isfinite(half_width):
        return math.inf, fewest
    error = half_width / float(special.ndtri(0.975))  # standard error of the centre
    reach = float(special.ndtri(1 - gate.alpha / figures) + special.ndtri(gate.power)) * error
    room = math.log1p(gate.effect) - math.log1p(gate.tolerance)
    needed = max(fewest, math.ceil(n * (reach / room) ** 2))
    if n < fewest:
        return math.inf, needed
    return math.expm1(math.log1p(gate.tolerance) + reach), needed
