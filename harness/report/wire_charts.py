"""Charts of two wires on one link: recovery beside each theory, latency, and what loss costs over either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from harness.analysis.results import CaseResult
from harness.report.drawing import (
    COLOURS,
    DASHES,
    MARKERS,
    MOST_LINES,
    Chart,
    draw,
    legend_of_all,
    tail_line,
    tail_scale,
)
from harness.report.recovery_charts import draw_panels, kind_of, panels_of, with_curve
from harness.report.text import clean
from harness.report.wires import Comparison, Point, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_PANELS: Final = 4
_COSTS: Final = (
    ("recovery_time", "time to picture (ms)", 1.0),
    ("goodput", "goodput (Mbit/s)", 1.0),
    ("fec_overhead", "FEC overhead (%)", 100.0),
)
"""Rows of the chart of costs: figure, axis, factor."""


def charts(comparisons: Sequence[Comparison]) -> list[Chart]:
    """Return the charts of every comparison, in the order of the page."""
    return [chart for comparison in comparisons for chart in named(comparison).values()]


def named(comparison: Comparison) -> dict[str, Chart]:
    """Return the charts that a comparison has data for, by a short name."""
    made = {"recovery": recovery(comparison), "latency": latency(comparison), "costs": costs(comparison)}
    return {name: chart for name, chart in made.items() if chart is not None}


def recovery(comparison: Comparison) -> Chart | None:
    """Frames recovered against loss, a line a wire, each on the curve of its own code."""
    judged = with_curve(comparison.cases)
    if len({c.theory["loss"] for c in judged}) < 2:
        return None
    return Chart(
        title=f"{_name(comparison)}: frames recovered against loss",
        caption=(
            "Points: measured share of complete frames with 95 % intervals. Lines: exact theory of each wire's blocks; "
            "bands: where 95 % of measurements of this size should fall."
        ),
        svg=draw_panels(
            f"wires-recovery-{comparison.layer}", panels_of(judged, lambda c: c.protocol, comparison.axes)
        ),
    )


def latency(comparison: Comparison) -> Chart | None:
    """Distribution of the latency at some points, a line a wire, the tail stretched."""
    span, title = comparison.latency()
    able = [p for p in comparison.points if all(_spread(c.quantiles.get(span)) for c in p.cases.values())]
    if not able:
        return None
    chosen = _some(able, _MOST_PANELS)
    longest = max(
        value for point in chosen for case in point.cases.values() for value in case.quantiles[span]
    )

    def paint(axes: list[Axes]) -> None:
        for ax, point in zip(axes, chosen, strict=True):
            for n, wire in enumerate(comparison.wires[:MOST_LINES]):
                if wire not in point.cases:
                    continue
                tail_line(ax, point.cases[wire].quantiles[span], n, clean(wire))
            ax.set_title(clean(point.label)[:60].replace(", ", "\n"))
            ax.set_xlabel(f"{title} (ms)")
            ax.set_xlim(0, longest * 1.06)
            tail_scale(ax)
        axes[0].set_ylabel("frames at most this late")
        legend_of_all(axes, max(5.2, 2.9 * len(chosen)))

    return Chart(
        title=f"{_name(comparison)}: latency",
        caption=(
            "Cumulative distribution over the frames that came through; the scale is stretched towards the tail. "
            "Markers: median, 95 %, 99 %, 99.9 %."
        ),
        svg=draw(
            f"wires-latency-{comparison.layer}", 1, len(chosen), (max(5.2, 2.9 * len(chosen)), 3.6), paint
        ),
    )


def costs(comparison: Comparison) -> Chart | None:
    """What a loss costs: time to the next picture, goodput and overhead against loss, a column a kind of stream."""
    judged = with_curve(comparison.cases)
    panels = panels_of(judged, lambda case: case.protocol, comparison.axes)
    columns = list(panels)[:_MOST_PANELS]
    stood = [case for case in judged if measured(case, "recovery_time_p50") is not None]
    if len({case.theory["loss"] for case in stood}) < 2:
        return None

    def paint(axes: list[Axes]) -> None:
        for place, ax in enumerate(axes):
            row, column = divmod(place, len(columns))
            title, burst = columns[column]
            name, label, scale = _COSTS[row]
            for n, wire in enumerate(comparison.wires[:MOST_LINES]):
                mine = panels[columns[column]].get(wire, [])
                _cost_line(ax, (name, scale), sorted(mine, key=lambda c: c.theory["loss"]), n, wire)
            if row == 0:
                ax.set_title(f"{title.removeprefix(f'{comparison.layer}, ')}\n{kind_of(burst)}")
            if row == len(_COSTS) - 1:
                ax.set_xlabel("packets lost (%)")
            if column == 0:
                ax.set_ylabel(label)
            ax.set_ylim(bottom=0)
            ax.set_xlim(left=0)
        legend_of_all(axes, max(5.2, 2.8 * len(columns)))

    return Chart(
        title=f"{_name(comparison)}: what a loss costs",
        caption=(
            "Time from the first frame that cannot be shown to the next one that can (median, bars up to 95 %), bits "
            "of complete frames, and recovery packets per data packet."
        ),
        svg=draw(
            f"wires-costs-{comparison.layer}",
            len(_COSTS),
            len(columns),
            (max(5.2, 2.8 * len(columns)), 6.6),
            paint,
        ),
    )


def _cost_line(ax: Axes, figure: tuple[str, float], cases: Sequence[CaseResult], n: int, wire: str) -> None:
    name, scale = figure
    middle = f"{name}_p50" if name == "recovery_time" else name
    known = [(c, value * scale) for c in cases if (value := measured(c, middle)) is not None]
    if not known:
        return
    tails = [max(0.0, (measured(c, f"{name}_p95") or 0.0) - value) for c, value in known]
    ax.errorbar(
        [c.theory["loss"] * 100 for c, _ in known],
        [value for _, value in known],
        yerr=[[0.0] * len(known), tails] if any(tails) else None,
        color=COLOURS[n],
        linestyle=DASHES[n],
        marker=MARKERS[n],
        capsize=2,
        elinewidth=0.9,
        label=clean(wire),
    )


def _name(comparison: Comparison) -> str:
    return clean(f"{' beside '.join(comparison.wires)} ({comparison.layer})")


def _spread(values: Sequence[float] | None) -> bool:
    return bool(values) and max(values or [0]) - min(values or [0]) > 1e-9


def _some(points: Sequence[Point], most: int) -> list[Point]:
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]
