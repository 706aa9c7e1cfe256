"""What a loss sweep should find: exact frame-recovery probabilities for the losses that a link is asked for.

A frame of ``n`` bytes becomes blocks of ``k`` data and ``m`` recovery shards (punktfunk/1 section 4.5). A
block survives when at most ``m`` of its ``k + m`` packets are lost, a frame when all its blocks do. Three
loss processes have exact answers, each for the *number of complete frames* of a whole stream, not only for
its mean:

* independent loss: ``P[Binomial(k + m, p) <= m]`` a block, the product a frame, Poisson-binomial a stream;
* Gilbert–Elliott: the two-state chain is carried through every packet in emission order, from block to block
  and from frame to frame, because a burst that ends one frame begins the next;
* periodic: counted.

Nothing here reads a measurement or calls the core, so that it can disagree with both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.analysis.distributions import binomial_p_value, binomial_pmf
from punktfunk.errors import UsageError

FloatArray: TypeAlias = NDArray[np.float64]
Blocks: TypeAlias = tuple[tuple[int, int], ...]
"""Blocks of one frame in emission order, each ``(k, m)``."""


@lru_cache(maxsize=65536)
def geometry(frame_bytes: int, shard_bytes: int, max_block_shards: int, fec_percent: int) -> Blocks:
    """Return the blocks ``(k, m)`` of an access unit (punktfunk/1 section 4.5).

    Stated anew on purpose, as everything here: theory judges the core and asks it nothing.

    Sizes are in bytes, ``fec_percent`` in percent of the data shards of each block, rounded up per block.
    """
    if frame_bytes < 0 or shard_bytes < 1 or max_block_shards < 1 or fec_percent < 0:
        raise UsageError(
            f"no geometry for {frame_bytes} bytes in shards of {shard_bytes}, blocks of {max_block_shards}"
        )
    total = max(1, -(-frame_bytes // shard_bytes))
    sizes = [min(max_block_shards, total - first) for first in range(0, total, max_block_shards)]
    return tuple((k, -(-k * fec_percent // 100)) for k in sizes)


# --- loss processes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Independent:
    """Every packet is lost with probability ``p``, whatever happened to the others."""

    p: float

    def __post_init__(self) -> None:
        _check_probability("p", self.p)

    @property
    def mean(self) -> float:
        """Long-run fraction of packets lost."""
        return self.p


@dataclass(frozen=True, slots=True)
class GilbertElliott:
    """Two states; a packet is lost with ``good`` or ``bad`` by the state it meets, then the state may change.

    ``p`` is the probability of good → bad after a packet, ``r`` of bad → good, so that a visit to the bad
    state lasts ``1 / r`` packets in the mean. ``first_bad`` is the probability that the first packet meets
    the bad state: None is the long-run share, as in the link model; 0 is netem, whose chain starts in the
    good state.
    """

    p: float
    r: float
    bad: float = 1.0
    good: float = 0.0
    first_bad: float | None = None

    def __post_init__(self) -> None:
        for name in ("p", "r", "bad", "good", "first_bad"):
            _check_probability(name, getattr(self, name) or 0.0)

    @property
    def start(self) -> FloatArray:
        """Distribution of the state that the first packet meets, shape (2,), states good, bad."""
        bad = self.stationary_bad if self.first_bad is None else self.first_bad
        return np.array([1 - bad, bad])

    @property
    def stationary_bad(self) -> float:
        """Long-run fraction of packets that meet the bad state."""
        return self.p / (self.p + self.r) if self.p + self.r > 0 else self.first_bad or 0.0

    @property
    def mean(self) -> float:
        """Long-run fraction of packets lost."""
        return self.stationary_bad * self.bad + (1 - self.stationary_bad) * self.good

    @property
    def step(self) -> FloatArray:
        """Transition matrix, shape (2, 2), states good, bad."""
        return np.array([[1 - self.p, self.p], [self.r, 1 - self.r]])


@dataclass(frozen=True, slots=True)
class Periodic:
    """Packet ``n`` (from 0 over the stream) is lost when ``n % every == offset``; ``every`` 0 is no loss."""

    every: int
    offset: int = 0

    def __post_init__(self) -> None:
        if self.every < 0 or self.offset < 0:
            raise UsageError(f"periodic loss every {self.every} from {self.offset} is invalid")

    @property
    def mean(self) -> float:
        """Long-run fraction of packets lost."""
        return 1 / self.every if self.every and self.offset < self.every else 0.0

    def lost(self, first: int, count: int) -> int:
        """Count the packets lost among ``count`` packets from number ``first`` on."""
        if not self.mean:
            return 0

        def before(n: int) -> int:
            return max(0, -(-(n - self.offset) // self.every))

        return before(first + count) - before(first)


Loss: TypeAlias = Independent | GilbertElliott | Periodic


def loss_of(spec: Mapping[str, Any] | None) -> Loss:
    """Read the ``loss`` part of a link description (``{"kind": "independent", "p": 0.02}`` and so on)."""
    spec = spec or {}
    match spec.get("kind", "none"):
        case "none":
            return Independent(0.0)
        case "independent":
            return Independent(float(spec["p"]))
        case "gilbert_elliott":
            return GilbertElliott(
                float(spec["p"]), float(spec["r"]), float(spec.get("bad", 1.0)), float(spec.get("good", 0.0))
            )
        case "periodic":
            return Periodic(int(spec["every"]), int(spec.get("offset", 0)))
        case other:
            raise UsageError(f"no theory for loss of kind {other!r}")


def process_of(link: Mapping[str, Any]) -> Loss | None:
    """Return the loss process of a link direction, or None where its frames have no exact theory.

    A checksum-corrupted packet is lost; a queue that may overflow, a trace, changes on the way, and
    reordering (which may push a frame past its turn) leave nothing exact to say.
    """
    limited = link.get("rate_kbps") is not None or link.get("trace") or link.get("changes")
    overtaking = (link.get("reorder") or {}).get("p") or (
        link.get("jitter_us") and link.get("jitter_reorder")
    )
    corrupt = float(link.get("corrupt") or 0.0)
    if limited or overtaking or (corrupt and link.get("duplicate")):
        return None
    process = loss_of(link.get("loss"))
    if not corrupt:
        return process
    if isinstance(process, Independent):
        return Independent(1 - (1 - process.p) * (1 - corrupt))
    if isinstance(process, GilbertElliott):
        bad, good = (1 - (1 - x) * (1 - corrupt) for x in (process.bad, process.good))
        return replace(process, bad=bad, good=good)
    return None


def bursty(mean_loss: float, burst_packets: float) -> GilbertElliott:
    """Return the simple Gilbert chain (all lost in the bad state) of a mean loss and a mean burst length.

    ``mean_loss`` is the long-run fraction; the first packet meets the long-run share of states.
    """
    if not 0 <= mean_loss < 1 or burst_packets < 1:
        raise UsageError(f"no Gilbert chain has mean loss {mean_loss} in bursts of {burst_packets} packets")
    r = 1 / burst_packets
    p = mean_loss * r / (1 - mean_loss)
    if p > 1:
        raise UsageError(f"loss of {mean_loss:.0%} needs bursts longer than {burst_packets} packets")
    return GilbertElliott(p=p, r=r)


def _check_probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{name} = {value} is not a probability")


# --- one block, one frame -----------------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def block_survival(k: int, m: int, p: float) -> float:
    """Return P[Binomial(k + m, p) <= m], the probability that independent loss leaves a block recoverable."""
    return float(special.bdtr(m, k + m, p))


@lru_cache(maxsize=65536)
def frame_survival(blocks: Blocks, p: float) -> float:
    """Return the probability that independent loss ``p`` leaves every block of a frame recoverable."""
    return math.prod(block_survival(k, m, p) for k, m in blocks)


def _multiply(a: FloatArray, b: FloatArray, degree: int) -> FloatArray:
    """Multiply 2×2 matrices of polynomials, shape (2, 2, d), and cut at ``degree``; no term is negative."""
    out = np.zeros((2, 2, min(a.shape[2] + b.shape[2] - 1, degree + 1)))
    for i in range(2):
        for j in range(2):
            for s in range(2):
                out[i, j] += np.convolve(a[i, s], b[s, j])[: out.shape[2]]
    return out


@lru_cache(maxsize=4096)
def _losses_in(packets: int, degree: int, chain: GilbertElliott) -> FloatArray:
    """Return ``W[s, t, l]`` = P(l losses, then state t | the first packet meets state s), l <= degree.

    The one-packet matrix is raised to its power by squaring; every truncated term only ever feeds higher
    ones.
    """
    survive = np.array([1 - chain.good, 1 - chain.bad])
    base = np.stack([chain.step * survive[:, None], chain.step * (1 - survive)[:, None]], axis=2)
    power = np.eye(2)[:, :, None]
    base = base[:, :, : degree + 1]
    while packets:
        if packets & 1:
            power = _multiply(power, base, degree)
        packets >>= 1
        if packets:
            base = _multiply(base, base, degree)
    return power


@lru_cache(maxsize=65536)
def _frame_transfer(blocks: Blocks, chain: GilbertElliott) -> tuple[FloatArray, FloatArray]:
    """Return a frame's state-to-state matrices: with all its blocks saved, and whatever became of them."""
    survives, anyway = np.eye(2), np.eye(2)
    for k, m in blocks:
        survives = survives @ _losses_in(k + m, m, chain).sum(axis=2)
        anyway = anyway @ np.linalg.matrix_power(chain.step, k + m)
    return survives, anyway


