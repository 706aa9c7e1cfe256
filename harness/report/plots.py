"""Charts of a run as SVG that stands inside a page: colour-blind safe, readable in print, light and dark.

Colours are Okabe and Ito's (yellow and black left out: one is lost on white, the other on dark); every series
has a marker and a dash of its own as well. Text stays text, in the page's colour.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.analysis import stages
from harness.analysis.agreement import curve
from harness.analysis.definitions import QUANTILES
from harness.analysis.results import CaseResult, RunResult
from harness.analysis.stats import FloatArray, wilson
from harness.report.text import clean, layer_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
_INK: Final = "#123457"  # stands for the page's text colour until the SVG is written
_FAINT: Final = "#765432"  # grid lines
_STYLE: Final[Any] = {  # the stubs want a Literal for every key
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollar signs
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
}
MOST_LINES: Final = len(COLOURS)
SIMULATED: Final = 24
"""Simulated cases whose latencies are worth a chart."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure of a report."""

    title: str
    caption: str
    svg: str
    """Markup to stand in a page as it is."""


def charts(run: RunResult) -> list[Chart]:
    """Return the charts that a run has data for, in the order of the page."""
    made: Iterable[Chart | None] = (
        recovery(run.cases),
        latency(run.cases),
        waterfall(run.cases),
        timelines(run.cases),
    )
    return [chart for chart in made if chart is not None]


def _draw(
    name: str, rows: int, columns: int, size: tuple[float, float], paint: Callable[[list[Axes]], None]
) -> str:
    # Half a second of CPU that a run without charts, and whoever looks at texts alone, is spared.
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # The salt keeps the ids of charts on one page apart.
    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        paint(list(np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flat))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), size[0])


