"""Pairs of one case, run by two builds on the same seed and link: what moved, by how much, and how sure that is.

Two kinds of figures are judged apart. *Exact* ones (counts, shares and times of a simulation) depend on code and seed
alone: whatever differs is a difference of the builds, and what is judged is whether it goes one way over many
seeds or is another draw of the same luck. *Timed* ones (CPU time everywhere, latencies on real links) are noisy and
judged as every interleaved comparison (:func:`harness.analysis.stats.judge`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from scipy import special

from harness.analysis import baseline, compare, stages, stats
from harness.analysis.definitions import CASE_CPU, CORE_CPU, FIGURES
from harness.analysis.results import CaseResult, Status
from harness.analysis.stats import FloatArray, Gate, Interval, Verdict

_ALWAYS: Final = (CASE_CPU.name,)
_SIMULATED: Final = (CORE_CPU.name,)
_LIVE: Final = (*compare.JUDGED, "send_cpu_per_packet", "receive_cpu_per_packet")

Pairs: TypeAlias = Sequence[tuple[CaseResult, CaseResult]]
"""The results of two builds, pair by pair: the same case, seed and link."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the pairs say of one figure of one case."""

    case: str
    metric: str
    unit: str
    exact: bool
    """Whether it depends on code and seed alone."""
    base: float
    """Over the pairs, the mean of an exact figure and the median of a timed one."""
    head: float
    change: float
    """head / base - 1; nan where base is 0."""
    interval: Interval
    """95 % interval of the change, infinite where the pairs are too few for one."""
    p_value: float
    """Holm-adjusted over the figures of its kind."""
    verdict: Verdict
    pairs: int
    moved: int
    """Pairs in which the figure differs."""
    detectable: float
    """Smallest change that as many pairs would have shown."""
    pairs_needed: int
    """Pairs that would show the gate's effect."""

    @property
    def gates(self) -> bool:
        """Return whether it decides the exit code: what is neither good nor bad does not."""
        return FIGURES[self.metric].better != "none"


def is_exact(name: str, backend: str) -> bool:
    """Return whether a figure depends on code and seed alone on that back end."""
    return backend == "sim" and FIGURES[name].deterministic


def is_wall_clock(name: str, backend: str) -> bool:
    """Return whether a figure is a time by the wall clock, which whatever else runs here makes longer."""
    return backend != "sim" and FIGURES[name].unit == "ms" and FIGURES[name].group != "cost"


def is_believable(pair: tuple[CaseResult, CaseResult]) -> bool:
    """Return whether the machine was quiet for both sides of a pair, or is not known to have been busy."""
    return all(side.machine is None or side.machine.quiet for side in pair)


def judge(
    pairs: Mapping[str, Pairs], metrics: Sequence[str] = (), *, gate: Gate | None = None
) -> list[Finding]:
    """Judge every figure of every case, by case; those named in ``metrics``, or all that are judged by default.

    Exact figures that are equal in all pairs come as :attr:`Verdict.SAME` with ``moved`` 0. A pair of which a side has
    no result that can be judged is left out, and of times by the wall clock one for which the machine was busy.
    """
    gate = gate or Gate()
    exact: dict[tuple[str, str], FloatArray] = {}
    timed: dict[tuple[str, str], FloatArray] = {}
    for case, both in pairs.items():
        usable = [
            pair for pair in both if all(side.status in {Status.PASSED, Status.FAILED} for side in pair)
        ]
        if not usable:
            continue
        backend = usable[0][0].backend
        for name in metrics or _defaults(usable[0][0]):
            columns = _columns(believed(usable, name), name)
            if not columns.size:
                continue
            if is_exact(name, backend):
                exact[case, name] = columns
            elif np.all(columns > 0):
                timed[case, name] = columns
    return [*_judge_exact(exact, gate), *_judge_timed(timed, gate)]


def _defaults(case: CaseResult) -> list[str]:
    if case.backend == "sim":
        return [*baseline.gated(case), *_SIMULATED, *_ALWAYS]
    return [*_LIVE, *_ALWAYS]


def believed(pairs: Pairs, name: str) -> Pairs:
    """Return the pairs whose values of a figure are worth believing: of a wall clock those of a quiet machine."""
    if not pairs or not is_wall_clock(name, pairs[0][0].backend):
        return pairs
    return [pair for pair in pairs if is_believable(pair)]


def table(pairs: Pairs, name: str) -> list[tuple[float, float]]:
    """Return the values of a figure, pair by pair; a pair of which a side has none is left out."""
    rows = [(compare.value_of(a, name), compare.value_of(b, name)) for a, b in pairs]
    return [(a, b) for a, b in rows if a is not None and b is not None]


def _columns(pairs: Pairs, name: str) -> FloatArray:
    return np.array(table(pairs, name), dtype=np.float64).reshape(-1, 2)