# --- a stream of frames -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction:
    """Exact distribution of the number of complete frames of a stream (or of many independent streams)."""

    pmf: FloatArray
    """``pmf[c]`` = P(c complete frames), shape (frames + 1,)."""

    @property
    def frames(self) -> int:
        """Frames sent."""
        return len(self.pmf) - 1

    @property
    def mean(self) -> float:
        """Expected number of complete frames."""
        return float(self.pmf @ np.arange(len(self.pmf)))

    @property
    def variance(self) -> float:
        """Variance of the number of complete frames, correlation between frames included."""
        counts = np.arange(len(self.pmf)) - self.mean
        return float(self.pmf @ (counts * counts))

    @property
    def rate(self) -> float:
        """Expected fraction of frames that are complete (nan without frames)."""
        return self.mean / self.frames if self.frames else math.nan

    def interval(self, confidence: float = 0.95) -> tuple[int, int]:
        """Return the central interval of the count: beyond each end at most ``(1 - confidence) / 2``."""
        tail = (1 - confidence) / 2
        below = np.cumsum(self.pmf)
        above = np.cumsum(self.pmf[::-1])[::-1]
        low = int(np.argmax(below > tail))
        high = int(len(self.pmf) - 1 - np.argmax(above[::-1] > tail))
        return low, high

    def p_value(self, complete: int) -> float:
        """Return the exact two-sided p-value of ``complete`` frames: the sum over all outcomes no likelier.

        The convention is that of ``scipy.stats.binomtest``; for equal frames under independent loss the
        figures agree.
        """
        if not 0 <= complete <= self.frames:
            raise UsageError(f"{complete} complete frames of {self.frames} cannot be")
        return float(min(1.0, self.pmf[self.pmf <= self.pmf[complete] * (1 + 1e-7)].sum()))

    def times(self, streams: int) -> Prediction:
        """Return the distribution of the total over ``streams`` independent streams like this one."""
        return total([self] * streams)


