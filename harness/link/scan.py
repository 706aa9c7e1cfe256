"""Find the stretch of windows in which counts are not those of the probabilities that were asked for.

A change in mid-run is rarely seen in one window: half of 2 % loss is ten packets of a thousand. So after each window
every stretch that ends with it is judged, and the least probable one tells when the change began.

The probability of a count at least (or at most) as far from what was asked is bounded by Chernoff's inequality,
P(S >= s) <= exp(K(t) - t s) for t > 0, and likewise below for t < 0. K adds up over packets, and has a closed form
for those of different probabilities as well as for the chain of bursty loss (the greatest eigenvalue of its
transitions). exp(t S - K(t)) is a martingale, so this holds as well where what is sent depends on what was lost; the
price is that the tilts t that are tried share the probability. Of the m stretches that end with window m each may
use 6 alpha / (pi^2 m^3): summed over all m that is alpha. So **a link as asked raises an alarm with probability
alpha at most, however long the session**. No I/O.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_STRETCHES: Final = 1024
"""Windows back to which a stretch may begin, apart from the one over everything."""
_STEPS: Final = np.geomspace(1e-3, 20.0, 24)
TILTS: Final[Floats] = np.concatenate([-_STEPS[::-1], _STEPS])
"""The values of t that are tried; the exponent of the best of them is within 5 % of the best there is."""
_UP: Final = TILTS > 0


@dataclass(frozen=True, slots=True)
class Count:
    """Events among packets of one window that had the same chances.

    An event has at most the probability ``p`` and at least ``least`` (``p`` unless given).
    """

    n: int
    events: int
    p: float
    least: float | None = None
    runs: int = 1
    chain: tuple[float, float, float, float] | None = None
    """p, r, loss in bad, loss in good of a Gilbert-Elliott chain, which then stands instead of ``p``."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Windows whose count is improbable."""

    first: int
    """The first window of it, counted from 0 over those that were added."""
    last: int
    n: int
    events: int
    expected: float
    log_p: float
    """Natural logarithm of a bound of the probability."""


@dataclass(slots=True)
class _Prefix:
    """Sums up to a window, it included."""

    number: int
    log_moments: Floats
    n: int
    events: int
    expected: float
    entry: Floats
    """What a stretch that begins with the next window has to add: its chain may start in any state."""


@dataclass(slots=True)
class Scan:
    """One series of counts over windows."""

    alpha: float
    _before: deque[_Prefix] = field(default_factory=deque)
    _windows: int = 0
    _chains: frozenset[tuple[float, ...]] = frozenset()

    def add(self, counts: Sequence[Count]) -> Stretch | None:
        """Add a window; return the least probable stretch that ends with it, if it is too improbable."""
        counts = [count for count in counts if count.n]
        if not counts:
            return None
        moments, entry = _moments(counts)
        chains = frozenset(count.chain for count in counts if count.chain is not None)
        if not self._before:
            self._before.append(_Prefix(0, np.zeros_like(TILTS), 0, 0, 0.0, entry))
        last = self._before[-1]
        last.entry = entry
        # Within a stretch a chain goes on; it is entered anew where another one or several took turns.
        goes_on = chains == self._chains and all(count.runs == 1 for count in counts) and len(chains) <= 1
        self._chains = chains
        self._windows += 1
        now = _Prefix(
            self._windows,
            last.log_moments + moments + (0.0 if goes_on else entry),
            last.n + sum(count.n for count in counts),
            last.events + sum(count.events for count in counts),
            last.expected + sum(count.n * _mean(count) for count in counts),
            np.zeros_like(TILTS),
        )
        found = self._least_probable(now)
        self._before.append(now)
        if len(self._before) > MOST_STRETCHES:
            del self._before[1]  # the first one is the whole session
        return found

    def _least_probable(self, now: _Prefix) -> Stretch | None:
        starts = list(self._before)
        events = now.events - np.array([start.events for start in starts])
        log_moments = now.log_moments - np.array([start.log_moments - start.entry for start in starts])
        bounds = log_moments - TILTS * events[:, None]
        # Each tilt is a bound of its own, and a bound above 1 says nothing.
        log_p = np.minimum(0.0, bounds.min(axis=1) + math.log(len(TILTS)))
        # Of equals the latest beginning: what was as asked before has no part in it.
        place = len(log_p) - 1 - int(np.argmin(log_p[::-1]))
        allowed = math.log(self.alpha * 6 / math.pi**2) - 3 * math.log(now.number)
        if log_p[place] > allowed:
            return None
        start = starts[place]
        return Stretch(
            first=start.number,
            last=now.number - 1,
            n=now.n - start.n,
            events=int(events[place]),
            expected=now.expected - start.expected,
            log_p=float(log_p[place]),
        )


def _moments(counts: Sequence[Count]) -> tuple[Floats, Floats]:
    """Return the logarithm of the moments of a window's count at each tilt, and what entering its chains may add."""
    total, entry = np.zeros_like(TILTS), np.zeros_like(TILTS)
    for count in counts:
        if count.chain is not None:
            growth, enter = _chain(count.chain)
            total += count.n * growth
            entry += count.runs * enter
            continue
        p = np.where(_UP, count.p, count.p if count.least is None else count.least)
        total += count.n * np.log1p(p * np.expm1(TILTS))
    return total, entry


_KNOWN: dict[tuple[float, float, float, float], tuple[Floats, Floats]] = {}
_MOST_KNOWN: Final = 256


def _chain(chain: tuple[float, float, float, float]) -> tuple[Floats, Floats]:
    """Return the growth a packet of the moments of a chain's losses, and the most that its first state changes.

    With M = P diag(moments of the loss in each state) and its positive eigenvector h of the greatest eigenvalue g,
    M^n 1 <= M^n h / min h = g^n h / min h, whatever the state before the first packet is.
    """
    if chain not in _KNOWN:
        to_bad, to_good, in_bad, in_good = chain
        tilted = np.expm1(TILTS)
        bad, good = 1 + in_bad * tilted, 1 + in_good * tilted
        a, b = (1 - to_good) * bad, to_good * good
        c, d = to_bad * bad, (1 - to_bad) * good
        root = np.sqrt(((a - d) / 2) ** 2 + b * c)
        growth = (a + d) / 2 + root
        # The eigenvector (1, h): of its two forms the one that does not cancel.
        ratio = np.where(a >= d, c / np.where(a >= d, growth - d, 1.0), (growth - a) / b)
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[chain] = (np.log(growth), np.abs(np.log(ratio)))
    return _KNOWN[chain]


def _mean(count: Count) -> float:
    if count.chain is None:
        return count.p
    to_bad, to_good, in_bad, in_good = count.chain
    bad = to_bad / (to_bad + to_good) if to_bad + to_good else 0.0
    return bad * in_bad + (1 - bad) * in_good


def loss_count(asked: Mapping[str, Any], n: int, lost: int, runs: int) -> Count | None:
    """Return the count of a loss as a spec writes it; None for a periodic one, which leaves nothing to chance."""
    match asked["kind"]:
        case "none":
            return Count(n, lost, 0.0)
        case "independent":
            return Count(n, lost, float(asked["p"]))
        case "gilbert_elliott":
            bad, good = float(asked.get("bad", 1.0)), float(asked.get("good", 0.0))
            to_bad, to_good = float(asked["p"]), float(asked["r"])
            if not 0 < to_bad <= 1 or not 0 < to_good <= 1:  # it stays where it is
                return Count(n, lost, max(bad, good), least=min(bad, good))
            return Count(n, lost, 0.0, runs=runs, chain=(to_bad, to_good, bad, good))
    return None
