"""Charts of two builds: changes with intervals, both distributions of each figure, and the times of frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.analysis import paired
from harness.analysis.paired import Finding
from harness.analysis.paired_run import Pairs
from harness.analysis.results import CaseResult
from harness.analysis.stats import Gate, Verdict
from harness.report.drawing import (
    COLOURS,
    DASHES,
    INK,
    MARKERS,
    Chart,
    draw,
    legend_of_all,
    rounded,
    tail_line,
    tail_scale,
)
from harness.report.text import chart_label, clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_EFFECTS: Final = 40
MOST_PANELS: Final = 48
"""Figures that have their distributions drawn, worst first."""
_COLUMNS: Final = 3
_ROWS: Final = 6
"""Of panels in a chart: what is more becomes another chart."""
_WIDTH, _ROW = 10.4, 2.15
_LONGEST: Final = 34
_NAMES: Final = ("base", "head")
_FRAME_SPANS: Final = ("transport", "glass_to_glass", "sealed_to_complete", "encode", "assembly", "decode")
MOST_CASES: Final = 6
"""Cases whose frames' times are drawn."""


def charts(compared: Pairs, findings: Sequence[Finding]) -> list[Chart]:
    """Return the charts that there is something to draw for; ``findings`` are those that move, worst first."""
    found = [effects(findings)]
    drawn = findings[:MOST_PANELS]
    together = _COLUMNS * _ROWS
    found += [distributions(compared, drawn[n : n + together], n) for n in range(0, len(drawn), together)]
    found += [frame_times(case, both) for case, both in list(compared.pairs.items())[:MOST_CASES]]
    return [chart for chart in found if chart is not None]


def effects(findings: Sequence[Finding]) -> Chart | None:
    """Every change in per cent with its interval, the tolerance of the gate shaded."""
    shown = [f for f in findings if math.isfinite(f.change) and math.isfinite(f.interval[0] + f.interval[1])]
    shown = shown[:MOST_EFFECTS]
    if not shown:
        return None
    several = len({f.case for f in shown}) > 1
    gate = Gate()

    def paint(axes: list[Axes]) -> None:
        ax = axes[0]
        ax.axvspan(-gate.tolerance * 100, gate.tolerance * 100, color=INK, alpha=0.1, linewidth=0)
        ax.axvline(0, color=INK, linewidth=0.8)
        for n, f in enumerate(shown):
            moved = f.verdict in {Verdict.REGRESSION, Verdict.IMPROVEMENT}
            colour = COLOURS[1] if f.verdict is Verdict.REGRESSION and f.gates else COLOURS[0]
            low, high = (bound * 100 for bound in f.interval)
            ax.plot([low, high], [n, n], color=colour, alpha=1.0 if moved else 0.55)
            ax.plot([f.change * 100], [n], color=colour, marker=MARKERS[1 if moved else 0],
                    markerfacecolor=colour if moved else "none")  # fmt: skip
        names = [
            f.metric.replace("_", " ") + (f" · {chart_label(f.case, _LONGEST)}" if several else "")
            for f in shown
        ]
        ax.set_yticks(range(len(shown)), names, fontsize=8)
        ax.invert_yaxis()
        ax.set_xlabel("change from base to head (%), with its 95 % interval")
        ax.set_ylim(len(shown) - 0.4, -0.6)

    return Chart(
        title="Effect sizes",
        caption=(
            f"Filled squares moved beyond chance, open circles did not. The shaded band is the ±{gate.tolerance:.0%} "
            "that times may differ by; exact figures have no such tolerance."
        ),
        svg=rounded(draw("effects", 1, 1, (_WIDTH, 1.1 + 0.24 * len(shown)), paint)),
    )


