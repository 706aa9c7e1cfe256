"""What a probe must find on a link that is as asked: probabilities and delays that follow from the spec."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from harness.link.base import CoreSpec


@dataclass(frozen=True, slots=True)
class Expected:
    """Figures of one direction of a steady link. Probabilities are per packet unless said otherwise."""

    loss: float
    """Share that never arrives intact enough to be delivered, checksum drops included."""
    loss_inflation: float
    """How many times as variable a count of losses is as a binomial one (bursts)."""
    burst_end: float | None
    """Probability that a lost packet is the last of its burst; None where bursts are no matter of the spec."""
    every: int | None
    """Period of periodic loss."""
    duplicate: float
    payload_corrupt: float
    reorder: float
    reorder_extra_us: float
    jitter_reorder: bool
    delay_us: float
    jitter_us: float
    jitter_distribution: str
    rate_kbps: int | None
    overhead_bytes: int
    checksum_drop: float
    """Share that a checksum drops behind the bottleneck (part of ``loss``)."""

    def partial_train(self, segments: int) -> float:
        """Probability that a train of ``segments`` loses some of its packets, but neither none nor all."""
        if self.every is not None:
            return min(1.0, segments / self.every) if self.every > 1 else 0.0
        if self.burst_end is not None:
            bad = self.loss
            to_bad = self.burst_end * bad / (1 - bad) if bad < 1 else 1.0
            none = (1 - bad) * (1 - to_bad) ** (segments - 1)
            everything = bad * (1 - self.burst_end) ** (segments - 1)
            return max(0.0, 1 - none - everything)
        return 1 - (1 - self.loss) ** segments - self.loss**segments

    def service_us(self, size_bytes: int) -> float:
        """Time that a datagram of ``size_bytes`` payload occupies the bottleneck."""
        return (size_bytes + self.overhead_bytes) * 8e3 / self.rate_kbps if self.rate_kbps else 0.0

    def jitter_quantile(self, share: float) -> float:
        """Quantile of the jitter in us; the distributions are those of the core's model."""
        if self.jitter_us <= 0:
            return 0.0
        match self.jitter_distribution:
            case "uniform":
                return self.jitter_us * (2 * share - 1)
            case "normal":
                return self.jitter_us * statistics.NormalDist().inv_cdf(share)
            case _:  # Pareto (Lomax) of shape 3 and mean 1
                return float(self.jitter_us * 2 * ((1 - share) ** (-1 / 3) - 1))

    def jitter_share_within(self, us: float) -> float:
        """Probability that the jitter's distance from its median is at most ``us``."""
        if self.jitter_us <= 0:
            return 1.0
        x = us / self.jitter_us
        if self.jitter_distribution == "uniform":
            return min(1.0, x)
        return math.erf(x / math.sqrt(2))


def expected(spec: CoreSpec) -> Expected:
    """Return what ``spec`` (steady, in the core's form) promises."""
    loss = spec.get("loss") or {"kind": "none"}
    share, inflation, burst_end, every = 0.0, 1.0, None, None
    match loss["kind"]:
        case "independent":
            share = float(loss["p"])
        case "periodic":
            every = int(loss["every"])
            share = 1 / every
        case "gilbert_elliott":
            p, r = float(loss["p"]), float(loss["r"])
            in_bad, in_good = float(loss.get("bad", 1.0)), float(loss.get("good", 0.0))
            bad = p / (p + r) if p + r else 0.0
            share = bad * in_bad + (1 - bad) * in_good
            # Variance of the mean of a stationary two-state chain with lag-one correlation 1 - p - r; the
            # part of the variance that the state explains is stretched by (1 + rho) / (1 - rho), the rest
            # is binomial.
            rho = 1 - p - r
            explained = bad * (1 - bad) * (in_bad - in_good) ** 2
            variance = share * (1 - share)
            if variance > 0 and rho < 1:  # a chain that never moves is a coin of its first state
                inflation = 1 + explained / variance * ((1 + rho) / (1 - rho) - 1)
            if in_bad == 1.0 and in_good == 0.0:
                burst_end = r
    corrupt = float(spec.get("corrupt") or 0.0)
    checksum = spec.get("corrupt_mode", "checksum") == "checksum"
    if corrupt and checksum:
        share = 1 - (1 - share) * (1 - corrupt)
        burst_end = every = None
    reorder = spec.get("reorder") or {}
    return Expected(
        loss=share,
        loss_inflation=max(1.0, inflation),
        burst_end=burst_end,
        every=every,
        duplicate=float(spec.get("duplicate") or 0.0),
        payload_corrupt=0.0 if checksum else corrupt,
        reorder=float(reorder.get("p") or 0.0),
        reorder_extra_us=float(reorder.get("extra_us") or 0.0),
        jitter_reorder=bool(spec.get("jitter_reorder")),
        delay_us=float(spec.get("delay_us") or 0.0),
        jitter_us=float(spec.get("jitter_us") or 0.0),
        jitter_distribution=str(spec.get("jitter_distribution", "uniform")),
        rate_kbps=spec.get("rate_kbps"),
        overhead_bytes=int(spec.get("overhead_bytes", 28)),
        checksum_drop=corrupt if checksum else 0.0,
    )
