"""Charts of a run: what its latencies are, where a frame's time goes, and how a stream went."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.analysis import stages
from harness.analysis.results import CaseResult, RunResult
from harness.report import recovery_charts, wire_charts
from harness.report.drawing import (
    COLOURS,
    DASHES,
    INK,
    MOST_LINES,
    Chart,
    draw,
    legend_above,
    tail_line,
    tail_scale,
)
from harness.report.text import clean, layer_of
from harness.report.wires import comparisons

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIMULATED: Final = 24
"""Simulated cases whose latencies are worth a chart."""


def charts(run: RunResult) -> list[Chart]:
    """Return the charts that a run has data for, in the order of the page."""
    made: Iterable[Chart | None] = (
        recovery_charts.recovery(run.cases),
        *wire_charts.charts(comparisons(run)),
        latency(run.cases),
        waterfall(run.cases),
        timelines(run.cases),
    )
    return [chart for chart in made if chart is not None]


# --- latency ------------------------------------------------------------------------------------------------


def latency(cases: Sequence[CaseResult]) -> Chart | None:
    """Cumulative distribution of the latencies, the tail stretched so that 99.9 % can be read."""
    spans = [
        (name, title)
        for name, title in (
            ("transport", "capture → complete frame"),
            ("strip_glass_to_glass", "drawn → decoded, read from the pixels"),
            ("capture_to_decoded", "capture → decoded"),
            ("sealed_to_complete", "sealed → complete frame"),
        )
        if any(case.quantiles.get(name) for case in cases)
    ][:2]
    shown = {name: _pick([c for c in cases if c.quantiles.get(name)]) for name, _ in spans}
    if not spans or all(_flat(c.quantiles[name]) for name in shown for c in shown[name]):
        return None

    def paint(axes: list[Axes]) -> None:
        for ax, (name, title) in zip(axes, spans, strict=True):
            for n, case in enumerate(shown[name]):
                tail_line(ax, case.quantiles[name], n, _label(case, shown[name]))
            ax.set_title(title)
            ax.set_xlabel("ms")
            tail_scale(ax)
            ax.set_ylabel("frames at most this late")
            every = [value for case in shown[name] for value in case.quantiles[name]]
            if min(every) > 0 and max(every) > 12 * min(every):
                ax.set_xscale("log")
                ax.xaxis.set_major_formatter("{x:g}")
            legend_above(ax, 4.4)

    return Chart(
        title="Latency",
        caption=(
            "Cumulative distribution; the scale is stretched towards the tail. Markers: median, 95 %, 99 %, 99.9 %. "
            "Lost frames are not in it: see recovery."
        ),
        svg=draw("latency", 1, len(spans), (5.2 * len(spans), 3.6), paint),
    )


def _flat(values: Sequence[float]) -> bool:
    return max(values) - min(values) < 1e-9


def _pick(cases: Sequence[CaseResult], most: int = MOST_LINES) -> list[CaseResult]:
    """Choose cases to draw, spread over what there is: real links, else the cases of a short simulation.

    The time of a large simulated sweep is the link's delay, over and over.
    """
    real = [case for case in cases if case.backend != "sim"]
    pool = real or (list(cases) if len(cases) <= SIMULATED else [])
    if len(pool) <= most:
        return pool
    return [pool[round(i * (len(pool) - 1) / (most - 1))] for i in range(most)]


def _label(case: CaseResult, among: Sequence[CaseResult], longest: int = 48) -> str:
    """Return what sets a case apart from the others of its chart."""
    varying = {
        name
        for name in case.params
        if len(among) == 1 or any(other.params.get(name) != case.params[name] for other in among)
    }
    parts = [f"{name} {value}" for name, value in case.params.items() if name in varying]
    if len({other.repeat for other in among}) > 1:
        parts.append(f"repeat {case.repeat}")
    layer = layer_of(case).removeprefix(f"{case.scenario}.")
    if len({layer_of(other) for other in among}) > 1 or not parts:
        parts.insert(0, layer)
    text = clean(", ".join(parts)).replace("\n", " ")
    return "\u200b" + (
        text if len(text) <= longest else text[: longest - 1] + "…"
    )  # a leading _ would hide the entry


def waterfall(cases: Sequence[CaseResult], most: int = 14) -> Chart | None:
    """Where the time of a median frame goes: one bar a case, one segment a stage."""
    measured = [(case, _stages(case)) for case in _pick([c for c in cases if _stages(c)], most)]
    rows = [(case, found) for case, found in measured if sum(found.values()) > 0]
    if not rows:
        return None
    named = [name for name in stages.WATERFALL if any(found.get(name, 0) > 0 for _, found in rows)]
    hatches = ("", "///", "...", "\\\\\\", "xxx", "---", "+++", "ooo", "|||", "***")

    def paint(axes: list[Axes]) -> None:
        ax = axes[0]
        longest = max(sum(found.values()) for _, found in rows)
        for n, (_, found) in enumerate(rows):
            left = 0.0
            for stage in named:
                width = found.get(stage, 0.0)
                style = stages.WATERFALL.index(stage)
                ax.barh(
                    n,
                    width,
                    left=left,
                    height=0.66,
                    color=COLOURS[style % len(COLOURS)],
                    alpha=0.85 if style < len(COLOURS) else 0.5,
                    hatch=hatches[style],
                    edgecolor=INK,
                    linewidth=0.4,
                    label=stage.replace("_", " ") if n == 0 else None,
                )
                if width > 0.07 * longest:
                    ax.text(
                        left + width / 2,
                        n,
                        f"{width:.3g}",
                        ha="center",
                        va="center",
                        fontsize=8,
                        bbox={"boxstyle": "square,pad=0.15", "facecolor": "#ffffff", "edgecolor": "none"},
                        color="#111111",
                    )
                left += width
        ax.set_yticks(range(len(rows)), [_label(case, [c for c, _ in rows]) for case, _ in rows])
        ax.invert_yaxis()
        ax.set_xlabel("ms, median of each stage")
        ax.grid(visible=False, axis="y")
        legend_above(ax, 8.0)

    return Chart(
        title="Stages of a frame",
        caption="Medians of consecutive stages; a bar's length is close to, not equal to, the median of the whole.",
        svg=draw("waterfall", 1, 1, (10.4, 1.5 + 0.36 * len(rows)), paint),
    )


def _stages(case: CaseResult) -> dict[str, float]:
    found = {}
    for name in stages.WATERFALL:
        metric = case.metrics.get(f"{name}_p50")
        if metric is not None and metric.value is not None and math.isfinite(metric.value):
            found[name] = max(0.0, metric.value)
    return found


# --- over time ----------------------------------------------------------------------------------------------


def timelines(cases: Sequence[CaseResult], most: int = 4) -> Chart | None:
    """Loss, latency and bitrate over the time of a stream, a column a case."""
    chosen = _pick([c for c in cases if len(c.series.get("t_s", [])) > 2], most)
    if not chosen:
        return None
    panels = (
        ("packets lost (%)", (("loss", 100.0, "packets lost"),)),
        (
            "ms",
            (("transport_ms", 1.0, "capture → complete p99"), ("queue_ms", 1.0, "sender's queue, longest")),
        ),
        ("Mbit/s", (("bitrate_kbps", 1e-3, "complete frames"),)),
    )

    def paint(axes: list[Axes]) -> None:
        for row, (unit, lines) in enumerate(panels):
            here = axes[row * len(chosen) : (row + 1) * len(chosen)]
            top = 0.0
            for ax, case in zip(here, chosen, strict=True):
                top = max(top, _time_panel(ax, case, lines))
                if row == 0:
                    ax.set_title(_label(case, chosen, 40 if len(chosen) < 3 else 26))
                if row == len(panels) - 1:
                    ax.set_xlabel("s")
            for ax in here:
                ax.set_ylim(0, (top or 1.0) * 1.08)
            here[0].set_ylabel(unit)
            if len(lines) > 1:
                legend_above(here[0], max(5.2, 2.6 * len(chosen)) / len(chosen))

    return Chart(
        title="Over time",
        caption="Packets lost on the way, latency with the sender's queue, and the bits of complete frames.",
        svg=draw("timelines", len(panels), len(chosen), (max(5.2, 2.6 * len(chosen)), 6.0), paint),
    )


def _time_panel(ax: Axes, case: CaseResult, lines: Sequence[tuple[str, float, str]]) -> float:
    """Draw series of one case and return the largest value."""
    time, top = _floats(case.series["t_s"]), 0.0
    for n, (name, scale, label) in enumerate(lines):
        values = _floats(case.series.get(name, [])) * scale
        if values.size == time.size and np.isfinite(values).any():
            ax.plot(time, values, color=COLOURS[n], linestyle=DASHES[n], drawstyle="steps-post", label=label)
            top = max(top, float(np.nanmax(values)))
    return top


def _floats(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)