def distributions(compared: Pairs, findings: Sequence[Finding], first: int) -> Chart | None:
    """Both distributions of each figure over the pairs, as shares of the pairs with at most that value."""
    tables = [np.array(_table(compared, finding)).reshape(-1, 2) for finding in findings]
    drawn = [(finding, table) for finding, table in zip(findings, tables, strict=True) if table.size]
    if not drawn:
        return None
    several = len({finding.case for finding, _ in drawn}) > 1
    columns = min(_COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    width = _WIDTH * columns / _COLUMNS if columns > 1 else _WIDTH / 2

    def paint(axes: list[Axes]) -> None:
        for ax, (finding, table) in zip(axes, drawn, strict=False):
            _panel(ax, finding, table, several=several)
        for ax in axes[::columns]:
            ax.set_ylabel("share of pairs")
        for ax in axes[len(drawn) :]:
            ax.set_axis_off()
        legend_of_all(axes[:1], width)

    return Chart(
        title="Distributions over the pairs" + (", continued" if first else ""),
        caption="A step a pair: the share of pairs whose figure is at most that. Points on the line are the medians."
        if not first
        else "",
        svg=rounded(draw(f"distributions{first}", rows, columns, (width, 0.5 + _ROW * rows), paint)),
    )


def _table(compared: Pairs, finding: Finding) -> list[tuple[float, float]]:
    both = paired.believed(compared.pairs.get(finding.case, []), finding.metric)
    return paired.table(both, finding.metric)


def _panel(
    ax: Axes, finding: Finding, table: np.ndarray[tuple[int, int], np.dtype[np.float64]], *, several: bool
) -> None:
    scale = 100.0 if finding.unit == "fraction" else 1.0
    shares = np.arange(1, len(table) + 1) / len(table)
    for n, name in enumerate(_NAMES):
        values = np.sort(table[:, n]) * scale
        ax.step(
            np.r_[values[0], values], np.r_[0.0, shares], where="post",
            color=COLOURS[n], linestyle=DASHES[n], label=name,
        )  # fmt: skip
        ax.plot([float(np.median(values))], [0.5], color=COLOURS[n], marker=MARKERS[n], linestyle="none")
    unit = {"fraction": "%", "us": "µs"}.get(finding.unit, finding.unit)
    ax.set_title(finding.metric.replace("_", " ") + (f" ({unit})" if unit else ""), fontsize=9)
    if several:
        ax.set_xlabel(chart_label(finding.case, _LONGEST), fontsize=8)
    ax.set_ylim(-0.04, 1.04)
    ax.locator_params(axis="x", nbins=5)


def frame_times(case: str, both: paired.Pairs) -> Chart | None:
    """How late the frames of both builds were: the mean of the pairs' quantiles, over real links."""
    believed = paired.believed(both, "transport_p50")
    if not believed or believed[0][0].backend == "sim":
        return None
    curves = [(name, made) for name in _FRAME_SPANS if (made := _curves(believed, name)) is not None][:3]
    if not curves:
        return None
    width = 3.5 * len(curves) if len(curves) > 1 else 5.2

    def paint(axes: list[Axes]) -> None:
        for ax, (name, lines) in zip(axes, curves, strict=True):
            for n, (values, label) in enumerate(zip(lines, _NAMES, strict=True)):
                tail_line(ax, values, n, label)
            ax.set_title(name.replace("_", " ") + " (ms)")
            tail_scale(ax)
        axes[0].set_ylabel("frames at most this late")
        legend_of_all(axes, width)

    return Chart(
        title=f"Frames of {clean(case)}",
        caption=(
            f"Times of single frames, averaged over {len(believed)} pairs; the scale is stretched towards the tail. "
            "Markers: median, 95 %, 99 %, the largest."
        ),
        svg=rounded(draw(f"frames-{case}", 1, len(curves), (width, 3.3), paint)),
    )


def _curves(both: paired.Pairs, name: str) -> list[list[float]] | None:
    """Return the mean curve of each side; None where a side has none, or nothing that varies."""
    found = []
    for side in (0, 1):
        lines = [values for pair in both if (values := _quantiles(pair[side], name))]
        if not lines or len({len(line) for line in lines}) > 1:
            return None
        found.append(np.mean(np.array(lines), axis=0))
    if all(np.ptp(line) < 1e-9 for line in found):
        return None
    return [line.tolist() for line in found]


def _quantiles(case: CaseResult, name: str) -> list[float]:
    return case.quantiles.get(name, [])
