"""What two builds differ in, as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from harness.analysis.paired import Finding, in_order
from harness.analysis.stats import Gate, Verdict
from harness.report.text import clock, number

MAX_ROWS: Final = 40
"""Of a table on a terminal; ab.json has all."""
_UNDECIDED: Final = 5


def change(finding: Finding) -> str:
    """Return a change with its interval: ``+6.3% (+5.1% … +7.4%)``; of a figure that was 0 what it is now."""
    if math.isnan(finding.change):
        return f"0 → {number(finding.head, finding.unit)}"
    text = f"{finding.change:+.2%}"
    low, high = finding.interval
    return f"{text} ({low:+.2%} … {high:+.2%})" if math.isfinite(low) and math.isfinite(high) else text


def word(finding: Finding) -> str:
    """Return what a finding is called: a change of what is neither good nor bad is no regression."""
    if finding.verdict is Verdict.TOO_FEW:
        return "not judged"
    return "changed" if finding.verdict is not Verdict.SAME and not finding.gates else finding.verdict.value


def more_pairs(finding: Finding, seconds_for: Callable[[int], float], gate: Gate | None = None) -> str:
    """Return how many pairs more would judge a figure, and about how long they take."""
    missing = max(1, finding.pairs_needed - finding.pairs)
    tell = "tell" if finding.exact else f"show {(gate or Gate()).effect:.0%}"
    return (
        f"not enough samples for {finding.metric} of {finding.case} ({change(finding)}): {missing} more "
        f"pair{'s' * (missing != 1)} would {tell}, about {clock(seconds_for(missing))}"
    )


def table(findings: Sequence[Finding], seconds_for: Callable[[int], float]) -> list[str]:
    """Return what moved, worst first, what could not be judged, and how much did not move."""
    shown = [f for f in in_order(findings) if f.verdict in {Verdict.REGRESSION, Verdict.IMPROVEMENT}]
    rows = [("metric", "case", "base", "head", "change", "p", "pairs", "verdict")]
    for f in shown[:MAX_ROWS]:
        called = f"{word(f)} (exact)" if f.exact else word(f)
        figures = number(f.base, f.unit), number(f.head, f.unit)
        rows.append(
            (
                f.metric,
                f.case,
                *figures,
                change(f),
                f"{f.p_value:.1g}",
                str(f.pairs),
                called,
            )
        )
    lines = []
    if shown:
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
    if len(shown) > MAX_ROWS:
        lines.append(f"… and {len(shown) - MAX_ROWS} more, in ab.json")
    undecided = [f for f in findings if f.verdict is Verdict.TOO_FEW and f.gates]
    undecided.sort(key=lambda f: f.pairs_needed, reverse=True)
    lines += [more_pairs(f, seconds_for) for f in undecided[:_UNDECIDED]]
    if len(undecided) > _UNDECIDED:
        lines.append(f"… and {len(undecided) - _UNDECIDED} figures more that want no more pairs than these")
    lines.append(counts(findings))
    return lines


def counts(findings: Sequence[Finding]) -> str:
    """Return how many figures moved, did not, and could not be judged."""
    moved = sum(f.verdict in {Verdict.REGRESSION, Verdict.IMPROVEMENT} for f in findings)
    undecided = sum(f.verdict is Verdict.TOO_FEW and f.gates for f in findings)
    equal = [f for f in findings if f.exact and not f.moved]
    same = [f for f in findings if f.verdict is Verdict.SAME and (f.moved or not f.exact)]
    parts = [f"{moved} of {len(findings)} figures moved" if findings else "nothing was compared"]
    if equal:
        parts.append(f"{len(equal)} are exactly equal in all pairs")
    if same:
        blind = max(f.detectable for f in same)
        parts.append(f"{len(same)} did not move (a change of {blind:.1%} would have been seen)")
    if undecided:
        parts.append(f"{undecided} could not be judged")
    return ", ".join(parts)
