"""One self-contained HTML page of the history of figures: what moved with which commit, then every figure's course."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup

from harness.analysis.definitions import FIGURES, PERCENTILES
from harness.analysis.history import Change, History, Series
from harness.report import html, text
from harness.report.history_charts import COLUMNS, MOST_ROWS, colours, machine, panels

MOST_ROWS_MOVED: Final = 300
"""Rows of the table of what moved."""
MOST_PANELS: Final = 240
"""Panels of a page; figures that moved have theirs first."""
_DRAWN: Final = ("p50", "p99")
"""Percentiles of a distribution that have a panel though they did not move."""
_TITLES: Final = {
    "latency": "Latency",
    "frames": "Frames",
    "packets": "Packets",
    "picture": "Picture",
    "cost": "Cost",
}


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of a scenario on a machine class."""

    title: str
    anchor: str
    charts: list[tuple[str, Markup]]
    still: list[str]
    """Figures that had one value throughout."""
    undrawn: list[str]
    """Figures that have no panel."""
    noise: str
    moved: int


def render(history: History, *, asked: Sequence[str] = ()) -> str:
    """Return the page as text. ``asked`` are figures that have a panel in any case."""
    rows = _rows(history)
    grouped: dict[tuple[str, str], list[Series]] = {}
    for each in history.series:
        grouped.setdefault((each.key.scenario, each.key.machine), []).append(each)
    room = MOST_PANELS
    sections = []
    for number, series in enumerate(grouped.values()):
        section, used = _section(number, series, history.commits, asked=set(asked), room=room)
        sections.append(section)
        room -= used
    return html.template("history.html.j2").render(
        history=history,
        summary=summary(history),
        rows=rows[:MOST_ROWS_MOVED],
        more=max(0, len(rows) - MOST_ROWS_MOVED),
        regressions=any(row.verdict == "regression" for row in rows),
        unsteady=sorted({series.key.metric for series in history.series if series.unsteady}),
        sections=sections,
        machines=[
            (name, Markup(machine(f"machine{n}", measured, history.commits)))  # noqa: S704 - made above from escaped text
            for n, (name, measured) in enumerate(sorted(history.machine.items()))
        ],
    )


def summary(history: History) -> str:
    """Return one sentence of what a history holds."""
    count = len(history.changes)
    return (
        f"{_many(history.runs, 'run')} of {_many(len(history.commits), 'commit')}, {history.first} to {history.last}: "
        f"{_many(count, 'change')} in {_many(len(history.series), 'series', 'series')}"
    )


def lines(history: History, most: int = 20) -> Iterator[str]:
    """Yield what moved as lines for a terminal, regressions first."""
    rows = _rows(history)
    for row in rows[:most]:
        more = f" and {len(row.cases) - 1} more" if len(row.cases) > 1 else ""
        step = f"{row.metric}  {row.before} → {row.after}  {row.size}".rstrip()
        yield f"{row.commit}  {row.verdict:<11}  {step}  {row.cases[0]}{more}"
    if len(rows) > most:
        yield f"… and {len(rows) - most} more on the page"


@dataclass(frozen=True, slots=True)
class Row:
    """A change of a figure in one case or several, as the page shows it."""

    commit: str
    previous: str
    verdict: str
    metric: str
    size: str
    """Smallest and largest change of the cases."""
    before: str
    after: str
    chance: str
    """Of the case that moved most, as ``before`` and ``after`` are."""
    place: str
    cases: list[str]


def _rows(history: History) -> list[Row]:
    """Return the changes, those of one figure at one commit together, regressions first."""
    together: dict[tuple[object, ...], list[tuple[Series, Change]]] = {}
    for series, change in history.changes:
        key = series.key
        together.setdefault(
            (key.scenario, key.machine, key.metric, change.commit, change.verdict), []
        ).append((series, change))
    return [_row(found, history.commits) for found in together.values()]


def _row(found: Sequence[tuple[Series, Change]], commits: Sequence[str]) -> Row:
    series, change = found[0]
    unit = FIGURES[series.key.metric].unit
    earlier = series.commits[series.commits < change.commit]
    shares = sorted(other.after / other.before - 1 for _, other in found if other.before)
    return Row(
        commit=commits[change.commit],
        previous=commits[int(earlier.max())],
        verdict=change.verdict,
        metric=series.key.metric,
        size=" … ".join(dict.fromkeys(f"{share:+.1%}" for share in (shares[0], shares[-1])))
        if shares
        else "",
        before=text.number(change.before, unit),
        after=text.number(change.after, unit),
        chance="exact" if change.p_value is None else f"{change.p_value:.2g}",
        place=_place(series),
        cases=[other.key.case for other, _ in found],
    )


def _place(series: Series) -> str:
    return f"{series.key.scenario} · {series.key.machine}"


def _section(
    number: int, series: Sequence[Series], commits: Sequence[str], *, asked: set[str], room: int
) -> tuple[Section, int]:
    """Return a section and how many panels it has."""
    by_metric: dict[str, list[Series]] = {name: [] for name in FIGURES}
    for each in series:
        by_metric[each.key.metric].append(each)
    measured = {name: found for name, found in by_metric.items() if found}
    still = [name for name, found in measured.items() if all(np.ptp(each.values) == 0 for each in found)]
    wanted = [
        name for name in measured if name not in still and (name in asked or _is_drawn(name, measured[name]))
    ]
    wanted.sort(
        key=lambda name: not any(each.changes for each in measured[name])
    )  # those that moved come first
    drawn = wanted[: max(0, room)]
    coloured = colours(series)
    charts = []
    for group, heading in _TITLES.items():
        names = [name for name in drawn if FIGURES[name].group == group]
        for first in range(0, len(names), COLUMNS * MOST_ROWS):
            part = {name: measured[name] for name in names[first : first + COLUMNS * MOST_ROWS]}
            svg = panels(f"section{number}{group}{first}", part, coloured, commits)
            charts.append((heading if not first else f"{heading}, continued", Markup(svg)))  # noqa: S704 - made above
    section = Section(
        title=_place(series[0]),
        anchor=f"section-{number}",
        charts=charts,
        still=still,
        undrawn=[name for name in measured if name not in drawn and name not in still],
        noise=_noise(series),
        moved=sum(len(each.changes) for each in series),
    )
    return section, len(drawn)


def _is_drawn(metric: str, series: Sequence[Series]) -> bool:
    if any(each.changes for each in series):
        return True
    label = metric.rpartition("_")[2]
    return label not in {name for name, _ in PERCENTILES} or label in _DRAWN


def _noise(series: Sequence[Series]) -> str:
    timed = [each for each in series if FIGURES[each.key.metric].group in {"latency", "cost"}]
    found = [noise for each in timed if (noise := each.noise()) is not None]
    if not found:
        return ""
    low, middle, high = np.quantile(found, [0.1, 0.5, 0.9])
    return f"{middle:.1%} (from {low:.1%} to {high:.1%} in 80 % of {len(found)} series of times)"


def _many(count: int, word: str, plural: str = "") -> str:
    return f"{count} {word if count == 1 else plural or word + 's'}"
