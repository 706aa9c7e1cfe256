"""What the latency gate would say on a machine's own noise: false alarms on equals, and the changes it would see.

One recorded stream is cut into segments, neighbours are paired and a coin calls one of each pair A and the other B:
nothing differs, so whatever is flagged is a false alarm. The same with one stage of B slowed by a known ratio shows
what would be caught. The noise is real: that of the machine, its neighbours and the codec, in the order it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from harness.analysis import stages, stats
from harness.analysis.records import NULL, Records
from harness.analysis.stats import FloatArray, Gate, Verdict

SEGMENT_FRAMES: Final = 60
COMPARISONS: Final = 100


@dataclass(slots=True)
class Calibration:
    """What the gate said over many relabelled comparisons of one stream."""

    comparisons: int
    pairs: int
    """Pairs of segments of the stage that has fewest."""
    false_alarms: int
    """Comparisons of equals in which anything was flagged."""
    detectable: dict[str, float]
    """Smallest change of each stage that the gate detects with its power (median over the comparisons)."""
    caught: dict[str, float] = field(default_factory=dict)
    """Share of comparisons in which a planted change of each stage was flagged and the stage named."""
    pairs_needed: dict[str, int] = field(default_factory=dict)
    """Pairs that would detect the gate's effect at this noise."""


def segment_medians(records: Records, segment: int = SEGMENT_FRAMES) -> dict[str, FloatArray]:
    """Return each stage's median in every segment of ``segment`` frames, nan where a segment holds none.

    Segments are cut by frame, so that all stages share them; a stage that is mostly below 1 µs is left out.
    """
    count = records["index"].size // segment
    found: dict[str, FloatArray] = {}
    for name in stages.WATERFALL:
        span = stages.BY_NAME[name]
        begin, end = (
            records[column][: count * segment].reshape(count, segment) for column in (span.begin, span.end)
        )
        both = (begin != NULL) & (end != NULL)
        if count == 0 or both.mean() < 0.5:
            continue
        length = np.where(both, (end - begin) / 1e6, np.nan)
        filled = both.any(axis=1)
        medians = np.full(count, np.nan)
        medians[filled] = np.nanmedian(length[filled], axis=1)
        if np.nanmedian(medians) > 1e-3:
            found[name] = medians
    return found


def relabelled(
    medians: Mapping[str, FloatArray], seed: int, planted: Mapping[str, float] | None = None
) -> dict[str, list[tuple[float, float]]]:
    """Pair neighbouring segments, let a coin name A and B, and slow B's stages by the planted ratios."""
    count = min((column.size for column in medians.values()), default=0) // 2
    order = stats.interleave(count, seed)
    pairs: dict[str, list[tuple[float, float]]] = {}
    for name, column in medians.items():
        factor = (planted or {}).get(name, 1.0)
        pairs[name] = []
        for n in range(count):
            first, second = float(column[2 * n]), float(column[2 * n + 1])
            a, b = (first, second) if order[2 * n] == "a" else (second, first)
            if a > 0 and b > 0:  # nan is not
                pairs[name].append((a, b * factor))
    return pairs


def calibrate(
    records: Records,
    *,
    effect: float = 0.05,
    comparisons: int = COMPARISONS,
    segment: int = SEGMENT_FRAMES,
    gate: Gate | None = None,
) -> Calibration:
    """Run ``comparisons`` of equals, and as many with each stage slowed by ``effect``, on one recorded stream."""
    gate = gate or Gate()
    medians = segment_medians(records, segment)
    alarms, pairs = 0, 0
    detectable: dict[str, list[float]] = {name: [] for name in medians}
    needed: dict[str, list[int]] = {name: [] for name in medians}
    for seed in range(comparisons):
        judged = stats.judge(relabelled(medians, seed), gate=gate)
        alarms += any(j.verdict in {Verdict.REGRESSION, Verdict.IMPROVEMENT} for j in judged)
        pairs = min((j.pairs for j in judged), default=0)
        for judgement in judged:
            detectable[judgement.name].append(judgement.detectable)
            needed[judgement.name].append(judgement.pairs_needed)
    found = Calibration(
        comparisons=comparisons,
        pairs=pairs,
        false_alarms=alarms,
        detectable={name: float(np.median(values)) for name, values in detectable.items()},
        pairs_needed={name: int(np.median(values)) for name, values in needed.items()},
    )
    for name in medians:
        hits = 0
        for seed in range(comparisons):
            judged = stats.judge(relabelled(medians, seed, {name: 1 + effect}), gate=gate)
            hits += [j.name for j in judged if j.verdict is Verdict.REGRESSION] == [name]
        found.caught[name] = hits / comparisons
    return found


def text(found: Calibration, effect: float) -> str:
    """Return a calibration as lines for a terminal."""
    lines = [
        f"{found.false_alarms} of {found.comparisons} comparisons of equals were flagged ({found.pairs} pairs each)",
        f"{'stage':<14}{'sees from':>12}{f'+{effect:.0%} caught':>14}{'pairs wanted':>14}",
    ]
    for name, smallest in found.detectable.items():
        shown = f"{smallest:.1%}" if np.isfinite(smallest) else "nothing"
        lines.append(f"{name:<14}{shown:>12}{found.caught[name]:>14.0%}{found.pairs_needed[name]:>14}")
    return "\n".join(lines) + "\n"