def total(predictions: Sequence[Prediction]) -> Prediction:
    """Return the distribution of the summed count of independent streams, by Fourier transform."""
    frames = sum(p.frames for p in predictions)
    size = 1 << max(1, frames).bit_length()
    spectrum: NDArray[np.complex128] = np.ones(size // 2 + 1, dtype=np.complex128)
    by_identity: dict[int, int] = {}
    for prediction in predictions:
        by_identity[id(prediction)] = by_identity.get(id(prediction), 0) + 1
    seen: set[int] = set()
    for prediction in predictions:
        if id(prediction) not in seen:
            seen.add(id(prediction))
            spectrum = spectrum * np.fft.rfft(prediction.pmf, size) ** by_identity[id(prediction)]
    pmf = np.clip(np.fft.irfft(spectrum)[: frames + 1], 0.0, None)
    return Prediction(pmf / pmf.sum())


def predict(frames: Iterable[Blocks], loss: Loss, first_packet: int = 0) -> Prediction:
    """Return how many of ``frames`` (their blocks, in emission order) will be complete under ``loss``.

    ``first_packet`` is the number that the link gives the first packet; only periodic loss asks for it.
    """
    sent = list(frames)
    if isinstance(loss, Periodic):
        return _predict_periodic(sent, loss, first_packet)
    if len(set(sent)) == 1:
        return _predict_alike(sent[0], len(sent), loss)
    return _predict_any(sent, loss)


@lru_cache(maxsize=256)
def _predict_alike(blocks: Blocks, frames: int, loss: Independent | GilbertElliott) -> Prediction:
    """Return the same of equal frames: a sweep asks it for each point, also where nothing differs that counts here."""
    return _predict_any([blocks] * frames, loss)


def _predict_any(frames: Sequence[Blocks], loss: Independent | GilbertElliott) -> Prediction:
    if isinstance(loss, GilbertElliott):
        return _predict_chain(frames, loss)
    return poisson_binomial([frame_survival(blocks, loss.p) for blocks in frames])


def poisson_binomial(probabilities: Sequence[float]) -> Prediction:
    """Return the distribution of the number of successes of independent trials of unequal probability."""
    if len(set(probabilities)) == 1:
        n = len(probabilities)
        return Prediction(binomial_pmf(np.arange(n + 1), n, probabilities[0]))
    pmf = np.zeros(len(probabilities) + 1)
    pmf[0] = 1.0
    for n, p in enumerate(probabilities, start=1):
        pmf[1 : n + 1] = pmf[1 : n + 1] * (1 - p) + pmf[:n] * p
        pmf[0] *= 1 - p
    return Prediction(pmf)


def _predict_chain(frames: Sequence[Blocks], chain: GilbertElliott) -> Prediction:
    joint = np.zeros((len(frames) + 1, 2))  # P(count, state that the next packet meets)
    joint[0] = chain.start
    for n, blocks in enumerate(frames, start=1):
        survives, anyway = _frame_transfer(blocks, chain)
        lost = np.clip(anyway - survives, 0.0, None)
        moved = joint[:n] @ survives
        joint[:n] = joint[:n] @ lost
        joint[1 : n + 1] += moved
    pmf = joint.sum(axis=1)
    return Prediction(pmf / pmf.sum())


def _predict_periodic(frames: Sequence[Blocks], loss: Periodic, first_packet: int) -> Prediction:
    packet, complete = first_packet, 0
    for blocks in frames:
        saved = True
        for k, m in blocks:
            saved &= loss.lost(packet, k + m) <= m
            packet += k + m
        complete += saved
    pmf = np.zeros(len(frames) + 1)
    pmf[complete] = 1.0
    return Prediction(pmf)


def chance_of_none(frames: Iterable[Blocks], loss: Loss) -> float:
    """Return the probability that not one of ``frames`` (their blocks, in emission order) is complete under ``loss``.

    Of periodic loss, whose phase packets beside the stream's may shift, it is 0 where some frame survives at every
    phase, and 1 where none does.
    """
    if isinstance(loss, Periodic):
        every = loss.every if loss.mean else math.inf
        return float(not any(all(math.ceil((k + m) / every) <= m for k, m in blocks) for blocks in frames))
    if isinstance(loss, Independent):
        return math.prod(1 - frame_survival(blocks, loss.p) for blocks in frames)
    none = loss.start  # P(none so far, state that the next packet meets)
    for blocks in frames:
        survives, anyway = _frame_transfer(blocks, loss)
        none = none @ np.clip(anyway - survives, 0.0, None)
    return float(none.sum())


# --- packets on the link ------------------------------------------------------------------------------------


def loss_moments(packets: int, loss: Loss) -> tuple[float, float]:
    """Return the exact mean and variance of the number of packets lost among the first ``packets``."""
    if isinstance(loss, Independent):
        return packets * loss.p, packets * loss.p * (1 - loss.p)
    if isinstance(loss, Periodic):
        return float(loss.lost(0, packets)), 0.0
    # The generating matrix M(z) of one packet and its first two derivatives at z = 1, raised to the power
    # together.
    kept = np.array([[1 - loss.good], [1 - loss.bad]])
    base = (loss.step, loss.step * (1 - kept), np.zeros((2, 2)))
    power = (np.eye(2), np.zeros((2, 2)), np.zeros((2, 2)))
    n = packets
    while n:
        if n & 1:
            power = _leibniz(power, base)
        base = _leibniz(base, base)
        n >>= 1
    mean = float(loss.start @ power[1] @ np.ones(2))
    factorial = float(loss.start @ power[2] @ np.ones(2))
    return mean, max(0.0, factorial + mean - mean * mean)


def _leibniz(
    a: tuple[FloatArray, FloatArray, FloatArray], b: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    return a[0] @ b[0], a[1] @ b[0] + a[0] @ b[1], a[2] @ b[0] + 2 * a[1] @ b[1] + a[0] @ b[2]


def transport_loss_p_value(packets: int, lost: int, loss: Loss) -> float:
    """Return the two-sided p-value of ``lost`` packets among the first ``packets`` under ``loss``.

    Exact for independent (binomial test) and periodic loss; for Gilbert–Elliott a normal test on the exact
    mean and variance, which wants hundreds of bursts to be good.
    """
    if not 0 <= lost <= packets:
        raise UsageError(f"{lost} lost packets of {packets} cannot be")
    if isinstance(loss, Independent):
        return binomial_p_value(lost, packets, loss.p)
    mean, variance = loss_moments(packets, loss)
    if variance == 0.0:
        return 1.0 if lost == round(mean) else 0.0
    return float(2 * special.ndtr(-abs(lost - mean) / math.sqrt(variance)))