def _judge_exact(tables: Mapping[tuple[str, str], FloatArray], gate: Gate) -> list[Finding]:
    """Judge differences by the signed-rank test over seeds, without any tolerance.

    A figure that is equal in all pairs could not have become significant whatever the builds are, so it does not
    count in Holm's correction (Tarone 1990).
    """
    gate = replace(gate, tolerance=0.0)
    differences = {key: columns[:, 1] - columns[:, 0] for key, columns in tables.items()}
    moving = [key for key, d in differences.items() if np.any(d)]
    up = dict(zip(moving, stats.holm([stats.signed_rank(differences[key]) for key in moving]), strict=True))
    down = dict(
        zip(moving, stats.holm([stats.signed_rank(-differences[key]) for key in moving]), strict=True)
    )
    found = []
    for key, columns in tables.items():
        d, base = differences[key], float(columns[:, 0].mean())
        p_up, p_down = up.get(key, 1.0), down.get(key, 1.0)
        scale = abs(base) or math.nan
        low, high = (bound / scale for bound in (stats.mean_interval(d) or (-math.inf, math.inf)))
        figures = max(1, len(moving))
        detectable, needed = stats.detectable_change(d.size, (high - low) / 2, figures, gate)
        still = not np.any(d)
        if still:
            detectable, needed, low, high = 0.0, 1, 0.0, 0.0
        worse, nicer = (p_down, p_up) if FIGURES[key[1]].better == "higher" else (p_up, p_down)
        verdict = _verdict(
            worse, nicer, seen=still or (detectable <= gate.effect and low <= 0 <= high), gate=gate
        )
        if verdict is Verdict.TOO_FEW:
            needed = max(needed, _pairs_until_significant(d, min(p_up, p_down), figures, gate))
        found.append(
            Finding(
                *key,
                unit=FIGURES[key[1]].unit,
                exact=True,
                base=base,
                head=float(columns[:, 1].mean()),
                change=0.0 if still else float(d.mean()) / scale,
                interval=(low, high),
                p_value=min(p_up, p_down),
                verdict=verdict,
                pairs=d.size,
                moved=int(np.count_nonzero(d)),
                detectable=detectable,
                pairs_needed=needed,
            )
        )
    return found


def _verdict(worse: float, nicer: float, *, seen: bool, gate: Gate) -> Verdict:
    """``seen``: a change of the gate's effect would have been, and none was."""
    if worse <= gate.alpha:
        return Verdict.REGRESSION
    if nicer <= gate.alpha:
        return Verdict.IMPROVEMENT
    return Verdict.SAME if seen else Verdict.TOO_FEW


def _pairs_until_significant(d: FloatArray, p_value: float, figures: int, gate: Gate) -> int:
    """Return the pairs that would be significant if what is seen here goes on, and could be whatever is seen."""
    share = np.count_nonzero(d) / d.size
    fewest = math.ceil(gate.fewest_pairs(figures) / share)
    if np.all(d >= 0) or np.all(d <= 0):
        return fewest
    # A z-score grows with the root of the sample; from next to none nothing is to be foretold.
    z, wanted = (float(special.ndtri(1 - p)) for p in (min(p_value, 0.25), gate.alpha))
    return max(fewest, math.ceil(d.size * (wanted / z) ** 2))


def _judge_timed(tables: Mapping[tuple[str, str], FloatArray], gate: Gate) -> list[Finding]:
    keys = {f"{metric} of {case}": (case, metric) for case, metric in tables}
    judged = stats.judge(
        {name: [(a, b) for a, b in tables[key].tolist()] for name, key in keys.items()},
        better={name: FIGURES[metric].better for name, (_, metric) in keys.items()},
        gate=gate,
    )
    found = []
    for judgement in judged:
        key = keys[judgement.name]
        columns = tables[key]
        low, high = judgement.interval
        found.append(
            Finding(
                *key,
                unit=FIGURES[key[1]].unit,
                exact=False,
                base=float(np.median(columns[:, 0])),
                head=float(np.median(columns[:, 1])),
                change=judgement.ratio - 1,
                interval=(low - 1, high - 1),
                p_value=judgement.p_value,
                verdict=judgement.verdict,
                pairs=judgement.pairs,
                moved=int(np.count_nonzero(columns[:, 0] != columns[:, 1])),
                detectable=judgement.detectable,
                pairs_needed=judgement.pairs_needed,
            )
        )
    return found


def side_of(
    finding: Finding, figures: Sequence[tuple[float, float]], *, gate: Gate | None = None
) -> bool | None:
    """Return whether a build that was paired with the good one is on the bad side of half the way between good and bad.

    ``finding`` says how far the bad one is from the good one; ``figures`` holds those of the good one and of the build
    in question. None where the pairs cannot tell. An exact figure is on one of the sides at once.
    """
    pairs = np.asarray(figures, dtype=np.float64).reshape(-1, 2)
    if finding.exact:
        middle = (finding.base + finding.head) / 2
        now = float(pairs[:, 1].mean())
        return now > middle if finding.head > finding.base else now < middle
    half = math.log1p(finding.change) / 2
    beyond = (np.log(pairs[:, 1] / pairs[:, 0]) - half) * math.copysign(1.0, half)
    alpha = (gate or Gate()).alpha
    if stats.signed_rank(beyond) <= alpha:
        return True
    return False if stats.signed_rank(-beyond) <= alpha else None


STAGES: Final = frozenset(f"{name}_p50" for name in stages.WATERFALL)
"""Figures that name a stage of the frame path: they say more than the sums that contain it, and come first."""


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings worst first; of equals a stage before the sums that contain it, exact ones before timed ones."""
    rank = {Verdict.REGRESSION: 0, Verdict.TOO_FEW: 1, Verdict.IMPROVEMENT: 2, Verdict.SAME: 3}
    return sorted(
        findings, key=lambda f: (rank[f.verdict], not f.gates, f.metric not in STAGES, not f.exact, f.p_value)
    )