def _inline(svg: str, width: float) -> str:
    """Cut a standalone SVG down to what a page embeds: no prologue, no idle ids, the page's text colour."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    shape = f'role="img" style="max-width:{width * 104:.0f}px"'
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', shape, svg, count=1)
    svg = svg.replace(_INK, "currentColor").replace(_FAINT, "var(--faint)")
    svg = re.sub(r"font: ([^;\"]*?)(\d+(?:\.\d+)?)px [^;\"]*", r"font: \1\2px sans-serif", svg)
    return re.sub(r"\n\s*", "\n", svg)


# --- recovery against loss ----------------------------------------------------------------------------------


def recovery(cases: Sequence[CaseResult]) -> Chart | None:
    """Measured recovery on the theory's curve and 95 % band: a panel per code and burstiness."""
    counted = {layer_of(c) for c in cases if c.theory.get("periodic")}  # losses without chance have no curve
    judged = [c for c in cases if "p_value" in c.theory and layer_of(c) not in counted]
    if len({c.theory["loss"] for c in judged}) < 2:
        return None
    panels = recovery_panels(judged)
    order = sorted(panels)
    columns = min(len(order), 2)
    rows = -(-len(order) // columns)
    top = max(c.theory["loss"] for c in judged)

    def paint(axes: list[Axes]) -> None:
        for ax, key in zip(axes, order, strict=False):
            _recovery_panel(ax, key, panels[key], top)
        for ax in axes[len(order) :]:
            ax.set_visible(False)

    fitting = sum(c.theory["p_value"] > 0.001 for c in judged)
    return Chart(
        title="FEC recovery against loss",
        caption=(
            "Points: measured share of complete frames with 95 % intervals. Lines: exact theory; bands: where 95 % "
            f"of measurements of this size should fall. {len(judged)} cells, {fitting} with p above 0.001 before "
            "correction."
        ),
        svg=_draw("recovery", rows, columns, (5.2 * columns, 3.5 * rows + 0.2), paint),
    )


def recovery_panels(judged: Sequence[CaseResult]) -> dict[tuple[str, float], dict[float, list[CaseResult]]]:
    """Return cases with a theory by (code, burst length), then by FEC percentage."""
    panels: dict[tuple[str, float], dict[float, list[CaseResult]]] = {}
    for case in judged:
        panel = panels.setdefault((_code_of(case), _burst_of(case, judged)), {})
        panel.setdefault(case.theory["fec_percent"], []).append(case)
    return panels


def theory_line(case: CaseResult, burst: float, losses: Sequence[float]) -> FloatArray:
    """Return the theory's recovery in percent at other losses, for the code of a case and a panel's bursts."""
    return np.array(curve({**case.theory, "burst_packets": burst}, losses)) * 100


def _code_of(case: CaseResult) -> str:
    for value in case.params.values():
        if str(value) in {"gf8", "gf16"}:
            return {"gf8": "GF(2⁸)", "gf16": "GF(2¹⁶)"}[str(value)]
    return layer_of(case).removeprefix(f"{case.scenario}.")


def _burst_of(case: CaseResult, judged: Sequence[CaseResult]) -> float:
    """Return a case's burst length; one without loss goes with the lossy case that it is most like."""
    if case.theory["loss"] > 0:
        return round(case.theory["burst_packets"], 2)
    lossy = [c for c in judged if c.theory["loss"] > 0 and layer_of(c) == layer_of(case)]
    if not lossy:
        return 1.0
    like = max(lossy, key=lambda c: sum(c.params.get(n) == v for n, v in case.params.items()))
    return round(like.theory["burst_packets"], 2)


def _recovery_panel(
    ax: Axes, key: tuple[str, float], lines: Mapping[float, Sequence[CaseResult]], top: float
) -> None:
    code, burst = key
    grid = np.linspace(0, top, 33)
    # With more redundancies than styles, ones spread over the whole range are shown.
    chosen = sorted(lines)
    if len(chosen) > MOST_LINES:
        chosen = [chosen[round(i * (len(chosen) - 1) / (MOST_LINES - 1))] for i in range(MOST_LINES)]
    for n, fec in enumerate(chosen):
        cases = sorted(lines[fec], key=lambda c: c.theory["loss"])
        colour, dash, marker = COLOURS[n], DASHES[n], MARKERS[n]
        loss = [c.theory["loss"] * 100 for c in cases]
        # The curve is that of one frame of the mean size. At the cells the theory of the frames that were really
        # sent is known, so the line goes through that; between them line and band keep their distance.
        exact = np.array([c.theory["recovery"] for c in cases]) * 100
        offset = exact - theory_line(cases[0], burst, [c.theory["loss"] for c in cases])
        line = np.clip(theory_line(cases[0], burst, list(grid)) + np.interp(grid * 100, loss, offset), 0, 100)
        below = np.interp(grid * 100, loss, [_reach(c, "recovery_low") for c in cases])
        above = np.interp(grid * 100, loss, [_reach(c, "recovery_high") for c in cases])
        known = (grid * 100 >= loss[0]) & (grid * 100 <= loss[-1])
        ax.plot(grid[known] * 100, line[known], color=colour, linestyle=dash)
        ax.fill_between(
            grid[known] * 100,
            np.maximum(0, line + below)[known],
            np.minimum(100, line + above)[known],
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        value, low, high = np.array([_measured(c) for c in cases]).T * 100
        ax.errorbar(
            loss,
            value,
            yerr=[np.maximum(0, value - low), np.maximum(0, high - value)],
            color=colour,
            marker=marker,
            linestyle="none",
            capsize=2,
            elinewidth=0.9,
            label=f"{fec:g} % FEC",
        )
    kind = "independent loss" if burst <= 1 else f"bursts of {burst:g} packets"
    ax.set_title(clean(f"{code}, {kind}"))
    ax.set_xlabel("packets lost (%)")
    ax.set_ylabel("frames complete (%)")
    # Cells that are all near 100 % fill the panel; 0 stays in sight wherever any comes near it.
    lowest = min(_measured(c)[1] * 100 for cases in lines.values() for c in cases)
    bottom = lowest - 5 if lowest > 75 else -3
    ax.set_ylim(bottom, 100 + (100 - bottom) * 0.03)
    ax.legend(loc="best", ncols=2 if len(chosen) > 3 else 1)


def _reach(case: CaseResult, bound: str) -> float:
    return (case.theory[bound] - case.theory["recovery"]) * 100


def _measured(case: CaseResult) -> tuple[float, float, float]:
    found = case.theory
    share = found["complete"] / found["frames"]
    metric = case.metrics.get("recovery")
    interval = metric.interval if metric and metric.interval else None
    low, high = interval or wilson(found["complete"], found["frames"]) or (share, share)
    return share, low, high


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
    nines = -np.log10(1 - np.minimum(QUANTILES, 0.9995))

    def paint(axes: list[Axes]) -> None:
        for ax, (name, title) in zip(axes, spans, strict=True):
            for n, case in enumerate(shown[name]):
                values = case.quantiles[name]
                ax.plot(
                    values,
                    nines[: len(values)],
                    color=COLOURS[n],
                    linestyle=DASHES[n],
                    marker=MARKERS[n],
                    markevery=[49, 94, 98, 100],
                    label=_label(case, shown[name]),
                )
            ax.set_title(title)
            ax.set_xlabel("ms")
            ax.set_yticks(
                -np.log10(1 - np.array([0.01, 0.5, 0.9, 0.95, 0.99, 0.999])),
                ["1 %", "50 %", "90 %", "95 %", "99 %", "99.9 %"],
            )
            ax.set_ylabel("frames at most this late")
            every = [value for case in shown[name] for value in case.quantiles[name]]
            if min(every) > 0 and max(every) > 12 * min(every):
                ax.set_xscale("log")
                ax.xaxis.set_major_formatter("{x:g}")
            ax.legend(loc="lower right")

    return Chart(
        title="Latency",
        caption=(
            "Cumulative distribution; the scale is stretched towards the tail. Markers: median, 95 %, 99 %, 99.9 %. "
            "Lost frames are not in it: see recovery."
        ),
        svg=_draw("latency", 1, len(spans), (5.2 * len(spans), 3.6), paint),
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
                    edgecolor=_INK,
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
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=7)

    return Chart(
        title="Stages of a frame",
        caption="Medians of consecutive stages; a bar's length is close to, not equal to, the median of the whole.",
        svg=_draw("waterfall", 1, 1, (10.4, 1.5 + 0.36 * len(rows)), paint),
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
                ax.set_ylim(0, (top or 1.0) * (1.45 if len(lines) > 1 else 1.08))
            here[0].set_ylabel(unit)
            if len(lines) > 1 and here[0].get_legend_handles_labels()[0]:
                here[0].legend(loc="upper left")

    return Chart(
        title="Over time",
        caption="Packets lost on the way, latency with the sender's queue, and the bits of complete frames.",
        svg=_draw("timelines", len(panels), len(chosen), (max(5.2, 2.6 * len(chosen)), 6.0), paint),
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
