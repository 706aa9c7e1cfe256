"""Charts of figures over commits: a panel a figure, a line a case, and beside them how noisy the machine was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.analysis.definitions import FIGURES
from harness.analysis.history import Series
from harness.report.drawing import COLOURS, DASHES, INK, MARKERS, draw, rounded
from harness.report.text import chart_label, clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS: Final = 3
MOST_ROWS: Final = 6
"""Of panels in a chart: what is more becomes another chart."""
MOST_COLOURED: Final = 4
"""Cases of a section that have a colour, a marker and a band: panels are small."""
_WIDTH, _ROW, _LEGEND = 10.4, 2.1, 0.2
_MOST_TICKS: Final = 6
_LONGEST: Final = 60


def colours(series: Sequence[Series]) -> dict[str, int]:
    """Choose the cases that have a colour: those in which most figures moved, then spread over the rest."""
    moves: dict[str, int] = {}
    for each in series:
        moves[each.key.case] = moves.get(each.key.case, 0) + len(each.changes)
    moved = sorted((case for case in moves if moves[case]), key=lambda case: -moves[case])[:MOST_COLOURED]
    rest = [case for case in moves if case not in moved]
    room = min(MOST_COLOURED - len(moved), len(rest))
    spread = [rest[round(i * (len(rest) - 1) / max(1, room - 1))] for i in range(room)]
    return {case: n for n, case in enumerate(dict.fromkeys([*moved, *spread]))}


def panels(
    name: str, by_metric: Mapping[str, Sequence[Series]], coloured: Mapping[str, int], commits: Sequence[str]
) -> str:
    """Return a chart with a panel for each figure, its legend below all of them, as markup."""
    shown = sorted({case for series in by_metric.values() for case in (each.key.case for each in series)})
    named = [case for case in coloured if case in shown]
    rows = -(-len(by_metric) // COLUMNS)

    def paint(axes: list[Axes]) -> None:
        for ax, (metric, series) in zip(axes, by_metric.items(), strict=False):
            _panel(ax, metric, series, coloured, commits)
        for ax in axes[len(by_metric) :]:
            ax.set_axis_off()
        if len(shown) > 1:
            _legend(axes[0], named, coloured, others=len(shown) > len(named))

    height = 0.3 + _ROW * rows + _LEGEND * (len(named) // 2 + 1)
    return rounded(draw(name, rows, COLUMNS, (_WIDTH, height), paint))


def _legend(ax: Axes, named: Sequence[str], coloured: Mapping[str, int], *, others: bool) -> None:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], color=COLOURS[n], linestyle=DASHES[n], marker=MARKERS[n])
        for n in (coloured[case] for case in named)
    ]
    labels = [chart_label(case, _LONGEST) for case in named]
    if others:
        handles.append(Line2D([], [], color=INK, alpha=0.2))
        labels.append("other cases")
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    figure.legend(handles, labels, loc="outside lower left", ncols=2)


def _panel(
    ax: Axes, metric: str, series: Sequence[Series], coloured: Mapping[str, int], commits: Sequence[str]
) -> None:
    scale = 100.0 if FIGURES[metric].unit == "fraction" else 1.0
    drawn = 0
    for each in sorted(series, key=lambda each: each.key.case in coloured):
        n = coloured.get(each.key.case)
        if n is None and drawn >= 30 and not each.changes:
            continue
        drawn += 1
        _line(ax, each, n, scale)
    unit = {"fraction": "%", "us": "µs"}.get(FIGURES[metric].unit, FIGURES[metric].unit)
    ax.set_title(metric.replace("_", " ") + (f" ({unit})" if unit else ""))
    _commit_axis(ax, commits, [int(commit) for each in series for commit in each.commits])


def _line(ax: Axes, series: Series, n: int | None, scale: float) -> None:
    """Draw a case: a point a run, a line through the medians of commits, a step and a band for each level."""
    values = series.values * scale
    places = np.unique(series.commits)
    medians = [float(np.median(values[series.commits == place])) for place in places]
    style: dict[str, Any] = (
        {"color": INK, "alpha": 0.2, "linewidth": 0.8}
        if n is None
        else {"color": COLOURS[n], "linestyle": DASHES[n], "linewidth": 1.0, "alpha": 0.75}
    )
    ax.plot(places, medians, **style)
    colour = INK if n is None else COLOURS[n]
    if n is not None:
        ax.plot(series.commits, values, linestyle="none", marker=MARKERS[n], color=colour, markersize=3.0)
        noise = series.noise()
        for begin, end in series.levels():
            level = values[(series.commits >= begin) & (series.commits <= end)]
            middle = float(np.median(level))
            if noise is not None and len(level) > 1:
                ax.fill_between(
                    [begin - 0.3, end + 0.3],
                    middle * (1 - noise),
                    middle * (1 + noise),
                    color=colour,
                    alpha=0.15,
                    linewidth=0,
                )
    for change in series.changes:
        worse = change.verdict == "regression"
        ax.plot(
            [change.commit],
            [change.after * scale],
            linestyle="none",
            marker="X" if worse else "o",
            markersize=8,
            markerfacecolor="none" if not worse else COLOURS[1],
            markeredgecolor=INK,
            markeredgewidth=1.0,
        )


def _commit_axis(ax: Axes, commits: Sequence[str], used: Sequence[int]) -> None:
    first, last = min(used), max(used)
    step = max(1, -(-(last - first + 1) // _MOST_TICKS))
    places = list(range(first, last + 1, step))
    ax.set_xticks(places, [_commit(commits[place]) for place in places], rotation=30, ha="right", fontsize=8)
    ax.set_xlim(first - 0.5, last + 0.5)
    ax.margins(y=0.12)


def _commit(name: str) -> str:
    return clean(name[:7] + ("+" if name.endswith("+") else ""))


def machine(name: str, measured: Mapping[str, Sequence[tuple[int, float]]], commits: Sequence[str]) -> str:
    """Return a chart of what says how noisy a machine was, run by run, as markup."""

    def paint(axes: list[Axes]) -> None:
        for n, (ax, (title, points)) in enumerate(zip(axes, measured.items(), strict=True)):
            places, values = zip(*sorted(points), strict=True)
            ax.plot(places, values, linestyle="none", marker=MARKERS[n], color=COLOURS[n])
            ax.set_title(title)
            ax.set_ylim(0, max(values) * 1.15 or 1.0)
            _commit_axis(ax, commits, places)

    return rounded(draw(name, 1, len(measured), (_WIDTH, 2.4), paint))
